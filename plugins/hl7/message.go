package hl7

import (
	"bytes"
	"strings"
)

// delimiters are MSH-1 and the characters of MSH-2; 0 is one not declared, which no
// message contains.
type delimiters struct {
	field, component, repetition, escape, sub byte
}

var standard = delimiters{'|', '^', '~', '\\', '&'}

// punctuation reports whether c can be a delimiter: a printable ASCII character that is
// neither letter, digit nor blank.
func punctuation(c byte) bool {
	return c > ' ' && c < 0x7F && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
}

// header is a message's MSH segment.
type header struct {
	raw    string // the segment, without its end
	fields [22]string
	delimiters
	odd bool // encoding characters are not usable: delimiters.field only is the message's
}

// parseHeader reads an MSH segment up to its end. ok is false if not even its first
// delimiter is to be found.
func parseHeader(raw string) (h header, ok bool) {
	if len(raw) < 5 || raw[:3] != "MSH" || !punctuation(raw[3]) {
		return h, false
	}
	h.raw = raw
	h.field = raw[3]
	split(raw[4:], h.field, h.fields[2:])
	h.fields[1] = raw[3:4]
	h.odd = !h.encodingCharacters(h.fields[2])
	if h.odd {
		h.delimiters = standard
		h.field = raw[3]
	}
	return h, true
}

// encodingCharacters takes MSH-2: component, repetition, escape and subcomponent, and from
// version 2.7 on a truncation character. The last ones may be missing.
func (h *header) encodingCharacters(b string) bool {
	if len(b) < 2 || len(b) > 5 {
		return false
	}
	for i := range len(b) {
		if c := b[i]; !punctuation(c) || c == h.field || strings.IndexByte(b[:i], c) >= 0 {
			return false
		}
	}
	var all [5]byte
	copy(all[:], b)
	h.component, h.repetition, h.escape, h.sub = all[0], all[1], all[2], all[3]
	return true
}

// plain reports whether the encoding characters are the recommended ones.
func (h *header) plain() bool {
	m := h.fields[2]
	return h.field == '|' && (m == `^~\&` || m == `^~\&#`)
}

// component returns the n-th component, from 1, of field f.
func (h *header) componentOf(f, n int) string { return component(h.fields[f], h.component, n) }

// chars is a piece of a message.
type chars interface{ string | []byte }

// split puts the parts of b between separators into parts, and ignores what does not fit.
// Fields are short: a plain loop is faster than a search for each.
func split[T chars](b T, sep byte, parts []T) {
	from, n := 0, 0
	for i := range len(b) {
		if b[i] != sep {
			continue
		}
		parts[n] = b[from:i]
		from = i + 1
		if n++; n == len(parts) {
			return
		}
	}
	parts[n] = b[from:]
}

// component returns the n-th part, from 1, of b; it is empty if there is none.
func component[T chars](b T, sep byte, n int) T {
	from := 0
	for i := range len(b) {
		if b[i] != sep {
			continue
		}
		if n--; n == 0 {
			return b[from:i]
		}
		from = i + 1
	}
	if n > 1 {
		return b[:0]
	}
	return b[from:]
}

// trim cuts blanks off both ends.
func trim[T chars](b T) T {
	for len(b) > 0 && (b[0] == ' ' || b[0] == tab) {
		b = b[1:]
	}
	for n := len(b) - 1; n >= 0 && (b[n] == ' ' || b[n] == tab); n-- {
		b = b[:n]
	}
	return b
}

// line cuts the first line off b, whose end the message's text check has made out.
func (e lineEnd) line(b []byte) (line, rest []byte, ended bool) {
	if e == endLF {
		line, rest, ended = cutByte(b, lf)
		if !ended {
			line = bytes.TrimSuffix(line, []byte{cr})
		}
		return line, rest, ended
	}
	line, rest, ended = cutByte(b, cr)
	if e == endCRLF && len(rest) > 0 && rest[0] == lf {
		rest = rest[1:]
	}
	return line, rest, ended
}

// firstLine returns what stands before the first line end of b. ended is false if there is
// none.
func firstLine(b []byte) (line []byte, ended bool) {
	i := indexControl(b)
	for i >= 0 && b[i] != cr && b[i] != lf {
		j := indexControl(b[i+1:])
		if j < 0 {
			return b, false
		}
		i += 1 + j
	}
	if i < 0 {
		return b, false
	}
	return b[:i], true
}

// unescape replaces the escape sequences that stand for delimiters: \F\ \S\ \T\ \R\ \E\.
// Others stay as they are. b is not changed.
func (d delimiters) unescape(b []byte) []byte {
	if d.escape == 0 || bytes.IndexByte(b, d.escape) < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == d.escape && i+2 < len(b) && b[i+2] == d.escape {
			if c := d.named(b[i+1]); c != 0 {
				out = append(out, c)
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

func (d delimiters) named(c byte) byte {
	switch c {
	case 'F':
		return d.field
	case 'S':
		return d.component
	case 'T':
		return d.sub
	case 'R':
		return d.repetition
	case 'E':
		return d.escape
	}
	return 0
}
