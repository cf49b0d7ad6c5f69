package rollout

import (
	"context"
	"slices"

	"cordon/policy"
)

// Decider decides by two policies, as a candidate's stage says. It is safe for concurrent
// use. Nothing in it needs closing, but Compare must run for there to be a comparison.
type Decider struct {
	current, candidate policy.Decider
	stage              Stage
	devices            map[string]bool
	narrows            bool
	comparison         *Comparison
}

// NewDecider returns a Decider for c, whose rules candidate knows. Where the candidate does
// not decide, comparison is given what was asked; it may be nil.
func NewDecider(current, candidate policy.Decider, c *Candidate, comparison *Comparison) *Decider {
	d := &Decider{current: current, candidate: candidate, stage: c.Stage, narrows: c.Narrows(), comparison: comparison, devices: map[string]bool{}}
	for _, id := range c.Devices {
		d.devices[id] = true
	}
	return d
}

// Decide implements policy.Decider. The answer names the policy that gave it.
func (d *Decider) Decide(ctx context.Context, r *policy.Request) policy.Decision {
	switch {
	case d.stage != All && !(d.stage == Canary && d.devices[r.Device.ID]):
		answer := d.current.Decide(ctx, r)
		if d.comparison != nil {
			d.comparison.offer(d.candidate, r, answer)
		}
		return answer
	case d.narrows:
		return narrow(d.current.Decide(ctx, r), func() policy.Decision { return d.candidate.Decide(ctx, r) })
	}
	return d.candidate.Decide(ctx, r)
}

// narrow allows what both allow, on the terms of both: all obligations, for the shorter
// time. A refusal is the current policy's own, or else the candidate's. What permits is the current policy's rule: it may
// be an emergency, which a candidate that nobody approved neither hides from its review nor invents.
func narrow(current policy.Decision, candidate func() policy.Decision) policy.Decision {
	if !current.Allow {
		return current
	}
	d := candidate()
	if !d.Allow {
		return d
	}
	d.Rule = current.Rule
	if !slices.Equal(d.Obligations, current.Obligations) {
		d.Obligations = slices.Compact(slices.Sorted(slices.Values(slices.Concat(d.Obligations, current.Obligations))))
	}
	if u := current.ValidUntil; u != 0 && (d.ValidUntil == 0 || u < d.ValidUntil) {
		d.ValidUntil = u
	}
	return d
}
