package gateway

import (
	"math"
	"slices"
	"sync"
	"time"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Foreseen is a session that Replace would end, and why.
type Foreseen struct {
	Live
	Operation string // that is not over, and not permitted any more; "" if it is the connecting, or permitted now
	Reason    string // the policy's
}

// Foresee returns the sessions that Replace would end with the same arguments at this moment, by device, subject and
// beginning. It changes nothing. An operation that is over by then ends nothing.
func (g *Gateway) Foresee(p policy.Decider, devices map[string]policy.Device) []Foreseen {
	on := &grounds{p, devices}
	var mu sync.Mutex
	list := []Foreseen{}
	each(g.live(), askers, func(s *session) {
		if s.flip.Load() != nil {
			return
		}
		j := s.judge(on)
		flips := []*flip{j.end}
		if j.end == nil {
			s.allowing.Lock()
			flips = slices.DeleteFunc(j.refused, func(f *flip) bool { return !s.underWay(f.op) })
			s.allowing.Unlock()
		}
		if len(flips) == 0 {
			return
		}
		f := Foreseen{Live: s.asLive(), Reason: flips[0].decision.Reason}
		if j.end == nil {
			f.Operation = flips[0].request.Operation.Name
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, f)
	})
	slices.SortFunc(list, func(a, b Foreseen) int { return a.compare(&b.Live) })
	return list
}

// judgement is what becomes of a session on some grounds.
type judgement struct {
	end       *flip      // why it has to end
	refused   []*flip    // or else its operations that are refused
	permitted []sdk.OpID // and those that are not
	due       int64      // when that may change by itself, ns since the Unix epoch
}

// judge decides anew all that s was allowed and is not over. A session that was refused from the start
// ends, too, if its client may now connect.
func (s *session) judge(on *grounds) judgement {
	g := s.gateway
	j := judgement{due: math.MaxInt64}
	r := s.connecting(on)
	if s.route.CallOut == nil { // a device is known by its place
		id, err := g.identifyAgain(s.shown)
		if err != nil {
			j.end = &flip{session: s, request: r, decision: policy.Decision{Reason: handshakeReason(err), Cause: policy.CausePolicy}}
			return j
		}
		j.due = min(j.due, id.NotAfter.UnixNano())
	}
	d := g.decideTwice(on, s.route, &r)
	j.due = min(j.due, until(d))
	switch {
	case s.refused == nil && !d.Allow, s.refused != nil && s.refused.Cause == policy.CausePolicy && d.Allow:
		j.end = &flip{session: s, request: r, decision: d}
		return j
	case s.refused != nil:
		return j
	}
	for _, a := range s.standing() {
		s.asks(&r, a.op, a.facts)
		d := g.decideTwice(on, s.route, &r)
		j.due = min(j.due, until(d))
		if d.Allow {
			j.permitted = append(j.permitted, a.op)
		} else {
			j.refused = append(j.refused, &flip{session: s, op: a.op, request: r, decision: d})
		}
	}
	return j
}

// connecting is the question whether s may connect, asked now.
func (s *session) connecting(on *grounds) policy.Request {
	return policy.Request{
		Phase: policy.PhaseConnect, Subject: s.subject, Device: on.device(s.route), Service: s.request.Service,
		Session: policy.Session{ID: s.request.Session.ID, Direction: s.route.direction(sdk.Forward), Client: s.source, TLS: s.request.Session.TLS},
		NowNs:   time.Now().UnixNano(),
	}
}

// asks makes r the question whether op is permitted, asked now.
func (s *session) asks(r *policy.Request, op sdk.OpID, facts policy.Operation) {
	r.Phase, r.Operation, r.Subject = policy.PhaseOperation, facts, s.asker(op.Direction())
	r.Session.Direction, r.NowNs = s.route.direction(op.Direction()), time.Now().UnixNano()
}
