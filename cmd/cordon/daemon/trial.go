package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/audit"
)

// A configuration on trial is in force without being the file: the gateway goes back to what
// was in force before unless the file has become the same in time. Nobody has to undo anything
// for that: a gateway that is started again, after a crash or a power cut, runs with the file.

// trial is a configuration on trial.
type trial struct {
	For    time.Duration `json:"for"`    // from when it is in force
	Until  time.Time     `json:"until"`  // zero: it is not in force yet
	Before []byte        `json:"before"` // what was in force

	seen time.Time     // when this process let the time run,
	left time.Duration // and what was left of it
}

// begin lets the time run.
func (t *trial) begin() {
	now := time.Now()
	if t.Until.IsZero() {
		t.Until = now.Add(t.For).Round(0)
	}
	t.seen, t.left = now, min(t.For, t.Until.Sub(now.Round(0)))
}

// over reports whether the time is over, by the wall clock, so that sleep counts, or by one that nobody sets: a clock that was
// set back does not keep locked out who waits for the end.
func (t *trial) over(now time.Time) bool {
	return !now.Round(0).Before(t.Until) || now.Sub(t.seen) >= t.left
}

// again lets it run once more.
func (t *trial) again(wait time.Duration) {
	t.For, t.Until = wait, time.Time{}
	t.begin()
}

// trialName is the note in gateway.state that a configuration is on trial, for whoever starts
// next.
const trialName = "trial.json"

// kindApply is an entry about a configuration on trial.
const kindApply audit.Kind = "apply"

// Bounds of a trial.
const (
	minTrial = time.Second
	maxTrial = 24 * time.Hour
)

// try brings the configuration in q into force until it is confirmed or its time is over. r.mu
// is held.
func (r *reloader) try(ctx context.Context, q ChangeRequest) (Reloaded, error) {
	var done Reloaded
	if q.For < minTrial || q.For > maxTrial {
		return done, exit.Error{Code: "usage.flag", Exit: exit.Usage, Message: fmt.Sprintf("--confirm %v: expected %v to %v", q.For, minTrial, maxTrial), Try: []string{"--confirm 5m"}}
	}
	if r.trial != nil {
		return done, exit.Error{Code: "apply.pending", Exit: exit.Conflict, Message: "another configuration is on trial until " + r.trial.Until.Local().Format(time.TimeOnly),
			Try: []string{"cordon confirm, if it works", "cordon apply --rollback, to go back at once"}}
	}
	c, err := config.Parse(r.file, q.Config)
	if err != nil {
		return done, err
	}
	if err := Triable(r.config, c); err != nil {
		return done, err
	}
	t := &trial{For: q.For, Before: r.text}
	if err := r.noteTrial(t); err != nil {
		return done, err
	}
	note := fmt.Sprintf("a configuration is on trial for %v", t.For)
	if err := r.parts.record(audit.Entry{Kind: kindApply, Note: note}); err != nil {
		r.dropTrial()
		return done, fmt.Errorf("record the trial: %w", err)
	}
	// From here on it may be in force, whatever else happens to this process.
	if done, err = r.bring(ctx, bringing{text: q.Config, trial: t}); err != nil {
		r.dropTrial()
		return done, err
	}
	t.begin()
	r.trial = t
	return done, nil
}

// Triable is nil if a configuration may be on trial in place of one in force. Whoever writes down what a gateway says is on trial
// asks as well: the gateway's word is not to change what only root may, which is the segments, nor where root reads and writes.
func Triable(before, after *config.Config) error {
	if was, is := mustPlans(before), mustPlans(after); !reflect.DeepEqual(was, is) && len(after.Segments)+len(before.Segments) > 0 {
		return exit.Error{Code: "apply.segments", Exit: exit.Usage, Message: "what is in segments cannot be on trial: the segment helper goes by the file",
			Try: []string{"the same command without --confirm"}}
	}
	if fixed := NeedRestart(before, after); len(fixed) > 0 {
		return exit.Error{Code: "reload.restart", Exit: exit.Conflict, Message: "a running gateway cannot change " + strings.Join(fixed, ", "), Try: []string{"stop it, edit its configuration, start it"}}
	}
	return nil
}

// mustPlans are the plans of a configuration, as far as they are any.
func mustPlans(c *config.Config) any {
	p, err := keeper.Plans(c)
	return [2]any{p, err}
}

// keepTrial ends trials when their time is over.
func (r *reloader) keepTrial(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		r.trialEnds.Store(0)
		if r.trial != nil {
			r.trialEnds.Store(r.trial.Until.UnixNano())
		}
		if !r.handedOver() && r.trial != nil && r.trial.over(time.Now()) {
			r.endTrial(ctx, "nobody has confirmed it")
		}
		r.mu.Unlock()
	}
}

