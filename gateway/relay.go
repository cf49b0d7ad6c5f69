package gateway

import (
	"fmt"
	"time"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// apply carries out the plugin's steps for one direction, in order. An error ends the
// session: *violation if the plugin broke the contract, errEnd if it had nothing more to
// say, anything else if a byte could not be moved.
func (s *session) apply(dir sdk.Direction, steps []sdk.Step) error {
	for i := 0; i < len(steps); i++ {
		var err error
		switch step := &steps[i]; step.Kind {
		case sdk.StepOperation:
			err = s.operation(dir, step)
		case sdk.StepSpan:
			// Neighbours of one operation move together: in one piece, and with one write.
			for ; i+1 < len(steps) && follows(step, &steps[i+1]); i++ {
				step.N += steps[i+1].N
			}
			err = s.span(dir, step)
		case sdk.StepAbort:
			err = s.abort(dir, step)
		case sdk.StepRefusal:
			err = s.refusal(step)
		case sdk.StepEnd:
			s.end(fmt.Errorf("%w: %s", errEnd, step.Reason))
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follows reports whether span b can be joined to span a.
func follows(a, b *sdk.Step) bool {
	return b.Kind == sdk.StepSpan && b.Op == a.Op && b.N > 0 && a.N > 0 && b.N <= sdk.Unlimited-a.N
}

// violation is a step that breaks the contract of package sdk.
type violation struct{ text string }

func (v *violation) Error() string { return "the plugin broke its contract: " + v.text }

func violates(format string, args ...any) error {
	return &violation{fmt.Sprintf(format, args...)}
}

// operation decides and records an operation. Nothing of it has moved: its span can only
// follow.
func (s *session) operation(dir sdk.Direction, step *sdk.Step) error {
	s.deciding.Lock()
	if step.Op != s.operations.latest+1 {
		s.deciding.Unlock()
		return violates("operation %d after %d", step.Op, s.operations.latest)
	}
	s.request.Operation = step.Operation
	s.request.NowNs = time.Now().UnixNano()
	var d policy.Decision
	switch {
	case dir == sdk.Reverse:
		// Only the side that opened the session may ask. What the other side sent may have
		// been seen already, as replies are; it is not answered.
		d = policy.Decision{Reason: "the device sent what is not a reply", Cause: policy.CauseProtocol}
	case step.Invalid:
		d = policy.Decision{Reason: step.Reason, Cause: policy.CauseProtocol}
	case s.refused != nil:
		d = *s.refused
	default:
		d = s.gateway.decide(s.route, &s.request)
	}
	d, code := s.settle(d)
	state := opOwed
	if d.Allow {
		state = opAllowed
	}
	s.operations.add(step.Op, state)
	s.deciding.Unlock()
	switch {
	case dir == sdk.Reverse:
		return errUnasked
	case d.Allow:
		return nil
	}
	return s.refuse(dir, step.Op, code, d)
}

// settle records a decision about s.request; a decision that cannot be recorded is a
// refusal. deciding is held.
func (s *session) settle(d policy.Decision) (policy.Decision, string) {
	d, code := s.gateway.record(&s.request, d)
	if d.Allow {
		s.allowed++
	} else {
		s.denied++
	}
	return d, code
}

// refuse tells the plugin that op is refused; the bytes of the refusal come with one of its
// answers. Replies that flow freely are held until it is in its place.
func (s *session) refuse(dir sdk.Direction, op sdk.OpID, code string, d policy.Decision) error {
	asker := &s.flows[dir.Opposite()]
	steps, err := s.inspection.Refuse(op, asker.owe(), sdk.Refusal{Code: code, Cause: d.Cause, Reason: publicReason(d)})
	if err != nil {
		return err
	}
	for i := range steps {
		if k := steps[i].Kind; k != sdk.StepRefusal && k != sdk.StepEnd {
			return violates("step kind %d in the answer to a refusal", k)
		}
	}
	return s.apply(dir, steps)
}

// publicReason is what a refused person may be told: what is wrong with the message, but
// never which rule or role decided.
func publicReason(d policy.Decision) string {
	switch d.Cause {
	case policy.CauseProtocol:
		return d.Reason
	case policy.CauseDoubt:
		return "temporarily unavailable"
	}
	return "not permitted"
}

// span covers bytes with an operation that is decided: they move if it is allowed, and are
// dropped if it is refused.
func (s *session) span(dir sdk.Direction, step *sdk.Step) error {
	s.deciding.Lock()
	state := s.operations.state(step.Op)
	s.deciding.Unlock()
	switch {
	case state == opUnknown:
		return violates("a span of operation %d, which is not among the latest", step.Op)
	case dir == sdk.Reverse && state != opAllowed:
		return violates("a reply to operation %d, which was refused", step.Op)
	}
	return s.flows[dir].cover(step.Op, step.N, state != opAllowed)
}

// abort refuses the rest of an operation that turned out wrong after it was allowed.
func (s *session) abort(dir sdk.Direction, step *sdk.Step) error {
	s.deciding.Lock()
	state := s.operations.state(step.Op)
	if state != opAllowed || dir != sdk.Forward {
		s.deciding.Unlock()
		if state == opOwed || state == opRefused {
			return nil // refused already, which the inspector could not know
		}
		return violates("operation %d cannot be aborted: it is not one of this direction that was allowed", step.Op)
	}
	s.operations.set(step.Op, opOwed)
	s.flows[dir].dropRest(step.Op)
	if step.Op != s.operations.latest { // the facts of older ones are gone
		s.request.Operation = policy.Operation{Name: s.route.Service.Protocol + ":aborted", Class: policy.ClassUnknown}
	}
	s.request.NowNs = time.Now().UnixNano()
	d, code := s.settle(policy.Decision{Reason: step.Reason, Cause: policy.CauseProtocol})
	s.deciding.Unlock()
	return s.refuse(dir, step.Op, code, d)
}

// refusal inserts the plugin's bytes for the asker of a refused operation, once.
func (s *session) refusal(step *sdk.Step) error {
	s.deciding.Lock()
	owed := s.operations.state(step.Op) == opOwed
	s.operations.set(step.Op, opRefused)
	s.deciding.Unlock()
	if !owed {
		return violates("a refusal of operation %d, to which none is owed", step.Op)
	}
	// Only Forward operations get this far, so the asker is always the client: bytes
	// that a plugin made up cannot reach a device.
	return s.flows[sdk.Reverse].insert(step.At, step.Bytes)
}

// operations remembers what became of the latest operations of a session.
type operations struct {
	latest sdk.OpID
	states []opState // by number modulo its length, a power of two that grows to MaxOpen
}

type opState uint8

const (
	opUnknown opState = iota
	opAllowed
	opOwed    // refused, and the asker has not been told
	opRefused // refused, and the asker has been told
)

func (o *operations) add(op sdk.OpID, state opState) {
	if n := len(o.states); n < sdk.MaxOpen && int(op) >= n {
		o.states = append(o.states, make([]opState, max(4, n))...) // numbers below n keep their place
	}
	o.latest = op
	o.states[int(op%sdk.OpID(len(o.states)))] = state
}

func (o *operations) state(op sdk.OpID) opState {
	if op == 0 || op > o.latest || o.latest-op >= sdk.OpID(len(o.states)) {
		return opUnknown
	}
	return o.states[int(op%sdk.OpID(len(o.states)))]
}

func (o *operations) set(op sdk.OpID, state opState) {
	if o.state(op) != opUnknown {
		o.states[int(op%sdk.OpID(len(o.states)))] = state
	}
}
