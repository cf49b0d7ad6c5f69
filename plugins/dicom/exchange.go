package dicom

import (
	"slices"

	"cordon/plugins/sdk"
)

// exchange is a request and the responses it may still get.
type exchange struct {
	op      sdk.OpID
	context byte
	command command
	wrong   *fault
	why     *sdk.Refusal // it is refused; nil if it is not, as far as is known

	kept     bool // the gateway was asked to remember it
	mute     bool // there is no response to it
	complete bool // the request is covered to its end
	answered bool // so is the final response
	cutOff   bool // an abort came before its end
}

// room makes room for one more operation of d's: older ones that are still to be named are
// kept. It fails if they are too many.
func (s *session) room(d *side, out *sdk.Steps) bool {
	for _, x := range d.open {
		if d.asked+1-x.op.Number() < sdk.MaxOpen-1 {
			break
		}
		if x.kept {
			continue
		}
		if d.kept == sdk.MaxKept {
			return false
		}
		d.kept++
		x.kept = true
		out.Keep(x.op)
	}
	return true
}

// forget removes an exchange that nothing will name any more.
func (s *session) forget(x *exchange) {
	d := &s.sides[x.op.Direction()]
	d.open = slices.DeleteFunc(d.open, func(o *exchange) bool { return o == x })
	if x.kept {
		s.done = append(s.done, x.op)
	}
}

// answeredBy returns the request that a response of d's answers, or nil. A refusal may come
// in another presentation context: who has no use for the request's may choose the first.
func (s *session) answeredBy(d *side, m *message) (x *exchange) {
	asked := &s.sides[d.dir.Opposite()]
	c := &m.command
	waiting, elsewhere := int64(0), (*exchange)(nil)
	for _, o := range asked.open {
		if o.answered || o.why != nil || o.wrong != nil {
			continue
		}
		waiting++
		if o.command.messageID != c.respondedTo {
			continue
		}
		if x != nil {
			s.quirks |= sameMessageID
		}
		switch {
		case o.command.field|responseBit != c.field:
		case o.context == m.context.id && x == nil:
			x = o
		case o.context != m.context.id && elsewhere == nil && !c.hasData:
			elsewhere = o
		}
	}
	if x == nil && elsewhere != nil {
		x = elsewhere
		s.quirks |= otherContextAnswer
	}
	if window := s.association.window; d.dir == sdk.Reverse && window > 0 && waiting > window {
		s.quirks |= asyncWindow
	}
	return x
}

// within returns whether the other side has a C-GET open, of which d's stores are part.
func (s *session) within(d *side) bool {
	return slices.ContainsFunc(s.sides[d.dir.Opposite()].open, func(x *exchange) bool {
		return x.command.field == cGet && x.why == nil && !x.answered
	})
}
