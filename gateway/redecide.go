package gateway

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cordon/gateway/audit"
	"cordon/policy"
)

// grounds are what decisions rest on. They are replaced as one, so that no decision mixes
// old and new.
type grounds struct {
	policy  policy.Decider
	devices map[string]policy.Device // by id; one that is not here is as its route says
}

func (on *grounds) device(r *Route) policy.Device {
	if d, ok := on.devices[r.Device.ID]; ok {
		return d
	}
	return r.Device
}

// A session that is not permitted any more is gone within a second of the change. The parts
// of that second: a source of certificates looks at its files, the gateway looks at the
// source and the clock, sessions are asked, plugins are shown what has arrived, and what is under
// way may end.
const (
	watchEvery  = 100 * time.Millisecond
	inspectTime = 200 * time.Millisecond
	graceTime   = 500 * time.Millisecond
)

// Bounds of asking again: sessions at a time, so that those that carry something are not
// held up; and entries at a time, which the log makes durable together.
const (
	askers    = 4
	recorders = 64
)

// Replace makes p and devices (by id; nil or absent: as the route says) what decisions rest
// on, and asks every live session again: its connecting, and its operations that are not
// over. It returns how many are not permitted any more; those end within a second, the others are
// not touched. It returns when all are asked and the refusals are recorded, or could not be.
func (g *Gateway) Replace(p policy.Decider, devices map[string]policy.Device) (ended int) {
	g.asking.Lock()
	g.grounds.Store(&grounds{p, devices})
	flips := g.askAgain(g.live())
	g.asking.Unlock()
	each(flips, recorders, g.recordFlip)
	return len(flips)
}

// recheck asks the given sessions again on the grounds there are.
func (g *Gateway) recheck(sessions []*session) {
	g.asking.Lock()
	flips := g.askAgain(sessions)
	g.asking.Unlock()
	each(flips, recorders, g.recordFlip)
}

// watch has sessions asked again when trust in certificates has changed, and when what they
// were allowed ends by itself.
func (g *Gateway) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := g.Certs.Epoch()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if epoch := g.Certs.Epoch(); epoch != seen {
			seen = epoch
			g.recheck(g.live())
		}
		if now := time.Now().UnixNano(); g.due.Load() <= now {
			g.recheck(g.overdue(now))
		}
	}
}

// overdue returns the sessions whose time has come, and makes g.due that of the others.
func (g *Gateway) overdue(now int64) (list []*session) {
	g.due.Store(math.MaxInt64) // before it is lowered again by what is found, here and elsewhere
	for _, s := range g.live() {
		if due := s.due.Load(); due <= now {
			list = append(list, s)
		} else {
			lower(&g.due, due)
		}
	}
	return list
}

// lower makes a at most v.
func lower(a *atomic.Int64, v int64) {
	for old := a.Load(); v < old && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

// until is when a decision has to be made anew, for lower.
func until(d policy.Decision) int64 {
	if d.ValidUntil == 0 {
		return math.MaxInt64
	}
	return d.ValidUntil
}

// askAgain asks sessions and tells those that flip. g.asking is held: were the grounds
// replaced meanwhile, an operation could be judged by older ones than allowed it.
func (g *Gateway) askAgain(sessions []*session) (flips []*flip) {
	var mu sync.Mutex
	var unsure []*flip
	each(sessions, askers, func(s *session) {
		f, operations := s.askAgain()
		lower(&g.due, s.due.Load())
		told := f != nil && s.withdraw(f)
		mu.Lock()
		defer mu.Unlock()
		if told {
			flips = append(flips, f)
		}
		unsure = append(unsure, operations...)
	})
	for until := time.Now().Add(g.inspect); slices.ContainsFunc(unsure, unshown) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	for _, f := range unsure {
		if s := f.session; s.deny(f.op, f) && s.withdraw(f) {
			flips = append(flips, f)
		}
	}
	return flips
}

// unshown reports whether bytes of f's session have arrived of which the plugin has not yet said
// what they belong to: a reply, perhaps, with which f's operation is over.
func unshown(f *flip) bool {
	for i := range f.session.flows {
		if w := &f.session.flows[i]; w.came.Load() > w.shown.Load() {
			return true
		}
	}
	return false
}

// each calls f with every one of list, a few at a time.
func each[T any](list []T, atATime int, f func(T)) {
	var next atomic.Int64
	var working sync.WaitGroup
	for range min(atATime, len(list)) {
		working.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(list); i = next.Add(1) - 1 {
				f(list[i])
			}
		})
	}
	working.Wait()
}

// recordFlip records why a live session ends. It does so even if the log cannot be written.
func (g *Gateway) recordFlip(f *flip) {
	if f.decision.Allow {
		return // the next session of this client makes an entry
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.RecordTimeout)
	defer cancel()
	code := CodeUnrecorded
	receipt, err := g.Log.Append(ctx, audit.Entry{Kind: audit.KindDecision, Gateway: g.Name, Input: f.request.AppendJSON(nil),
		Decision: f.decision, Note: "ended a live session"})
	if err == nil {
		code = receipt.Code
	}
	g.Logger.Info("session not permitted any more", "id", f.request.Session.ID, "code", code, "reason", f.decision.Reason)
}

// askAgain has s judged by what is in force. It returns why s has to end, or else the operations that are refused now.
func (s *session) askAgain() (end *flip, operations []*flip) {
	if s.flip.Load() != nil {
		return nil, nil
	}
	s.due.Store(math.MaxInt64) // before it is lowered again, here and by operations
	j := s.judge(s.gateway.grounds.Load())
	lower(&s.due, j.due)
	for _, op := range j.permitted {
		s.permit(op)
	}
	return j.end, j.refused
}

// decideTwice asks once more if nobody could know: what was allowed should not end because a
// machine was busy for a moment.
func (g *Gateway) decideTwice(on *grounds, r *Route, request *policy.Request) policy.Decision {
	d := g.decide(on, r, request)
	if !d.Allow && d.Cause == policy.CauseDoubt {
		d = g.decide(on, r, request)
	}
	return d
}
