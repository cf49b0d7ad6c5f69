package revision

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
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// Kinds of entries about a policy's way into force.
const (
	kindSubmit   audit.Kind = PurposeSubmit
	kindApprove  audit.Kind = PurposeApprove
	kindReject   audit.Kind = PurposeReject
	kindRollout  audit.Kind = "policy-rollout"
	kindRollback audit.Kind = "policy-rollback"
)

// Workflow takes a policy from its author into force, by two people. Each step is checked
// here, whatever the command that asks for it has checked; then the log is told; then it is
// kept on disk; then it is in force. What dies in between leaves the step done or not done,
// and a log that may know of one that was not done: the entry of the next start says what
// is in force. It is not for concurrent use.
type Workflow struct {
	Config   *config.Config
	Verifier *certs.Verifier
	Source   *Source
	By       string // who asks, for steps that need no statement
	Record   func(audit.Entry) error
	Ready    func(*Source) (enforce func() (ended int), err error) // makes the running gateway ready to decide by it; nil if none runs
	Foresee  func(*Source) (*Foreseen, error)                      // tells what the running gateway would end by it; nil if none runs
}

// Step is one request for a change, as it crosses the control socket.
type Step struct {
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

// StepDone is what became of a step, and what is in force now.
type StepDone struct {
	Schema string `json:"schema"`
	Step   string `json:"step"`
	Number int    `json:"number,omitempty"` // the revision it was about
	Ended  int    `json:"ended"`            // live sessions that are not permitted any more

	Would *Foreseen `json:"would,omitempty"` // nothing was done: what it would end
	rollout.State
	Running    bool            `json:"running"`              // a gateway runs, and decides by this
	Comparison *rollout.Report `json:"comparison,omitempty"` // of a candidate with what counts
}

// Do makes one step, or says why not. A refused step has an entry of its own.
func (w *Workflow) Do(s *Step) (StepDone, error) {
	kinds := map[string]audit.Kind{"submit": kindSubmit, "approve": kindApprove, "reject": kindReject, "rollout": kindRollout, "rollback": kindRollback}
	done := StepDone{Schema: "cordon.rollout/v1", Step: s.Do, Number: s.Number}
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
		if unrecorded := w.Record(audit.Entry{Kind: kinds[s.Do], Note: note}); unrecorded != nil {
			err = fmt.Errorf("%w (the refusal is not recorded: %v)", err, unrecorded)
		}
		return done, err
	}
	done.State = *w.Source.State
	return done, nil
}

// Prove compiles what is submitted and runs its tests, which may take as long as they
// like within ctx: nothing waits for it. do refuses what was not proven.
func (s *Step) Prove(ctx context.Context, c *config.Config) {
	if s.Do == "submit" {
		s.engine, s.fault = s.proven(ctx, c)
	}
}

func (s *Step) proven(ctx context.Context, c *config.Config) (*rego.Engine, error) {
	if s.Signed == nil {
		return nil, errors.New("nothing is signed")
	}
	var p Proposal
	if err := signed.Read(s.Signed.Words, &p); err != nil {
		return nil, err
	}
	engine, err := p.open(0, s.Archive)
	if err != nil {
		return nil, err
	}
	if err := CheckPatches(c, engine); err != nil {
		return nil, err
	}
	results, err := engine.Test(ctx)
	if err == nil {
		err = Failed(c, results)
	}
	if err == nil && len(results) != p.Tests {
		err = fmt.Errorf("%d tests passed, not the %d that were signed", len(results), p.Tests)
	}
	return engine, Placed(err)
}

// submit takes what was proven and returns its number.
func (w *Workflow) submit(s *Step) (int, error) {
	if s.fault != nil {
		return 0, s.fault
	}
	if s.engine == nil {
		return 0, errors.New("it was not proven")
	}
	var p Proposal
	if err := signed.Read(s.Signed.Words, &p); err != nil {
		return 0, err
	}
	by, certificate, err := w.accept(s.Signed, PurposeSubmit, w.Config.Policy.Approval.Authors)
	if err != nil {
		return 0, err
	}
	current := w.Source.State.Current
	switch {
	case p.Gateway != w.Config.ID():
		return 0, exit.Error{Code: "submission.gateway", Exit: exit.Conflict, Message: fmt.Sprintf("it is signed for gateway %.80q, this is %q", p.Gateway, w.Config.ID())}
	case p.InForce != (Digests{current.Policy, current.Data}):
		return 0, exit.Error{Code: "submission.stale", Exit: exit.Conflict, Message: fmt.Sprintf("it was compared with another policy than revision %d, which is in force", current.Number), Try: []string{"the same command again, and look at the difference"}}
	case p.Digests == p.InForce:
		return 0, exit.Error{Code: "submission.same", Exit: exit.Conflict, Message: fmt.Sprintf("it decides as revision %d, which is in force: nothing is to be submitted", current.Number)}
	}
	if err := CheckWhy(p.Why); err != nil {
		return 0, err
	}
	numbers, err := Submissions(w.Config)
	if err != nil {
		return 0, err
	}
	if len(numbers) >= maxSubmissions {
		return 0, exit.Error{Code: "submission.many", Exit: exit.Conflict, Message: fmt.Sprintf("%d submissions are kept, that is enough", len(numbers)), Try: []string{"remove the oldest in " + filepath.Join(w.Config.Gateway.State, SubmissionDir)}}
	}
	for _, n := range numbers { // a statement is good for five minutes, and only once
		if old, err := ReadSubmission(w.Config, n); err == nil && string(old.Submitted.Words) == string(s.Signed.Words) && old.Submitted.Statement.At.Equal(s.Signed.Statement.At) {
			return 0, exit.Error{Code: "submission.twice", Exit: exit.Conflict, Message: fmt.Sprintf("it is submission %d already", n)}
		}
	}

	state, number := w.Source.State.Reserve() // a number is given once, also if this fails halfway
	if err := w.keep(state); err != nil {
		return 0, err
	}
	w.Source.State = &state
	if err := os.MkdirAll(filepath.Join(w.Config.Gateway.State, SubmissionDir), 0o700); err != nil {
		return 0, fmt.Errorf("keep the submission: %w", err)
	}
	if err := disk.Write(submissionPath(w.Config, number, ".tar"), s.Archive, 0o600); err != nil {
		return 0, fmt.Errorf("keep the submission: %w", err)
	}
	if err := w.note(kindSubmit, number, by, p.Why+certificate, p.Digests); err != nil {
		return 0, err
	}
	taken := *s.Signed
	taken.By, taken.Taken = by, time.Now().UTC()
	return number, w.write(&Submission{Version: 1, Number: number, Submitted: taken})
}

// write keeps a submission's record.
func (w *Workflow) write(s *Submission) error {
	text, err := json.Marshal(s) // not indented: signed words keep their bytes
	if err == nil {
		err = disk.Write(submissionPath(w.Config, s.Number, ".json"), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep submission %d: %w", s.Number, err)
	}
	return nil
}
