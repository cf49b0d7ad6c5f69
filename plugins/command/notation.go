package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bytes are written in settings as they are in manuals: printable ASCII stands for itself,
// any other byte for its ASCII name or its value, <CR> or <0x0D>; "<" is <0x3C>. There is no
// backslash in it, which YAML and JSON would each read in their own way.

// names are those of ASCII's control characters (ANSI X3.4), by value.
var names = [...]string{
	"NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
	"DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US", "SP",
}

// parseBytes reads the notation.
func parseBytes(text string) ([]byte, error) {
	b := []byte{}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c < ' ' || c > '~':
			return nil, fmt.Errorf("%.40q: byte %d is not printable ASCII: write it as <CR> or <0x0D>", text, i+1)
		case c != '<':
			b = append(b, c)
			continue
		}
		name, _, closed := strings.Cut(text[i+1:], ">")
		if !closed {
			return nil, fmt.Errorf("%.40q: no > follows the <: write the character itself as <0x3C>", text)
		}
		v, ok := parseByte(name)
		if !ok {
			return nil, fmt.Errorf("%.40q: no byte is called <%.8s>: write its ASCII name or its value, <CR> or <0x0D>", text, name)
		}
		b = append(b, v)
		i += len(name) + 1
	}
	return b, nil
}

func parseByte(name string) (byte, bool) {
	if i := slices.Index(names[:], name); i >= 0 {
		return byte(i), true
	}
	if name == "DEL" {
		return 0x7f, true
	}
	digits, ok := strings.CutPrefix(name, "0x")
	v, err := strconv.ParseUint(digits, 16, 8)
	return byte(v), ok && err == nil && len(digits) == 2
}

// text reads the notation out of a setting: from low to high bytes.
func text(to *[]byte, low, high int) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var s string
		if json.Unmarshal(value, &s) != nil {
			return fmt.Errorf("%.40s is not text: put it in quotes", value)
		}
		b, err := parseBytes(s)
		if err != nil {
			return err
		}
		if len(b) < low || len(b) > high {
			return fmt.Errorf("%.40q is %d bytes, not %d to %d", s, len(b), low, high)
		}
		*to = b
		return nil
	}
}

// texts reads a text, or a list of up to 32, none of which begins like another: the first
// that fits is then the only one.
func texts(to *[][]byte, high int) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var list []json.RawMessage
		if json.Unmarshal(value, &list) != nil {
			list = []json.RawMessage{value}
		}
		if len(list) == 0 || len(list) > 32 {
			return errors.New("not 1 to 32 texts")
		}
		var all [][]byte
		for _, v := range list {
			var b []byte
			if err := text(&b, 1, high)(v); err != nil {
				return err
			}
			if begins(all, b) {
				return fmt.Errorf("%.40s: another one begins like it", v)
			}
			all = append(all, b)
		}
		*to = all
		return nil
	}
}

// begins reports whether b begins with one of list, or one of list with b.
func begins(list [][]byte, b []byte) bool {
	return slices.ContainsFunc(list, func(l []byte) bool {
		n := min(len(l), len(b))
		return string(l[:n]) == string(b[:n])
	})
}
