package daemon

import (
	"context"
	"errors"
	"log/slog"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
)

// policyStep makes a step of a policy's way into force in the running gateway: a verb of the
// control socket.
func (r *reloader) policyStep(ctx context.Context, by string, s *revision.Step) (any, error) {
	done, err := r.makeStep(ctx, by, s)
	if errors.Is(err, control.ErrMoved) {
		return nil, err
	}
	if s.Do == "rollout" || s.Do == "rollback" {
		r.parts.outcomes.note(fromRollout, err)
	}
	if err != nil {
		r.log.Error("step of a policy refused, everything stays as it was", "step", s.Do, "error", err)
		return nil, err
	}
	if s.Do != "status" && !s.Preview {
		r.log.Info("step of a policy", "step", s.Do, "number", done.Number, "in_force", (&revision.Source{State: &done.State}).Describe(), "ended", done.Ended)
	}
	return done, nil
}

func (r *reloader) makeStep(ctx context.Context, by string, s *revision.Step) (done revision.StepDone, err error) {
	r.mu.Lock()
	c := r.config
	r.mu.Unlock()
	if !c.Policy.Approval.Needed() {
		return done, ApprovalOff()
	}
	ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
	defer cancel()
	s.Prove(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handedOver() {
		return done, control.ErrMoved
	}
	parts := r.parts
	parts.standing.mu.Lock() // no grant begins meanwhile
	defer parts.standing.mu.Unlock()
	w := &revision.Workflow{
		Config: r.config, Verifier: certs.NewVerifier(parts.certs, r.config.Identity.TrustDomain), Source: parts.source,
		By: revision.ByLocal(by), Record: parts.record,
		Foresee: parts.foresee,
		Ready: func(next *revision.Source) (func() int, error) {
			configured := inForce{next.Current, next.Candidate, parts.configured.devices}
			ground, err := parts.prepare(configured, parts.standing.ledger, parts.standing.damage)
			return func() int {
				parts.source, parts.configured = next, configured
				return parts.put(ground)
			}, err
		},
	}
	done, err = w.Do(s)
	parts.source = w.Source // a number may have been given
	if err != nil {
		return done, err
	}
	done.Running = true
	if comparison := parts.rolling.comparison; comparison != nil {
		report := comparison.Report()
		done.Comparison = &report
	}
	return done, nil
}

// ApprovalOff is why no step is made: policies do not take two people here.
func ApprovalOff() error {
	return exit.Error{Code: "approval.off", Exit: exit.Conflict, Message: "policy.approval is not configured: the policy folder is in force as it is read",
		Try: []string{"policy: { approval: { authors: [security], approvers: [security-lead] } }, and restart the gateway", "without it: cordon reload"}}
}

// TakeStep has the running gateway make a step, or makes it here if none runs.
func TakeStep(ctx context.Context, c *config.Config, s *revision.Step) (revision.StepDone, error) {
	if !c.Policy.Approval.Needed() {
		return revision.StepDone{}, ApprovalOff()
	}
	var done revision.StepDone
	err := control.Ask(ctx, c.Gateway.State, "policy", s, &done, 2*ReloadTimeout) // a reload may be going on
	if !errors.Is(err, control.ErrNoGateway) {
		return done, err
	}
	s.Prove(ctx, c) // first: as long as the log is open, no gateway starts
	if s.Do == "status" {
		f, err := revision.Open(c)
		if err != nil {
			return done, err
		}
		if !f.Begun {
			return revision.StepDone{Schema: "cordon.rollout/v1", Step: s.Do, State: *f.State}, nil
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	log, err := AskOrOpen(ctx, c, "policy", s, &done, 2*ReloadTimeout, quiet)
	if log == nil {
		return done, err
	}
	done, err = makeStepHere(ctx, c, s, RecordIn(log), quiet)
	return done, errors.Join(err, log.Close())
}

// makeStepHere makes a step on the files of a gateway that does not run, and cannot start meanwhile.
func makeStepHere(ctx context.Context, c *config.Config, s *revision.Step, record func(audit.Entry) error, quiet *slog.Logger) (done revision.StepDone, err error) {
	authority, err := home.OpenAuthority(c)
	if err != nil {
		return done, err
	}
	source, err := authority.Source(ctx, ca.SourceConfig{Names: serverNames(c), TrustFile: c.Identity.CA.TrustFile, CRLFile: c.Identity.CA.CRLFile, Log: quiet})
	if err != nil {
		return done, err
	}
	f, err := revision.Open(c)
	if err != nil {
		return done, err
	}
	if err := f.Keep(c, control.Operator(), record); err != nil {
		return done, err
	}
	w := &revision.Workflow{Config: c, Verifier: certs.NewVerifier(source, c.Identity.TrustDomain), Source: f, By: revision.ByLocal(control.Operator()), Record: record}
	return w.Do(s)
}
