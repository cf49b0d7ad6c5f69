package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"cordon/plugins/sdk"
)

// session plays one dialogue to one inspector. It models the gateway, which carries out
// steps in order and calls Refuse as soon as an operation is refused, and the process a
// plugin runs in, which holds such a call back while the asker's direction is not
// covered as far as it has moved.
type session struct {
	protocol  sdk.Protocol
	inspector sdk.Inspector
	steps     sdk.Steps
	script    script

	flows      [2]flow
	operations [2][]operation // by direction, number n at n-1, as far as the gateway has got
	kept       [2]map[sdk.OpID]bool
	announced  [2]uint64  // as far as the inspector has got
	untold     []notice   // refusals the inspector is still to be told of
	undone     []sdk.Step // what the gateway has not carried out because a decision is late
	opening    bool
	over       bool  // nothing is recorded any more
	shown      int64 // bytes shown, repetitions included
	record     record
}

// script is what the gateway's side of a session does, besides how bytes are cut.
type script struct {
	refused    []refused
	otherwise  sdk.Refusal // of every other operation; without a code they are allowed
	late       bool        // a refusal is decided only after the next bytes of the other direction
	intact     bool        // memory that was shown is left as it was
	flood      bool        // an answer that is too long ends the session without blame
	boundaries [2][]int64  // where messages end, sorted; nil: not known
}

type operation struct {
	announcement
	refused  bool
	told     bool // the inspector knows that it is refused
	answered bool
}

// notice is a refusal on its way to the inspector. It may be told once the asker's
// direction is covered up to after.
type notice struct {
	op    sdk.OpID
	why   sdk.Refusal
	after int64
}

// errClosed ends a session that the gateway closes without blame for the inspector.
var errClosed = errors.New("closed by the gateway")

func newSession(p sdk.Protocol, open func() sdk.Inspector, sc script) *session {
	s := &session{protocol: p, inspector: open(), script: sc}
	for dir := range s.flows {
		s.flows[dir].mode = p.Modes[dir]
	}
	return s
}

// play shows the pieces in order. An error is a broken promise of the inspector.
func (s *session) play(pieces []piece) error {
	err := s.converse(pieces)
	if errors.Is(err, errClosed) {
		return nil
	}
	if err != nil || s.over {
		return err
	}
	for _, list := range s.operations {
		for i := range list {
			if op := &list[i]; op.told && !op.answered {
				return fmt.Errorf("operation %d (%s) was refused and never answered: no Refusal, no End", op.id, op.Name)
			}
		}
	}
	return nil
}

// operation returns an operation the gateway has heard of, or nil.
func (s *session) operation(op sdk.OpID) *operation {
	list := s.operations[op.Direction()]
	if n := op.Number(); n > 0 && n <= uint64(len(list)) {
		return &list[n-1]
	}
	return nil
}

func (s *session) converse(pieces []piece) error {
	s.opening = true
	if err := s.inspect(sdk.Forward, nil, false); err != nil {
		return fmt.Errorf("at the opening: %w", err)
	}
	s.opening = false
	for _, p := range pieces {
		if s.over {
			break
		}
		s.record.begin(p.turn)
		if err := s.arrive(p); err != nil {
			return err
		}
		s.record.covered(s.flows[sdk.Forward].covered, s.flows[sdk.Reverse].covered)
	}
	return s.resume()
}

// arrive reads one piece into its window, as much at a time as there is room, and shows
// the inspector what it has to see.
func (s *session) arrive(p piece) error {
	if p.dir == sdk.Forward {
		if err := s.resume(); err != nil {
			return err
		}
	}
	f, data := &s.flows[p.dir], p.data
	for {
		n := min(len(data), f.room())
		f.bytes = append(f.bytes, data[:n]...)
		data = data[n:]
		f.move(s.dropped)
		end := p.end && len(data) == 0
		if n > 0 && len(f.uncovered()) > 0 || end && f.covered < sdk.Unlimited {
			if err := s.inspect(p.dir, f.uncovered(), end); err != nil {
				return err
			}
		}
		if s.over || len(data) == 0 {
			break
		}
		if f.room() == 0 {
			return fmt.Errorf("a full window, the %d %s bytes from offset %d on, is left uncovered; cover it, announce it with Invalid, or End", sdk.WindowSize, p.dir, f.covered)
		}
	}
	if p.dir == sdk.Reverse {
		return s.resume()
	}
	return nil
}

