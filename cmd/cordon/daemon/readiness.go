package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cordon/gateway/metrics"
	"cordon/policy"
)

// turnTimeout is for a gateway's loops to turn.
const turnTimeout = 2 * time.Second

// lives reports what only a restart would mend: a loop that does not turn, see watchdog.go.
func (p *Assembly) lives(ctx context.Context) []metrics.Check {
	return []metrics.Check{{Name: "loops", Err: p.turns(ctx, turnTimeout)}}
}

// isReady reports whether clients are served as the configuration says: they are accepted, the policy
// answers, entries become durable, every plugin runs, and every segment's devices can be reached.
func (p *Assembly) isReady(ctx context.Context) []metrics.Check {
	return p.ready(ctx, p.segmentStates(ctx))
}

// ready is isReady for segments that were asked already.
func (p *Assembly) ready(ctx context.Context, segments []segmentState) []metrics.Check {
	checks := []metrics.Check{{Name: "clients"}, {Name: "policy", Err: p.decides(ctx)}, {Name: "audit", Err: p.records()}, {Name: "plugins"}, {Name: "segments"}}
	if !p.Gateway.Accepting() {
		checks[0].Err = errors.New("none are accepted")
	}
	for _, plugin := range p.plugins {
		if s := plugin.Status(); !s.Running {
			checks[3].Err = errors.Join(checks[3].Err, fmt.Errorf("%s does not run", s.Protocol))
		}
	}
	for _, segment := range segments {
		if !segment.Up {
			checks[4].Err = errors.Join(checks[4].Err, fmt.Errorf("%s is not up", segment.Name))
		}
	}
	return checks
}

// decides asks the policy in force what it asks itself of a stranger: any answer is one but doubt.
func (p *Assembly) decides(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Config.Limits.DecisionTimeout)
	defer cancel()
	r := policy.Request{Phase: policy.PhaseConnect, Subject: policy.Subject{ID: "unknown", Roles: []string{}, Groups: []string{}},
		Device: policy.Device{Labels: map[string]string{}, State: policy.StateActive}, Session: policy.Session{Direction: policy.Inbound}, NowNs: time.Now().UnixNano()}
	if d := p.shown.Load().policy.Decide(ctx, &r); d.Cause == policy.CauseDoubt {
		return errors.New("it does not answer")
	}
	return nil
}

// records reports whether entries become durable.
func (p *Assembly) records() error {
	s, own := p.log.Stats()
	switch {
	case !own:
		return errors.New("another process has the log")
	case s.Err != nil:
		return errors.New("the log cannot be written")
	}
	return nil
}
