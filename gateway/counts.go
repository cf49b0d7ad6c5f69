package gateway

import (
	"errors"
	"slices"
	"sync/atomic"

	"cordon/gateway/timing"
	"cordon/policy"
)

// Connect stands in a DecisionCount for the class of an operation where a subject asked to connect.
const Connect policy.Class = "connect"

// Counts are what a gateway has done since it was made, and has at the moment. Whatever clients send,
// there are as many of them as routes and words for them.
type Counts struct {
	Routes     []RouteCounts     // in the order of Config.Routes
	Handshakes map[string]uint64 // that were refused, by reason: one of a few words
	Crowded    uint64            // connections closed because their source had Limits.SessionsPerSource
	Elsewhere  int               // sessions that other processes of this gateway have
	Decide     timing.Snapshot   // from a question to its answer
	Record     timing.Snapshot   // from an answer to its durable entry, or to giving up
}

// RouteCounts are those of one route.
type RouteCounts struct {
	Route       *Route
	Sessions    int // established
	Decisions   []DecisionCount
	Ends        map[string]uint64 // of established sessions, by reason: one of a few words
	Unreachable uint64            // times the device, or the destination, could not be connected to
	Busy        uint64            // times it had Route.Sessions already
}

// DecisionCount is how often something was decided.
type DecisionCount struct {
	Class policy.Class // one of policy.Classes, or Connect
	Allow bool
	Cause policy.Cause // of a refusal; CausePolicy for what was allowed
	N     uint64
}

// classes are what operations are counted by. What is not among policy.Classes is unknown.
var classes = append(policy.Classes[:len(policy.Classes):len(policy.Classes)], Connect)

// verdicts are how decisions are counted.
var verdicts = [...]struct {
	allow bool
	cause policy.Cause
}{{true, policy.CausePolicy}, {false, policy.CausePolicy}, {false, policy.CauseProtocol}, {false, policy.CauseDoubt}}

// Why established sessions end, in few words. The last is what is none of the others: an error of a
// socket.
var endWords = [...]string{"closed", "idle", "stalled", "drained", "withdrawn", "inspector", "plugin", "contract", "mute", "full", "connection"}

// Why handshakes are refused, see handshakeWord.
var handshakeWords = [...]string{"no_certificate", "expired", "untrusted", "revoked", "revocation_unknown", "profile", "timeout", "not_tls", "client_alert", "other"}

// tally is what is counted for one route.
type tally struct {
	decisions         [len(policy.Classes) + 1][len(verdicts)]atomic.Uint64
	sessions          atomic.Int64
	ends              [len(endWords)]atomic.Uint64
	unreachable, busy atomic.Uint64
}

// sums is what is counted for a gateway.
type sums struct {
	routes         map[*Route]*tally // guarded by Gateway.mu
	handshakes     [len(handshakeWords)]atomic.Uint64
	crowded        atomic.Uint64
	decide, record timing.Histogram
}

// tally is where what happens on r is counted.
func (g *Gateway) tally(r *Route) *tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.sums.routes[r]
	if t == nil {
		t = &tally{}
		g.sums.routes[r] = t
	}
	return t
}

// decided counts a decision about an operation of a class.
func (t *tally) decided(c policy.Class, d *policy.Decision) {
	v := 0
	switch {
	case d.Allow:
	case d.Cause == policy.CauseProtocol:
		v = 2
	case d.Cause == policy.CauseDoubt:
		v = 3
	default:
		v = 1
	}
	i := slices.Index(classes, c)
	if i < 0 {
		i = slices.Index(classes, policy.ClassUnknown)
	}
	t.decisions[i][v].Add(1)
}

// Counts returns what was counted up to now. The parts are read one after the other.
func (g *Gateway) Counts() Counts {
	c := Counts{Handshakes: map[string]uint64{}, Crowded: g.sums.crowded.Load(), Decide: g.sums.decide.Snapshot(), Record: g.sums.record.Snapshot()}
	for i, reason := range handshakeWords {
		c.Handshakes[reason] = g.sums.handshakes[i].Load()
	}
	for i := range g.Routes {
		t := g.tally(&g.Routes[i])
		r := RouteCounts{Route: &g.Routes[i], Sessions: int(t.sessions.Load()), Ends: map[string]uint64{}, Unreachable: t.unreachable.Load(), Busy: t.busy.Load()}
		for j, class := range classes {
			for k, v := range verdicts {
				r.Decisions = append(r.Decisions, DecisionCount{class, v.allow, v.cause, t.decisions[j][k].Load()})
			}
		}
		for j, reason := range endWords {
			r.Ends[reason] = t.ends[j].Load()
		}
		c.Routes = append(c.Routes, r)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.elsewhere {
		c.Elsewhere += n
	}
	return c
}

// endedAs is the place in endWords of why s ended.
func (s *session) endedAs() int {
	word := "connection"
	_, broke := errors.AsType[*violation](s.cause)
	is := func(some ...error) bool {
		return slices.ContainsFunc(some, func(e error) bool { return errors.Is(s.cause, e) })
	}
	switch {
	case s.cause == nil:
		word = "closed"
	case broke:
		word = "contract"
	case is(errIdle, errHalf):
		word = "idle"
	case is(errStalled):
		word = "stalled"
	case is(errDrained):
		word = "drained"
	case is(errWithdrawn, errPermitted):
		word = "withdrawn"
	case is(errEnd):
		word = "inspector"
	case is(errMute, errUnasked):
		word = "mute"
	case is(errFull):
		word = "full"
	case s.inspection == nil || s.inspection.Err() != nil:
		word = "plugin"
	}
	return slices.Index(endWords[:], word)
}

// stranger counts a handshake that was refused because of err.
func (s *sums) stranger(err error) {
	s.handshakes[slices.Index(handshakeWords[:], handshakeWord(err))].Add(1)
}
