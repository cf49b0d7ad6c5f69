package modbus

import (
	"encoding/binary"

	"cordon/policy"
)

// Most of a table that one request may reach (MAP 6).
const (
	mostReadBits    = 2000
	mostReadRegs    = 125
	mostWriteBits   = 1968
	mostWriteRegs   = 123
	mostRewriteRegs = 121 // by function 23
	addresses       = 1 << 16
)

// request is what is read from one.
type request struct {
	op     policy.Operation
	wrong  *fault // it is malformed; nil: it is not
	quirks anomaly
	answer shape

	silent   bool // a broadcast: nobody answers it
	optional bool // it is well if there is no response
}

// read reads a whole request.
func (set *settings) read(f *frame) request {
	fn := functionOf(f.pdu)
	r := request{op: policy.Operation{Name: fn.name, Class: fn.class, Attributes: make(policy.Attributes, 0, 8)}}
	r.wrong = r.body(f.pdu)
	r.number("function", int(f.pdu[0]))
	if t := table(f.pdu[0]); t != "" {
		r.op.Attributes.Set("table", t)
	}
	r.number("unit", int(f.unit))
	if f.unit == 0 && set.broadcast != "none" && fn.class != policy.ClassRead {
		r.silent, r.optional = true, true
		if set.broadcast == "admin" && fn.class != policy.ClassUnknown {
			r.op.Class = policy.ClassAdmin
		}
	}
	return r
}

func (r *request) number(name string, n int) { r.op.Attributes.Set(name, int64(n)) }

func (r *request) numbers(name string, list []int64) { r.op.Attributes.Set(name, list) }

// body reads a PDU by its function.
func (r *request) body(pdu []byte) *fault {
	code, b := pdu[0], pdu[1:]
	switch code {
	case readCoils, readDiscreteInputs:
		return r.reads(b, mostReadBits, func(n int) int { return (n + 7) / 8 })
	case readHoldingRegisters, readInputRegisters:
		return r.reads(b, mostReadRegs, func(n int) int { return 2 * n })
	case writeSingleCoil, writeSingleRegister:
		return r.writesOne(code, b)
	case writeMultipleCoils:
		return r.writesCoils(b)
	case writeMultipleRegs:
		return r.writesRegisters(b)
	case maskWriteRegister:
		return r.masks(b)
	case readWriteRegisters:
		return r.readsAndWrites(b)
	case readFIFOQueue:
		if len(b) != 2 {
			return wrongSize
		}
		r.number("address", number(b))
	case readFileRecord:
		return r.readsRecords(b)
	case writeFileRecord:
		return r.writesRecords(b)
	case diagnostics:
		return r.diagnoses(b)
	case readExceptionStatus:
		return r.bare(b, 1)
	case getCommEventCounter:
		return r.bare(b, 4)
	case getCommEventLog, reportServerID:
		return r.bare(b, unknownSize)
	case encapsulatedInterface:
		return r.encapsulates(b)
	default:
		r.number("size", len(b))
		if code == 0 || code&exceptionBit != 0 {
			return noFunction
		}
	}
	return nil
}

