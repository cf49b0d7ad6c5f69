package daemon

import (
	"slices"

	"cordon/cmd/cordon/revision"
	"cordon/gateway"
	"cordon/policy"
	"cordon/policy/rollout"
)

// maxForeseen are the sessions that are named; all are counted.
const maxForeseen = 10

// newForeseen sums up what a gateway foresees.
func newForeseen(ends []gateway.Foreseen, live int, devices map[string]policy.Device) *revision.Foreseen {
	f := &revision.Foreseen{Ends: len(ends), Live: live, Classes: []revision.ForeseenClass{}, Such: []revision.ForeseenEnd{}}
	seen := map[revision.ForeseenEnd]bool{}
	for _, s := range ends {
		class := devices[s.Device].Class
		i := slices.IndexFunc(f.Classes, func(c revision.ForeseenClass) bool { return c.Class == class })
		if i < 0 {
			i = len(f.Classes)
			f.Classes = append(f.Classes, revision.ForeseenClass{Class: class})
		}
		c := &f.Classes[i]
		c.Ends++
		if !slices.Contains(c.Devices, s.Device) {
			c.Devices = append(c.Devices, s.Device)
		}
		end := revision.ForeseenEnd{Subject: s.Subject, Device: s.Device, Service: s.Service, Operation: s.Operation, Reason: s.Reason}
		if s.Refused {
			end.Reason = "it was refused, and may be opened anew"
		}
		if !seen[end] && len(f.Such) < maxForeseen {
			f.Such = append(f.Such, end)
		}
		seen[end] = true
	}
	slices.SortStableFunc(f.Classes, func(a, b revision.ForeseenClass) int { return b.Ends - a.Ends })
	return f
}

// foresee is what the gateway would do to live sessions if next decided. standing.mu is held.
func (a *Assembly) foresee(next *revision.Source) (*revision.Foreseen, error) {
	ground, err := inForce{next.Current, next.Candidate, a.configured.devices}.over(a.standing.ledger, a.standing.damage)
	if err != nil {
		return nil, err
	}
	var decider policy.Decider = ground.policy
	if ground.candidate != nil {
		decider = rollout.NewDecider(ground.policy, ground.candidate, next.State.Candidate, nil)
	}
	f := newForeseen(a.Gateway.Foresee(decider, ground.devices), len(a.Gateway.Live()), ground.devices)
	if a.old != nil {
		select {
		case <-a.old.Gone():
		default:
			f.Older = true
		}
	}
	return f, nil
}
