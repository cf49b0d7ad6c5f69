package hl7

import (
	"encoding/binary"
	"math/bits"
)

// The minimal lower layer protocol (HL7 Implementation Guide, appendix C; MLLP release 1):
//
//	<0B> message <1C> <0D>
const (
	startBlock = 0x0B
	endBlock   = 0x1C
	cr         = 0x0D
	lf         = 0x0A
	tab        = 0x09
	esc        = 0x1B
	commitAck  = 0x06 // MLLP release 2
	commitNak  = 0x15

	maxLead  = 64        // bytes tolerated before a start block: keep-alive line ends
	headSize = 128 << 10 // bytes of a message that are held until it is decided
)

// indexControl returns the index of the first byte below 0x20, or -1. It looks at eight
// bytes at a time: a byte below 0x20 borrows into its top bit when 0x20 is subtracted.
// Borrows run upwards only, so that the lowest mark is always right.
func indexControl(b []byte) int {
	const low, high = 0x2020202020202020, 0x8080808080808080
	i := 0
	for ; len(b)-i >= 32; i += 32 {
		p := b[i : i+32 : i+32]
		w0 := binary.LittleEndian.Uint64(p)
		w1 := binary.LittleEndian.Uint64(p[8:])
		w2 := binary.LittleEndian.Uint64(p[16:])
		w3 := binary.LittleEndian.Uint64(p[24:])
		if ((w0-low)&^w0|(w1-low)&^w1|(w2-low)&^w2|(w3-low)&^w3)&high != 0 {
			break
		}
	}
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if m := (w - low) &^ w & high; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] < 0x20 {
			return i
		}
	}
	return -1
}

// lineEnd is how a message ends its segments. The first one decides.
type lineEnd uint8

const (
	endUnknown lineEnd = iota
	endCR              // the standard's
	endCRLF
	endLF
)

// text checks the content of one frame, in pieces of any size, and remembers only what it
// needs from one to the next: a message may be a gigabyte.
type text struct {
	set     *settings
	field   byte // MSH-1
	lenient bool // a reply: only what would hide a second message is refused
	escapes bool // ESC may occur: the character set uses ISO 2022
	body    bool // behind the head: no segment may follow that the decision depends on

	ends     lineEnd
	segments int     // ended so far
	id       [4]byte // how the current segment begins
	n        int     // bytes of id
	afterCR  bool
	over     bool // a CR has ended a message whose segments end with LF
	data     bool // the line began behind an LF that is data
	odd      bool // a line that is no segment was tolerated
	blank    bool // an empty segment was tolerated
	escaped  bool // ESC occurs
}

// check reads b up to its end, an end block or the first thing wrong, and returns how many
// bytes were good, and what is wrong.
func (t *text) check(b []byte) (good int, wrong *fault) {
	for i := 0; i < len(b); {
		run := indexControl(b[i:])
		stop := i + run
		if run < 0 {
			stop = len(b)
		}
		if stop > i {
			if t.over {
				return i, mixedEnds
			}
			t.afterCR = false
			if t.n < len(t.id) {
				took := copy(t.id[t.n:], b[i:stop])
				if t.n += took; t.n == len(t.id) {
					if wrong := t.begin(); wrong != nil {
						return i + took - 1, wrong
					}
				}
			}
		}
		if run < 0 {
			return len(b), nil
		}
		if b[stop] == endBlock {
			return stop, t.last()
		}
		if wrong := t.control(b[stop]); wrong != nil {
			return stop, wrong
		}
		i = stop + 1
	}
	return len(b), nil
}

func (t *text) control(c byte) *fault {
	afterCR := t.afterCR
	t.afterCR = c == cr
	switch {
	case t.over:
		return mixedEnds
	case c == startBlock:
		return startInside
	case c == cr:
		switch t.ends {
		case endUnknown:
			t.ends = endCR
		case endLF:
			t.over = !t.lenient
		}
		return t.next(false)
	case c == lf && afterCR && (t.ends == endCRLF || t.segments == 1):
		t.ends = endCRLF
		return nil
	case c == lf && (t.ends == endUnknown || t.ends == endLF):
		t.ends = endLF
		return t.next(false)
	case c == lf && (t.set.lf || t.lenient):
		return t.next(!t.lenient)
	case c == tab && t.set.tab, c == esc && t.escapes, t.lenient:
		t.escaped = t.escaped || c == esc
		if t.n < len(t.id) { // part of the segment's beginning
			t.id[t.n] = c
			if t.n++; t.n == len(t.id) {
				return t.begin()
			}
		}
		return nil
	}
	return controlInside
}

// next ends the current line. It is data if the LF that ends it is not a segment's end.
func (t *text) next(data bool) *fault {
	var wrong *fault
	if t.n < len(t.id) {
		wrong = t.begin()
	}
	if !data {
		t.segments++
	}
	t.n, t.data = 0, data
	return wrong
}

// last checks the segment that an end block ends.
func (t *text) last() *fault {
	if t.n > 0 && t.n < len(t.id) {
		return t.begin()
	}
	return nil
}

// begin checks how the current line begins.
func (t *text) begin() *fault {
	name := t.id[:min(t.n, 3)]
	named := isName(name) && (t.n == 3 || t.id[3] == t.field)
	switch {
	case t.segments == 0 && !t.data || t.lenient && !named:
		return nil // the header, which its own parser has read
	case named && string(name) == "MSH":
		return secondHeader
	case named && isBatch(name) && !t.lenient:
		return batchInside
	case named && (t.body || t.data) && decisive(name):
		return decisiveLate
	case named || t.data:
		return nil
	case t.n == 0:
		t.blank = true
		return nil
	case !t.set.looseSegments:
		return noSegment
	case looksLikeHeader(t.id[:t.n]):
		return secondHeader
	}
	t.odd = true
	return nil
}

// isName reports whether b is a segment's name: PID, ZX1.
func isName(b []byte) bool {
	if len(b) != 3 || b[0] < 'A' || b[0] > 'Z' {
		return false
	}
	for _, c := range b[1:] {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func isBatch(name []byte) bool {
	switch string(name) {
	case "FHS", "BHS", "BTS", "FTS":
		return true
	}
	return false
}

// decisive reports whether facts are read from the segment that a decision may depend on.
func decisive(name []byte) bool {
	switch string(name) {
	case "PID", "MRG", "PV1", "ORC", "RXO", "RXE", "RXG", "MSA":
		return true
	}
	return false
}

// looksLikeHeader reports whether a lax parser, one that ignores case or leading blanks,
// could take a line for a header.
func looksLikeHeader(b []byte) bool {
	for len(b) > 0 && (b[0] == ' ' || b[0] == tab) {
		b = b[1:]
	}
	if len(b) == 0 {
		return false
	}
	return b[0]|0x20 == 'm' && (len(b) < 2 || b[1]|0x20 == 's')
}
