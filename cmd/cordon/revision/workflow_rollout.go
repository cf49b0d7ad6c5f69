package revision

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// rollOut brings a submission to a stage, or tells what that would end.
func (w *Workflow) rollOut(s *Step) (ended int, would *Foreseen, err error) {
	sub, err := ReadSubmission(w.Config, s.Number)
	if err != nil {
		return 0, nil, err
	}
	if sub.Rejected != nil {
		return 0, nil, rejectedFailure(sub)
	}
	author, known, err := w.author(sub)
	if err != nil {
		return 0, nil, err
	}
	approver, err := w.approver(sub, author)
	if err != nil {
		return 0, nil, err
	}
	if approver == "" && !known {
		return 0, nil, exit.Error{Code: "submission.old", Exit: exit.Denied, Message: fmt.Sprintf("the certificate that signed submission %d ended too long ago to know whether it was revoked, and nobody has approved it", s.Number),
			Try: []string{fmt.Sprintf("cordon policy approve %d", s.Number), "cordon policy submit, again"}}
	}
	for _, id := range s.Devices {
		if !slices.ContainsFunc(w.Config.Devices, func(d config.Device) bool { return d.ID == id }) {
			return 0, nil, exit.Error{Code: "device.unknown", Exit: exit.NotFound, Message: fmt.Sprintf("no device %.64q", id), Try: []string{"cordon device list"}}
		}
	}
	r := rollout.Revision{Number: s.Number, Policy: sub.Proposal.Policy, Data: sub.Proposal.Data, Author: author, Approver: approver}
	state, err := w.Source.State.Advance(r, s.Stage, s.Devices)
	if err != nil {
		return 0, nil, stepFailure(err)
	}
	engine, err := sub.Open(w.Config)
	if err != nil {
		return 0, nil, err
	}
	if s.Preview {
		if err := CheckPatches(w.Config, engine); err != nil || w.Foresee == nil {
			return 0, nil, err
		}
		would, err = w.Foresee(w.reached(state, s.Number, engine))
		return 0, would, err
	}
	if err := KeptIn(w.Config).Keep(engine); err != nil {
		return 0, nil, err
	}
	by := "approved by " + approver
	if approver == "" {
		by = "approved by nobody, so it only narrows"
	}
	text := fmt.Sprintf("%s; submitted by %s, %s", DescribeStage(s.Stage, s.Devices), author, by)
	ended, err = w.change(kindRollout, s.Number, text, state)
	return ended, nil, err
}

// rollBack takes one step back, or goes back to revision to.
func (w *Workflow) rollBack(to int) (number, ended int, err error) {
	was := w.Source.State
	state, err := was.Rollback(to)
	if err != nil {
		return to, 0, stepFailure(err)
	}
	text := fmt.Sprintf("in force again, instead of revision %d", was.Current.Number)
	if state.Current.Number == was.Current.Number {
		text = fmt.Sprintf("decides alone again; revision %d is withdrawn", was.Candidate.Number)
	}
	ended, err = w.change(kindRollback, state.Current.Number, text, state)
	return state.Current.Number, ended, err
}

func stepFailure(err error) error {
	f := exit.Error{Code: "rollout.step", Exit: exit.Conflict, Message: err.Error(), Err: err}
	switch {
	case errors.Is(err, rollout.ErrOther):
		f.Code, f.Try = "rollout.other", []string{"cordon policy rollback withdraws it", "cordon policy rollout --stage all brings it to its end, once it is approved"}
	case errors.Is(err, rollout.ErrCurrent):
		f.Code, f.Try = "rollout.current", []string{"cordon policy rollout status"}
	case errors.Is(err, rollout.ErrNever):
		f.Code, f.Try = "rollout.never", []string{"cordon policy rollout REV, for what was not in force before", "cordon policy history"}
	}
	return f
}

// change makes ready what state says, records it, keeps it, and has it decide.
func (w *Workflow) change(kind audit.Kind, number int, text string, state rollout.State) (ended int, err error) {
	next, err := openRevisions(w.Config, state)
	if err != nil {
		return 0, err
	}
	enforce := func() int { return 0 }
	if w.Ready != nil {
		if enforce, err = w.Ready(next); err != nil {
			return 0, err
		}
	}
	decides := next.Current
	if next.Candidate != nil {
		decides = next.Candidate
	}
	if err := w.note(kind, number, w.By, text, DigestsOf(decides)); err != nil {
		return 0, err
	}
	if err := w.keep(state); err != nil {
		return 0, err
	}
	w.Source = next
	return enforce(), nil
}

func (w *Workflow) keep(state rollout.State) error {
	return rollout.Write(filepath.Join(w.Config.Gateway.State, RolloutFile), state)
}

// reached is the source of a gateway that has come to state with a revision's engine; nothing is kept.
func (w *Workflow) reached(state rollout.State, number int, engine *rego.Engine) *Source {
	if state.Candidate == nil || state.Candidate.Number != number {
		return &Source{Current: engine, State: &state}
	}
	return &Source{Current: w.Source.Current, Candidate: engine, State: &state}
}
