package conformance

import (
	"fmt"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// apply carries out steps in order, as the gateway does.
func (s *session) apply(dir sdk.Direction, list []sdk.Step) error {
	for i := range list {
		var err error
		switch step := &list[i]; step.Kind {
		case sdk.StepOperation:
			if err = s.announce(dir, step); err != nil {
				break
			}
			op := s.operation(step.Op)
			why, refused := s.decide(op)
			if !refused {
				break
			}
			op.refused = true
			if s.script.late && dir == sdk.Forward {
				s.undone = list[i:]
				return nil
			}
			err = s.refuse(op, why)
		case sdk.StepSpan:
			err = s.span(dir, step)
		case sdk.StepAbort:
			err = s.abort(dir, step)
		case sdk.StepRefusal:
			err = s.refusal(step)
		case sdk.StepKeep:
			err = s.keep(step)
		case sdk.StepDone:
			delete(s.kept[step.Op.Direction()], step.Op)
		case sdk.StepEnd:
			s.end(step)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resume carries on where a late decision stopped the gateway.
func (s *session) resume() error {
	for len(s.undone) > 0 {
		list := s.undone
		s.undone = nil
		op := s.operation(list[0].Op)
		why, _ := s.decide(op)
		if err := s.refuse(op, why); err != nil {
			return err
		}
		if err := s.apply(op.dir, list[1:]); err != nil {
			return err
		}
	}
	return nil
}

// decide is the policy.
func (s *session) decide(op *operation) (why sdk.Refusal, refused bool) {
	if op.invalid {
		return sdk.Refusal{Code: Code, Cause: policy.CauseProtocol, Reason: op.reason}, true
	}
	for _, r := range s.script.refused {
		if r.op == op.id {
			return r.why, true
		}
	}
	return s.script.otherwise, s.script.otherwise.Code != ""
}

func (s *session) dropped(op sdk.OpID) bool { return s.operation(op).refused }

// The methods below carry out one step each. They return errClosed where the gateway ends a
// session that the inspector could not have saved, any other error where it broke its
// contract.

func (s *session) announce(dir sdk.Direction, step *sdk.Step) error {
	at := s.flows[dir].covered
	if n := len(s.operations[dir]); n > 0 && !s.opening && !step.Invalid {
		if last := &s.operations[dir][n-1]; last.at == at && !last.opening {
			return fmt.Errorf("operation %d (%s) begins at %s offset %d, where operation %d begins and covers nothing: its span was forgotten, or not positive", step.Op, step.Operation.Name, dir, at, last.id)
		}
	}
	a := announcement{
		turn: s.record.turn, id: step.Op, dir: dir, at: at, opening: s.opening,
		Operation: step.Operation, invalid: step.Invalid, reason: step.Reason,
	}
	s.operations[dir] = append(s.operations[dir], operation{announcement: a})
	if !s.over {
		s.record.operations = append(s.record.operations, a)
	}
	switch {
	case s.flows[dir].mode == sdk.Held:
		return nil
	case step.Invalid: // what was not a reply has passed: nobody can answer it any more
		s.close("an invalid operation in a direction that is not held")
		return errClosed
	}
	return fmt.Errorf("operation %d (%s) in the %s direction, which Protocol.Modes does not hold", step.Op, step.Operation.Name, dir)
}

func (s *session) span(dir sdk.Direction, step *sdk.Step) error {
	op, err := s.named(step, "span")
	if err != nil {
		return err
	}
	if op.refused && dir != op.dir {
		s.close("a reply to an operation that did not get through")
		return errClosed
	}
	f := &s.flows[dir]
	f.cover(step.Op, step.N)
	f.move(s.dropped)
	if !s.over {
		s.record.span(dir, step.Op, f.covered)
	}
	return nil
}

func (s *session) abort(dir sdk.Direction, step *sdk.Step) error {
	op, err := s.named(step, "abort")
	if err != nil {
		return err
	}
	if op.refused { // in the meantime; the inspector could not know
		return nil
	}
	if !s.over {
		s.record.aborts = append(s.record.aborts, abort{s.record.turn, op.id, s.flows[dir].covered, step.Reason})
	}
	op.refused, op.invalid, op.reason = true, true, step.Reason
	why, _ := s.decide(op)
	return s.refuse(op, why)
}

func (s *session) refusal(step *sdk.Step) error {
	op, err := s.named(step, "refusal")
	if err != nil {
		return err
	}
	asker := op.dir.Opposite()
	switch {
	case !op.told:
		return fmt.Errorf("a refusal of operation %d, which was not refused", op.id)
	case op.answered:
		return fmt.Errorf("a second refusal of operation %d", op.id)
	}
	op.answered = true
	if from, to, inside := s.inside(asker, step.At); inside {
		return fmt.Errorf("the refusal of operation %d would stand at %s offset %d, inside the message that goes from %d to %d", op.id, asker, step.At, from, to)
	}
	f := &s.flows[asker]
	f.insert(step.At, step.Bytes)
	f.move(s.dropped)
	if !s.over {
		s.record.refusals = append(s.record.refusals, refusal{s.record.turn, op.id, asker, step.At, step.Bytes})
	}
	return nil
}

// keep lets later steps name an operation however many follow.
func (s *session) keep(step *sdk.Step) error {
	if _, err := s.named(step, "keep"); err != nil {
		return err
	}
	kept := s.kept[step.Op.Direction()]
	if kept == nil {
		kept = map[sdk.OpID]bool{}
		s.kept[step.Op.Direction()] = kept
	}
	if kept[step.Op] = true; len(kept) > sdk.MaxKept {
		return fmt.Errorf("operation %d is kept besides %d others; MaxKept is %d", step.Op, len(kept)-1, sdk.MaxKept)
	}
	return nil
}

// inside reports whether a place is inside a message of the dialogue, and inside which.
func (s *session) inside(dir sdk.Direction, at int64) (from, to int64, inside bool) {
	for _, to = range s.script.boundaries[dir] {
		if at <= to {
			return from, to, at > from && at < to
		}
		from = to
	}
	return 0, 0, false
}

// end is the inspector's own.
func (s *session) end(step *sdk.Step) {
	if s.over {
		return
	}
	s.record.end = &end{turn: s.record.turn, by: step.Op, reason: step.Reason}
	s.stop()
}

// close is the gateway's.
func (s *session) close(reason string) {
	if s.over {
		return
	}
	s.record.end = &end{turn: s.record.turn, reason: reason, gateway: true}
	s.stop()
}

func (s *session) stop() {
	s.over = true
	for dir := range s.flows {
		s.flows[dir].over = true
	}
}

// named returns the operation that a step names.
func (s *session) named(step *sdk.Step, what string) (*operation, error) {
	latest := uint64(len(s.operations[step.Op.Direction()]))
	op := s.operation(step.Op)
	switch {
	case op == nil: // checkInspect knows that the inspector announced it
		s.close("a reply to an operation that is not decided")
		return nil, errClosed
	case latest-step.Op.Number() >= sdk.MaxOpen && !s.kept[step.Op.Direction()][step.Op]:
		return nil, fmt.Errorf("a %s of operation %d, which is not among the latest %d of %d", what, step.Op, sdk.MaxOpen, latest)
	}
	return op, nil
}
