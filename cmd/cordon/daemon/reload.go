package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
)

// AskChange asks the gateway whose state directory this is. What it refuses has exit code 8, or
// 4 if there is nothing to be done.
func AskChange(ctx context.Context, state, verb string, q, done any) error {
	err := control.Ask(ctx, state, verb, q, done, 2*ReloadTimeout) // another change may be going on
	if errors.Is(err, control.ErrNoGateway) {
		err = exit.Error{Code: "reload.unreachable", Message: fmt.Sprintf("no gateway runs with the state in %s", state), Exit: exit.Unreachable, Err: err,
			Try: []string{"start it: cordon run", "run this as the user the gateway runs as"}}
	}
	if f, ok := errors.AsType[exit.Error](err); ok && f.Exit != exit.Unreachable && f.Exit != exit.NotFound {
		f.Exit = exit.Findings
		err = f
	}
	return err
}

// Reloaded says what a reload has changed.
type Reloaded struct {
	Schema    string   `json:"schema"`
	Changed   bool     `json:"changed"`
	Policy    string   `json:"policy"` // in force now
	Data      string   `json:"data"`
	OldPolicy string   `json:"old_policy"` // in force before
	OldData   string   `json:"old_data"`
	Tests     int      `json:"tests"`
	Devices   []string `json:"devices"`             // that policy sees differently now
	Ended     int      `json:"ended"`               // live sessions that are not permitted any more
	Revision  int      `json:"revision,omitempty"`  // with policy.approval: the number of what is in force
	Workspace string   `json:"workspace,omitempty"` // with policy.approval: how the policy folder differs from what is in force

	Bundle *revision.BundleTaken `json:"bundle,omitempty"` // with policy.bundle: the one in force

	HandedOver []string `json:"handed_over,omitempty"` // what needed a new process; absent: nothing did
	Process    int      `json:"process,omitempty"`     // the new one
	OldProcess int      `json:"old_process,omitempty"`
	Staying    int      `json:"staying,omitempty"` // live sessions of the old one

	origin origin // what was being brought in when it failed; "": the configuration
}

// refresh brings in what the files say. Where the policy comes as bundles, it then looks for a newer
// one: a bad bundle does not keep a device's state from coming into force.
func (r *reloader) refresh(ctx context.Context, q ChangeRequest) (Reloaded, error) {
	done, err := r.change(ctx, "reload", r.reload, q)
	if err != nil || r.handedOver() {
		return done, err
	}
	if r.updates != nil {
		ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
		defer cancel()
		taken, err := r.update(ctx, false)
		if done, err = done.with(r.updates, taken, err); err != nil {
			return done, err
		}
	}
	return done, r.parts.lookAtTrust()
}

// change is a change of what the gateway runs with. On an error nothing has changed.
type change func(ctx context.Context, q ChangeRequest) (Reloaded, error)

// change does it and tells the log.
func (r *reloader) change(ctx context.Context, name string, do change, q ChangeRequest) (Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handedOver() {
		return Reloaded{}, control.ErrMoved
	}
	ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
	defer cancel()
	r.systemd.reloading()
	done, err := do(ctx, q)
	if !r.handedOver() {
		r.ready(r.serving)
	}
	r.parts.count(name, done.origin, err)
	if err != nil {
		all := exit.Errors(err)
		why := all[0].Message
		if more := len(all) - 1; more > 0 {
			why = fmt.Sprintf("%s, and %d more", why, more)
		}
		r.log.Error(name+" refused, everything stays as it was", "error", why)
		if err := r.parts.record(audit.Entry{Kind: audit.KindReload, Note: "refused: " + why}); err != nil {
			r.log.Warn("record a refused reload", "error", err)
		}
		return done, err
	}
	r.log.Info("reloaded", "changed", done.Changed, "policy", done.Policy, "data", done.Data, "devices", done.Devices, "ended", done.Ended, "handed_over", done.HandedOver)
	return done, nil
}

// reload brings in what the files say. r.mu is held.
func (r *reloader) reload(ctx context.Context, q ChangeRequest) (Reloaded, error) {
	text, err := config.Read(r.file)
	if err != nil {
		return Reloaded{}, err
	}
	if r.trial != nil && !r.isFile() { // the policy only, and the program
		text = r.text
	}
	return r.bring(ctx, bringing{text: text, trial: r.trial, force: q.Force})
}

// unchanged is the outcome of what changes nothing.
func (r *reloader) unchanged() Reloaded {
	engine := r.parts.inForce()
	rev, data := engine.Revision(), engine.Data()
	return Reloaded{Schema: "cordon.reload/v1", Policy: rev, Data: data, OldPolicy: rev, OldData: data, Devices: []string{}}
}

// bringing is a configuration on its way into force.
type bringing struct {
	text  []byte
	trial *trial // nil: it is meant to stay
	force bool   // a new process takes over in any case
	back  bool   // from a trial
}

