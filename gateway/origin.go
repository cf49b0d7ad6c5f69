package gateway

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"cordon/certs"
	"cordon/plugins/sdk"
	"cordon/policy"
)

// origins are operations that were allowed and that others follow from, in sessions of their own
// (see policy.Expects). They are forgotten with the gateway's end: what follows then is unknown,
// and asked for again.
type origins struct {
	mu    sync.Mutex
	known map[originKey]*origin
	swept time.Time
}

// originKey is how an operation says what it follows from: in the plugin's words, of what a
// device was asked or has asked.
type originKey struct {
	protocol, device, direction, words string
}

type origin struct {
	session       *session
	op            sdk.OpID
	facts         policy.Operation
	code, subject string
	began, used   time.Time

	mu    sync.Mutex // guards what it was last permitted on, and until when
	on    *grounds
	epoch uint64
	due   int64
}

// Bounds of what is remembered. A tape may take hours to be found, and so may the report that what
// was stored is safe; a study takes hours to be moved, one image of it seconds.
const (
	maxOrigins  = 4096
	originIdle  = 10 * time.Minute // since something followed from it last
	originWhole = 12 * time.Hour
)

func (o *origin) over(now time.Time) bool {
	return o.used.After(o.began) && now.Sub(o.used) > originIdle || now.Sub(o.began) > originWhole
}

// expect remembers an operation of s that was allowed, if others will follow from it.
func (g *Gateway) expect(s *session, op sdk.OpID, request *policy.Request, code string) {
	words, _ := request.Operation.Attributes.Get(policy.Expects).(string)
	if words == "" {
		return
	}
	key := originKey{request.Service.Protocol, request.Device.ID, request.Session.Direction, words}
	now := time.Now()
	g.origins.add(key, &origin{session: s, op: op, facts: request.Operation, code: code, subject: request.Subject.Kind + "/" + request.Subject.ID, began: now, used: now})
}

func (o *origins) add(key originKey, fresh *origin) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = map[originKey]*origin{}
	}
	delete(o.known, key)
	if len(o.known) >= maxOrigins || fresh.began.Sub(o.swept) > originIdle {
		o.sweep(fresh.began)
	}
	o.known[key] = fresh
}

// sweep forgets what is over, and if that is too little, a quarter of what the subject who asked for
// the most asked for, used the longest ago: nobody has what others asked for forgotten.
func (o *origins) sweep(now time.Time) {
	maps.DeleteFunc(o.known, func(_ originKey, x *origin) bool { return x.over(now) })
	if len(o.known) >= maxOrigins {
		asked := map[string][]originKey{}
		most := ""
		for key, x := range o.known {
			asked[x.subject] = append(asked[x.subject], key)
			if len(asked[x.subject]) > len(asked[most]) {
				most = x.subject
			}
		}
		byUse := asked[most]
		slices.SortFunc(byUse, func(a, b originKey) int { return o.known[a].used.Compare(o.known[b].used) })
		for _, key := range byUse[:(len(byUse)+3)/4] {
			delete(o.known, key)
		}
	}
	o.swept = now
}

func (o *origins) find(key originKey) *origin {
	o.mu.Lock()
	defer o.mu.Unlock()
	x, now := o.known[key], time.Now()
	if x == nil || x.over(now) {
		return nil
	}
	x.used = now
	return x
}

// follows tells policy what an operation follows from that was asked in dir, if it says so: an
// operation that the other side of its device's sessions asked for, or, where the subject is
// another device behind this gateway, one that was asked of that. The session's own lock is not
// held.
func (s *session) follows(dir sdk.Direction, op *policy.Operation) error {
	for _, name := range [...]string{policy.Origin, policy.OriginCode, policy.OriginSubject} {
		if op.Attributes.Get(name) != nil {
			return violates("attribute %q, which is the gateway's", name)
		}
	}
	words, _ := op.Attributes.Get(policy.Because).(string)
	if words == "" {
		return nil
	}
	asked := policy.Inbound
	if s.route.direction(dir) == policy.Inbound {
		asked = policy.Outbound
	}
	key := originKey{s.route.Service.Protocol, s.route.Device.ID, asked, words}
	o := s.gateway.origins.find(key)
	if o == nil && s.subject.Kind == policy.KindDevice && s.route.CallOut == nil {
		key.device, key.direction = s.subject.ID, policy.Inbound
		o = s.gateway.origins.find(key)
	}
	if o == nil || !o.stands() {
		op.Attributes.Set(policy.Origin, policy.OriginUnknown)
		return nil
	}
	op.Attributes.Set(policy.Origin, policy.OriginAllowed)
	op.Attributes.Set(policy.OriginCode, o.code)
	op.Attributes.Set(policy.OriginSubject, o.subject)
	return nil
}

// stands reports whether what was allowed has not been refused since, and would not be now. Its
// session may have ended, or the operation in it, and then nobody asks them again.
func (o *origin) stands() bool {
	s := o.session
	if s.flip.Load() != nil {
		return false
	}
	if state := s.state(o.op); state == opOwed || state == opRefused {
		return false
	}
	g := s.gateway
	on, epoch, now := g.grounds.Load(), g.Certs.Epoch(), time.Now().UnixNano()
	o.mu.Lock()
	known := o.on == on && o.epoch == epoch && now < o.due
	o.mu.Unlock()
	if known {
		return true
	}
	due, permitted := s.permits(on, o.op, o.facts)
	if permitted {
		o.mu.Lock()
		o.on, o.epoch, o.due = on, epoch, due
		o.mu.Unlock()
	}
	return permitted
}

// permits decides anew an operation that s was allowed, and its connecting, though either may be
// over. A certificate that has only run out since does not count: a device's is replaced by another
// before what it asked for is done.
func (s *session) permits(on *grounds, op sdk.OpID, facts policy.Operation) (due int64, permitted bool) {
	r := s.connecting(on)
	if s.route.CallOut == nil {
		if _, err := s.gateway.identifyAgain(s.shown); err != nil && !errors.Is(err, certs.ErrExpired) {
			return 0, false
		}
	}
	d := s.gateway.decideTwice(on, s.route, &r)
	if !d.Allow {
		return 0, false
	}
	due = until(d)
	s.asks(&r, op, facts)
	d = s.gateway.decideTwice(on, s.route, &r)
	return min(due, until(d)), d.Allow
}
