package dicom

import (
	"strings"
	"unicode/utf8"
)

// encoding is how the text of a data set is read. Nothing is converted but Latin 1; what
// cannot be read is told byte by byte.
type encoding uint8

const (
	asciiSet encoding = iota // the default repertoire, and every set that is not converted
	utf8Set
	latin1
)

// encodingOf reads a value of Specific Character Set (0008,0005).
func encodingOf(value []byte) encoding {
	switch strings.Trim(string(value), " \x00") {
	case "ISO_IR 192":
		return utf8Set
	case "ISO_IR 100", "ISO 2022 IR 100":
		return latin1
	}
	return asciiSet
}

// escape returns the text of a value. A backslash, a control character and every byte that
// is not of the set is written \xNN; odd reports whether there were others than backslashes.
func escape(b []byte, set encoding) (text string, odd bool) {
	plain := true
	for _, c := range b {
		plain = plain && c >= ' ' && c <= '~' && c != '\\'
	}
	if plain {
		return string(b), false
	}
	var w strings.Builder
	for len(b) > 0 {
		r, n := rune(b[0]), 1
		switch {
		case r >= utf8.RuneSelf && set == utf8Set:
			r, n = utf8.DecodeRune(b)
		case r >= utf8.RuneSelf && set == asciiSet:
			r = utf8.RuneError
		}
		if r < ' ' || r == '\\' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			odd = odd || r != '\\'
			const hex = "0123456789ABCDEF"
			for _, c := range b[:n] {
				w.WriteString(`\x`)
				w.WriteByte(hex[c>>4])
				w.WriteByte(hex[c&15])
			}
		} else {
			w.WriteRune(r)
		}
		b = b[n:]
	}
	return w.String(), odd
}
