package main

import (
	"context"
	"slices"
	"time"

	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// needed are the policies that may decide without anybody bringing them: those in force, with and without what is granted, and
// those that a rollback may name.
func (a *assembly) needed() []digests {
	var all []digests
	for _, e := range []*rego.Engine{a.policy, a.candidate, a.source.current, a.source.candidate} {
		if e != nil {
			all = append(all, digestsOf(e))
		}
	}
	if s := a.source.state; s != nil {
		for _, r := range slices.Concat(s.Past, s.Undone, []rollout.Revision{s.Current}) {
			all = append(all, digests{r.Policy, r.Data})
		}
	}
	return all
}

// keepPolicies notes now and then what decides, and removes what policy.keep says, until ctx is done.
func (a *assembly) keepPolicies(ctx context.Context) {
	for {
		a.prunePolicies(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pruneEvery):
		}
	}
}

func (a *assembly) prunePolicies(now time.Time) {
	a.standing.mu.Lock() // what decides stays the same meanwhile
	defer a.standing.mu.Unlock()
	if a.standing.given { // another process knows what is needed
		return
	}
	kept := keptIn(a.config)
	removed, err := 0, error(nil)
	for _, e := range []*rego.Engine{a.policy, a.candidate} {
		if e != nil && err == nil {
			err = kept.keep(e)
		}
	}
	if err == nil {
		removed, err = kept.prune(a.needed(), now.Add(-a.config.Policy.Keep-pruneEvery))
	}
	if err != nil {
		a.logger.Warn("remove policies that decided long ago", "error", err)
	} else if removed > 0 {
		a.logger.Info("removed policies that decided long ago", "policies", removed, "keep", a.config.Policy.Keep)
	}
}
