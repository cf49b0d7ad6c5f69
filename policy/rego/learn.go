package rego

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// Learner gathers what was asked and a policy refuses. What devices in learning mode were
// allowed for that reason counts as refused: it is asked as if they were active. It is not
// for concurrent use: to share the work make one for each goroutine, and Join them.
//
// It learns what people tried, which is not what they may do, and believes the record.
type Learner struct {
	asks   *Replay
	access func(revision, data string) ([]byte, bool) // nil: as the policy has it
	scope  Scope

	recorded, allowed, refused, unasked, further int64
	groups                                       map[seenKey]*seenGroup
}

// Scope is what a Learner looks at.
type Scope struct {
	Device string               // a device's id; "" for any
	Class  string               // of devices: "imaging/ct", or "imaging/*" for all below; "" for any
	Odd    func(time.Time) bool // outside the usual hours; nil: never
}

// Limits of what is gathered. Names of operations come from clients.
const (
	maxSeen     = 2048 // groups; what is further is only counted
	maxPeople   = 1000 // counted in a group
	maxDetails  = 8    // in a group
	maxProposed = 64   // bytes of a fact that is written down
)

// NewLearner begins to gather what e refuses.
func (e *Engine) NewLearner(s Scope) *Learner {
	return &Learner{asks: e.NewReplay(nil), scope: s, groups: map[seenKey]*seenGroup{}}
}

// AccessBy has l ask each question under what operators had granted then, as Replay.AccessBy:
// what a grant permitted is not learned.
func (l *Learner) AccessBy(access func(revision, data string) ([]byte, bool)) error {
	l.access = access
	return l.asks.AccessBy(access)
}

// Covers reports whether the scope has a device of this id and class.
func (s *Scope) Covers(id, class string) bool {
	general, below := strings.CutSuffix(s.Class, "/*")
	return (s.Device == "" || s.Device == id) &&
		(s.Class == "" || s.Class == class || below && (class == general || strings.HasPrefix(class, general+"/")))
}

// seenKey is what operations of a group have in common.
type seenKey struct {
	connect                     bool
	roles, kind                 string // of the subject
	class, state                string // of the device
	protocol, direction         string
	operation                   string
	does                        policy.Class
	callOut                     bool   // the device opened the session
	subject, device, calls, sop string // where the tables name them
	destination, further        string
}

// seenGroup is what was seen of a group.
type seenGroup struct {
	count, passed, odd int64
	people, devices    map[string]bool
	details            map[string]bool
	first, last        time.Time
	examples           []example
	sample             policy.Request // the earliest one
	index              int64          // of the sample
}

// Add takes rec into account. It blocks for 500 ms at most and does not keep rec. An error
// says that ctx ended.
func (l *Learner) Add(ctx context.Context, rec *Recorded) error {
	why := l.asks.read(rec)
	q := &l.asks.request
	if !l.scope.Covers(q.Device.ID, q.Device.Class) {
		return nil
	}
	l.recorded++
	if why != "" {
		l.unasked++
		return nil
	}
	unlearn(q)
	d, err := l.asks.ask(ctx, q)
	switch {
	case err != nil:
		return err
	case d.Cause == policy.CauseDoubt:
		l.unasked++
		return nil
	case d.Allow:
		l.allowed++
		return nil
	}
	l.refused++
	k := keyOfSeen(q)
	g := l.groups[k]
	if g == nil {
		if len(l.groups) >= maxSeen {
			l.further++
			return nil
		}
		g = &seenGroup{people: map[string]bool{}, devices: map[string]bool{}, details: map[string]bool{}, first: rec.Time, last: rec.Time, sample: keep(q), index: rec.Index}
		l.groups[keyOfSeen(&g.sample)] = g // of strings of its own
	}
	g.count++
	if rec.Decision.Allow {
		g.passed++
	}
	if l.scope.Odd != nil && l.scope.Odd(rec.Time) {
		g.odd++
	}
	if rec.Time.Before(g.first) {
		g.first = rec.Time
	}
	if rec.Time.After(g.last) {
		g.last = rec.Time
	}
	note(g.devices, q.Device.ID, maxDevices)
	if what := detail(&q.Operation); what != "" {
		note(g.details, what, maxDetails)
	}
	if person := q.Subject.Kind + "/" + q.Subject.ID; note(g.people, person, maxPeople) && len(g.examples) < maxExamples {
		g.examples = append(g.examples, example{rec.Index, rec.Code, strings.Clone(person)})
	}
	return nil
}

// unlearn makes the request one to an active device.
func unlearn(q *policy.Request) {
	if q.Device.State == policy.StateLearning {
		q.Device.State = policy.StateActive
	}
}

