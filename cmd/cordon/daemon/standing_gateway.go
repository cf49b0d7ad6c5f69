package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/policy/access"
	"cordon/policy/rego"
)

// stand puts what stands for a time over the policy and the devices, before anything is decided. What the
// clock has begun and ended since is for standing.advance, which records it. A process that takes over does
// it again once the file is its own.
func (a *Assembly) stand(log *slog.Logger) error {
	a.configured = inForce{a.source.Current, a.source.Candidate, configuredFacts(a.Config)}
	a.standing = openStanding(a.Config, RecordIn(a.log), a, log)
	a.standing.alarm = a.alarm
	a.emergencies = &emergencies{config: a.Config, standing: a.standing, verifier: certs.NewVerifier(a.certs, a.Config.Identity.TrustDomain), log: log,
		issue: func(ctx context.Context, r ca.Request) (*ca.Issued, error) {
			authority, err := home.OpenAuthority(a.Config)
			if err != nil {
				return nil, err
			}
			return authority.Issue(ctx, r)
		}}
	if a.standing.damage != nil {
		log.Error("every device is quarantined: which of them are is not known", "error", a.standing.damage)
	}
	ground, err := a.prepare(a.configured, a.standing.ledger, a.standing.damage)
	if err != nil {
		return err
	}
	a.put(ground)
	return nil
}

// prepare makes ready what decisions rest on when l comes on top of configured, and keeps its
// policy for those who ask later.
func (a *Assembly) prepare(configured inForce, l access.Ledger, damage error) (inForce, error) {
	ground, err := configured.over(l, damage)
	if err != nil {
		return ground, err
	}
	return ground, a.keep(ground)
}

// keep keeps the policies of ground.
func (a *Assembly) keep(ground inForce) error {
	for _, e := range []*rego.Engine{ground.candidate, ground.policy} {
		if e == nil {
			continue
		}
		if err := revision.KeptIn(a.Config).Keep(e); err != nil {
			return err
		}
	}
	return nil
}

// keepNew keeps those that do not decide already: a quarantine changes none, so another process that
// stalls with the kept ones in hand does not hold it up.
func (a *Assembly) keepNew(ground inForce) error {
	decides := func(e *rego.Engine) bool {
		return e != nil && slices.ContainsFunc([]*rego.Engine{a.Policy, a.candidate}, func(now *rego.Engine) bool {
			return now != nil && revision.DigestsOf(now) == revision.DigestsOf(e)
		})
	}
	if decides(ground.policy) {
		ground.policy = nil
	}
	if decides(ground.candidate) {
		ground.candidate = nil
	}
	return a.keep(ground)
}

// put brings into force what was prepared, here and in the processes before, and returns how many live
// sessions that ends. Whatever changes what decisions rest on comes through here. standing.mu is held, but
// for the start.
func (a *Assembly) put(ground inForce) int {
	a.Policy, a.candidate, a.devices = ground.policy, ground.candidate, ground.devices
	a.show(ground)
	elsewhere := a.tellOld()
	ended := a.Gateway.Replace(a.decider(ground), ground.devices)
	return ended + elsewhere()
}

// inForce is the policy that decides.
func (a *Assembly) inForce() *rego.Engine {
	a.standing.mu.Lock()
	defer a.standing.mu.Unlock()
	return a.Policy
}

// summary says what is in force at a start or an end, for its entry.
func (s *standing) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage != nil {
		return "; every device is quarantined, for what is quarantined cannot be read"
	}
	n, open, due := 0, 0, 0
	for i := range s.ledger.Facts {
		switch f := &s.ledger.Facts[i]; {
		case f.Phase() == access.InForce && f.Kind == access.Emergency:
			open++
		case f.Phase() == access.InForce:
			n++
		case f.Unreviewed():
			due++
		}
	}
	text := ""
	if n > 0 {
		text += fmt.Sprintf("; %d grants, windows and quarantines in force", n)
	}
	if open+due > 0 {
		text += fmt.Sprintf("; break-glass: %d open, %d to be reviewed", open, due)
	}
	return text
}
