package gateway

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// allowance is an operation that was allowed, with the facts it was decided with, for as
// long as something of it may still move: so long it can be decided again.
//
// The gateway knows no protocol. To it an operation is over when a reply to it has come and
// every byte that belongs to the two has moved. More of the reply may follow even then, so
// the latest operation of each direction is remembered; if that is refused when it is
// decided again, the session ends only if it goes on.
type allowance struct {
	op       sdk.OpID
	facts    policy.Operation
	ends     [2]int64 // offset in each direction up to which spans cover it
	answered bool     // bytes of the other direction belong to it
	kept     bool     // others run inside of it
	denied   *flip    // it was refused when decided again, and seemed to be over
	seen     int64    // where its own bytes ended when its session was told to end; 0: not looked yet
}

// maxAllowances bounds those of one session, besides kept ones. Where more operations than
// that wait for replies, nobody decides the oldest again.
const maxAllowances = 16

// allow remembers the operation in s.request, allowed on these grounds. It reports false
// if the grounds have been replaced: whoever asks sessions again may not see it any more.
func (s *session) allow(on *grounds, op sdk.OpID) bool {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	if s.gateway.grounds.Load() != on {
		return false
	}
	s.allowances = slices.DeleteFunc(s.allowances, func(a allowance) bool {
		return a.op.Direction() == op.Direction() && !a.kept && a.denied == nil && s.over(&a)
	})
	if len(s.allowances) >= maxAllowances {
		passing := func(a allowance) bool { return !a.kept }
		if oldest := slices.IndexFunc(s.allowances, passing); oldest >= 0 {
			s.allowances = slices.Delete(s.allowances, oldest, oldest+1)
		}
	}
	s.allowances = append(s.allowances, allowance{op: op, facts: s.request.Operation})
	return true
}

// over reports whether nothing of a is under way. allowing is held.
func (s *session) over(a *allowance) bool {
	return a.answered && a.ends[sdk.Forward] <= s.flows[sdk.Forward].sent.Load() && a.ends[sdk.Reverse] <= s.flows[sdk.Reverse].sent.Load()
}

// allowance finds op, or returns nil. allowing is held.
func (s *session) allowance(op sdk.OpID) *allowance {
	for i := len(s.allowances) - 1; i >= 0; i-- {
		if s.allowances[i].op == op {
			return &s.allowances[i]
		}
	}
	return nil
}

// extend notes that a span up to end in dir belongs to op, before any of it moves. If op had
// seemed to be over when it was refused, it returns that.
func (s *session) extend(op sdk.OpID, dir sdk.Direction, end int64) *flip {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	a := s.allowance(op)
	if a == nil {
		return nil
	}
	a.ends[dir] = end
	if dir != op.Direction() {
		a.answered = true
	}
	return a.denied
}

// setKept notes that others run inside of op, or none do any more.
func (s *session) setKept(op sdk.OpID, kept bool) {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	if a := s.allowance(op); a != nil {
		a.kept = kept
	}
}

// forget drops op, which is refused after all, and returns its facts.
func (s *session) forget(op sdk.OpID) (facts policy.Operation, known bool) {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	a := s.allowance(op)
	if a == nil {
		return facts, false
	}
	facts = a.facts
	s.allowances = slices.DeleteFunc(s.allowances, func(a allowance) bool { return a.op == op })
	return facts, true
}

// standing returns all that would be decided again.
func (s *session) standing() []allowance {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	return slices.Clone(s.allowances)
}

// deny takes note that op is refused now and reports whether it is under way. If not, the
// note is for extend.
func (s *session) deny(op sdk.OpID, f *flip) bool {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	if s.underWay(op) {
		return true
	}
	if a := s.allowance(op); a != nil {
		a.denied = f
	}
	return false
}

// underWay reports whether op, were it refused now, would end the session. allowing is held.
func (s *session) underWay(op sdk.OpID) bool {
	a := s.allowance(op)
	return a != nil && (a.kept || !s.over(a))
}

// permit takes that back.
func (s *session) permit(op sdk.OpID) {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	if a := s.allowance(op); a != nil {
		a.denied = nil
	}
}

// still reports whether no operation is under way.
func (s *session) still() bool {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	return !slices.ContainsFunc(s.allowances, func(a allowance) bool { return !s.over(&a) })
}

// arriving returns the client's operations that are not to be waited for: a long rest is
// known to be missing, or, when it is late, any rest, also one that nobody foretold.
func (s *session) arriving(late bool) (list []sdk.OpID) {
	s.allowing.Lock()
	defer s.allowing.Unlock()
	sent := s.flows[sdk.Forward].sent.Load()
	for i := range s.allowances {
		a := &s.allowances[i]
		end := a.ends[sdk.Forward]
		if a.op.Direction() != sdk.Forward || end == 0 {
			continue
		}
		if a.seen == 0 {
			a.seen = end
		}
		if end-sent > shortRest || late && (end > sent || end > a.seen) {
			list = append(list, a.op)
		}
	}
	return list
}