// note puts s into a set of bounded size and reports whether it was new.
func note(set map[string]bool, s string, most int) bool {
	if set[s] || len(set) >= most {
		return false
	}
	set[strings.Clone(s)] = true
	return true
}

// keep returns a copy of a request that shares nothing with the record it was read from.
func keep(q *policy.Request) policy.Request {
	var own policy.Request
	if _, _, err := readRecorded(slices.Clone(q.AppendJSON(nil)), nil, &own); err != nil {
		return policy.Request{} // never: it was read from that form
	}
	own.Operation.Attributes = slices.Clone(own.Operation.Attributes)
	return own
}

// Join adds what other gathered of other entries.
func (l *Learner) Join(other *Learner) {
	l.recorded += other.recorded
	l.allowed += other.allowed
	l.refused += other.refused
	l.unasked += other.unasked
	l.further += other.further
	l.asks.evaluated += other.asks.evaluated
	for k, o := range other.groups {
		g := l.groups[k]
		if g == nil && len(l.groups) >= maxSeen {
			l.further += o.count
			continue
		}
		if g == nil {
			l.groups[k] = o
			continue
		}
		if o.index < g.index {
			g.sample, g.index = o.sample, o.index
		}
		g.count += o.count
		g.passed += o.passed
		g.odd += o.odd
		maps.Copy(g.people, o.people)
		maps.Copy(g.devices, o.devices)
		maps.Copy(g.details, o.details)
		if o.first.Before(g.first) {
			g.first = o.first
		}
		if o.last.After(g.last) {
			g.last = o.last
		}
		g.examples = earliest(append(g.examples, o.examples...))
	}
}

// keyOfSeen groups a request: by what the tables of the shipped policy tell apart.
func keyOfSeen(q *policy.Request) seenKey {
	k := seenKey{connect: q.Phase == policy.PhaseConnect, roles: strings.Join(q.Subject.Roles, ", "), kind: q.Subject.Kind, class: q.Device.Class, state: q.Device.State,
		protocol: q.Service.Protocol, direction: q.Session.Direction, operation: q.Operation.Name, does: q.Operation.Class,
		callOut: q.Subject.Kind == policy.KindDevice && q.Subject.ID == q.Device.ID}
	a := q.Operation.Attributes
	switch k.operation {
	case "dicom:A-ASSOCIATE":
		k.calls, k.subject = text(a, "calling_ae"), q.Subject.ID
	case "dicom:C-MOVE":
		k.destination, k.subject, k.device = text(a, "move_destination"), q.Subject.ID, q.Device.ID
	}
	k.sop = text(a, "sop_class_uid")
	var further []string
	for _, name := range []string{"retain", "will_retain"} {
		if v, ok := a.Get(name).(int64); ok {
			further = append(further, fmt.Sprintf("%s %d", name, v))
		}
	}
	if list, ok := a.Get("anomalies").([]string); ok && len(list) > 0 {
		further = append(further, "anomalies "+strings.Join(list, " "))
	}
	if list, ok := a.Get("filters").([]string); ok && slices.Contains(list, "#") {
		further = append(further, "every topic")
	}
	k.further = strings.Join(further, ", ")
	return k
}

// text returns an attribute that is a string, or "".
func text(a policy.Attributes, name string) string {
	s, _ := a.Get(name).(string)
	return s
}

// detail says more of an operation than policies usually look at, for a person to judge. It
// names nothing that may be a patient's: of topics, levels with digits are left out.
func detail(op *policy.Operation) string {
	a := op.Attributes
	if table := text(a, "table"); table != "" {
		from, _ := a.Get("address").(int64)
		to, _ := a.Get("address_end").(int64)
		where := fmt.Sprintf("%s %d", table, from)
		if to > from {
			where += fmt.Sprintf(" to %d", to)
		}
		if values, ok := a.Get("values").([]int64); ok && len(values) > 0 {
			where += fmt.Sprintf(" = %d to %d", slices.Min(values), slices.Max(values))
		}
		return where
	}
	topics, _ := a.Get("filters").([]string)
	if topic := text(a, "topic"); topic != "" {
		topics = []string{topic}
	}
	var plain []string
	for _, topic := range topics[:min(len(topics), maxDetails)] {
		levels := strings.Split(topic, "/")
		for i, level := range levels {
			if strings.ContainsAny(level, "0123456789") || len(level) > maxProposed {
				levels[i] = "…"
			}
		}
		plain = append(plain, strings.Join(levels, "/"))
	}
	if len(plain) == 0 {
		return ""
	}
	return "topics " + clip(strings.Join(plain, " "))
}
