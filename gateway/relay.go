package gateway

import (
	"errors"
	"fmt"
	"strings"
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
		case sdk.StepKeep:
			err = s.keep(step)
		case sdk.StepDone:
			err = s.done(step)
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
	if step.Op.Direction() != dir {
		return violates("operation %d, announced in the %s direction", step.Op, dir)
	}
	if err := s.follows(dir, &step.Operation); err != nil {
		return err
	}
	s.deciding.Lock()
	if n := s.operations[dir].latest; step.Op.Number() != n+1 {
		s.deciding.Unlock()
		return violates("operation %d after %d of its direction", step.Op, n)
	}
	s.request.Operation = step.Operation
	s.request.Subject, s.request.Session.Direction = s.asker(dir), s.route.direction(dir)
	s.request.NowNs = time.Now().UnixNano()
	held := s.flows[dir].mode == sdk.Held
	var d policy.Decision
	switch {
	case !held:
		// It may have been passed on already, as replies are.
		d = policy.Decision{Reason: "the device sent what is not a reply", Cause: policy.CauseProtocol}
	case step.Invalid:
		d = policy.Decision{Reason: step.Reason, Cause: policy.CauseProtocol}
	case s.refused != nil:
		d = *s.refused
	case s.flip.Load() != nil:
		d = s.lastWord(s.flip.Load())
	default:
		d = s.ask(step.Op)
	}
	d, code := s.settle(d)
	state := opOwed
	if d.Allow {
		state = opAllowed
		s.gateway.expect(s, step.Op, &s.request, code)
	} else {
		s.forget(step.Op)
	}
	s.operations[dir].add(step.Op.Number(), state)
	s.deciding.Unlock()
	switch {
	case !held:
		return errUnasked
	case d.Allow:
		return nil
	}
	return s.refuse(step.Op, code, d)
}

// ask decides the operation in s.request, once more if policy or devices were replaced
// while it did.
func (s *session) ask(op sdk.OpID) policy.Decision {
	for {
		on := s.gateway.grounds.Load()
		d := s.gateway.decide(on, s.route, &s.request)
		if !d.Allow || s.allow(on, op) {
			s.expires(d)
			return d
		}
	}
}

// expires has the session asked again when d runs out.
func (s *session) expires(d policy.Decision) {
	if d.Allow && d.ValidUntil != 0 {
		lower(&s.due, d.ValidUntil)
		lower(&s.gateway.due, d.ValidUntil)
	}
}

// directions of an operation as policy knows them: who asks.
var directions = [2]string{sdk.Forward: policy.Inbound, sdk.Reverse: policy.Outbound}

// settle records a decision about s.request; a decision that cannot be recorded is a
// refusal. deciding is held.
func (s *session) settle(d policy.Decision) (policy.Decision, string) {
	d, code := s.gateway.record(&s.request, d)
	s.tally.decided(s.request.Operation.Class, &d)
	if d.Allow {
		s.allowed++
	} else {
		s.denied++
	}
	return d, code
}

