package dimse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// PDU types (PS3.8 9.3).
const (
	pduAssociateRQ = 1
	pduAssociateAC = 2
	pduAssociateRJ = 3
	pduData        = 4
	pduReleaseRQ   = 5
	pduReleaseRP   = 6
	pduAbort       = 7
)

const (
	headerSize   = 6         // of a PDU, and of a presentation data value
	maxNegotiate = 128 << 10 // bytes of an A-ASSOCIATE-RQ or -AC
	readAhead    = 64 << 10
)

// Rejection is an A-ASSOCIATE-RJ (PS3.8 9.3.4).
type Rejection struct{ Result, Source, Reason byte }

func (r *Rejection) Error() string {
	text := fmt.Sprintf("association rejected (%d/%d/%d)", r.Result, r.Source, r.Reason)
	switch *r {
	case Rejection{1, 1, 1}:
		text += ": no reason given"
	case Rejection{1, 1, 2}:
		text += ": application context not supported"
	case Rejection{1, 1, 3}:
		text += ": calling AE title not recognized"
	case Rejection{1, 1, 7}:
		text += ": called AE title not recognized"
	case Rejection{1, 2, 2}:
		text += ": protocol version not supported"
	case Rejection{2, 3, 1}:
		text += ": temporary congestion"
	case Rejection{2, 3, 2}:
		text += ": local limit exceeded"
	}
	return text
}

// Abort is an A-ABORT (PS3.8 9.3.8) of the peer's.
type Abort struct{ Source, Reason byte }

func (a *Abort) Error() string {
	return fmt.Sprintf("association aborted by the peer (source %d, reason %d)", a.Source, a.Reason)
}

// wire carries PDUs.
type wire struct {
	r *bufio.Reader
	w io.Writer
}

func newWire(c io.ReadWriter) wire { return wire{bufio.NewReaderSize(c, readAhead), c} }

// header reads the type of the next PDU and the length of what follows.
func (w *wire) header() (kind byte, length uint32, err error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(w.r, h[:]); err != nil {
		return 0, 0, err
	}
	return h[0], binary.BigEndian.Uint32(h[2:]), nil
}

// body reads the rest of a PDU of at most limit bytes.
func (w *wire) body(kind byte, length, limit uint32) ([]byte, error) {
	if length > limit {
		return nil, fmt.Errorf("read a PDU of type %d: its %d bytes are more than %d", kind, length, limit)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(w.r, b); err != nil {
		return nil, fmt.Errorf("read a PDU of type %d: %w", kind, err)
	}
	return b, nil
}

// short reads the four bytes of a PDU that has no more.
func (w *wire) short(kind byte, length uint32) ([]byte, error) {
	if length != 4 {
		return nil, fmt.Errorf("read a PDU of type %d: it has %d bytes, not 4", kind, length)
	}
	return w.body(kind, length, 4)
}

func (w *wire) write(kind byte, body []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body)))
	_, err := w.w.Write(append(b, body...))
	return err
}

// unexpected is the error for a PDU that has no place here. It is not for one that says
// that there is no association any more.
func (w *wire) unexpected(kind byte, length uint32) error {
	switch kind {
	case pduAbort:
		b, err := w.short(kind, length)
		if err != nil {
			return err
		}
		return &Abort{b[2], b[3]}
	case pduAssociateRJ:
		b, err := w.short(kind, length)
		if err != nil {
			return err
		}
		return &Rejection{b[1], b[2], b[3]}
	}
	return fmt.Errorf("a PDU of type %d has no place here", kind)
}
