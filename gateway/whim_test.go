package gateway

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/plugins/wire"
	"cordon/policy"
)

// A whim is a plugin that answers at random. What it will say about a session's bytes is a
// script that follows from the session's seed, which the client sends as its first bytes;
// only when it says it, and what it does with replies, depends on what happens. So
// the test knows which bytes belong to which operation without asking the plugin.

// script is what will be said about one session, in order.
type script struct {
	lines []scriptLine
	names []string // of the operations, by number; names[0] is no operation's
}

// scriptLine covers n bytes with op, which it announces if it is new; or, if n is 0, it
// aborts op, or breaks the contract with bad and ends there.
type scriptLine struct {
	op  sdk.OpID
	n   int64
	bad []sdk.Step
}

const seedBytes = 8

func newScript(seed uint64) *script {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &script{names: []string{""}}
	s.lines = append(s.lines, s.cover(s.name("ok"), seedBytes))
	for range r.IntN(30) {
		last := sdk.OpID(len(s.names) - 1)
		some := last - sdk.OpID(r.IntN(min(len(s.names)-1, 5)))
		size := []int64{1, 7, 40, 300, 5000, 70_000}[r.IntN(6)]
		n := 1 + r.Int64N(size)
		switch k := r.IntN(100); {
		case k < 60:
			s.lines = append(s.lines, s.cover(s.name([]string{"ok", "ok", "no", "invalid", "foreign"}[r.IntN(5)]), n))
		case k < 85:
			s.lines = append(s.lines, s.cover(some, n))
		case k < 92:
			s.lines = append(s.lines, scriptLine{op: some})
		case k < 95:
			s.lines = append(s.lines, s.cover(some, sdk.Unlimited/2))
		default:
			bad := [][]sdk.Step{
				{span(last+1, n)}, {span(0, n)}, {span(last, -n)}, {span(last, 0)}, {op(last+2, "ok")}, {op(last, "ok")},
				{refusal(last+1, 0, "EVIL")}, {abort(last + 1)}, {end(), span(last, n)},
				{span(last, sdk.Unlimited), span(last, sdk.Unlimited)}, ops(sdk.MaxSteps + 1),
			}
			s.lines = append(s.lines, scriptLine{bad: bad[r.IntN(len(bad))]})
			return s
		}
	}
	return s
}

func (s *script) name(kind string) sdk.OpID {
	s.names = append(s.names, fmt.Sprintf("%s-%d", kind, len(s.names)))
	return sdk.OpID(len(s.names) - 1)
}

func (s *script) cover(op sdk.OpID, n int64) scriptLine { return scriptLine{op: op, n: n} }

// announce is the step that begins the operation.
func (s *script) announce(id sdk.OpID, seed uint64) sdk.Step {
	name := s.names[id]
	step := op(id, fmt.Sprintf("%s-%016x", name, seed))
	switch {
	case strings.HasPrefix(name, "invalid"):
		step.Invalid, step.Reason = true, "a whim"
	case strings.HasPrefix(name, "foreign"):
		step.Operation.Name = "lines:" + name
	case strings.HasPrefix(name, "no"):
		step.Operation.Class = policy.ClassControl
	}
	return step
}

// allows reports whether the operation's bytes may pass.
func (s *script) allows(op sdk.OpID) bool { return strings.HasPrefix(s.names[op], "ok") }

// whim plays the scripts of a process's sessions.
type whim struct {
	windows  map[uint32]*wire.Window
	sessions map[uint64]*whimSession
}

type whimSession struct {
	seed      uint64
	script    *script // nil until the seed is known
	r         *rand.Rand
	announced sdk.OpID
	covered   [2]int64
	owed      []sdk.OpID // refusals not given yet
}

func newWhim() *puppet {
	w := &whim{windows: map[uint32]*wire.Window{}, sessions: map[uint64]*whimSession{}}
	lent := make(chan *wire.Window, 32) // all that startHostile allows; acknowledged before a notice speaks of one
	return &puppet{
		lend: func(p *puppet) error {
			return wire.ReceiveWindow(p.windows, func(m *wire.Window) { lent <- m })
		},
		act: func(p *puppet, f any) bool {
			for {
				select {
				case m := <-lent:
					w.windows[m.ID] = m
					continue
				default:
				}
				break
			}
			w.answer(p, f)
			return true
		},
	}
}

