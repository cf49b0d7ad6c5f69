package poct1a

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// session inspects one session.
type session struct {
	set      *settings
	sides    [2]side // by direction
	state    state
	analyser sdk.Direction // where HEL.R01 came from, unless the state is idle
	hello    sdk.OpID      // the latest HEL.R01
	identity [len(identities)]string
	quirks   anomaly    // of acknowledgements since the last operation
	owed     []exchange // refused, their refusals waiting for their place
	dead     bool       // nothing more is understood
}

// state is how far the conversation has come.
type state uint8

const (
	idle    state = iota // nobody has said HEL.R01, or it was not accepted
	greeted              // it is not answered yet
	talking
)

// side is one direction.
type side struct {
	dir   sdk.Direction
	doc   *document // being read
	asked uint64    // operations announced
	open  []exchange

	last    sdk.OpID // whose bytes what stands behind a document belongs to
	trailed int      // how many of them there are
	trailer byte     // the byte that ends a document's frame; NUL at first, which ends none
	framed  bool     // NUL does
	waits   bool     // for it: the other side cannot be told anything before

	refusals int      // in a row
	parts    int      // of a list, not acknowledged
	list     sdk.OpID // the first of them
	closed   bool     // its end was sent: another part begins another list
	quirks   anomaly
	ended    bool
}

func newSession(set *settings) *session {
	s := &session{set: set}
	s.sides[sdk.Reverse].dir = sdk.Reverse
	return s
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	d := &s.sides[dir]
	for !s.dead && !out.Full() && s.next(d, &data, end, out) {
	}
	if end && !s.dead && !out.Full() {
		d.ended = true
		s.settle(out)
	}
}

// next takes one thing off data, and reports whether there may be more.
func (s *session) next(d *side, data *[]byte, end bool, out *sdk.Steps) bool {
	if len(*data) == 0 {
		return false
	}
	if d.doc == nil {
		if d.last != 0 && trails((*data)[0]) {
			return s.trail(d, data, out)
		}
		d.doc, d.waits = &document{}, false
		if s.settle(out); s.dead {
			return false
		}
	}
	done, wrong := d.doc.read(*data, s.set.maxMessage)
	if wrong == "" && !done && end {
		wrong = "the " + d.dir.String() + " direction ended inside a document"
	}
	switch m := &d.doc.message; {
	case wrong != "":
		s.malformed(d, malformedName, wrong, out)
		return false
	case !done:
		return false
	case m.root == ackRoot:
		s.acknowledgement(d, m, out)
	default:
		s.request(d, m, out)
	}
	if s.dead {
		return false
	}
	n := d.doc.at
	out.Span(d.last, int64(n))
	*data = (*data)[n:]
	d.trailed, d.trailer = 0, nul
	if d.doc.stx {
		d.trailer = etx
	}
	d.waits = d.doc.stx || d.framed
	d.doc = nil
	s.settle(out)
	return true
}

// trail covers what stands behind a document at once, because the other side may wait for it.
func (s *session) trail(d *side, data *[]byte, out *sdk.Steps) bool {
	if d.last.Number()+sdk.MaxOpen <= s.sides[d.last.Direction()].asked {
		s.end("bytes behind a document that is long past", out)
		return false
	}
	n := 0
	for ; n < len(*data) && d.trailed < maxLead && trails((*data)[n]); n++ {
		c := (*data)[n]
		d.trailed++
		d.quirks |= trailQuirk(c)
		d.framed = d.framed || c == nul
		d.waits = d.waits && c != d.trailer
	}
	if n == 0 {
		s.malformed(d, malformedName, "too much between two documents", out)
		return false
	}
	out.Span(d.last, int64(n))
	*data = (*data)[n:]
	s.settle(out)
	return true
}

