package rollout

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cordon/policy"
)

func ask(role, operation string) *policy.Request {
	return &policy.Request{Phase: policy.PhaseOperation, Subject: policy.Subject{Roles: []string{role}},
		Device: policy.Device{ID: "mon-1", Class: "monitor/bedside"}, Operation: policy.Operation{Name: operation}}
}

// nurses is a policy that allows nurses only.
type nurses struct{}

func (nurses) Decide(_ context.Context, r *policy.Request) policy.Decision {
	return policy.Decision{Allow: r.Subject.Roles[0] == "nurse", Cause: policy.CausePolicy, Reason: "no nurse"}
}

// compared runs a comparison until it has dealt with so many questions, since it began.
func compared(t *testing.T, c *Comparison, questions int64) Report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		r := c.Report()
		dealt := r.Same + r.Missed
		for _, g := range r.Groups {
			dealt += g.Count
		}
		if dealt == questions {
			return r
		}
		if dealt > questions || time.Now().After(deadline) {
			t.Fatalf("%d questions are dealt with, want %d", dealt, questions)
		}
	}
}

// TestComparison counts what a candidate would decide otherwise; who asks does not notice.
func TestComparison(t *testing.T) {
	var told []Example
	c := NewComparison(func(x Example) { told = append(told, x) })
	d := NewDecider(fixed(allow("current", 0)), nurses{}, &Candidate{Stage: Shadow}, c)
	for range 3 {
		for _, role := range []string{"nurse", "physician", "vendor"} {
			r := ask(role, "hl7:ORU^R01")
			if got := d.Decide(t.Context(), r); !got.Allow {
				t.Errorf("role %s is refused by a candidate in shadow", role)
			}
			r.Subject.Roles[0] = "another" // the request is the caller's to use again
		}
	}
	refused := NewDecider(fixed(currentDeny), nurses{}, &Candidate{Stage: Canary, Devices: []string{"mon-9"}}, c)
	refused.Decide(t.Context(), ask("nurse", "hl7:QRY"))

	r := compared(t, c, 10)
	want := []Difference{
		{"monitor/bedside", "hl7:ORU^R01", "physician", "allow", "deny"},
		{"monitor/bedside", "hl7:ORU^R01", "vendor", "allow", "deny"},
		{"monitor/bedside", "hl7:QRY", "nurse", "deny", "allow"},
	}
	if len(r.Groups) != len(want) || r.Same != 3 || r.Missed != 0 {
		t.Fatalf("report %+v", r)
	}
	for i, g := range r.Groups {
		if g.Difference != want[i] || len(g.Devices) != 1 || g.Count != []int64{3, 3, 1}[i] {
			t.Errorf("group %d is %+v, want %+v", i, g, want[i])
		}
	}
	if len(told) != 3 {
		t.Errorf("%d differences are told, want the first of each group: %+v", len(told), told)
	}
}

// TestComparisonBounded asks more than a comparison can take, and with more names.
func TestComparisonBounded(t *testing.T) {
	told := 0
	c := NewComparison(func(Example) { told++ })
	d := NewDecider(fixed(allow("current", 0)), nurses{}, &Candidate{Stage: Shadow}, c)
	for range maxWaiting + 5 {
		d.Decide(t.Context(), ask("nurse", "x"))
	}
	if r := compared(t, c, maxWaiting+5); r.Missed != 5 || r.Same != maxWaiting {
		t.Errorf("%d missed, %d compared", r.Missed, r.Same)
	}
	var r Report
	for i := range int64(maxGroups + 50) {
		d.Decide(t.Context(), ask("vendor", fmt.Sprint(i)))
		if i%maxWaiting == maxWaiting-1 || i == maxGroups+49 {
			r = compared(t, c, maxWaiting+5+i+1)
		}
	}
	if len(r.Groups) != maxGroups+1 {
		t.Errorf("%d groups", len(r.Groups))
	}
	if told != tellPerMinute {
		t.Errorf("%d differences were told, want %d", told, tellPerMinute)
	}
}