func (w *whim) answer(p *puppet, f any) {
	switch f := f.(type) {
	case wire.Open:
		w.sessions[f.Session] = &whimSession{}
		p.say(f)
	case wire.Notice:
		s := w.sessions[f.Session]
		if s.script == nil {
			if f.Dir == sdk.Reverse || f.Arrived < seedBytes {
				p.say(f)
				return
			}
			s.seed = binary.LittleEndian.Uint64(w.windows[f.Window].Bytes(0, seedBytes))
			s.script, s.r = newScript(s.seed), rand.New(rand.NewPCG(s.seed, 2))
		}
		if f.Dir == sdk.Forward {
			p.say(f, s.forward(f.Arrived)...)
		} else {
			p.say(f, s.reverse(f.Arrived)...)
		}
	case wire.Refuse:
		s := w.sessions[f.Session]
		s.owed = append(s.owed, f.Op)
		var list []sdk.Step
		if s.r.IntN(2) == 0 && s.covered[sdk.Reverse] >= f.After {
			list = s.refusals()
		}
		p.say(f, list...)
	case wire.Close:
		delete(w.sessions, f.Session)
	}
}

// forward says the script's next lines, at least until what has arrived is covered.
func (s *whimSession) forward(arrived int64) []sdk.Step {
	var list []sdk.Step
	for len(s.script.lines) > 0 && (s.covered[sdk.Forward] < arrived || s.r.IntN(3) == 0) {
		l := s.script.lines[0]
		s.script.lines = s.script.lines[1:]
		switch {
		case l.bad != nil:
			return append(list, l.bad...)
		case l.n == 0:
			list = append(list, abort(l.op))
			continue
		case l.op > s.announced:
			list = append(list, s.script.announce(l.op, s.seed))
			s.announced = l.op
		}
		list = append(list, span(l.op, l.n))
		s.covered[sdk.Forward] += l.n
	}
	if len(list) == 0 {
		list = append(s.refusals(), end()) // the script is over
	}
	return list
}

// reverse covers replies at random, with the first operation, which is allowed, and now
// and then wrongly.
func (s *whimSession) reverse(arrived int64) []sdk.Step {
	var list []sdk.Step
	if missing := arrived - s.covered[sdk.Reverse]; missing > 0 && s.r.IntN(4) > 0 {
		n := 1 + s.r.Int64N(missing+5)
		list = append(list, span(1, n))
		s.covered[sdk.Reverse] += n
	}
	switch s.r.IntN(60) {
	case 0:
		list = append(list, span(sdk.OpID(s.r.IntN(300)), 1+s.r.Int64N(10)))
	case 1:
		n := s.r.IntN(20)
		list = append(list, refusal(sdk.OpID(n), s.r.Int64N(100), fmt.Sprintf("<%d>", n)))
	case 2:
		list = append(list, op(s.announced+1, "ok"))
	}
	if s.r.IntN(2) == 0 {
		list = append(list, s.refusals()...)
	}
	return list
}

// refusals gives what is owed, in order.
func (s *whimSession) refusals() []sdk.Step {
	var list []sdk.Step
	for _, op := range s.owed {
		list = append(list, refusal(op, s.covered[sdk.Reverse], fmt.Sprintf("<%d>", op)))
	}
	s.owed = nil
	return list
}

// passes reports whether got may be what arrived of sent: the spans of allowed operations,
// in order, cut off anywhere. How much of an operation had passed when it was aborted is
// not known, so each span before that may be cut, too.
func (s *script) passes(sent, got string) bool {
	aborts := map[sdk.OpID]int{} // to come
	for _, l := range s.lines {
		if l.bad == nil && l.n == 0 {
			aborts[l.op]++
		}
	}
	aborted := map[sdk.OpID]bool{}
	at := []int{0} // how much of got may have been explained so far
	for _, l := range s.lines {
		if l.bad != nil || len(sent) == 0 {
			break
		}
		if l.n == 0 {
			aborts[l.op]--
			aborted[l.op] = true
			continue
		}
		n := int(min(l.n, int64(len(sent))))
		span := sent[:n]
		sent = sent[n:]
		if !s.allows(l.op) || aborted[l.op] {
			continue
		}
		var next []int
		for _, from := range at {
			common := 0
			for common < n && from+common < len(got) && span[common] == got[from+common] {
				common++
			}
			if from+common == len(got) {
				return true // cut off here
			}
			if common == n {
				next = append(next, from+n)
			}
			if aborts[l.op] > 0 {
				for part := range min(common+1, n) {
					next = append(next, from+part)
				}
			}
		}
		slices.Sort(next)
		at = slices.Compact(next)
	}
	return slices.Contains(at, len(got))
}

// moved returns the operations to which the first n bytes that arrived belong, or none if
// an abort makes that uncertain.
func (s *script) moved(n int) []sdk.OpID {
	var list []sdk.OpID
	for _, l := range s.lines {
		switch {
		case l.bad != nil || n <= 0:
			return list
		case l.n == 0:
			return nil
		case s.allows(l.op):
			list = append(list, l.op)
			n -= int(min(l.n, int64(n)))
		}
	}
	return list
}
