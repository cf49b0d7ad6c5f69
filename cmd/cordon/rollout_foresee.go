package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"cordon/cmd/cordon/config"
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
func (a *assembly) foresee(next *revision.Source) (*revision.Foreseen, error) {
	ground, err := inForce{next.Current, next.Candidate, a.configured.devices}.over(a.standing.ledger, a.standing.damage)
	if err != nil {
		return nil, err
	}
	var decider policy.Decider = ground.policy
	if ground.candidate != nil {
		decider = rollout.NewDecider(ground.policy, ground.candidate, next.State.Candidate, nil)
	}
	f := newForeseen(a.gateway.Foresee(decider, ground.devices), len(a.gateway.Live()), ground.devices)
	if a.old != nil {
		select {
		case <-a.old.Gone():
		default:
			f.Older = true
		}
	}
	return f, nil
}

// foreseeRollout asks what a stage would end, shows it, and asks whether it shall be.
func (a *app) foreseeRollout(ctx context.Context, c *config.Config, s *revision.Step, show bool) error {
	preview := *s
	preview.Preview = true
	would, err := a.makeStep(ctx, c, &preview)
	if err != nil {
		return err
	}
	if show && a.json {
		return a.object(would)
	}
	f := would.Would
	switch {
	case f == nil:
		a.remark("no gateway runs; it takes effect when one starts")
	case f.Ends == 0:
		a.remark("none of %d live session(s) would end", f.Live)
	default:
		a.remark("%d of %d live session(s) would end:", f.Ends, f.Live)
		for _, class := range f.Classes {
			a.remark("  %3d on %s: %s", class.Ends, cmp.Or(class.Class, "-"), someOf(class.Devices, maxForeseen))
		}
		a.remark("such as")
		for _, x := range f.Such {
			a.remark("  %s with %s, service %s: %s", x.Subject, x.Device, x.Service, cmp.Or(x.Reason, "no reason is given"))
		}
	}
	if f != nil && f.Older {
		a.remark("sessions that stayed with an older process are asked too, and not counted")
	}
	if show {
		return nil
	}
	return a.confirm("This is what "+revision.DescribeStage(s.Stage, s.Devices)+" does at this moment.", strconv.Itoa(s.Number))
}

// someOf lists the first of many.
func someOf(list []string, most int) string {
	if more := len(list) - most; more > 0 {
		return strings.Join(list[:most], ", ") + " and " + strconv.Itoa(more) + " more"
	}
	return strings.Join(list, ", ")
}