// refuse tells the plugin that op is refused; the bytes of the refusal come with one of its
// answers. Replies that flow freely are held until it is in its place.
func (s *session) refuse(op sdk.OpID, code string, d policy.Decision) error {
	dir := op.Direction()
	if s.route.askedByDevice(dir) && s.route.Answer == nil {
		return errMute
	}
	why := sdk.Refusal{Code: code, Cause: d.Cause, Reason: publicReason(d)}
	for _, o := range d.Obligations {
		if strings.HasPrefix(o, s.route.Service.Protocol+":") {
			why.Obligations = append(why.Obligations, o)
		}
	}
	// Either flow may have found what is wrong with an operation of this direction; the
	// plugin is asked for one refusal at a time, in the order of their places.
	s.refusing[dir].Lock()
	steps, err := s.inspection.Refuse(op, s.flows[dir.Opposite()].owe(), why)
	s.refusing[dir].Unlock()
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

// span covers bytes with an operation that is decided: its own bytes move if it is allowed
// and are dropped if it is refused; replies only follow what was allowed.
func (s *session) span(dir sdk.Direction, step *sdk.Step) error {
	state := s.state(step.Op)
	switch {
	case state == opUnknown:
		return violates("a span of operation %d, which is not among the latest", step.Op)
	case dir != step.Op.Direction() && state != opAllowed:
		return violates("a reply to operation %d, which was refused", step.Op)
	}
	f := &s.flows[dir]
	if state == opAllowed {
		if denied := s.extend(step.Op, dir, f.covered+step.N); denied != nil {
			if s.withdraw(denied) {
				s.gateway.recordFlip(denied)
			}
			return denied.cause()
		}
	}
	return f.cover(step.Op, step.N, state != opAllowed)
}

func (s *session) state(op sdk.OpID) opState {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	return s.operations[op.Direction()].state(op.Number())
}

// abort refuses the rest of an operation, and of the reply to it, that turned out wrong
// after it was allowed.
func (s *session) abort(dir sdk.Direction, step *sdk.Step) error {
	s.deciding.Lock()
	asked := &s.operations[step.Op.Direction()]
	if state := asked.state(step.Op.Number()); state != opAllowed {
		s.deciding.Unlock()
		if state == opOwed || state == opRefused {
			return nil // refused already, which the inspector could not know
		}
		return violates("operation %d cannot be aborted: it is not among the latest", step.Op)
	}
	if dir != step.Op.Direction() {
		s.flows[dir].dropRest(step.Op)
	}
	s.takeBack(step.Op)
	d, code := s.settle(policy.Decision{Reason: step.Reason, Cause: policy.CauseProtocol})
	s.deciding.Unlock()
	return s.refuse(step.Op, code, d)
}

// cutShort refuses the rest of an operation whose session has to end.
func (s *session) cutShort(op sdk.OpID, why *flip) error {
	s.deciding.Lock()
	if s.operations[op.Direction()].state(op.Number()) != opAllowed {
		s.deciding.Unlock()
		return nil // refused meanwhile
	}
	s.takeBack(op)
	d, code := s.settle(s.lastWord(why))
	s.deciding.Unlock()
	return s.refuse(op, code, d)
}

// takeBack makes an operation that was allowed a refused one, puts its facts into s.request,
// and drops what it still covers of its own direction. deciding is held.
func (s *session) takeBack(op sdk.OpID) {
	s.operations[op.Direction()].set(op.Number(), opOwed)
	s.flows[op.Direction()].dropRest(op)
	facts, known := s.forget(op)
	if !known { // too many have followed
		facts = policy.Operation{Name: s.route.Service.Protocol + ":aborted", Class: policy.ClassUnknown}
	}
	s.request.Operation, s.request.Subject = facts, s.asker(op.Direction())
	s.request.Session.Direction, s.request.NowNs = s.route.direction(op.Direction()), time.Now().UnixNano()
}

// refusal inserts the plugin's bytes for the asker of a refused operation, once.
func (s *session) refusal(step *sdk.Step) error {
	dir := step.Op.Direction()
	s.deciding.Lock()
	owed := s.operations[dir].state(step.Op.Number()) == opOwed
	s.operations[dir].set(step.Op.Number(), opRefused)
	s.deciding.Unlock()
	if !owed {
		return violates("a refusal of operation %d, to which none is owed", step.Op)
	}
	if s.route.askedByDevice(dir) {
		// These bytes go to a device, and a plugin made them up.
		if err := s.answerable(step.Bytes); err != nil {
			if s.route.CallOut != nil { // not every refusal of a protocol is one that a device may be told
				silence := s.flows[dir.Opposite()].insert(step.Op, step.At, nil)
				return errors.Join(silence, fmt.Errorf("%w: %w", errMute, err))
			}
			return violates("what it would tell the device: %v", err)
		}
	}
	return s.flows[dir.Opposite()].insert(step.Op, step.At, step.Bytes)
}

// answerable checks a refusal for a device.
func (s *session) answerable(answer []byte) error {
	if s.route.Answer == nil {
		return errMute
	}
	return s.route.Answer(answer)
}

// keep lets later steps name an operation however many follow, until done.
func (s *session) keep(step *sdk.Step) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if !s.operations[step.Op.Direction()].keep(step.Op.Number()) {
		return violates("operation %d cannot be kept: it is not among the latest, or %d are", step.Op, sdk.MaxKept)
	}
	s.setKept(step.Op, true)
	return nil
}

func (s *session) done(step *sdk.Step) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.operations[step.Op.Direction()].done(step.Op.Number())
	s.setKept(step.Op, false)
	return nil
}
