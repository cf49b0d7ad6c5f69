package poct1a

import (
	"slices"
	"strings"

	"cordon/plugins/sdk"
)

// exchange is a message that may still be acknowledged. Not each has to be: a request is
// answered by what it asks for.
type exchange struct {
	op      sdk.OpID
	root    string
	id      string // HDR.control_id; "" if there is none that could be named
	created string // HDR.creation_dttm
	version string // HDR.version_id
	stx     bool   // framed so
	nul     bool
	wrong   bool // malformed: the other side never sees it
	last    bool // if it is refused, the session ends
	why     sdk.Refusal
}

// exchange returns what is known of the document being read, and how it is answered. Nobody
// acknowledges an acknowledgement.
func (d *side) exchange() exchange {
	x := exchange{nul: d.framed}
	if d.doc == nil {
		return x
	}
	m := &d.doc.message
	x.root, x.created, x.version, x.stx = m.root, m.single[created], m.single[version], d.doc.stx
	if id := m.single[controlID]; m.root != ackRoot && isID(id) {
		x.id = id
	}
	return x
}

// forget drops messages that cannot be named any more once one more has been announced. It
// fails if one of them is refused and nobody could be told so yet.
func (s *session) forget(d *side) bool {
	old := func(x exchange) bool { return x.op.Direction() == d.dir && x.op.Number()+sdk.MaxOpen <= d.asked+1 }
	if slices.ContainsFunc(s.owed, old) {
		return false
	}
	n := 0
	for n < len(d.open) && old(d.open[n]) {
		n++
	}
	d.open = d.open[n:]
	return true
}

// answeredBy returns the index of the message that an ACK.R01 answers, the oldest if there
// are several, or what is wrong.
func (d *side) answeredBy(m *message) (int, *fault) {
	id := m.single[ackControlID]
	i := slices.IndexFunc(d.open, func(x exchange) bool { return !x.wrong && x.id == id })
	if i < 0 {
		number := strings.TrimLeft(id, "0")
		i = slices.IndexFunc(d.open, func(x exchange) bool {
			return !x.wrong && strings.TrimLeft(x.id, "0") == number && strings.Trim(number, "0123456789") == ""
		})
		m.quirks |= paddedAckID
	}
	if i < 0 {
		return -1, answersNothing
	}
	if kind := m.single[messageType]; m.found[messageType] && kind != ackRoot {
		// A header that was copied from the message it answers.
		if kind != d.open[i].root || sentByBoth(kind) {
			return -1, otherType
		}
		m.quirks |= echoedType
	}
	return i, nil
}

// isID reports whether v can be a control id that is repeated in an acknowledgement.
func isID(v string) bool { return len(v) > 0 && len(v) <= 64 && isPrintable(v) }

func isPrintable(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}
