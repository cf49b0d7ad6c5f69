package poct1a

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// The subset of XML 1.0 (fifth edition) that is read: elements, attributes and text. Names
// are ASCII and have no namespace.

const (
	maxName       = 64 // bytes of a name
	maxAttributes = 16 // of an element
)

// tag is a start tag, or an empty element's. It points into the bytes it was read from.
type tag struct {
	name       []byte
	attributes [maxAttributes]attribute
	count      int
	empty      bool // it ends with "/>"
	greater    bool // ">" stands in a value
}

type attribute struct{ name, value []byte }

// value returns an attribute's, as it is written.
func (t *tag) value(name string) (value []byte, found bool) {
	for i := range t.attributes[:t.count] {
		if a := &t.attributes[i]; string(a.name) == name {
			return a.value, true
		}
	}
	return nil, false
}

// hidesValue reports whether a search for the value, V=", finds another attribute first.
func (t *tag) hidesValue() bool {
	for i := range t.attributes[:t.count] {
		name := t.attributes[i].name
		if string(name) == "V" {
			return false
		}
		if fold(name[len(name)-1]) == 'v' {
			return true
		}
	}
	return false
}

// read reads from "<" to ">".
func (t *tag) read(token []byte) (wrong string) {
	inner := token[1 : len(token)-1]
	inner, t.empty = bytes.CutSuffix(inner, []byte("/"))
	n := nameLength(inner, false)
	if n == 0 || n > maxName {
		return "tag without a name that is read"
	}
	t.name = inner[:n]
	return t.readAttributes(inner[n:])
}

// readAttributes reads what stands behind the name: space before each, no name twice.
func (t *tag) readAttributes(b []byte) (wrong string) {
	for {
		spaced := len(b) > 0 && isSpace(b[0])
		b = bytes.TrimLeft(b, " \t\r\n")
		if len(b) == 0 {
			return ""
		}
		n := nameLength(b, true)
		if n == 0 || n > maxName || !spaced {
			return "attribute without a name that is read"
		}
		name := b[:n]
		if _, twice := t.value(string(name)); twice {
			return "attribute twice"
		}
		rest, equals := bytes.CutPrefix(bytes.TrimLeft(b[n:], " \t\r\n"), []byte("="))
		rest = bytes.TrimLeft(rest, " \t\r\n")
		if !equals || len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
			return "attribute without a value"
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return "attribute without a value"
		}
		value := rest[1 : 1+end]
		if bytes.IndexByte(value, '<') >= 0 {
			return `"<" in a value`
		}
		if wrong := references(value); wrong != "" {
			return wrong
		}
		if t.count == maxAttributes {
			return "element with more than 16 attributes"
		}
		t.greater = t.greater || bytes.IndexByte(value, '>') >= 0
		t.attributes[t.count] = attribute{name, value}
		t.count++
		b = rest[1+end+1:]
	}
}

// nameLength returns the length of the name that b begins with. Only an attribute's may have
// a colon: that of xmlns:xsi changes nothing about an element.
func nameLength(b []byte, colon bool) int {
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '-' || c == ':' && colon):
		default:
			return i
		}
	}
	return len(b)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// entities are the references every parser knows without a document type.
var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&")

// references checks that each "&" begins one of entities, or the number of a character.
func references(b []byte) (wrong string) {
	for {
		i := bytes.IndexByte(b, '&')
		if i < 0 {
			return ""
		}
		b = b[i+1:]
		name := b[:max(0, bytes.IndexByte(b[:min(len(b), 10)], ';'))]
		switch string(name) {
		case "lt", "gt", "quot", "apos", "amp":
			continue
		}
		number, isNumber := bytes.CutPrefix(name, []byte("#"))
		digits := "0123456789"
		if hex, isHex := bytes.CutPrefix(number, []byte("x")); isHex {
			number, digits = hex, "0123456789abcdefABCDEF"
		}
		if !isNumber || len(number) == 0 || len(bytes.Trim(number, digits)) > 0 {
			return "entity that is not XML's own"
		}
	}
}

// charset is how a document's bytes stand for characters.
type charset uint8

const (
	utf8Set charset = iota // what is not declared
	asciiSet
	latin1Set
)

func charsetOf(encoding string) (c charset, ok bool) {
	switch strings.ToUpper(encoding) {
	case "UTF-8":
		return utf8Set, true
	case "US-ASCII", "ASCII":
		return asciiSet, true
	case "ISO-8859-1":
		return latin1Set, true
	}
	return 0, false
}

// check finds what no document may have (XML 2.2).
func (c charset) check(b []byte) (wrong string) {
	high := false
	for _, x := range b {
		if x < ' ' && !isSpace(x) {
			return "control character in a document"
		}
		high = high || x >= utf8.RuneSelf
	}
	if high && (c == asciiSet || c == utf8Set && !utf8.Valid(b)) {
		return "bytes that are none of the document's encoding"
	}
	return ""
}

// text returns the characters of b.
func (c charset) text(b []byte) string {
	v := string(b)
	if c == latin1Set {
		runes := make([]rune, len(b))
		for i, x := range b {
			runes[i] = rune(x)
		}
		v = string(runes)
	}
	if strings.IndexByte(v, '&') < 0 {
		return v
	}
	return entities.Replace(v)
}
