package modbus

// File records (MAP 6.14, 6.15): a count(1) and that many bytes of groups, each of
//
//	reference type(1), which is 6 · file(2) · first record(2) · length(2), in registers
//
// and, if they are written, the registers.
const (
	group         = 7
	referenceType = 6
	lastRecord    = 9999
	mostGroups    = 245 // bytes of the groups that are read, and of their response
	mostRecords   = 251 // bytes of the groups that are written
)

// records are the facts of the groups.
type records struct {
	files, first, lengths, values []int64
}

func (r *request) readsRecords(b []byte) *fault {
	if len(b) < 1 || len(b) != 1+int(b[0]) {
		return wrongSize
	}
	groups := b[1:]
	if len(groups) == 0 || len(groups) > mostGroups || len(groups)%group != 0 {
		return wrongCount
	}
	var list records
	size := 0
	for ; len(groups) > 0; groups = groups[group:] {
		n, wrong := list.add(groups)
		if wrong != nil {
			return wrong
		}
		size += 2 + 2*n // response length(1) reference type(1) registers
	}
	r.records(&list)
	if size > mostGroups {
		return wrongQuantity
	}
	r.answer = counted(size)
	return nil
}

func (r *request) writesRecords(b []byte) *fault {
	if len(b) < 1 || len(b) != 1+int(b[0]) {
		return wrongSize
	}
	groups := b[1:]
	if len(groups) == 0 || len(groups) > mostRecords {
		return wrongCount
	}
	var list records
	for len(groups) > 0 {
		if len(groups) < group {
			return wrongCount
		}
		n, wrong := list.add(groups)
		if wrong != nil {
			return wrong
		}
		groups = groups[group:]
		if len(groups) < 2*n {
			return wrongCount
		}
		list.values = registers(list.values, groups[:2*n])
		groups = groups[2*n:]
	}
	r.records(&list)
	r.numbers("values", list.values)
	r.answer = beginning(b, len(b))
	return nil
}

// add reads the beginning of a group, and returns how many registers it is about.
func (list *records) add(b []byte) (n int, wrong *fault) {
	file, first, n := number(b[1:]), number(b[3:]), number(b[5:])
	switch {
	case b[0] != referenceType:
		return 0, wrongReference
	case n == 0:
		return 0, wrongQuantity
	case file == 0 || first+n-1 > lastRecord:
		return 0, noRecord
	}
	list.files = append(list.files, int64(file))
	list.first = append(list.first, int64(first))
	list.lengths = append(list.lengths, int64(n))
	return n, nil
}

func (r *request) records(list *records) {
	r.numbers("files", list.files)
	r.numbers("records", list.first)
	r.numbers("lengths", list.lengths)
}
