package hl7

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// encoding is how the characters of a message are bytes, as far as finding delimiters
// needs it. In some of them the second byte of a character can be a delimiter's.
type encoding uint8

const (
	undeclared encoding = iota // MSH-18 is blank: UTF-8 if it is that, else ISO 8859-1
	ascii
	latin1
	utf8Set
	highSet  // bytes of characters beyond ASCII are all above 7F: 8859/n, EUC
	shiftJIS // second byte 40–7E or 80–FC
	gb18030  // second byte 40–7E or 80–FE, or 30–39 of four; GBK is part of it
	big5     // second byte 40–7E or A1–FE
	iso2022  // ASCII until an escape sequence
	wideSet  // UTF-16 and UTF-32, which no byte protocol can carry
	unknownSet
)

// encodingOf reads one repetition of MSH-18: a name of HL7 table 0211, or one in use.
func encodingOf(name string) encoding {
	var key [24]byte
	n := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			continue
		}
		if n == len(key) {
			return unknownSet
		}
		key[n] = c
		n++
	}
	switch s := string(key[:n]); s {
	case "":
		return undeclared
	case "ASCII", "USASCII", "ISOIR6", "ISOIR006":
		return ascii
	case "88591", "ISO88591", "LATIN1", "ISOIR100":
		return latin1
	case "UNICODE", "UNICODEUTF8", "UTF8":
		return utf8Set
	case "EUCJP", "EUCKR", "KSX1001", "CNS116431992", "EUCTW":
		return highSet
	case "SHIFTJIS", "SJIS", "MS932", "CP932", "WINDOWS31J":
		return shiftJIS
	case "GB180302000", "GB18030", "GBK", "GB2312", "CP936":
		return gb18030
	case "BIG5", "CP950":
		return big5
	case "ISOIR14", "ISOIR87", "ISOIR159", "ISO2022JP", "ISO2022KR":
		return iso2022
	case "UNICODEUTF16", "UTF16", "UNICODEUTF32", "UTF32":
		return wideSet
	default:
		number, ok := strings.CutPrefix(strings.TrimPrefix(s, "ISO"), "8859")
		if ok && len(number) > 0 && len(number) <= 2 && strings.Trim(number, "0123456789") == "" {
			return highSet
		}
		return unknownSet
	}
}

// charset is what MSH-18 declares: its first repetition is the default, further ones are
// reached by ISO 2022 escape sequences.
type charset struct {
	text    encoding
	escapes bool
}

func charsetOf(msh18 string, repetition byte) charset {
	var c charset
	for i := 0; ; i++ {
		one, rest, more := strings.Cut(msh18, string(rune(repetition)))
		e := encodingOf(one)
		if i == 0 {
			c.text = e
		}
		c.escapes = c.escapes || e == iso2022
		if e == wideSet {
			c.text = wideSet
		}
		if !more {
			return c
		}
		msh18 = rest
	}
}

// hides reports whether a byte of a character can look like a delimiter, without escapes.
func (e encoding) hides() bool { return e == shiftJIS || e == gb18030 || e == big5 }

// hidden stands for a byte of a multi-byte character in masked text. It is no delimiter,
// and no text that contains it is given as a fact.
const hidden = 0xFF

// mask returns b with every byte of a multi-byte character hidden, so that each delimiter
// left in it is a character. ok is false if the bytes are not text of that encoding; whole
// is false if b may end inside a character. Text that needs no masking is returned as it is.
func (e encoding) mask(b []byte, whole bool) (masked []byte, ok bool) {
	var width func([]byte) int
	switch e {
	case shiftJIS:
		width = widthShiftJIS
	case gb18030:
		width = widthGB18030
	case big5:
		width = widthBig5
	default:
		return b, true
	}
	masked = bytes.Clone(b)
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			i++
			continue
		}
		n := width(b[i:])
		if n == 0 && !whole && len(b)-i < 4 {
			n = len(b) - i
		}
		if n == 0 {
			return nil, false
		}
		for j := range n {
			masked[i+j] = hidden
		}
		i += n
	}
	return masked, true
}

// The width functions return the bytes of the character that b begins with, or 0.

func widthShiftJIS(b []byte) int {
	switch c := b[0]; {
	case c >= 0xA1 && c <= 0xDF: // half-width katakana
		return 1
	case (c >= 0x81 && c <= 0x9F || c >= 0xE0 && c <= 0xFC) && len(b) > 1 && b[1] >= 0x40 && b[1] <= 0xFC && b[1] != 0x7F:
		return 2
	}
	return 0
}

func widthGB18030(b []byte) int {
	switch {
	case b[0] == 0x80 || b[0] == 0xFF || len(b) < 2:
		return 0
	case b[1] >= 0x40 && b[1] <= 0xFE && b[1] != 0x7F:
		return 2
	case len(b) > 3 && b[1] >= 0x30 && b[1] <= 0x39 && b[2] >= 0x81 && b[2] <= 0xFE && b[3] >= 0x30 && b[3] <= 0x39:
		return 4
	}
	return 0
}

func widthBig5(b []byte) int {
	if b[0] >= 0x81 && b[0] <= 0xFE && len(b) > 1 && (b[1] >= 0x40 && b[1] <= 0x7E || b[1] >= 0xA1 && b[1] <= 0xFE) {
		return 2
	}
	return 0
}

// shift follows ISO 2022 escape sequences through a message, in pieces of any size.
type shift struct {
	seq  byte // bytes of an escape sequence so far; 0 outside of one
	wide bool // characters of two bytes follow
	set  bool // the sequence being read selects such
	half bool // the first byte of two has been read
}

// follow reads b and hides in dst, a copy of b or nil, what is not ASCII. It returns the
// number of bytes that were right: text of two bytes must have returned to ASCII before a
// segment's end, for there a parser that knows the escapes and one that does not would
// part for good.
func (s *shift) follow(dst, b []byte) int {
	for i, c := range b {
		plain := false
		switch {
		case s.seq > 0:
			switch {
			case c == '$' && s.seq == 1:
				s.set = true
				s.seq++
			case c >= 0x20 && c <= 0x2F && s.seq < 4:
				s.seq++
			case c >= 0x30 && c <= 0x7E && s.seq > 1:
				s.seq, s.wide, s.half = 0, s.set, false
			default:
				return i
			}
		case c == esc && !s.half:
			s.seq, s.set = 1, false
		case s.wide && c >= 0x21 && c <= 0x7E:
			s.half = !s.half
		case s.wide:
			return i
		default:
			plain = true
		}
		if dst != nil && !plain {
			dst[i] = hidden
		}
	}
	return len(b)
}

// open reports whether b's end is not plain text.
func (s *shift) open() bool { return s.seq > 0 || s.wide }

// toUTF8 returns the text of a value, or false if this plugin cannot convert it.
func (e encoding) toUTF8(b []byte) (string, bool) {
	if !hasHigh(b) {
		return string(b), true
	}
	switch e {
	case undeclared, utf8Set:
		if utf8.Valid(b) {
			return string(b), true
		}
		if e == utf8Set {
			return "", false
		}
		fallthrough
	case latin1:
		r := make([]rune, len(b))
		for i, c := range b {
			r[i] = rune(c)
		}
		return string(r), true
	}
	return "", false
}

// hasHigh reports whether a byte of b is beyond ASCII.
func hasHigh(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func cutByte(b []byte, sep byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}
