package mqtt

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// asked is what is needed to refuse an operation.
type asked struct {
	kind     byte // the type of the packet, 0 if that is not known
	qos      byte
	id       uint16
	codes    int  // of the answer
	setAlias bool // the other side is to learn a topic alias
	repeated bool
	wrong    *fault
}

// tolerate tells of deviations, and reports whether they are to be refused.
func (s *session) tolerate(op *policy.Operation, quirks anomaly) (refuse bool) {
	if names := quirks.names(); names != nil {
		op.Attributes.Set("anomalies", names)
	}
	return quirks&s.set.refuse != 0
}

// announce announces an operation, invalid if something is wrong with it.
func (s *session) announce(d *side, op policy.Operation, a asked, out *sdk.Steps) sdk.OpID {
	if i := int(d.count % sdk.MaxOpen); i == len(d.asked) {
		d.asked = append(d.asked, a)
	} else {
		d.asked[i] = a
	}
	d.count++
	if a.wrong != nil {
		return out.Invalid(op, a.wrong.reason)
	}
	return out.Operation(op)
}

// latest returns what is needed to refuse op, or nil if it is too old to be named.
func (s *session) latest(op sdk.OpID) *asked {
	d := &s.sides[op.Direction()]
	if d.count-op.Number() >= sdk.MaxOpen {
		return nil
	}
	return &d.asked[(op.Number()-1)%sdk.MaxOpen]
}

// naming returns op if it can still be named, else the dialogue's.
func (s *session) naming(op sdk.OpID) sdk.OpID {
	if s.latest(op) == nil {
		return s.op
	}
	return op
}

func malformedOperation(kind byte) policy.Operation {
	op := policy.Operation{Name: "mqtt:malformed", Class: policy.ClassUnknown}
	op.Attributes.Set("packet", packetNames[kind])
	return op
}

// malformed announces what cannot be understood, or not be passed on. It is recorded and
// refused; Refuse has the last word.
func (s *session) malformed(d *side, op policy.Operation, wrong *fault, out *sdk.Steps) {
	out.Span(s.announce(d, op, asked{wrong: wrong}, out), sdk.Unlimited)
	s.dead = true
}
