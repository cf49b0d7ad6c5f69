package dicom

import (
	"encoding/binary"

	"cordon/plugins/sdk"
)

// phase is where in a message a direction stands.
type phase uint8

const (
	between   phase = iota // two messages
	inCommand              // nothing is covered: the command set is assembled
	inHead                 // nothing is covered: the head of the data set is
	body                   // what has come is covered; data follows
)

// message is a DIMSE message as it arrives.
type message struct {
	phase   phase
	context *presentation
	raw     []byte // command set
	command command
	head    *head
	op      sdk.OpID  // whose bytes are covered, in phase body
	asks    *exchange // it is this request, and covered in part; else nil
	answers *exchange // it is a response to this
	empty   int       // PDVs without content
}

const (
	maxEmpty = 1024    // PDVs without content in a message
	keepRaw  = 1 << 10 // bytes of a command set's buffer that are used again
)

// reset makes room for the next message.
func (m *message) reset() {
	raw := m.raw[:0]
	if cap(raw) > keepRaw {
		raw = nil
	}
	*m = message{raw: raw}
}

// fragment reads the header of a PDV of a message that is not announced yet.
func (s *session) fragment(d *side, data *[]byte, out *sdk.Steps) bool {
	b := (*data)[d.at:]
	if d.frag.rest < pdvHeader {
		return s.violate(d, badFragment, out)
	}
	if len(b) < pdvHeader {
		return false
	}
	f, wrong := readFragment(b, d.frag.rest)
	m := &d.msg
	if wrong == nil && m.phase == between {
		if m.context = s.association.context(f.context); m.context == nil {
			m.context = &presentation{id: f.context} // command sets are read without it
		}
		m.phase = inCommand
	}
	if wrong == nil {
		wrong = m.admits(f)
	}
	if wrong == nil && d.at+pdvHeader > maxHeld {
		wrong = thinlySpread
	}
	if wrong != nil {
		return s.violate(d, wrong, out)
	}
	d.at += pdvHeader
	d.frag, d.left, d.inPDV = f, f.length, true
	return true
}

// admits says what is wrong with a fragment that follows in the message.
func (m *message) admits(f fragment) *violation {
	command := f.control&controlCommand != 0
	switch {
	case f.context != m.context.id:
		return otherContext
	case m.phase == inCommand && !command:
		return commandExpected
	case m.phase != inCommand && command:
		return dataExpected
	case !command && f.control&controlLast != 0 && f.rest != 0:
		return twoMessages
	}
	if f.length == 0 {
		if m.empty++; m.empty > maxEmpty {
			return emptyFragments
		}
	}
	return nil
}

// content reads what a fragment holds of a message that is not announced yet.
func (s *session) content(d *side, data *[]byte, out *sdk.Steps) bool {
	b := (*data)[d.at:]
	m := &d.msg
	n := int(min(int64(len(b)), d.left, int64(maxHeld-d.at)))
	if n == 0 && d.left > 0 {
		if d.at < maxHeld {
			return false
		}
		return s.violate(d, thinlySpread, out)
	}
	d.at += n
	d.left -= int64(n)
	last := d.left == 0 && d.frag.control&controlLast != 0
	d.inPDV = d.left > 0
	if m.phase == inCommand {
		if len(m.raw)+n > maxCommand {
			return s.violate(d, longCommand, out)
		}
		m.raw = append(m.raw, b[:n]...)
		return !last || s.commandComplete(d, data, out)
	}
	if m.head.feed(b[:n]) {
		return s.request(d, data, out)
	}
	if last {
		m.head.finish()
		return s.request(d, data, out)
	}
	return true
}

// commandComplete understands a command set.
func (s *session) commandComplete(d *side, data *[]byte, out *sdk.Steps) bool {
	m := &d.msg
	var wrong *violation
	if m.command, wrong = readCommand(m.raw); wrong != nil {
		return s.violate(d, wrong, out)
	}
	c := &m.command
	// What is said in a context that was proposed and not accepted, policy decides.
	if unproposed := m.context.abstract == ""; m.context.transfer == "" && (c.isResponse() || unproposed && c.field != cCancel) {
		return s.violate(d, unknownContext, out)
	}
	if !c.hasData && d.frag.rest != 0 {
		return s.violate(d, twoMessages, out)
	}
	switch {
	case c.isResponse():
		return s.response(d, data, out)
	case c.hasData:
		m.head = newHead(m.context.transfer, c, s.set.headLimit)
		m.phase = inHead
		return true
	}
	return s.request(d, data, out)
}

// response lets a response pass to who asked.
func (s *session) response(d *side, data *[]byte, out *sdk.Steps) bool {
	m := &d.msg
	if m.command.wrong != nil {
		return s.violate(d, badResponse, out)
	}
	m.answers = s.answeredBy(d, m)
	if m.answers == nil {
		return s.violate(d, answersNothing, out)
	}
	m.op = m.answers.op
	return s.pass(d, data, out)
}

// request announces a request, all of it or what its decision needs.
func (s *session) request(d *side, data *[]byte, out *sdk.Steps) bool {
	m := &d.msg
	if !s.room(d, out) {
		return s.violate(d, tooManyOpen, out)
	}
	op, wrong := s.describe(d, m)
	reason := ""
	if wrong != nil {
		reason = wrong.reason
	}
	m.op = s.announce(d, op, reason, out)
	if m.command.field != cCancel {
		m.asks = &exchange{op: m.op, context: m.context.id, command: m.command, wrong: wrong}
		m.asks.command.tags = nil
		d.open = append(d.open, m.asks)
	}
	m.head = nil
	return s.pass(d, data, out)
}

// pass covers what has come of a message, and the rest of the fragment.
func (s *session) pass(d *side, data *[]byte, out *sdk.Steps) bool {
	m := &d.msg
	last := d.frag.control&controlLast != 0 && (d.frag.control&controlCommand == 0 || !m.command.hasData)
	d.cover(m.op, int64(d.at)+d.left, data, out)
	d.left, d.inPDV = 0, false
	m.phase = body
	if last {
		s.complete(d, out)
	}
	return true
}

// body covers fragments of which only the headers are read. Their content may not have
// arrived yet: it moves, or is dropped, without the inspector.
func (s *session) body(d *side, data *[]byte, out *sdk.Steps) bool {
	m := &d.msg
	limit := s.limit(d)
	for {
		b, header, rest := *data, 0, d.frag.rest
		if rest == 0 {
			if len(b) < pduHeader || b[0] != pduData {
				return s.pdu(d, data, out)
			}
			header, rest = pduHeader, int64(binary.BigEndian.Uint32(b[2:]))
			if rest > limit {
				return s.violate(d, longPDU, out)
			}
		}
		if rest < pdvHeader {
			return s.violate(d, badFragment, out)
		}
		if len(b) < header+pdvHeader {
			return false
		}
		f, wrong := readFragment(b[header:], rest)
		if wrong == nil {
			wrong = m.admits(f)
		}
		if wrong != nil {
			return s.violate(d, wrong, out)
		}
		d.frag = f
		d.cover(m.op, int64(header+pdvHeader)+f.length, data, out)
		if f.control&controlLast != 0 {
			s.complete(d, out)
			return true
		}
	}
}

// complete ends a message that is covered to its end.
func (s *session) complete(d *side, out *sdk.Steps) {
	d.flush(out)
	m := &d.msg
	x := m.asks
	if x != nil {
		x.complete = true
	} else if x = m.answers; x != nil && !m.command.pending() {
		x.answered = true
	}
	m.reset()
	if x != nil && x.complete && x.answered {
		s.forget(x)
	}
	s.settle(out)
}
