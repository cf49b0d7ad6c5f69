package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cordon/certs"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// Kinds of entries about a policy's way into force.
const (
	kindSubmit   audit.Kind = purposeSubmit
	kindApprove  audit.Kind = purposeApprove
	kindReject   audit.Kind = purposeReject
	kindRollout  audit.Kind = "policy-rollout"
	kindRollback audit.Kind = "policy-rollback"
)

// workflow takes a policy from its author into force, by two people. Each step is checked
// here, whatever the command that asks for it has checked; then the log is told; then it is
// kept on disk; then it is in force. What dies in between leaves the step done or not done,
// and a log that may know of one that was not done: the entry of the next start says what
// is in force. It is not for concurrent use.
type workflow struct {
	config   *config.Config
	verifier *certs.Verifier
	source   *policySource
	by       string // who asks, for steps that need no statement
	record   func(audit.Entry) error
	ready    func(*policySource) (enforce func() (ended int), err error) // makes the running gateway ready to decide by it; nil if none runs
	foresee  func(*policySource) (*foreseen, error)                      // tells what the running gateway would end by it; nil if none runs
}

// step is one request for a change, as it crosses the control socket.
type step struct {
	Do      string        `json:"do"` // submit, approve, reject, rollout, rollback, status
	Number  int           `json:"number,omitempty"`
	Signed  *signed.Words `json:"signed,omitempty"`  // of submit, approve and reject
	Archive []byte        `json:"archive,omitempty"` // of submit
	Stage   rollout.Stage `json:"stage,omitempty"`   // of rollout
	Devices []string      `json:"devices,omitempty"` // of rollout to a canary
	Preview bool          `json:"preview,omitempty"` // of rollout: only tell what it would do

	engine *rego.Engine // see prove
	fault  error
}

// stepDone is what became of a step, and what is in force now.
type stepDone struct {
	Schema string `json:"schema"`
	Step   string `json:"step"`
	Number int    `json:"number,omitempty"` // the revision it was about
	Ended  int    `json:"ended"`            // live sessions that are not permitted any more

	Would *foreseen `json:"would,omitempty"` // nothing was done: what it would end
	rollout.State
	Running    bool            `json:"running"`              // a gateway runs, and decides by this
	Comparison *rollout.Report `json:"comparison,omitempty"` // of a candidate with what counts
}

// do makes one step, or says why not. A refused step has an entry of its own.
func (w *workflow) do(s *step) (stepDone, error) {
	kinds := map[string]audit.Kind{"submit": kindSubmit, "approve": kindApprove, "reject": kindReject, "rollout": kindRollout, "rollback": kindRollback}
	done := stepDone{Schema: "cordon.rollout/v1", Step: s.Do, Number: s.Number}
	var err error
	switch s.Do {
	case "submit":
		done.Number, err = w.submit(s)
	case "approve", "reject":
		err = w.judge(s)
	case "rollout":
		done.Ended, done.Would, err = w.rollOut(s)
	case "rollback":
		done.Number, done.Ended, err = w.rollBack(s.Number)
	case "status":
	default:
		return done, fmt.Errorf("%.20q is no step", s.Do)
	}
	if err != nil {
		note := "refused: " + exit.Errors(err)[0].Message
		if s.Number > 0 {
			note = fmt.Sprintf("revision %d %s", s.Number, note)
		}
		if unrecorded := w.record(audit.Entry{Kind: kinds[s.Do], Note: note}); unrecorded != nil {
			err = fmt.Errorf("%w (the refusal is not recorded: %v)", err, unrecorded)
		}
		return done, err
	}
	done.State = *w.source.state
	return done, nil
}

// prove compiles what is submitted and runs its tests, which may take as long as they
// like within ctx: nothing waits for it. do refuses what was not proven.
func (s *step) prove(ctx context.Context, c *config.Config) {
	if s.Do == "submit" {
		s.engine, s.fault = s.proven(ctx, c)
	}
}

