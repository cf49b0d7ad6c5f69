// Package wire is the channel between the gateway and a plugin process: the frames of
// the step channel, and the windows that carry plaintext.
//
// One stream socket per plugin process carries the frames of all its sessions. Each
// Open, Notice and Refuse of the gateway is answered by exactly one Steps frame; Close is
// not answered. Plaintext never travels here: a Notice only says how far a window may
// be read.
//
// The package encodes and decodes. It checks that a frame is well-formed and within
// its limits, and nothing else: whether a step is permitted is the relay's question.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// MaxFrame bounds one frame's body in bytes.
const MaxFrame = 1 << 20

// Type tells frames apart.
type Type uint8

const (
	TypeOpen   Type = 1
	TypeNotice Type = 2
	TypeRefuse Type = 3
	TypeClose  Type = 4
	TypeSteps  Type = 5
)

// Open begins a session of a configured service.
type Open struct {
	Session uint64
	Service uint32
}

// Notice says that Dir's bytes up to the absolute offset Arrived can be read in Window.
type Notice struct {
	Session uint64
	Dir     sdk.Direction
	Window  uint32
	Arrived int64
	End     bool // no byte will follow
}

// Refuse says that Op is refused. Bytes of the asker's direction have moved up to After;
// the refusal can only be inserted there or later.
type Refuse struct {
	Session uint64
	Op      sdk.OpID
	After   int64
	Why     sdk.Refusal
}

// Close ends a session.
type Close struct{ Session uint64 }

// Steps answers one frame of the gateway.
type Steps struct {
	Session uint64
	To      Type          // TypeOpen, TypeNotice or TypeRefuse
	Dir     sdk.Direction // of the Notice answered, or of the operation refused
	More    bool          // the answer is as long as it may be: notify again
	List    []sdk.Step
	Err     error // not sent: what is wrong with List; the rest of the channel is sound
}

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed frame")

// Append methods add a whole frame, length included, to b.

func (f Open) Append(b []byte) []byte {
	b, at := begin(b, TypeOpen, f.Session)
	b = binary.AppendUvarint(b, uint64(f.Service))
	return finish(b, at)
}

func (f Notice) Append(b []byte) []byte {
	b, at := begin(b, TypeNotice, f.Session)
	b = append(b, byte(f.Dir), flag(f.End))
	b = binary.AppendUvarint(b, uint64(f.Window))
	b = binary.AppendUvarint(b, uint64(f.Arrived))
	return finish(b, at)
}

func (f Refuse) Append(b []byte) []byte {
	b, at := begin(b, TypeRefuse, f.Session)
	b = binary.AppendUvarint(b, uint64(f.Op))
	b = binary.AppendUvarint(b, uint64(f.After))
	b = appendString(b, f.Why.Code)
	b = appendString(b, string(f.Why.Cause))
	b = appendString(b, f.Why.Reason)
	b = appendStrings(b, f.Why.Obligations)
	return finish(b, at)
}

func (f Close) Append(b []byte) []byte {
	b, at := begin(b, TypeClose, f.Session)
	return finish(b, at)
}

func (f Steps) Append(b []byte) []byte {
	b, at := begin(b, TypeSteps, f.Session)
	b = append(b, byte(f.To), byte(f.Dir), flag(f.More))
	b = binary.AppendUvarint(b, uint64(len(f.List)))
	for i := range f.List {
		b = appendStep(b, &f.List[i])
	}
	return finish(b, at)
}

func begin(b []byte, t Type, session uint64) ([]byte, int) {
	at := len(b)
	b = append(b, 0, 0, 0, 0, byte(t))
	return binary.AppendUvarint(b, session), at
}

func finish(b []byte, at int) []byte {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// Read returns the next frame: an Open, Notice, Refuse, Close or Steps. r's buffer may be
// of any size. Strings and bytes of the frame are copies. The error is io.EOF at the end
// of the stream, wraps ErrMalformed for a bad frame, after which r is of no further use.
// Steps whose list is bad are no error: they have an Err of their own, so that one session's
// bad answer is not every session's.
func Read(r *bufio.Reader) (any, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < 2 || n > MaxFrame {
		return nil, fmt.Errorf("%w: length %d", ErrMalformed, n)
	}
	if int(n) <= r.Size() {
		body, err := r.Peek(int(n)) // decoded in place: everything kept is copied
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		f, err := Decode(body)
		r.Discard(int(n))
		return f, err
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return Decode(body)
}

// Decode decodes one frame without its length.
func Decode(body []byte) (any, error) {
	d := decoder{b: body}
	t, session := Type(d.byte()), d.uint()
	var f any
	switch t {
	case TypeOpen:
		f = Open{session, uint32(d.upTo(1<<32 - 1))}
	case TypeNotice:
		n := Notice{Session: session, Dir: d.direction(), End: d.flag()}
		n.Window, n.Arrived = uint32(d.upTo(1<<32-1)), d.offset()
		f = n
	case TypeRefuse:
		r := Refuse{Session: session, Op: sdk.OpID(d.uint()), After: d.offset()}
		r.Why = sdk.Refusal{Code: d.string(64), Cause: policy.Cause(d.string(16)), Reason: d.string(sdk.MaxReason), Obligations: d.strings()}
		f = r
	case TypeClose:
		f = Close{session}
	case TypeSteps:
		s := Steps{Session: session, To: Type(d.byte()), Dir: d.direction(), More: d.flag()}
		if d.err != nil {
			break
		}
		s.List = d.steps()
		if d.err == nil && len(d.b) > 0 {
			d.fail("%d bytes left over", len(d.b))
		}
		if s.Err = d.err; s.Err != nil {
			s.List = nil
		}
		return s, nil
	default:
		d.fail("type %d", t)
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes left over", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}
