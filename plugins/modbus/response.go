package modbus

import "bytes"

// unknownSize is that of a response that says itself how long it is, if anything does.
const unknownSize = 0

// shape is what a request says about its response. The zero shape says nothing.
type shape struct {
	size  int // bytes behind the function code, or unknownSize
	start [6]byte
	n     int // bytes of start, with which it begins
}

// beginning is the shape of a response that begins as b does, as far as that is kept.
func beginning(b []byte, size int) shape {
	s := shape{size: size}
	s.n = copy(s.start[:], b)
	return s
}

// counted is the shape of a response of a count(1) and as many bytes.
func counted(n int) shape { return beginning([]byte{byte(n)}, 1+n) }

// fits reports whether a response, which is no exception, has that shape.
func (s *shape) fits(pdu []byte) bool {
	b := pdu[1:]
	if s.size != unknownSize && len(b) != s.size || !bytes.HasPrefix(b, s.start[:s.n]) {
		return false
	}
	switch pdu[0] {
	case getCommEventLog, reportServerID: // count(1)
		return len(b) > 0 && len(b) == 1+int(b[0])
	case readFIFOQueue: // count(2) of bytes, quantity(2), registers
		return len(b) >= 4 && len(b) == 2+number(b) && len(b) == 4+2*number(b[2:])
	case readFileRecord:
		return groupsFit(b[1:])
	case encapsulatedInterface:
		return b[0] != deviceIdentification || objectsFit(b)
	}
	return true
}

// groupsFit reports whether b is made of length(1), reference type(1) and registers, where
// the length counts from the reference type on.
func groupsFit(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 || b[0]%2 == 0 || len(b) < 1+int(b[0]) || b[1] != referenceType {
			return false
		}
		b = b[1+int(b[0]):]
	}
	return true
}

// objectsFit reports whether b is MEI type(1), code(1), conformity(1), more(1), next
// object(1), number of objects(1) and the objects, each id(1) length(1) value (MAP 6.21).
func objectsFit(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	n := int(b[5])
	for b = b[6:]; n > 0; n-- {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		b = b[2+int(b[1]):]
	}
	return len(b) == 0
}

// answers reports whether a response is one to x's function, and whether it is as long, and
// begins, as x said.
func (x *exchange) answers(pdu []byte) (function, fits bool) {
	switch pdu[0] {
	case x.function | exceptionBit:
		return true, len(pdu) == 2
	case x.function:
		return true, x.answer.fits(pdu)
	}
	return false, false
}
