package daemon

import (
	"context"
	"time"

	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

// keepPolicies notes now and then what decides, and removes what policy.keep says, until ctx is done.
func (a *Assembly) keepPolicies(ctx context.Context) {
	for {
		a.prunePolicies(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(revision.PruneEvery):
		}
	}
}

func (a *Assembly) prunePolicies(now time.Time) {
	a.standing.mu.Lock() // what decides stays the same meanwhile
	defer a.standing.mu.Unlock()
	if a.standing.given { // another process knows what is needed
		return
	}
	kept := revision.KeptIn(a.Config)
	removed, err := 0, error(nil)
	for _, e := range []*rego.Engine{a.Policy, a.candidate} {
		if e != nil && err == nil {
			err = kept.Keep(e)
		}
	}
	if err == nil {
		removed, err = kept.Prune(a.source.Needed(a.Policy, a.candidate), now.Add(-a.Config.Policy.Keep-revision.PruneEvery))
	}
	if err != nil {
		a.logger.Warn("remove policies that decided long ago", "error", err)
	} else if removed > 0 {
		a.logger.Info("removed policies that decided long ago", "policies", removed, "keep", a.Config.Policy.Keep)
	}
}
