package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
)

// Transfer syntaxes whose data sets are not explicit VR little endian (PS3.5 annex A, PS3.6
// annex A).
const (
	implicitLittle   = "1.2.840.10008.1.2"
	implicitGE       = "1.2.840.113619.5.2" // private: its pixel data alone is big endian
	explicitBig      = "1.2.840.10008.1.2.2"
	deflated         = "1.2.840.10008.1.2.1.99"
	deflatedJPIP     = "1.2.840.10008.1.2.4.95"
	deflatedJPIPHTJ2 = "1.2.840.10008.1.2.4.205"
)

// Tags that end things or begin them.
const (
	tagSeries   = 0x0020000e // the last that matters of what is stored
	tagItem     = 0xfffee000
	tagItemEnd  = 0xfffee00d
	tagSequence = 0xfffee0dd // delimitation
	undefined   = 0xffffffff
)

const (
	maxDepth  = 16
	headPiece = 1 << 10 // bytes read at a time
	firstTry  = 1 << 10 // deflated bytes after which inflating begins
)

// progress is how far a head has been understood.
type progress uint8

const (
	more       progress = iota // bytes are needed
	known                      // everything wanted is there
	cut                        // it is longer than the limit
	unreadable                 // it is no data set of its transfer syntax
	wrong                      // it can be read in two ways, or names what is no name
)

// head reads the beginning of a data set as it arrives, or all of it where everything is
// wanted.
type head struct {
	whole    bool // what is behind the series is wanted, too
	query    bool // its keys are wanted
	explicit bool
	order    binary.ByteOrder
	deflated bool
	limit    int

	raw   []byte // deflated bytes
	try   int    // length of raw at which they are inflated again
	buf   []byte // the data set
	pos   int    // of the next element in buf
	stack []level
	state progress
	why   string // it is wrong or unreadable
	found
}

// level is a data set, a sequence or an item that the next element is in.
type level struct {
	end      int // in buf; -1: it is delimited
	sequence uint32
	items    bool // it is a sequence: items follow
	implicit bool
	last     uint32 // tag of the element before
}

func newHead(transfer string, c *command, limit int) *head {
	h := &head{whole: c.readsAll(), query: c.isQuery(), explicit: true, order: binary.LittleEndian, limit: limit, try: firstTry}
	switch transfer {
	case implicitLittle, implicitGE:
		h.explicit = false
	case explicitBig:
		h.order = binary.BigEndian
	case deflated, deflatedJPIP, deflatedJPIPHTJ2:
		h.deflated = true
	}
	h.begin()
	if transfer == "" {
		h.stuck("data set of no transfer syntax")
	}
	return h
}

// begin starts from the first byte of buf.
func (h *head) begin() {
	h.pos, h.state, h.found = 0, more, found{}
	h.stack = append(h.stack[:0], level{end: -1, implicit: !h.explicit})
}

// feed reads on, and reports whether there is nothing more to be read. What it makes of
// the data set does not depend on how many bytes it is given at a time.
func (h *head) feed(b []byte) bool {
	for len(b) > 0 && h.state == more {
		if h.deflated {
			n := min(len(b), h.try-len(h.raw))
			h.raw, b = append(h.raw, b[:n]...), b[n:]
			if len(h.raw) == h.try {
				h.inflate(false)
				h.try *= 2
			}
			continue
		}
		n := min(len(b), headPiece, h.limit-len(h.buf))
		h.buf, b = append(h.buf, b[:n]...), b[n:]
		h.parse()
	}
	return h.state != more
}

// finish reads what there is as all there is.
func (h *head) finish() {
	if h.state == more && h.deflated {
		h.inflate(true)
	}
	if h.state == more {
		if len(h.stack) > 1 || h.pos != len(h.buf) {
			h.stuck("data set that ends in the middle of an element")
			return
		}
		h.state = known
	}
}

// inflate reads all deflated bytes again. They are twice as many each time, so that the
// work stays in proportion.
func (h *head) inflate(all bool) {
	in := bytes.NewReader(h.raw)
	out := bytes.NewBuffer(h.buf[:0])
	_, err := io.Copy(out, io.LimitReader(flate.NewReader(in), int64(h.limit)))
	h.buf = out.Bytes()
	h.begin()
	h.parse()
	switch {
	case h.state != more:
	case err != nil && (all || !errors.Is(err, io.ErrUnexpectedEOF)):
		h.stuck("deflated data set that cannot be inflated")
	case all && in.Len() > 1: // one NUL may make the length even
		h.stuck("bytes behind a deflated data set")
	case len(h.raw) >= h.limit:
		h.state = cut
	}
}

func (h *head) fail(why string) { h.state, h.why = wrong, why }

// stuck gives a head up that cannot be read.
func (h *head) stuck(why string) { h.state, h.why = unreadable, why }