// confirm ends the trial of a configuration that is the file by now. r.mu is held.
func (r *reloader) confirm(context.Context, ChangeRequest) (Reloaded, error) {
	done := r.unchanged()
	if r.trial == nil {
		return done, exit.Error{Code: "apply.none", Exit: exit.NotFound, Message: "no configuration is on trial", Try: []string{"cordon audit tail says what became of the last one"}}
	}
	if !r.isFile() {
		return done, exit.Error{Code: "apply.differs", Exit: exit.Conflict, Message: "the file is not the configuration on trial", Try: []string{"cordon confirm writes it"}}
	}
	done.Changed = true
	return done, r.confirmed()
}

// isFile reports whether what is in force is what the file says.
func (r *reloader) isFile() bool {
	text, err := config.Read(r.file)
	return err == nil && bytes.Equal(text, r.text)
}

// rollback ends the trial at once. r.mu is held.
func (r *reloader) rollback(ctx context.Context, _ ChangeRequest) (Reloaded, error) {
	if r.trial == nil {
		return r.unchanged(), exit.Error{Code: "apply.none", Exit: exit.NotFound, Message: "no configuration is on trial", Try: []string{"cordon apply FILE"}}
	}
	return r.endTrial(ctx, "somebody asked for it")
}

// TrialAnswer is the configuration on trial.
type TrialAnswer struct {
	Config []byte    // what is on trial; nil: nothing
	Before []byte    // what was in force
	Until  time.Time //
}

// answerTrial is the verb of the control socket that changes nothing.
func (r *reloader) answerTrial(context.Context, string, json.RawMessage) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.handedOver():
		return nil, control.ErrMoved
	case r.trial == nil:
		return TrialAnswer{}, nil
	}
	return TrialAnswer{r.text, r.trial.Before, r.trial.Until}, nil
}

func (r *reloader) confirmed() error {
	err := r.parts.record(audit.Entry{Kind: kindApply, Note: "the configuration on trial was confirmed"})
	r.trial = nil
	r.dropTrial()
	r.log.Info("the configuration on trial was confirmed")
	return err
}

// endTrial goes back to what was in force before, unless the trial's configuration has become
// the file. r.mu is held.
func (r *reloader) endTrial(ctx context.Context, why string) (Reloaded, error) {
	if r.isFile() {
		return r.unchanged(), r.confirmed()
	}
	before := r.trial.Before
	r.log.Warn("going back from the configuration on trial", "why", why)
	ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
	defer cancel()
	note := audit.Entry{Kind: kindApply, Note: "the configuration on trial was rolled back: " + why}
	if err := r.parts.record(note); err != nil {
		r.log.Error("record the end of a trial", "error", err)
	}
	done, err := r.bring(ctx, bringing{text: before, back: true})
	r.parts.outcomes.note(fromConfiguration, err)
	if err != nil {
		r.trial.again(trialRetry)
		r.log.Error("cannot go back from the configuration on trial, trying again", "error", err, "in", trialRetry)
		return done, err
	}
	r.trial = nil
	if !r.handedOver() {
		r.dropTrial()
	}
	return done, nil
}

// trialRetry is how long it takes until going back is tried again.
const trialRetry = 10 * time.Second

// forgetTrial ends a trial that this process does not know of. Another one ended it and has
// said so, or it was under way in one that is gone: this one then runs with the file.
func (r *reloader) forgetTrial() {
	if _, err := os.Lstat(r.trialPath()); err != nil || r.old != nil {
		r.dropTrial()
		return
	}
	r.log.Warn("the configuration on trial was rolled back: the gateway was started again")
	if err := r.parts.record(audit.Entry{Kind: kindApply, Note: "the configuration on trial was rolled back: the gateway was started again"}); err != nil {
		r.log.Error("record the end of a trial", "error", err)
	}
	r.dropTrial()
}

func (r *reloader) trialPath() string { return filepath.Join(r.config.Gateway.State, trialName) }

// noteTrial makes the note durable.
func (r *reloader) noteTrial(t *trial) error {
	text, err := json.Marshal(t)
	if err == nil {
		err = disk.Write(r.trialPath(), text, 0o600) // as a whole: a backup may have its other name
	}
	if err != nil {
		return fmt.Errorf("note that a configuration is on trial: %w", err)
	}
	return nil
}

func (r *reloader) dropTrial() {
	if err := os.Remove(r.trialPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("forget the trial", "error", err)
	}
}
