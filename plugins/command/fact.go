package command

import (
	"bytes"
	"errors"
)

// fact is where an attribute stands in a command.
type fact struct {
	name      string
	at        int    // first byte, from 0
	length    int    // bytes; 0: to the end
	field     int    // from 1; 0: at counts
	separator []byte // of fields
	number    bool
	decimals  int // behind the point, of a number
	optional  bool
}

const longestFact = 200 // bytes

var (
	errMissing    = errors.New("is missing")
	errUnreadable = errors.New("is not printable text of up to 200 bytes")
	errBlanks     = errors.New("is behind two blanks, which some devices take for one")
	errNumber     = errors.New("is not a number of the form described")
)

// value reads an attribute: a string, an int64, or nil if it is not there and need not be.
func (f *fact) value(content []byte) (any, error) {
	b, ok, twice := f.find(content)
	b = bytes.Trim(b, " ")
	switch {
	case twice:
		return nil, errBlanks
	case len(b) == 0 && f.optional:
		return nil, nil
	case !ok || len(b) == 0:
		return nil, errMissing
	case f.number:
		n, ok := parseNumber(b, f.decimals)
		if !ok {
			return nil, errNumber
		}
		return n, nil
	case len(b) > longestFact || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, errUnreadable
	}
	return string(b), nil
}

// find returns the bytes of an attribute. With twice, which field is meant depends on whether
// one blank separates them or any number do.
func (f *fact) find(content []byte) (b []byte, ok, twice bool) {
	if f.field == 0 {
		if f.at+f.length > len(content) {
			return nil, false, false
		}
		if content = content[f.at:]; f.length > 0 {
			content = content[:f.length]
		}
		return content, true, false
	}
	blank := len(bytes.Trim(f.separator, " ")) == 0
	if blank {
		content = bytes.TrimRight(content, " ")
	}
	for n := 1; ; n++ {
		field, rest, more := bytes.Cut(content, f.separator)
		switch {
		case blank && more && len(field) == 0:
			return nil, false, true
		case n == f.field:
			return field, true, false
		case !more:
			return nil, false, false
		}
		content = rest
	}
}

// parseNumber reads a decimal number in units of its last place: 12.5 with one decimal is
// 125. It has a sign or none, and 15 digits at most.
func parseNumber(b []byte, decimals int) (n int64, ok bool) {
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	whole, fraction, point := bytes.Cut(b, []byte("."))
	if len(whole) == 0 || point && len(fraction) == 0 || len(fraction) > decimals || len(whole)+decimals > 15 {
		return 0, false
	}
	for i := range len(whole) + decimals {
		c := byte('0')
		if i < len(whole) {
			c = whole[i]
		} else if i -= len(whole); i < len(fraction) {
			c = fraction[i]
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
