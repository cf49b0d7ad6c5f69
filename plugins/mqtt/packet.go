package mqtt

import (
	"encoding/binary"
	"unicode/utf8"

	"cordon/plugins/sdk"
)

// Control packet types (MQTT 5, 2.1.2). Sections cited without a version are MQTT 5's.
const (
	connect = 1 + iota
	connack
	publish
	puback
	pubrec
	pubrel
	pubcomp
	subscribe
	suback
	unsubscribe
	unsuback
	pingreq
	pingresp
	disconnect
	auth
)

var packetNames = [...]string{"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

// sentBy are the types each side may send, by bit. AUTH is not among them, as extended
// authentication is refused.
var sentBy = [2]uint16{
	sdk.Forward: 1<<connect | 1<<publish | 1<<puback | 1<<pubrec | 1<<pubrel | 1<<pubcomp |
		1<<subscribe | 1<<unsubscribe | 1<<pingreq | 1<<disconnect,
	sdk.Reverse: 1<<connack | 1<<publish | 1<<puback | 1<<pubrec | 1<<pubrel | 1<<pubcomp |
		1<<suback | 1<<unsuback | 1<<pingresp | 1<<disconnect,
}

const (
	maxWhole  = 128 << 10 // bytes of a packet that is held whole: any but PUBLISH
	maxProps  = 32 << 10  // bytes of the properties of a PUBLISH
	maxTopic  = 1 << 10   // bytes of a topic or filter
	maxLevels = 128       // of a topic
	maxText   = 256       // bytes of other text that is told
)

// packet is a fixed header (2.1.1): type and flags(1), remaining length(1 to 4).
type packet struct {
	kind  byte
	flags byte
	head  int   // bytes of the fixed header
	size  int64 // bytes of all of it
}

// cutHeader reads a fixed header from the beginning of b. It is not ok yet if there is not
// all of it.
func cutHeader(b []byte) (p packet, ok bool, wrong *fault) {
	if len(b) == 0 {
		return p, false, nil
	}
	p.kind, p.flags = b[0]>>4, b[0]&15
	want := byte(0)
	switch p.kind {
	case pubrel, subscribe, unsubscribe:
		want = 2
	case publish:
		want = p.flags
	}
	if p.kind == 0 || p.flags != want {
		return p, false, wrongFlags
	}
	length, n, wrong := varint(b[1:])
	p.head = 1 + n
	p.size = int64(p.head + length)
	return p, n > 0, wrong
}

// varint reads a variable byte integer (1.5.5) of n bytes; n is 0 if there is not all of it.
func varint(b []byte) (v, n int, wrong *fault) {
	for i, c := range b {
		v |= int(c&0x7f) << (7 * i)
		switch {
		case c == 0 && i > 0:
			return 0, 0, longLength // there is a shorter form
		case c < 0x80:
			return v, i + 1, nil
		case i == 3:
			return 0, 0, longLength
		}
	}
	return 0, 0, nil
}

// reader takes fields off b. Once one is wrong, those behind it are empty.
type reader struct {
	b      []byte
	wrong  *fault
	quirks anomaly
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int) []byte {
	if r.wrong == nil && n > len(r.b) {
		r.wrong = wrongSize
	}
	if r.wrong != nil {
		r.b = nil
		return nil
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) number8() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) number16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) number32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) varint() int {
	v, n, wrong := varint(r.b)
	if r.wrong == nil && wrong != nil {
		r.wrong = wrong
	}
	if n == 0 {
		n = len(r.b) + 1
	}
	if r.take(n) == nil {
		return 0
	}
	return v
}

// binary is length(2) and as many bytes.
func (r *reader) binary() []byte { return r.take(int(r.number16())) }

// text is binary that is UTF-8 without U+0000 (1.5.4).
func (r *reader) text() []byte {
	b := r.binary()
	r.check(b)
	return b
}

// check looks at the characters of a text.
func (r *reader) check(b []byte) {
	i := 0
	for i < len(b) && b[i] >= ' ' && b[i] <= '~' {
		i++
	}
	if i == len(b) {
		return
	}
	if !utf8.Valid(b[i:]) {
		r.wrong = wrongText
		return
	}
	for _, c := range string(b[i:]) {
		switch {
		case c == 0:
			r.wrong = wrongText
			return
		case c < ' ', c >= 0x7f && c < 0xa0, c >= 0xfdd0 && c <= 0xfdef, c&0xfffe == 0xfffe:
			r.quirks |= controlCharacters
		}
	}
}

// identifier is a packet identifier (2.2.1).
func (r *reader) identifier() uint16 {
	id := r.number16()
	if id == 0 && r.wrong == nil {
		r.wrong = noIdentifier
	}
	return id
}

// done says what is wrong with the packet, if nothing may follow.
func (r *reader) done() *fault {
	if r.wrong == nil && len(r.b) > 0 {
		return wrongSize
	}
	return r.wrong
}
