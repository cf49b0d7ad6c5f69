package astm

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Attributes of an operation are bounded; what does not fit is not passed on.
const (
	maxValue = 200 // bytes of a value
	maxList  = 256 // values of a list
	maxRoom  = sdk.MaxFacts * 2 / 3
)

// facts are what policy is told about a frame, as they are found.
type facts struct {
	message      // the frame is part of, as far as it has been read
	begins  bool // with a header
	ended   bool // with a terminator
	partial bool // the last record goes on in the next frame
	cancels bool // an order is cancelled
	asks    bool // there is a query
	tells   bool // there is what a query does not come with
	room    int  // bytes left
	wrong   string
	quirks  anomaly

	heaviest kindOfRecord

	records, about, from, tests, actions, priorities, reportTypes []string
	flags, statuses, queryIDs, queryStatus, termination           []string
}

// kindOfRecord says how a record counts. An operation is named after its heaviest.
type kindOfRecord struct {
	weight int
	name   string
	class  policy.Class
}

// kindOf returns the kind of a record by its type (LIS02-A2: the first letter).
func kindOf(letter byte) kindOfRecord {
	switch letter {
	case 'L':
		return kindOfRecord{1, "astm:L", policy.ClassSession}
	case 'H':
		return kindOfRecord{2, "astm:H", policy.ClassSession}
	case 'C':
		return kindOfRecord{3, "astm:C", policy.ClassWrite}
	case 'P':
		return kindOfRecord{4, "astm:P", policy.ClassWrite}
	case 'Q':
		return kindOfRecord{5, "astm:Q", policy.ClassQuery}
	case 'S':
		return kindOfRecord{6, "astm:S", policy.ClassWrite}
	case 'R':
		return kindOfRecord{7, "astm:R", policy.ClassWrite}
	case 'O':
		return kindOfRecord{8, "astm:O", policy.ClassWrite}
	case 'M':
		return kindOfRecord{9, "astm:M", policy.ClassAdmin}
	}
	return kindOfRecord{10, "astm:unknown", policy.ClassUnknown}
}

// typeOf returns a record's type in upper case, or 0 if it has none: a type is one letter.
func (f *facts) typeOf(record []byte) byte {
	if len(record) == 0 || len(record) > 1 && record[0]|0x20 != 'h' && record[1] != f.field {
		return 0
	}
	switch c := record[0]; {
	case c >= 'A' && c <= 'Z':
		return c
	case c >= 'a' && c <= 'z':
		return c - 'a' + 'A'
	}
	return 0
}

// record takes the facts of one record. Of one that goes on in the next frame, only whole
// fields are read.
func (f *facts) record(record []byte, whole bool) {
	if len(record) == 0 {
		f.quirks |= emptyRecord
		return
	}
	letter := f.typeOf(record)
	if letter != 0 && record[0] != letter {
		f.quirks |= lowerCaseType
	}
	if kind := kindOf(letter); kind.weight > f.heaviest.weight {
		f.heaviest = kind
	}
	f.asks = f.asks || letter == 'Q'
	f.tells = f.tells || letter == 'P' || letter == 'O' || letter == 'R' || letter == 'S'
	switch {
	case unusable(record):
		f.fail("control character in a record")
	case f.ended:
		f.fail("record behind a message's end in one frame")
	case letter == 'H' && f.open:
		f.fail("header before the end of a message")
	case letter == 'H':
		f.open = whole
		f.readDelimiters(record)
	case !f.open:
		f.fail("record outside of a message")
	}
	if f.field != standardDelimiters.field && bytes.IndexByte(record, standardDelimiters.field) >= 0 {
		f.fail("standard field delimiter in a message that has another") // many devices know no other
	}
	if f.wrong != "" {
		return
	}
	f.ended = letter == 'L' && whole
	if !whole {
		f.partial = true
		record = record[:bytes.LastIndexByte(record, f.field)+1]
	}
	if letter == 0 {
		f.records = f.add(f.records, []byte("?"))
		return
	}
	f.records = f.add(f.records, []byte{letter})
	f.fields(letter, record)
}

// textual are the control characters that a record may have (LIS02-A2), LF as in
// restricted: bit c for character c. NUL is not: it is where a C program stops to read.
const textual = 1<<0x07 | 1<<'\t' | 1<<lf | 1<<'\v' | 1<<'\f' | 1<<cr

func unusable(record []byte) bool {
	for _, c := range record {
		if c < ' ' && textual>>c&1 == 0 || c == 0x7f {
			return true
		}
	}
	return false
}

// fields takes facts from the fields that LIS02-A2 gives a type of record.
func (f *facts) fields(letter byte, record []byte) {
	var p [26][]byte // p[n-1] is field n
	rest, more := record, true
	for i := 0; i < len(p) && more; i++ {
		p[i], rest, more = cutByte(rest, f.field)
	}
	field := func(n int) []byte { return p[n-1] }
	switch letter {
	case 'H':
		f.control, f.sender, f.receiver = f.value(field(3)), f.value(field(5)), f.value(field(10))
		f.processing, f.version = f.value(field(12)), f.value(field(13))
	case 'P':
		f.patients, f.specimens = nil, nil
		for n := 3; n <= 5; n++ {
			f.patients = f.add(f.patients, field(n))
		}
	case 'O':
		f.specimens = f.add(f.add(nil, f.firstPart(field(3))), f.firstPart(field(4)))
		f.tests = f.testIDs(f.tests, field(5))
		f.priorities = f.codes(f.priorities, field(6))
		f.actions = f.codes(f.actions, field(12))
		f.cancels = f.cancels || slices.ContainsFunc(f.actions, func(a string) bool { return a[0]|0x20 == 'c' })
		f.reportTypes = f.codes(f.reportTypes, field(26))
	case 'R':
		f.tests = f.testIDs(f.tests, field(3))
		f.flags = f.codes(f.flags, field(7))
		f.statuses = f.codes(f.statuses, field(9))
	case 'Q':
		f.queryIDs = f.repeated(f.queryIDs, field(3), f.add)
		f.queryIDs = f.repeated(f.queryIDs, field(4), f.add)
		f.tests = f.testIDs(f.tests, field(5))
		f.queryStatus = f.codes(f.queryStatus, field(13))
	case 'L':
		f.termination = f.codes(f.termination, field(3))
	}
	if letter == 'H' || letter == 'L' {
		return
	}
	f.about = f.join(f.about, f.patients)
	f.from = f.join(f.from, f.specimens)
}

