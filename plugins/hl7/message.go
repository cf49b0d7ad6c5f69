package hl7

import "bytes"

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
	raw    []byte // the segment, without its end
	fields [22][]byte
	delimiters
	odd bool // encoding characters are not usable: delimiters.field only is the message's
}

// parseHeader reads an MSH segment up to its end. ok is false if not even its first
// delimiter is to be found.
func parseHeader(raw []byte) (h header, ok bool) {
	if len(raw) < 5 || string(raw[:3]) != "MSH" || !punctuation(raw[3]) {
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
func (h *header) encodingCharacters(b []byte) bool {
	if len(b) < 2 || len(b) > 5 {
		return false
	}
	for i, c := range b {
		if !punctuation(c) || c == h.field || bytes.IndexByte(b[:i], c) >= 0 {
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
	m := string(h.fields[2])
	return h.field == '|' && (m == `^~\&` || m == `^~\&#`)
}

// component returns the n-th component, from 1, of field f.
func (h *header) componentOf(f, n int) []byte { return component(h.fields[f], h.component, n) }

// split puts the parts of b between separators into parts and returns their number. What
// does not fit is ignored.
func split(b []byte, sep byte, parts [][]byte) int {
	for n := range parts {
		i := bytes.IndexByte(b, sep)
		if i < 0 {
			parts[n] = b
			return n + 1
		}
		parts[n], b = b[:i], b[i+1:]
	}
	return len(parts)
}

// component returns the n-th part, from 1, of b, or nil.
func component(b []byte, sep byte, n int) []byte {
	for ; n > 1; n-- {
		i := bytes.IndexByte(b, sep)
		if i < 0 {
			return nil
		}
		b = b[i+1:]
	}
	if i := bytes.IndexByte(b, sep); i >= 0 {
		b = b[:i]
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

// trim cuts blanks off both ends.
func trim(b []byte) []byte { return bytes.Trim(b, " \t") }
