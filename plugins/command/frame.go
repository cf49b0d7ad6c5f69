package command

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// framing is how one side's frames are told apart. They end where end does, or have a
// length.
type framing struct {
	starts   [][]byte // what a frame may begin with; none: with anything
	end      []byte
	escape   []byte // one byte, or none
	length   length
	checksum checksum // before end
}

// length is the place of a frame's length in it. The zero value is none.
type length struct {
	at, size int
	little   bool
	adds     int // what it does not count
}

// binary reports whether a frame may have any byte in it.
func (f *framing) binary() bool { return f.length.size > 0 || f.escape != nil }

// escapeXOR is how escaped bytes differ from what they stand for (RFC 1662 4.2).
const escapeXOR = 0x20

// start returns how many bytes b starts a frame with. It is not ok yet if there are too few,
// and never if wrong.
func (f *framing) start(b []byte) (n int, ok, wrong bool) {
	if len(f.starts) == 0 {
		return 0, true, false
	}
	wrong = true
	for _, s := range f.starts {
		if bytes.HasPrefix(b, s) {
			return len(s), true, false
		}
		wrong = wrong && !bytes.HasPrefix(s, b)
	}
	return 0, false, wrong
}

// cut returns the size of the frame that b begins with, of most bytes at most, or 0 if there
// is not all of it yet. seen bytes of b were looked at before. wrong is what makes the rest
// of the stream unreadable.
func (f *framing) cut(b []byte, seen, most int) (n int, wrong string) {
	start, ok, outside := f.start(b)
	switch {
	case outside:
		return 0, "bytes outside of a frame"
	case !ok:
		return 0, ""
	case f.length.size > 0:
		return f.measure(b, most)
	}
	from := max(start, seen+1-len(f.end))
	if i := bytes.Index(b[from:max(from, min(len(b), most))], f.end); i >= 0 {
		return from + i + len(f.end), ""
	}
	if len(b) >= most {
		return 0, tooLong
	}
	return 0, ""
}

const (
	tooLong    = "frame longer than max_frame"
	insideHead = "length of a frame that ends inside its head"
)

// measure is cut for frames that have a length.
func (f *framing) measure(b []byte, most int) (n int, wrong string) {
	head := f.length.at + f.length.size
	if len(b) < head {
		return 0, ""
	}
	var field [4]byte
	copy(field[4-f.length.size:], b[f.length.at:head])
	if f.length.little {
		slices.Reverse(field[4-f.length.size:])
	}
	size := int64(binary.BigEndian.Uint32(field[:])) + int64(f.length.adds)
	switch {
	case size < int64(head+f.checksum.size()):
		return 0, insideHead
	case size > int64(most):
		return 0, tooLong
	case size > int64(len(b)):
		return 0, ""
	}
	return int(size), ""
}

// content is a frame without its checksum and end, its escapes undone: what commands are
// found in. wrong says that it is not what the sender meant.
func (f *framing) content(frame []byte) (content []byte, wrong string) {
	b := frame[:len(frame)-len(f.end)]
	if f.escape != nil {
		if b, wrong = f.unescape(b); wrong != "" {
			return b, wrong
		}
	}
	content, ok := f.checksum.take(b)
	if !ok {
		return content, wrongChecksum
	}
	return content, ""
}

const wrongChecksum = "checksum that is wrong"

// special reports whether a byte has to be escaped.
func (f *framing) special(c byte) bool {
	return c == f.escape[0] || c == f.starts[0][0] || c == f.end[0]
}

// unescape undoes escapes behind the start byte, and refuses what may be read in two ways.
func (f *framing) unescape(b []byte) (content []byte, wrong string) {
	to := append(make([]byte, 0, len(b)), b[0])
	for i := 1; i < len(b); i++ {
		c := b[i]
		if c == f.escape[0] {
			if i++; i == len(b) || !f.special(b[i]^escapeXOR) {
				return to, "escape of a byte that needs none"
			}
			c = b[i] ^ escapeXOR
		} else if f.special(c) {
			return to, "start of a frame inside a frame"
		}
		to = append(to, c)
	}
	return to, ""
}

// wrap makes a frame of content, which it may change.
func (f *framing) wrap(content []byte) []byte {
	if l := f.length; l.size > 0 && len(content) >= l.at+l.size {
		var field [4]byte
		binary.BigEndian.PutUint32(field[:], uint32(len(content)+f.checksum.size()-l.adds))
		if l.little {
			slices.Reverse(field[4-l.size:])
		}
		copy(content[l.at:], field[4-l.size:])
	}
	content = f.checksum.of(content, content)
	if f.escape != nil {
		b := content[:1:1]
		for _, c := range content[1:] {
			if f.special(c) {
				b = append(b, f.escape[0])
				c ^= escapeXOR
			}
			b = append(b, c)
		}
		content = b
	}
	return append(content, f.end...)
}