// parse reads the elements that are in buf.
func (h *head) parse() {
	for h.state == more {
		l := &h.stack[len(h.stack)-1]
		if l.end >= 0 && h.pos == l.end {
			h.stack = h.stack[:len(h.stack)-1]
			continue
		}
		if l.end >= 0 && h.pos > l.end {
			h.stuck("data set with items that do not fit")
			break
		}
		if !h.next(l) {
			break
		}
	}
	if h.state == more && len(h.buf) >= h.limit {
		h.state = cut
	}
}

// next reads one element, or the beginning or end of an item, and reports whether it is all
// there. It goes into sequences where they are wanted or their length is not defined.
func (h *head) next(l *level) bool {
	b := h.buf[h.pos:]
	if l.end >= 0 {
		b = h.buf[h.pos:min(l.end, len(h.buf))]
	}
	if len(b) < 8 {
		return h.short(l, 8)
	}
	order := h.order
	tag := uint32(order.Uint16(b))<<16 | uint32(order.Uint16(b[2:]))
	if l.items || tag>>16 == 0xfffe {
		h.delimiter(l, tag, order.Uint32(b[4:]))
		return true
	}
	if tag <= l.last {
		h.fail("data set with elements out of order or twice")
		return true
	}
	if tag>>16 < 8 || tag>>16 == 0xffff {
		h.fail("data set with elements that belong elsewhere")
		return true
	}
	if len(h.stack) == 1 && !h.whole && tag > tagSeries {
		h.state = known
		return true
	}
	size, length, vr := 8, order.Uint32(b[4:]), ""
	if !l.implicit {
		vr = string(b[4:6])
		switch vr {
		case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
			if len(b) < 12 {
				return h.short(l, 12)
			}
			size, length = 12, order.Uint32(b[8:])
		case "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US":
			length = uint32(order.Uint16(b[6:]))
		default:
			h.stuck("data set with an unknown value representation")
			return true
		}
	}
	from := h.pos + size
	if length == undefined {
		h.sequence(l, tag, vr, from, -1)
		return true
	}
	end := int64(from) + int64(length)
	switch {
	case l.end >= 0 && end > int64(l.end):
		h.stuck("data set with an element longer than what it is in")
		return true
	case end > int64(h.limit):
		h.state = cut
		return true
	}
	if h.whole && length >= 8 && h.isSequence(l, tag, vr, from) {
		h.sequence(l, tag, vr, from, int(end))
		return true
	}
	if int(end) > len(h.buf) {
		return false
	}
	if length%2 != 0 {
		h.quirks |= oddLength
	}
	l.last = tag
	h.pos = int(end)
	h.element(l, tag, vr, h.buf[from:end])
	return true
}

// short asks for n bytes, if what they are in is as long as that.
func (h *head) short(l *level, n int) bool {
	if l.end >= 0 && h.pos+n > l.end {
		h.stuck("data set with an element longer than what it is in")
		return true
	}
	return false
}

// isSequence reports whether an element of defined length is a sequence. In implicit VR it
// is one if an item begins in it.
func (h *head) isSequence(l *level, tag uint32, vr string, from int) bool {
	if !l.implicit {
		return vr == "SQ"
	}
	return len(h.buf) >= from+4 && h.order.Uint16(h.buf[from:]) == tagItem>>16 && h.order.Uint16(h.buf[from+2:]) == tagItem&0xffff
}

func (h *head) sequence(l *level, tag uint32, vr string, from, end int) {
	implicit := l.implicit
	switch vr {
	case "", "SQ":
	case "UN": // of undefined length: PS3.5 6.2.2, note 2
		implicit = true
		if h.order == binary.BigEndian {
			h.stuck("unknown sequence in a big endian data set")
			return
		}
	default:
		h.stuck("element of undefined length that is no sequence")
		return
	}
	l.last = tag
	h.push(level{end: end, sequence: tag, items: true, implicit: implicit}, from)
}

func (h *head) push(l level, pos int) {
	if len(h.stack) > maxDepth {
		h.fail("data set with too many sequences inside each other")
		return
	}
	h.stack = append(h.stack, l)
	h.pos = pos
}

// delimiter reads the beginning or end of an item, or the end of a sequence.
func (h *head) delimiter(l *level, tag, length uint32) {
	from := h.pos + 8
	switch {
	case l.items && tag == tagItem:
		item := level{end: -1, sequence: l.sequence, implicit: l.implicit}
		if length != undefined {
			if end := int64(from) + int64(length); end > int64(h.limit) {
				h.state = cut
				return
			} else if l.end >= 0 && end > int64(l.end) {
				break
			} else {
				item.end = int(end)
			}
		}
		h.push(item, from)
		return
	case l.items && l.end < 0 && tag == tagSequence && length == 0,
		!l.items && l.end < 0 && len(h.stack) > 1 && tag == tagItemEnd && length == 0:
		h.stack = h.stack[:len(h.stack)-1]
		h.pos = from
		return
	}
	h.stuck("data set with items that do not fit")
}