// testIDs adds universal test identifiers: the universal code, the first part, and the
// local one, the fourth (LIS02-A2, universal test ID). Which one a device goes by, only it
// knows. Where there is neither, it is one of the others.
func (f *facts) testIDs(list []string, field []byte) []string {
	return f.repeated(list, field, func(list []string, id []byte) []string {
		told := false
		for _, all := range [...]bool{false, true} {
			if told {
				break
			}
			rest := id
			for i := 1; len(rest) > 0; i++ {
				var part []byte
				part, rest, _ = cutByte(rest, f.component)
				if len(trim(part)) > 0 && (all || i == 1 || i == 4) {
					list, told = f.code(list, part), true
				}
			}
		}
		return list
	})
}

func (f *facts) codes(list []string, field []byte) []string { return f.repeated(list, field, f.code) }

// repeated calls add for each repetition of a field.
func (f *facts) repeated(list []string, field []byte, add func([]string, []byte) []string) []string {
	for more := len(field) > 0; more; {
		var one []byte
		one, field, more = cutByte(field, f.repeat)
		list = add(list, one)
	}
	return list
}

// firstPart returns a field's first component, or all of it if that is empty.
func (f *facts) firstPart(field []byte) []byte {
	if part, _, _ := cutByte(field, f.component); len(trim(part)) > 0 {
		return part
	}
	return field
}

// code adds a value that devices compare with what they know. It has no use for an escape
// sequence, behind which it would not be recognised.
func (f *facts) code(list []string, b []byte) []string {
	if bytes.IndexByte(b, f.escape) >= 0 {
		f.fail("escape sequence in a code")
		return list
	}
	return f.add(list, b)
}

// add adds a value to a list, once.
func (f *facts) add(list []string, b []byte) []string {
	b = trim(b)
	if len(b) == 0 {
		return list
	}
	for i := len(list) - 1; i >= 0; i-- { // the latest is the likeliest to come again
		if list[i] == string(b) {
			return list
		}
	}
	return f.take(list, f.value(b))
}

// join adds values told before.
func (f *facts) join(list, more []string) []string {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = f.take(list, v)
		}
	}
	return list
}

func (f *facts) take(list []string, v string) []string {
	if v == "" {
		return list
	}
	if f.room -= len(v) + 8; f.room < 0 || len(list) == maxList {
		f.fail("more values than policy can be told")
		return list
	}
	return append(list, v)
}

// value returns the text of a value. Bytes that are no UTF-8 are taken for ISO 8859-1.
func (f *facts) value(b []byte) string {
	b = trim(b)
	if len(b) > maxValue {
		f.fail("value longer than policy can be told")
		return ""
	}
	if bytes.IndexByte(b, f.escape) >= 0 {
		f.quirks |= escapedValue
	}
	if utf8.Valid(b) {
		return string(b)
	}
	f.quirks |= latin1Text
	text := make([]rune, len(b))
	for i, c := range b {
		text[i] = rune(c)
	}
	return string(text)
}

func (f *facts) fail(reason string) {
	if f.wrong == "" {
		f.wrong = reason
	}
}

func cutByte(b []byte, c byte) (before, behind []byte, found bool) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t\v\f") }

// operation gives the facts their names, in the order of these.
func (f *facts) operation() policy.Operation {
	kind := f.heaviest
	if f.asks && f.tells {
		kind = kindOf(0) // who may do the one may not do the other
	}
	if f.cancels && kind.class == policy.ClassWrite {
		kind.class = policy.ClassControl
	}
	a := make(policy.Attributes, 0, 16)
	text := func(name, v string) {
		if v != "" {
			a = append(a, policy.Attribute{Name: name, Value: v})
		}
	}
	list := func(name string, v []string) {
		if len(v) > 0 {
			a = append(a, policy.Attribute{Name: name, Value: v})
		}
	}
	list("actions", f.actions)
	text("control_id", f.control)
	list("flags", f.flags)
	if f.partial {
		a = append(a, policy.Attribute{Name: "partial", Value: int64(1)})
	}
	list("patient_ids", f.about)
	list("priorities", f.priorities)
	text("processing_id", f.processing)
	list("query_ids", f.queryIDs)
	list("query_status", f.queryStatus)
	text("receiver", f.receiver)
	list("records", f.records)
	list("report_types", f.reportTypes)
	list("result_statuses", f.statuses)
	text("sender", f.sender)
	list("specimen_ids", f.from)
	list("termination", f.termination)
	list("tests", f.tests)
	text("version", f.version)
	return policy.Operation{Name: kind.name, Class: kind.class, Attributes: a}
}
