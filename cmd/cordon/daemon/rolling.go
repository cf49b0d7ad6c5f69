package daemon

import (
	"cmp"
	"context"
	"fmt"

	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rollout"
)

// rolling is what a running gateway has of a rollout.
type rolling struct {
	number     int                 // of the candidate
	comparison *rollout.Comparison // of it with what counts; nil if there is none
	stop       context.CancelFunc  // of the comparison
}

// decider returns what the gateway is to ask on ground. Its candidate goes on being compared
// while it is the same. standing.mu is held, but for the start.
func (a *Assembly) decider(ground inForce) policy.Decider {
	var c *rollout.Candidate
	if ground.candidate != nil {
		c = a.source.State.Candidate
	}
	compares := c != nil && c.Stage != rollout.All
	if a.rolling.comparison != nil && (!compares || a.rolling.number != c.Number) {
		a.rolling.stop()
		a.rolling = rolling{}
	}
	if compares && a.rolling.comparison == nil {
		ctx, cancel := context.WithCancel(a.background)
		comparison := rollout.NewComparison(a.recordDifference)
		a.rolling = rolling{c.Number, comparison, cancel}
		a.running.Go(func() { comparison.Run(ctx) })
	}
	if c == nil {
		return ground.policy
	}
	return rollout.NewDecider(ground.policy, ground.candidate, c, a.rolling.comparison)
}

// KindShadow is an entry about what a candidate would have decided otherwise: nothing was
// done by it. It records the first of a burst.
const KindShadow audit.Kind = "shadow"

func (a *Assembly) recordDifference(x rollout.Example) {
	note := fmt.Sprintf("not in force: the candidate answers %s, what counted was %s; %d time(s) so far for %s on %s by role %s",
		x.After, x.Before, x.Count, x.Operation, x.Class, cmp.Or(x.Roles, "-"))
	e := audit.Entry{Kind: KindShadow, Input: x.Request.AppendJSON(nil), Decision: x.Answer, Note: note}
	if err := a.record(e); err != nil {
		a.Gateway.Logger.Warn("record what a candidate would have decided", "error", err)
	}
}