// inspect shows data until the inspector has covered what it can: an answer as long as it
// should be is followed by another.
func (s *session) inspect(dir sdk.Direction, data []byte, end bool) error {
	f := &s.flows[dir]
	for {
		before := f.covered
		again, err := s.inspectOnce(dir, data, end)
		if err != nil || !again || s.over || len(s.undone) > 0 || f.covered == before {
			return err
		}
		if data = f.uncovered(); len(data) == 0 {
			return nil
		}
	}
}

// inspectOnce makes one call of Inspect and carries out the answer. It reports whether the
// answer was as long as it should be.
func (s *session) inspectOnce(dir sdk.Direction, data []byte, end bool) (full bool, err error) {
	call := fmt.Sprintf("Inspect(%s, %d bytes from offset %d, end %t)", dir, len(data), s.flows[dir].covered, end)
	s.shown += int64(len(data))
	shown := slices.Clip(bytes.Clone(data))
	s.steps.Begin(dir)
	if err := guard(func() { s.inspector.Inspect(dir, shown, end, &s.steps) }); err != nil {
		return false, fmt.Errorf("%s: %w", call, err)
	}
	if !bytes.Equal(shown, data) {
		return false, fmt.Errorf("%s: data was written to", call)
	}
	full = s.steps.Full()
	list := clone(s.steps.List())
	if !s.script.intact {
		for i := range shown {
			shown[i] ^= 0xA5
		}
		if !reflect.DeepEqual(list, clone(s.steps.List())) {
			return false, fmt.Errorf("%s: a step points into data, which is only valid during the call", call)
		}
	}
	if err := s.checkInspect(dir, list); err != nil {
		return false, fmt.Errorf("%s: %w", call, err)
	}
	told, err := s.tell()
	if err != nil {
		return false, fmt.Errorf("%s: %w", call, err)
	}
	list = append(list, told...)
	if err := checkAnswer(list); err != nil {
		if s.script.flood {
			s.close("more steps than fit into one answer")
			return false, errClosed
		}
		return false, fmt.Errorf("%s: %w", call, err)
	}
	if err := s.apply(dir, list); err != nil {
		return false, fmt.Errorf("%s: %w", call, err)
	}
	return full, nil
}

// tell makes the calls of Refuse that may be made, in order, and returns their steps.
func (s *session) tell() ([]sdk.Step, error) {
	var all []sdk.Step
	for len(s.untold) > 0 {
		n := s.untold[0]
		op := s.operation(n.op)
		if s.steps.Covered(op.dir.Opposite()) < n.after {
			s.record.blur()
			break
		}
		s.untold = s.untold[1:]
		op.told = true
		from := len(s.steps.List())
		if err := guard(func() { s.inspector.Refuse(n.op, n.why, &s.steps) }); err != nil {
			return nil, fmt.Errorf("Refuse(%d): %w", n.op, err)
		}
		list := clone(s.steps.List()[from:])
		if err := checkRefuse(n.op, list); err != nil {
			return nil, fmt.Errorf("Refuse(%d): %w", n.op, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// refuse lets the inspector know that an operation is refused, at once if that is possible,
// and carries out its answer.
func (s *session) refuse(op *operation, why sdk.Refusal) error {
	asker := &s.flows[op.dir.Opposite()]
	asker.owed++
	s.untold = append(s.untold, notice{op.id, why, asker.moved})
	s.steps.Begin(sdk.Forward)
	list, err := s.tell()
	if err != nil {
		return err
	}
	if err := checkAnswer(list); err != nil {
		return err
	}
	return s.apply(op.dir, list)
}

// guard turns a panic into an error.
func guard(call func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	call()
	return nil
}
