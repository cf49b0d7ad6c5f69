package dicom

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxAnswer is the length of the longest refusal a device is told.
const maxAnswer = 1 << 10

// Answer checks what an inspector would tell a device: nil if b is nothing, or P-DATA-TF
// PDUs with the command set of one DIMSE response of failure, and no data set. The
// gateway calls it, in its own process, so that a plugin that was taken over cannot speak
// to a device in any other way. It shares no code with the inspector.
func Answer(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("check a refusal for a device: %d bytes, above %d", len(b), maxAnswer)
	}
	set, err := assemble(b)
	if err == nil {
		err = failure(set)
	}
	if err != nil {
		return fmt.Errorf("check a refusal for a device: %w", err)
	}
	return nil
}

// AnswerCaller is Answer for a device that opened the association itself. It may besides be told
// that this is rejected, or that the service provider aborts it (PS3.8 9.3.4 and 9.3.8): with
// either it is over.
func AnswerCaller(b []byte) error {
	if len(b) == 10 && (rejects([10]byte(b)) || aborts([10]byte(b))) {
		return nil
	}
	return Answer(b)
}

// rejects reports whether b is an A-ASSOCIATE-RJ PDU with a result, a source and a reason of
// PS3.8 table 9-21.
func rejects(b [10]byte) bool {
	if [7]byte(b[:]) != [7]byte{3, 0, 0, 0, 0, 4, 0} || b[7] != 1 && b[7] != 2 {
		return false
	}
	switch source, reason := b[8], b[9]; source {
	case 1:
		return reason >= 1 && reason <= 3 || reason == 7
	case 2, 3:
		return reason == 1 || reason == 2
	}
	return false
}

// aborts reports whether b is an A-ABORT PDU of the service provider, with a reason of PS3.8
// table 9-26.
func aborts(b [10]byte) bool {
	return [9]byte(b[:]) == [9]byte{7, 0, 0, 0, 0, 4, 0, 0, 2} && b[9] <= 6 && b[9] != 3
}

// assemble takes the command set out of PDUs that each hold one PDV.
func assemble(b []byte) (set []byte, err error) {
	context, last := byte(0), false
	for len(b) > 0 {
		if last {
			return nil, errors.New("bytes behind the last fragment")
		}
		if len(b) < 12 || b[0] != 4 || b[1] != 0 {
			return nil, errors.New("what is no P-DATA-TF PDU")
		}
		pdu, pdv := binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
		if pdu > maxAnswer || int(pdu) > len(b)-6 || pdu < 7 || pdv != pdu-4 {
			return nil, fmt.Errorf("PDU of %d bytes with a PDV of %d in %d bytes", pdu, pdv, len(b)-6)
		}
		if context == 0 {
			context = b[10]
		}
		if b[10] != context || context%2 == 0 {
			return nil, fmt.Errorf("presentation context %d", b[10])
		}
		if b[11] != 1 && b[11] != 3 {
			return nil, fmt.Errorf("message control header %#02x", b[11])
		}
		last = b[11] == 3
		set = append(set, b[12:6+pdu]...)
		b = b[6+pdu:]
	}
	if !last {
		return nil, errors.New("no last fragment")
	}
	return set, nil
}

// failure checks a command set. Each element a refusal may have is known, with its length.
func failure(b []byte) error {
	seen := 0
	for previous := -1; len(b) > 0; {
		if len(b) < 8 || b[0] != 0 || b[1] != 0 {
			return errors.New("what is no command element")
		}
		element, n := int(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])
		if element <= previous || n%2 != 0 || n > uint32(len(b)-8) {
			return fmt.Errorf("element %04X of %d bytes, out of order or too long", element, n)
		}
		previous = element
		value := b[8 : 8+n]
		b = b[8+n:]
		number := 0
		if n == 2 {
			number = int(binary.LittleEndian.Uint16(value))
		}
		ok := n == 2
		switch element {
		case 0x0000:
			ok = n == 4 && binary.LittleEndian.Uint32(value) == uint32(len(b))
			seen |= 1
		case 0x0100:
			ok = ok && number&0x8000 != 0
			seen |= 2
		case 0x0120:
			seen |= 4
		case 0x0800:
			ok = ok && number == 0x0101
			seen |= 8
		case 0x0900:
			ok = ok && isFailure(number)
			seen |= 16
		case 0x0902:
			ok = n <= 64 && allOf(value, func(c byte) bool { return c >= ' ' && c <= '~' && c != '\\' })
		case 0x0002, 0x1000:
			if n > 0 && value[n-1] == 0 {
				value = value[:n-1]
			}
			ok = n > 0 && n <= 64 && allOf(value, func(c byte) bool { return c == '.' || c >= '0' && c <= '9' })
		case 0x1002, 0x1008:
		case 0x1021, 0x1022, 0x1023:
			ok = ok && number == 0
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("element %04X that no refusal has", element)
		}
	}
	if seen != 31 {
		return errors.New("command set without what every refusal has")
	}
	return nil
}

// isFailure reports whether a status is one of failure (PS3.7 annex C): neither success,
// warning, cancel nor pending.
func isFailure(status int) bool {
	switch {
	case status == 0x0105 || status == 0x0106 || status == 0x0110 || status == 0x0111 || status == 0x0112,
		status == 0x0113 || status == 0x0114 || status == 0x0115 || status >= 0x0117 && status <= 0x0124,
		status >= 0x0210 && status <= 0x0213:
		return true
	}
	return status >= 0xa000 && status < 0xb000 || status >= 0xc000 && status < 0xd000
}

func allOf(b []byte, is func(byte) bool) bool {
	for _, c := range b {
		if !is(c) {
			return false
		}
	}
	return true
}