// number is a field of two bytes.
func number(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// reach notes what is read or written, under names that begin with of.
func (r *request) reach(of string, first, quantity, most int) *fault {
	r.number(of+"address", first)
	r.number(of+"quantity", quantity)
	switch {
	case quantity < 1 || quantity > most:
		return wrongQuantity
	case first+quantity > addresses:
		return pastEnd
	}
	r.number(of+"address_end", first+quantity-1)
	return nil
}

// reads is address(2) quantity(2). size says how many bytes so many are.
func (r *request) reads(b []byte, most int, size func(int) int) *fault {
	if len(b) != 4 {
		return wrongSize
	}
	quantity := number(b[2:])
	wrong := r.reach("", number(b), quantity, most)
	if wrong == nil {
		r.answer = counted(size(quantity))
	}
	return wrong
}

// writesOne is address(2) value(2).
func (r *request) writesOne(code byte, b []byte) *fault {
	if len(b) != 4 {
		return wrongSize
	}
	value := number(b[2:])
	if code == writeSingleCoil {
		if value != 0 && value != 0xff00 {
			return wrongCoil
		}
		value >>= 15
	}
	r.numbers("values", []int64{int64(value)})
	r.answer = beginning(b, len(b))
	return r.reach("", number(b), 1, 1)
}

// writesCoils is address(2) quantity(2) count(1) and coils, the first one in the lowest bit.
func (r *request) writesCoils(b []byte) *fault {
	if len(b) < 5 || len(b) != 5+int(b[4]) {
		return wrongSize
	}
	quantity := number(b[2:])
	if wrong := r.reach("", number(b), quantity, mostWriteBits); wrong != nil {
		return wrong
	}
	bits := b[5:]
	if len(bits) != (quantity+7)/8 {
		return wrongCount
	}
	values := make([]int64, quantity)
	for i := range values {
		values[i] = int64(bits[i/8] >> (i % 8) & 1)
	}
	r.numbers("values", values)
	if used := quantity % 8; used != 0 && bits[len(bits)-1]>>used != 0 {
		r.quirks |= paddingBits
	}
	r.answer = beginning(b[:4], 4)
	return nil
}

// writesRegisters is address(2) quantity(2) count(1) and registers.
func (r *request) writesRegisters(b []byte) *fault {
	if len(b) < 5 || len(b) != 5+int(b[4]) {
		return wrongSize
	}
	quantity := number(b[2:])
	if wrong := r.reach("", number(b), quantity, mostWriteRegs); wrong != nil {
		return wrong
	}
	if len(b) != 5+2*quantity {
		return wrongCount
	}
	r.numbers("values", registers(nil, b[5:]))
	r.answer = beginning(b[:4], 4)
	return nil
}

// registers appends the registers that b is made of.
func registers(list []int64, b []byte) []int64 {
	if list == nil {
		list = make([]int64, 0, len(b)/2)
	}
	for ; len(b) >= 2; b = b[2:] {
		list = append(list, int64(number(b)))
	}
	return list
}

// masks is address(2) and_mask(2) or_mask(2).
func (r *request) masks(b []byte) *fault {
	if len(b) != 6 {
		return wrongSize
	}
	r.number("and_mask", number(b[2:]))
	r.number("or_mask", number(b[4:]))
	r.answer = beginning(b, len(b))
	return r.reach("", number(b), 1, 1)
}

// readsAndWrites is address(2) quantity(2) of what is read, then address(2) quantity(2)
// count(1) and registers that are written before.
func (r *request) readsAndWrites(b []byte) *fault {
	if len(b) < 9 || len(b) != 9+int(b[8]) {
		return wrongSize
	}
	read, write := number(b[2:]), number(b[6:])
	if wrong := r.reach("read_", number(b), read, mostReadRegs); wrong != nil {
		return wrong
	}
	if wrong := r.reach("", number(b[4:]), write, mostRewriteRegs); wrong != nil {
		return wrong
	}
	if len(b) != 9+2*write {
		return wrongCount
	}
	r.numbers("values", registers(nil, b[9:]))
	r.answer = counted(2 * read)
	return nil
}

// bare is a request of its function code alone, answered by so many bytes.
func (r *request) bare(b []byte, size int) *fault {
	if len(b) != 0 {
		return wrongSize
	}
	r.answer = shape{size: size}
	return nil
}

// diagnoses is sub-function(2) data(2), or, if it is the echo, data of any number of words.
func (r *request) diagnoses(b []byte) *fault {
	if len(b) < 4 || len(b)%2 != 0 {
		return wrongSize
	}
	sub := number(b)
	r.number("sub_function", sub)
	if sub == returnQueryData {
		r.answer = beginning(b, len(b))
		return nil
	}
	if len(b) != 4 {
		return wrongSize
	}
	r.numbers("values", registers(nil, b[2:]))
	r.answer = beginning(b[:2], 4)
	r.optional = sub == restart || sub == listenOnly
	return nil
}

// encapsulates is an MEI type(1), and what that wants.
func (r *request) encapsulates(b []byte) *fault {
	if len(b) == 0 {
		return wrongSize
	}
	r.number("mei_type", int(b[0]))
	if b[0] != deviceIdentification {
		r.number("size", len(b)-1)
		r.answer = beginning(b[:1], unknownSize)
		return nil
	}
	if len(b) != 3 {
		return wrongSize
	}
	r.number("read_code", int(b[1]))
	r.number("object", int(b[2]))
	r.answer = beginning(b[:2], unknownSize)
	if b[1] < 1 || b[1] > 4 {
		return wrongReadCode
	}
	return nil
}