// bring makes a configuration and the policy that it names what decisions rest
// on. On an error nothing has changed. r.mu is held.
func (r *reloader) bring(ctx context.Context, b bringing) (Reloaded, error) {
	done := r.unchanged()
	c, err := config.Parse(r.file, b.text)
	if err != nil {
		return done, err
	}
	if fixed := NeedRestart(r.config, c); len(fixed) > 0 {
		return done, exit.Error{Code: "reload.restart", Message: fmt.Sprintf("a running gateway cannot change %s", strings.Join(fixed, ", ")),
			Try: []string{"restart it: what it does at the moment is unchanged", "or undo that, and reload the rest"}}
	}
	done.origin = policyOrigin(c)
	source, tests, err := r.provenSource(ctx, c, b.back)
	if err != nil {
		return done, err
	}
	done.origin = fromConfiguration
	if source.State != nil {
		done.Revision, done.Workspace = source.State.Current.Number, source.Beside(c)
	}
	done.Devices, done.Tests, done.HandedOver = ChangedDevices(r.config, c), tests, NeedHandover(r.config, c)
	if programChanged() {
		done.HandedOver = append(done.HandedOver, "the program")
	}
	if b.force && len(done.HandedOver) == 0 {
		done.HandedOver = []string{"nothing but the command"}
	}
	if err := r.replace(&done, source, c); err != nil {
		return done, err
	}
	if len(done.HandedOver) == 0 {
		r.config, r.text = c, b.text
		return done, nil
	}
	run := inheritance{Config: b.text, Trial: b.trial}
	if !c.Policy.Elsewhere() {
		if err := revision.KeptIn(c).Keep(source.Current); err != nil {
			return done, err
		}
		proven := revision.DigestsOf(source.Current)
		run.Policy = &proven
	}
	if err := r.handOver(ctx, run); err != nil {
		return done, err
	}
	done.Process, done.OldProcess, done.Staying = r.heir.Load().PID(), os.Getpid(), r.parts.Gateway.Sessions()
	return done, nil
}

// replace makes what is configured what decisions rest on, and says in done what that is. If a
// new process is needed for it, it is only recorded: nothing decides by it before the log knows.
func (r *reloader) replace(done *Reloaded, source *revision.Source, c *config.Config) error {
	standing := r.parts.standing
	standing.mu.Lock() // no grant begins meanwhile
	defer standing.mu.Unlock()
	configured := inForce{source.Current, source.Candidate, configuredFacts(c)}
	ground, err := r.parts.prepare(configured, standing.ledger, standing.damage)
	if err != nil {
		return err
	}
	done.OldPolicy, done.OldData = r.parts.Policy.Revision(), r.parts.Policy.Data()
	done.Policy, done.Data = ground.policy.Revision(), ground.policy.Data()
	done.Changed = done.Policy != done.OldPolicy || done.Data != done.OldData || len(done.Devices) > 0 || len(done.HandedOver) > 0 || done.Bundle != nil
	if !done.Changed {
		return nil
	}
	e := audit.Entry{Kind: audit.KindReload, Note: done.Note(), Decision: policy.Decision{Revision: done.Policy, Data: done.Data}}
	if err := r.parts.record(e); err != nil {
		return fmt.Errorf("record the reload: %w", err)
	}
	if len(done.HandedOver) == 0 {
		r.parts.source, r.parts.configured = source, configured
		done.Ended = r.parts.put(ground)
		r.parts.remember(c)
	}
	return nil
}

// Note is what the log says of a reload besides the new digests.
func (d *Reloaded) Note() string {
	var parts []string
	if b := d.Bundle; b != nil {
		parts = append(parts, fmt.Sprintf("bundle revision %d %s sha256:%s", b.Revision, cmp.Or(b.Label, "-"), b.Digest))
	}
	if d.Policy != d.OldPolicy {
		parts = append(parts, "policy "+d.Policy+" instead of "+d.OldPolicy)
	}
	if d.Data != d.OldData {
		parts = append(parts, "data "+d.Data+" instead of "+d.OldData)
	}
	if n := len(d.Devices); n > 20 {
		parts = append(parts, fmt.Sprintf("facts of %d devices", n))
	} else if n > 0 {
		parts = append(parts, "facts of "+strings.Join(d.Devices, ", "))
	}
	if len(d.HandedOver) > 0 {
		parts = append(parts, "a new process takes over, for "+strings.Join(d.HandedOver, ", "))
	}
	return strings.Join(parts, "; ")
}

// provenSource returns the policy that is to decide: what the folder holds, or, if policies
// take two people or come as bundles, what is in force. That stays, too, on the way back from a trial if the folder cannot
// be used: who is locked out by a configuration does not wait for who is editing the policy.
func (r *reloader) provenSource(ctx context.Context, c *config.Config, back bool) (*revision.Source, int, error) {
	f := r.parts.source
	if f.State == nil && f.Bundles == nil || !c.Policy.Approval.Needed() && !c.Policy.Bundle.Used() {
		engine, tests, err := revision.Prove(ctx, c)
		if err != nil && back && c.Policy.Dir == r.config.Policy.Dir {
			r.log.Warn("the policy folder cannot be used, the policy in force stays", "error", err)
			engine, err = f.Current, revision.CheckPatches(c, f.Current)
		}
		return &revision.Source{Current: engine}, tests, err
	}
	err := revision.CheckPatches(c, f.Current)
	if err == nil && f.Candidate != nil {
		err = revision.CheckPatches(c, f.Candidate)
	}
	return f, 0, err
}
