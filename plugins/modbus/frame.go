package modbus

import "encoding/binary"

// The MBAP header (Implementation Guide 3.1.3), behind which the PDU follows:
//
//	transaction identifier(2) protocol identifier(2) length(2) unit identifier(1)
//
// The length counts from the unit identifier on.
const (
	prefix    = 6          // bytes that the length does not count
	header    = prefix + 1 // bytes before the PDU
	maxPDU    = 253        // MAP 4.1
	maxLength = 1 + maxPDU // in the header
	minLength = 1 + 1      // a PDU is a function code at least
)

// frame is a request or a response.
type frame struct {
	id   uint16 // transaction identifier
	unit byte
	pdu  []byte // from the function code on
}

// size is how many bytes the frame has.
func (f *frame) size() int { return header + len(f.pdu) }

// cutFrame takes one frame from the beginning of b. It is not ok yet if there is not all of
// it. wrong is what makes the rest of the stream unreadable: behind a wrong header nobody
// knows where the next one is.
func cutFrame(b []byte) (f frame, ok bool, wrong string) {
	if len(b) < prefix {
		return f, false, ""
	}
	if binary.BigEndian.Uint16(b[2:]) != 0 {
		return f, false, "protocol identifier that is not 0"
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	switch {
	case n > maxLength:
		return f, false, "length above 254"
	case n < minLength:
		return f, false, "length without a function code"
	case len(b) < prefix+n:
		return f, false, ""
	}
	return frame{binary.BigEndian.Uint16(b), b[prefix], b[header : prefix+n]}, true, ""
}
