package poct1a

import "bytes"

// Bounds of a document besides the setting max_message. What the standard describes stays
// far below them.
const (
	maxLead  = 64 // bytes before a document
	maxDepth = 32 // elements inside each other
	maxTag   = 8 << 10
)

// Bytes that some put around documents.
const (
	nul = 0x00
	stx = 0x02
	etx = 0x03
)

// phase is where a document stands.
type phase uint8

const (
	lead   phase = iota // before its first "<"
	opened              // its declaration may follow
	prolog              // behind the declaration
	inside              // in the root element
)

// document is one XML document as it arrives. Its offsets are those of the bytes shown, of
// which the first stays the same until they are covered. Each byte is looked at once to
// find where its token ends, and once when the token is read.
type document struct {
	phase   phase
	at      int  // where the token begins that is being looked for
	seen    int  // up to where it has been looked at
	quote   byte // of the value that seen stands in
	stack   [maxDepth]element
	depth   int
	charset charset
	stx     bool // STX stands before it
	message message
}

// element is an open element; its name is b[from:to].
type element struct {
	from, to int
	content  content
}

// content is what may stand in an element.
type content uint8

const (
	anything     content = iota
	translations         // a value is read from it: no text, and no element but a code's translation
	nothing              // a value that decides is read from it
)

// read goes on where it stopped, and stops behind the document, at d.at, which done says.
// wrong is why b is no document that all parsers read in the same way.
func (d *document) read(b []byte, max int) (done bool, wrong string) {
	if d.phase == lead {
		if wrong := d.lead(b); wrong != "" || d.phase == lead {
			return false, wrong
		}
	}
	for d.at < len(b) {
		tag := b[d.at] == '<'
		end := -1
		if tag {
			end = d.tagEnd(b)
		} else if i := bytes.IndexByte(b[d.seen:], '<'); i >= 0 {
			end = d.seen + i
		}
		d.seen = end
		if end < 0 {
			d.seen = len(b)
		}
		switch {
		case tag && d.at+maxTag < max && d.seen > d.at+maxTag:
			return false, "tag longer than 8 KiB"
		case d.seen > max:
			return false, "document longer than the service's limit"
		case end < 0:
			return false, ""
		}
		if wrong := d.token(b, b[d.at:end]); wrong != "" {
			return false, wrong
		}
		d.at = end
		if d.phase == inside && d.depth == 0 {
			return true, ""
		}
	}
	return false, ""
}

// lead looks for the first "<".
func (d *document) lead(b []byte) (wrong string) {
	for ; d.seen < len(b); d.seen++ {
		switch c := b[d.seen]; {
		case d.seen == maxLead:
			return "too much between two documents"
		case c == '<':
			d.phase, d.at = opened, d.seen
			return ""
		case c == stx:
			d.stx = true
			d.message.quirks |= stxETX
		case c == 0xef:
			mark, rest := []byte("\ufeff<"), b[d.seen:]
			if !bytes.HasPrefix(rest, mark) {
				if bytes.HasPrefix(mark, rest) {
					return ""
				}
				return "bytes between two documents"
			}
			d.message.quirks |= byteOrderMark
			d.seen += len(mark) - 2
		case trails(c):
			d.message.quirks |= trailQuirk(c)
		default:
			return "bytes between two documents"
		}
	}
	return ""
}

// trails reports whether c may stand behind a document.
func trails(c byte) bool { return isSpace(c) || c == nul || c == etx }

func trailQuirk(c byte) anomaly {
	switch c {
	case nul:
		return nulBetween
	case etx:
		return stxETX
	}
	return 0
}

// tagEnd returns the offset behind the tag at d.at, or -1. A ">" in a value ends none.
func (d *document) tagEnd(b []byte) int {
	for i := d.seen; i < len(b); i++ {
		switch c := b[i]; {
		case d.quote != 0:
			if c == d.quote {
				d.quote = 0
			}
		case c == '"' || c == '\'':
			d.quote = c
		case c == '>':
			return i + 1
		}
	}
	return -1
}

// token reads a tag, or the text between two.
func (d *document) token(b, token []byte) (wrong string) {
	if wrong := d.charset.check(token); wrong != "" {
		return wrong
	}
	switch {
	case token[0] != '<':
		return d.text(token)
	case bytes.HasPrefix(token, []byte("<?")):
		return d.declaration(token)
	case bytes.HasPrefix(token, []byte("<!")):
		// A document type defines entities. In a comment or a CDATA section, who looks for
		// the text of the end tag finds another end than who parses.
		return "document type, comment or CDATA section"
	case bytes.HasPrefix(token, []byte("</")):
		return d.endTag(b, token)
	}
	return d.startTag(b, token)
}

func (d *document) text(token []byte) (wrong string) {
	switch {
	case len(bytes.Trim(token, " \t\r\n")) == 0:
		return ""
	case d.phase != inside:
		return "text outside of the root element"
	case bytes.Contains(token, []byte("]]>")):
		return "end of a CDATA section without its start"
	}
	if d.stack[d.depth-1].content != anything {
		d.message.fault(contentInField)
	}
	return references(token)
}

// declaration reads <?xml version="1.0" encoding="UTF-8"?>.
func (d *document) declaration(token []byte) (wrong string) {
	inner, xml := bytes.CutPrefix(token, []byte("<?xml"))
	inner, ended := bytes.CutSuffix(inner, []byte("?>"))
	if !xml || !ended || d.phase != opened {
		return "processing instruction"
	}
	var t tag
	if wrong := t.readAttributes(inner); wrong != "" {
		return wrong
	}
	for i := range t.attributes[:t.count] {
		name, value := string(t.attributes[i].name), string(t.attributes[i].value)
		known := false
		switch {
		case i == 0:
			known = name == "version" && value == "1.0"
		case i == 1 && name == "encoding":
			if d.charset, known = charsetOf(value); !known {
				return "encoding that is not read"
			}
		case name == "standalone":
			known = value == "yes" || value == "no"
		}
		if !known {
			return "declaration that is not XML 1.0's"
		}
	}
	if t.count == 0 {
		return "declaration that is not XML 1.0's"
	}
	d.phase = prolog
	return ""
}

func (d *document) startTag(b, token []byte) (wrong string) {
	var t tag
	if wrong := t.read(token); wrong != "" {
		return wrong
	}
	if d.depth == maxDepth {
		return "elements more than 32 deep"
	}
	d.phase = inside
	if t.greater {
		d.message.quirks |= rawGreater
	}
	var parent []byte
	if d.depth > 0 {
		open := d.stack[d.depth-1]
		parent = b[open.from:open.to]
		if open.content == nothing || open.content == translations && string(t.name) != "TRANSLTN" {
			d.message.fault(contentInField)
		}
	}
	inner := d.message.element(d.depth, parent, &t, d.charset)
	if !t.empty {
		d.stack[d.depth] = element{from: d.at + 1, to: d.at + 1 + len(t.name), content: inner}
		d.depth++
	}
	return ""
}

func (d *document) endTag(b, token []byte) (wrong string) {
	name := bytes.TrimRight(token[2:len(token)-1], " \t\r\n")
	if d.depth > 0 {
		d.depth--
		open := d.stack[d.depth]
		switch {
		case !bytes.Equal(name, b[open.from:open.to]):
		case d.depth == 0 && len(name) < len(token)-len("</>"):
			return "end tag with space in it" // who searches for it finds another
		default:
			return ""
		}
	}
	return "end tag without its start tag"
}
