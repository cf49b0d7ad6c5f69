package rollout

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cordon/policy"
)

// Bounds of a comparison. What is asked is never held up by it: beyond them questions are
// only counted.
const (
	maxWaiting    = 1024             // questions
	maxGroups     = 1024             // names of operations come from clients
	maxNames      = 20               // devices that a group names
	burst         = 10 * time.Minute // of a group's differences, the first is told
	tellPerMinute = 60               // of all groups
)

// Comparison asks a candidate what was decided without it, and counts what it would have
// decided otherwise. One may serve several Deciders of the same candidate, one after the
// other. Its methods may be called concurrently.
type Comparison struct {
	tell    func(Example)
	waiting chan question

	mu     sync.Mutex
	report Report
	groups map[Difference]*Group

	minute time.Time // of Run: for tellPerMinute
	told   int
}

type question struct {
	candidate policy.Decider
	request   policy.Request
	answer    policy.Decision
}

// Difference is what questions have in common that the candidate answers otherwise.
type Difference struct {
	Class     string `json:"class"` // of the device
	Operation string `json:"operation"`
	Roles     string `json:"roles"`  // all of the subject's
	Before    string `json:"before"` // what counts: "allow", "deny" or "doubt"
	After     string `json:"after"`  // what the candidate would say; "allow, other obligations" beside them
}

// Group is how often there was a Difference.
type Group struct {
	Difference
	Reason  string    `json:"reason"` // what the candidate said first
	Count   int64     `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Devices []string  `json:"devices"` // ids of up to 20, sorted

	told time.Time
}

// Report is what a comparison found since it began.
type Report struct {
	Since  time.Time `json:"since"`
	Same   int64     `json:"same"`
	Missed int64     `json:"missed"` // not compared: too much was asked at once
	Groups []Group   `json:"groups"` // doubts and newly denied first, then newly allowed; the largest first
}

// Example is the first of a burst of equal differences, to be recorded.
type Example struct {
	Difference
	Count   int64           // of them so far, this one included
	Request *policy.Request // not to be kept
	Answer  policy.Decision // the candidate's
}

// NewComparison returns a comparison that has compared nothing yet. tell is called by Run,
// one call at a time, for the first of each burst of equal differences.
func NewComparison(tell func(Example)) *Comparison {
	return &Comparison{tell: tell, waiting: make(chan question, maxWaiting),
		report: Report{Since: time.Now().UTC()}, groups: map[Difference]*Group{}}
}

// Run compares until ctx ends.
func (c *Comparison) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-c.waiting:
			c.compare(ctx, &q)
		}
	}
}

// offer has candidate asked r if there is room. It keeps a copy.
func (c *Comparison) offer(candidate policy.Decider, r *policy.Request, answer policy.Decision) {
	if len(c.waiting) == cap(c.waiting) { // spares the copy
		c.miss()
		return
	}
	q := question{candidate, *r, answer}
	// Whoever asks may use these again; what they hold is never changed in place.
	q.request.Subject.Roles, q.request.Subject.Groups = slices.Clone(r.Subject.Roles), slices.Clone(r.Subject.Groups)
	q.request.Device.Labels = maps.Clone(r.Device.Labels)
	q.request.Operation.Attributes = slices.Clone(r.Operation.Attributes)
	select {
	case c.waiting <- q:
	default:
		c.miss()
	}
}

func (c *Comparison) miss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Missed++
}

func (c *Comparison) compare(ctx context.Context, q *question) {
	answer := q.candidate.Decide(ctx, &q.request)
	if ctx.Err() != nil {
		return // it may have been cut short
	}
	x := Example{Difference: differ(q, answer), Request: &q.request, Answer: answer}
	if x.Before == x.After {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.Same++
		return
	}
	if c.count(&x) {
		c.tell(x)
	}
}

func differ(q *question, answer policy.Decision) Difference {
	d := Difference{Class: q.request.Device.Class, Operation: q.request.Operation.Name, Roles: strings.Join(q.request.Subject.Roles, ", "),
		Before: verdict(q.answer), After: verdict(answer)}
	if q.request.Phase == policy.PhaseConnect {
		d.Operation = "connect"
	}
	if q.answer.Allow && answer.Allow && !slices.Equal(q.answer.Obligations, answer.Obligations) {
		d.After = "allow, other obligations"
	}
	return d
}

func verdict(d policy.Decision) string {
	switch {
	case d.Allow:
		return "allow"
	case d.Cause == policy.CauseDoubt:
		return "doubt"
	}
	return "deny"
}

// count adds x to its group and reports whether it is to be told.
func (c *Comparison) count(x *Example) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UTC()
	g := c.groups[x.Difference]
	if g == nil && len(c.groups) >= maxGroups {
		x.Class, x.Operation, x.Roles = "", "(any other)", ""
		g = c.groups[x.Difference]
	}
	if g == nil {
		g = &Group{Difference: x.Difference, Reason: x.Answer.Reason, First: now, Devices: []string{}}
		c.groups[x.Difference] = g
	}
	g.Count++
	x.Count = g.Count
	g.Last = now
	if i, there := slices.BinarySearch(g.Devices, x.Request.Device.ID); !there && len(g.Devices) < maxNames {
		g.Devices = slices.Insert(g.Devices, i, x.Request.Device.ID)
	}
	if now.Sub(c.minute) >= time.Minute {
		c.minute, c.told = now, 0
	}
	if now.Sub(g.told) < burst || c.told >= tellPerMinute {
		return false
	}
	c.told++
	g.told = now
	return true
}

// Report returns what was found so far.
func (c *Comparison) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	r.Groups = []Group{}
	for _, g := range c.groups {
		one := *g
		one.Devices = slices.Clone(g.Devices)
		r.Groups = append(r.Groups, one)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(b.After, a.After), cmp.Compare(b.Count, a.Count), strings.Compare(a.Class, b.Class),
			strings.Compare(a.Operation, b.Operation), strings.Compare(a.Roles, b.Roles), strings.Compare(a.Before, b.Before))
	})
	return r
}
