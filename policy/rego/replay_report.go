package rego

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// Change is what became of recorded decisions in a replay.
type Change string

// Changes, in the order of a report.
const (
	Contradicted     Change = "contradicted" // the very policy that is recorded answers otherwise: the log or the policy was changed
	NewlyDenied      Change = "newly-denied"
	NewlyAllowed     Change = "newly-allowed"
	OtherObligations Change = "other-obligations" // allowed as before, but not on the same terms
	NotReplayed      Change = "not-replayed"      // not the policy's to answer, or not recorded whole; nothing is known of them
)

var changes = [...]Change{Contradicted, NewlyDenied, NewlyAllowed, OtherObligations, NotReplayed}

// Report is what a replay found.
type Report struct {
	Policy    string  `json:"policy"` // digests of the policy that was asked
	Data      string  `json:"data"`
	Recorded  int64   `json:"recorded"`     // decisions: those in groups and the same
	Allowed   int64   `json:"same_allowed"` // allowed as before
	Denied    int64   `json:"same_denied"`  // refused as before
	Evaluated int64   `json:"evaluated"`    // questions that were different, and asked of the rules
	Groups    []Group `json:"groups"`       // by change; newly denied on critical devices first; the largest first
}

// Group is recorded decisions that changed alike.
type Group struct {
	Change    Change    `json:"change"`
	Critical  bool      `json:"critical"` // the devices are
	Class     string    `json:"class"`    // of the device
	Operation string    `json:"operation"`
	Roles     string    `json:"roles"`    // all of the subject's
	Before    string    `json:"before"`   // "allow" or "deny"
	After     string    `json:"after"`    // "allow", "deny", "doubt", or "" if it was not replayed
	Reason    string    `json:"reason"`   // what the policy says to the first of them, or why they were not replayed
	Count     int64     `json:"count"`    // of decisions
	People    int       `json:"people"`   // subjects, whatever their kind
	First     time.Time `json:"first"`    // when the earliest of them was recorded
	Last      time.Time `json:"last"`     // and the latest
	Examples  []string  `json:"examples"` // decision codes, each of another subject; the earliest ones
	Devices   []string  `json:"devices"`  // ids of up to 20 devices, sorted
}

// Count returns how many decisions changed so; with critical, on critical devices only.
func (r *Report) Count(c Change, critical bool) (n int64) {
	for _, g := range r.Groups {
		if g.Change == c && (g.Critical || !critical) {
			n += g.Count
		}
	}
	return n
}

const (
	maxExamples = 3
	maxDevices  = 20
)

// groupKey is what decisions of a group have in common.
type groupKey struct {
	change                  Change
	critical, before        bool
	after                   string
	class, operation, roles string
	why                     string // if not replayed
}

type group struct {
	reason      string
	count       int64
	people      map[string]bool
	devices     map[string]bool
	first, last time.Time
	examples    []example
}

// example is an entry of a group.
type example struct {
	index        int64
	code, person string
}

// put counts rec, which asked q, among those that changed so. d is the new answer, or holds
// the reason why there is none.
func (r *Replay) put(ctx context.Context, rec *Recorded, q *policy.Request, change Change, d policy.Decision) {
	k := groupKey{change: change, critical: r.critical(q.Device.ID), before: rec.Decision.Allow,
		class: q.Device.Class, operation: q.Operation.Name, roles: strings.Join(q.Subject.Roles, ", ")}
	if q.Phase == policy.PhaseConnect {
		k.operation = "connect"
	}
	why := d.Reason
	switch {
	case change == NotReplayed:
		k.why = d.Reason
	case d.Allow:
		k.after, why = "allow", d.Rule
	case d.Cause == policy.CauseDoubt:
		k.after = "doubt"
	default:
		k.after = "deny"
	}
	g := r.groups[k]
	if g == nil && len(r.groups) >= maxGroups {
		k.class, k.operation, k.roles = "", "(any other)", ""
		g = r.groups[k]
	}
	if g == nil {
		k.class, k.operation, k.roles = strings.Clone(k.class), strings.Clone(k.operation), strings.Clone(k.roles) // parts of a whole input
		if k.after == "deny" {
			why = r.engine.evaluate(ctx, input(q), q.NowNs).Reason
		}
		g = &group{reason: why, people: map[string]bool{}, devices: map[string]bool{}, first: rec.Time, last: rec.Time}
		r.groups[k] = g
	}
	g.count++
	if rec.Time.Before(g.first) {
		g.first = rec.Time
	}
	if rec.Time.After(g.last) {
		g.last = rec.Time
	}
	if q.Device.ID != "" && !g.devices[q.Device.ID] && len(g.devices) < maxDevices {
		g.devices[strings.Clone(q.Device.ID)] = true
	}
	person := ""
	if q.Subject.ID != "" {
		person = q.Subject.Kind + "/" + q.Subject.ID
	}
	if !g.people[person] {
		if person != "" {
			g.people[person] = true
		}
		if len(g.examples) < maxExamples {
			g.examples = append(g.examples, example{rec.Index, rec.Code, person})
		}
	}
}

// Join adds what other found, a replay of other entries by the same policy.
func (r *Replay) Join(other *Replay) {
	r.same += other.same
	r.sameDenied += other.sameDenied
	r.evaluated += other.evaluated
	for k, o := range other.groups {
		g := r.groups[k]
		if g == nil {
			r.groups[k] = o
			continue
		}
		if o.examples[0].index < g.examples[0].index {
			g.reason = o.reason
		}
		g.count += o.count
		maps.Copy(g.people, o.people)
		maps.Copy(g.devices, o.devices)
		if o.first.Before(g.first) {
			g.first = o.first
		}
		if o.last.After(g.last) {
			g.last = o.last
		}
		g.examples = earliest(append(g.examples, o.examples...))
	}
}

// earliest returns the first examples, one for each person.
func earliest(list []example) []example {
	slices.SortFunc(list, func(a, b example) int { return cmp.Compare(a.index, b.index) })
	var out []example
	for _, x := range list {
		if len(out) < maxExamples && !slices.ContainsFunc(out, func(y example) bool { return x.person != "" && y.person == x.person }) {
			out = append(out, x)
		}
	}
	return out
}

// Report returns what was found so far.
func (r *Replay) Report() Report {
	out := Report{Policy: r.policy.revision, Data: r.policy.data, Allowed: r.same, Denied: r.sameDenied, Evaluated: r.evaluated,
		Recorded: r.same + r.sameDenied, Groups: []Group{}}
	for k, g := range r.groups {
		out.Recorded += g.count
		one := Group{Change: k.change, Critical: k.critical, Class: k.class, Operation: k.operation, Roles: k.roles, Before: "deny", After: k.after,
			Reason: g.reason, Count: g.count, People: len(g.people), First: g.first.UTC(), Last: g.last.UTC()}
		if k.before {
			one.Before = "allow"
		}
		for _, x := range g.examples {
			one.Examples = append(one.Examples, x.code)
		}
		one.Devices = append([]string{}, slices.Sorted(maps.Keys(g.devices))[:min(len(g.devices), maxDevices)]...)
		out.Groups = append(out.Groups, one)
	}
	slices.SortFunc(out.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(slices.Index(changes[:], a.Change), slices.Index(changes[:], b.Change)),
			-compareBool(a.Critical, b.Critical), cmp.Compare(b.Count, a.Count), strings.Compare(a.Class, b.Class),
			strings.Compare(a.Operation, b.Operation), strings.Compare(a.Roles, b.Roles), strings.Compare(a.Reason, b.Reason))
	})
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