func (s *step) proven(ctx context.Context, c *config.Config) (*rego.Engine, error) {
	if s.Signed == nil {
		return nil, errors.New("nothing is signed")
	}
	var p proposal
	if err := signed.Read(s.Signed.Words, &p); err != nil {
		return nil, err
	}
	engine, err := p.open(0, s.Archive)
	if err != nil {
		return nil, err
	}
	if err := checkPatches(c, engine); err != nil {
		return nil, err
	}
	results, err := engine.Test(ctx)
	if err == nil {
		err = failedTests(c, results)
	}
	if err == nil && len(results) != p.Tests {
		err = fmt.Errorf("%d tests passed, not the %d that were signed", len(results), p.Tests)
	}
	return engine, placed(err)
}

// submit takes what was proven and returns its number.
func (w *workflow) submit(s *step) (int, error) {
	if s.fault != nil {
		return 0, s.fault
	}
	if s.engine == nil {
		return 0, errors.New("it was not proven")
	}
	var p proposal
	if err := signed.Read(s.Signed.Words, &p); err != nil {
		return 0, err
	}
	by, err := w.accept(s.Signed, purposeSubmit, w.config.Policy.Approval.Authors)
	if err != nil {
		return 0, err
	}
	current := w.source.state.Current
	switch {
	case p.Gateway != w.config.ID():
		return 0, exit.Error{Code: "submission.gateway", Exit: exit.Conflict, Message: fmt.Sprintf("it is signed for gateway %.80q, this is %q", p.Gateway, w.config.ID())}
	case p.InForce != (digests{current.Policy, current.Data}):
		return 0, exit.Error{Code: "submission.stale", Exit: exit.Conflict, Message: fmt.Sprintf("it was compared with another policy than revision %d, which is in force", current.Number), Try: []string{"the same command again, and look at the difference"}}
	case p.digests == p.InForce:
		return 0, exit.Error{Code: "submission.same", Exit: exit.Conflict, Message: fmt.Sprintf("it decides as revision %d, which is in force: nothing is to be submitted", current.Number)}
	}
	if err := checkWhy(p.Why); err != nil {
		return 0, err
	}
	numbers, err := submissions(w.config)
	if err != nil {
		return 0, err
	}
	if len(numbers) >= maxSubmissions {
		return 0, exit.Error{Code: "submission.many", Exit: exit.Conflict, Message: fmt.Sprintf("%d submissions are kept, that is enough", len(numbers)), Try: []string{"remove the oldest in " + filepath.Join(w.config.Gateway.State, submissionDir)}}
	}
	for _, n := range numbers { // a statement is good for five minutes, and only once
		if old, err := readSubmission(w.config, n); err == nil && string(old.Submitted.Words) == string(s.Signed.Words) && old.Submitted.Statement.At.Equal(s.Signed.Statement.At) {
			return 0, exit.Error{Code: "submission.twice", Exit: exit.Conflict, Message: fmt.Sprintf("it is submission %d already", n)}
		}
	}

	state, number := w.source.state.Reserve() // a number is given once, also if this fails halfway
	if err := w.keep(state); err != nil {
		return 0, err
	}
	w.source.state = &state
	if err := os.MkdirAll(filepath.Join(w.config.Gateway.State, submissionDir), 0o700); err != nil {
		return 0, fmt.Errorf("keep the submission: %w", err)
	}
	if err := rollout.Replace(submissionPath(w.config, number, ".tar"), s.Archive); err != nil {
		return 0, fmt.Errorf("keep the submission: %w", err)
	}
	if err := w.note(kindSubmit, number, by, p.Why, p.digests); err != nil {
		return 0, err
	}
	taken := *s.Signed
	taken.By, taken.Taken = by, time.Now().UTC()
	return number, w.write(&submission{Version: 1, Number: number, Submitted: taken})
}

// write keeps a submission's record.
func (w *workflow) write(s *submission) error {
	text, err := json.Marshal(s) // not indented: signed words keep their bytes
	if err == nil {
		err = rollout.Replace(submissionPath(w.config, s.Number, ".json"), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep submission %d: %w", s.Number, err)
	}
	return nil
}
