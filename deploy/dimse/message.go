package dimse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bits of a presentation data value's message control header (PS3.8 E.2).
const (
	controlCommand = 1
	controlLast    = 2
)

// errReleased is the peer's wish to end the association.
var errReleased = errors.New("the peer releases the association")

// fragment is the head of a presentation data value; size bytes of it are to be read.
type fragment struct {
	context       byte
	command, last bool
	size          uint32
}

// fragment reads up to the value of the next one. The previous one's has been read.
func (a *Association) fragment() (fragment, error) {
	if a.left == 0 {
		kind, length, err := a.header()
		switch {
		case err != nil:
			return fragment{}, err
		case kind == pduReleaseRQ:
			if _, err := a.short(kind, length); err != nil {
				return fragment{}, err
			}
			return fragment{}, errReleased
		case kind != pduData:
			return fragment{}, a.unexpected(kind, length)
		case length > a.receives:
			return fragment{}, fmt.Errorf("a P-DATA-TF of %d bytes, more than %d", length, a.receives)
		}
		a.left = length
	}
	var h [headerSize]byte
	if a.left < headerSize {
		return fragment{}, errors.New("a P-DATA-TF that ends inside a fragment's head")
	}
	if _, err := io.ReadFull(a.r, h[:]); err != nil {
		return fragment{}, err
	}
	length := binary.BigEndian.Uint32(h[:]) // of the value and the last two bytes of h
	if length < 2 || length > a.left-4 {
		return fragment{}, fmt.Errorf("a fragment of %d bytes in a P-DATA-TF that has %d left", length, a.left)
	}
	a.left -= 4 + length
	return fragment{context: h[4], command: h[5]&controlCommand != 0, last: h[5]&controlLast != 0, size: length - 2}, nil
}

// receive reads the next message's command set.
func (a *Association) receive() (presentation, command, error) {
	var b []byte
	for id := byte(0); ; {
		f, err := a.fragment()
		if err != nil {
			return presentation{}, nil, err
		}
		if !f.command || id != 0 && f.context != id || len(b)+int(f.size) > maxCommand {
			return presentation{}, nil, fmt.Errorf("a command set that is mixed with other fragments or has more than %d bytes", maxCommand)
		}
		id = f.context
		part := make([]byte, f.size)
		if _, err := io.ReadFull(a.r, part); err != nil {
			return presentation{}, nil, err
		}
		if b = append(b, part...); !f.last {
			continue
		}
		for _, known := range a.contexts {
			if known.id == id {
				c, err := decodeCommand(b)
				return known, c, err
			}
		}
		return presentation{}, nil, fmt.Errorf("a message in presentation context %d, which was not accepted", id)
	}
}

// receiveData copies the data set of the message whose command set was received. It takes
// as long as the peer sends.
func (a *Association) receiveData(c presentation, to io.Writer) (int64, error) {
	var size int64
	for {
		f, err := a.fragment()
		if err != nil {
			return size, err
		}
		if f.command || f.context != c.id {
			return size, errors.New("a data set that is mixed with other fragments")
		}
		size += int64(f.size)
		for left := int(f.size); left > 0; {
			if a.r.Buffered() == 0 {
				if _, err := a.r.Peek(1); err != nil {
					return size, err
				}
			}
			b, _ := a.r.Peek(min(left, a.r.Buffered()))
			if _, err := to.Write(b); err != nil {
				return size, err
			}
			a.r.Discard(len(b))
			left -= len(b)
		}
		if f.last {
			return size, nil
		}
	}
}

// send sends a message. data may be nil.
func (a *Association) send(c presentation, set command, data io.Reader) error {
	if err := a.sendPart(c.id, controlCommand, bytes.NewReader(set.encode())); err != nil || data == nil {
		return err
	}
	return a.sendPart(c.id, 0, data)
}

// sendPart sends all that r has as P-DATA-TF of one fragment each, the last one marked.
func (a *Association) sendPart(id, control byte, r io.Reader) error {
	const heads = 2 * headerSize
	room := int(a.sends) - headerSize
	room -= room % 2 // a fragment's length is even (PS3.8 9.3.1)
	if len(a.out) == 0 {
		a.out = make([]byte, heads+room+1) // one more, to see whether something follows
	}
	value := a.out[heads:]
	for carried := 0; ; {
		n, err := io.ReadFull(r, value[carried:])
		n += carried
		switch {
		case err == nil:
			n, carried = room, 1
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			control |= controlLast
		default:
			return err
		}
		next := value[room]
		a.out[0], a.out[1] = pduData, 0
		binary.BigEndian.PutUint32(a.out[2:], uint32(n+headerSize))
		binary.BigEndian.PutUint32(a.out[6:], uint32(n+2))
		a.out[10], a.out[11] = id, control
		if _, err := a.w.Write(a.out[:heads+n]); err != nil {
			return err
		}
		if control&controlLast != 0 {
			return nil
		}
		value[0] = next
	}
}