// request announces a message that is decided on.
func (s *session) request(d *side, m *message, out *sdk.Steps) {
	m.finish(d.doc.at)
	class, from := m.classOf()
	wrong := m.wrong
	if wrong == nil {
		wrong = s.outOfTurn(d, m, from)
	}
	switch {
	case isList(m.root):
		if d.closed || d.parts == 0 {
			d.parts, d.list, d.closed = 0, d.dir.Operation(d.asked+1), false
		}
		d.parts++
	case m.root == eotRoot && s.state != idle && s.analyser != d.dir:
		// It replaces the list the analyser had. One of which a part was refused, or none,
		// would lock users out, however often its end is sent.
		class = policy.ClassAdmin
		if wrong == nil && d.parts > 0 {
			wrong = tornList
		}
		d.closed = true
	}
	if !s.forget(d) {
		s.end("too many messages since one that was refused", out)
		return
	}
	if m.root == helRoot && wrong == nil {
		s.state, s.analyser, s.hello = greeted, d.dir, d.dir.Operation(d.asked+1)
		s.sides[d.dir.Opposite()].parts = 0
		for i, f := range identities {
			s.identity[i] = m.single[f]
		}
	}
	m.quirks |= d.quirks | s.quirks
	d.quirks, s.quirks = 0, 0
	if wrong == nil && m.quirks&s.set.refuse != 0 {
		wrong = refusedQuirk
	}
	x := d.exchange()
	x.wrong, x.last = wrong != nil, s.state != talking || wrong == noControlID
	x.op = s.announce(d, s.operation(d, m, class), wrong, out)
	d.open = append(d.open, x)
	d.last = x.op
}

// outOfTurn finds what the state of the conversation forbids. A conversation may end before
// it has begun.
func (s *session) outOfTurn(d *side, m *message, from party) *fault {
	switch {
	case m.root == helRoot && s.state != idle && s.analyser != d.dir:
		return secondAnalyser
	case m.root == helRoot || m.root == endRoot:
		return nil
	case s.state != talking:
		return notGreeted
	case from == analyser && s.analyser != d.dir, from == manager && s.analyser == d.dir:
		return wrongParty
	}
	return nil
}

// announce announces an operation of d's, invalid if something is wrong.
func (s *session) announce(d *side, op policy.Operation, wrong *fault, out *sdk.Steps) sdk.OpID {
	d.asked++
	if wrong != nil {
		return out.Invalid(op, wrong.reason)
	}
	return out.Operation(op)
}

// malformed ends a session that cannot be followed any more, once the sender has been told.
func (s *session) malformed(d *side, name, reason string, out *sdk.Steps) {
	if !s.forget(d) {
		s.end(reason, out)
		return
	}
	x := d.exchange()
	x.wrong, x.last = true, true
	x.op = s.announce(d, policy.Operation{Name: name, Class: policy.ClassUnknown}, &fault{reason}, out)
	out.Span(x.op, sdk.Unlimited)
	d.open = append(d.open, x)
	s.dead = true
}

// end ends the session. Refusals given before are still delivered.
func (s *session) end(reason string, out *sdk.Steps) {
	out.End(reason)
	s.dead = true
}

// acknowledgement covers an ACK.R01 with the message it answers.
func (s *session) acknowledgement(d *side, m *message, out *sdk.Steps) {
	asked := &s.sides[d.dir.Opposite()]
	m.finish(d.doc.at)
	i, wrong := -1, m.wrong
	if wrong == nil {
		i, wrong = asked.answeredBy(m)
	}
	if wrong == nil && m.quirks&s.set.refuse != 0 {
		wrong = refusedQuirk
	}
	if wrong != nil {
		s.malformed(d, "poct1a:"+ackRoot, wrong.reason, out)
		return
	}
	x := asked.open[i]
	asked.open = slices.Delete(asked.open, i, i+1)
	asked.refusals = 0
	if isList(x.root) && x.op >= asked.list && asked.parts > 0 {
		asked.parts--
	}
	s.quirks |= m.quirks
	d.last = x.op
	if x.op == s.hello && s.state == greeted {
		s.state = idle
		if m.single[ackType] == "AA" {
			s.state = talking
		}
	}
}
