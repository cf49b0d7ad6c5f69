package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// Places inside gateway.state of policies that take two people.
const (
	rolloutFile   = "rollout.json" // which revision is in force
	submissionDir = "submissions"  // what was submitted, with who said what of it
)

// policySource is the policy that decides, wherever it comes from, without what is granted for a
// time.
type policySource struct {
	current   *rego.Engine
	candidate *rego.Engine   // nil unless a revision is being rolled out
	state     *rollout.State // nil without policy.approval: current is the policy folder as it was read
	begun     bool           // state is new, and not kept yet
	bundles   *bundles       // nil without policy.bundle: current is the one that was taken last
}

// openSource opens the policy that decides by what lies on disk. With policy.approval that
// is what was rolled out; the first time it is what the folder holds.
func openSource(c *config.Config) (*policySource, error) {
	if c.Policy.Bundle.Used() {
		return openTaken(c)
	}
	if !c.Policy.Approval.Needed() {
		engine, err := loadPolicy(c)
		if err != nil {
			return nil, err
		}
		return &policySource{current: engine}, checkPatches(c, engine)
	}
	path := filepath.Join(c.Gateway.State, rolloutFile)
	state, err := rollout.Read(path)
	if err == nil {
		return openRevisions(c, state)
	}
	restore := []string{"restore " + path + " from its backup", "cordon policy history tells what was in force"}
	if !errors.Is(err, fs.ErrNotExist) {
		// Any guess, the last revision that is recorded included, could allow what was taken back.
		return nil, exit.Error{Code: "rollout.damaged", Message: "which policy is in force is not known: " + err.Error(), Exit: exit.Checks, Err: err, Try: restore}
	}
	if _, err := os.Stat(filepath.Join(c.Gateway.State, submissionDir)); err == nil {
		return nil, exit.Error{Code: "rollout.missing", Message: fmt.Sprintf("which policy is in force is not known: %s is gone, and there are submissions", path), Exit: exit.Checks, Err: err, Try: restore}
	}
	engine, err := loadPolicy(c)
	if err != nil {
		return nil, err
	}
	first := rollout.Begin(engine.Revision(), engine.Data())
	return &policySource{current: engine, state: &first, begun: true}, checkPatches(c, engine)
}

// startingPolicy returns the policy that a start would decide by, proven as a check does it:
// how many of its tests passed, and what is to be said of it. What was rolled out was tested
// when it was submitted.
func startingPolicy(ctx context.Context, c *config.Config) (*rego.Engine, int, []string, error) {
	warnings := []string{}
	if c.Policy.Bundle.Used() {
		f, tests, err := startingBundle(ctx, c)
		if err != nil {
			return nil, 0, nil, err
		}
		return f.current, tests, append(warnings, f.bundleWords(c)), nil
	}
	if c.Policy.Approval.Needed() {
		f, err := openSource(c)
		if err != nil {
			return nil, 0, nil, err
		}
		if !f.begun {
			if text := f.beside(c); text != "" {
				warnings = append(warnings, text)
			}
			return f.current, 0, warnings, nil
		}
	}
	results, err := testPolicy(ctx, c)
	if err != nil {
		return nil, 0, nil, err
	}
	if len(results) == 0 {
		warnings = append(warnings, "the policy has no tests")
	}
	engine, err := loadPolicy(c)
	if err != nil {
		return nil, 0, nil, err
	}
	return engine, len(results), warnings, checkPatches(c, engine)
}

// openRevisions opens what state says is in force.
func openRevisions(c *config.Config, state rollout.State) (*policySource, error) {
	f := &policySource{state: &state}
	var err error
	if f.current, err = openRevision(c, state.Current); err == nil && state.Candidate != nil {
		f.candidate, err = openRevision(c, state.Candidate.Revision)
	}
	return f, err
}

// openRevision opens a revision that is kept, with the patches that devices need.
func openRevision(c *config.Config, r rollout.Revision) (*rego.Engine, error) {
	engine, err := keptIn(c).open(digests{r.Policy, r.Data})
	if err != nil {
		return nil, fmt.Errorf("open revision %d: %w", r.Number, err)
	}
	return engine, checkPatches(c, engine)
}

// keep makes a first revision last, and tells the log of it. by is the user of this machine who starts the gateway.
func (f *policySource) keep(c *config.Config, by string, record func(audit.Entry) error) error {
	if !f.begun {
		return nil
	}
	if err := keptIn(c).keep(f.current); err != nil {
		return err
	}
	e := audit.Entry{Kind: kindRollout, Note: stepNote(1, byLocal(by), "what the policy folder held when approval began"),
		Decision: policy.Decision{Revision: f.current.Revision(), Data: f.current.Data()}}
	if err := record(e); err != nil {
		return fmt.Errorf("record the first revision: %w", err)
	}
	f.begun = false
	return rollout.Write(filepath.Join(c.Gateway.State, rolloutFile), *f.state)
}

// name is what people call the policy that decides; "" if it is the folder.
func (f *policySource) name() string {
	if f.bundles != nil {
		if in, err := f.bundles.kept.inForce(); err == nil && in != nil {
			return fmt.Sprintf("bundle revision %d", in.Revision)
		}
	}
	if f.state == nil {
		return ""
	}
	return fmt.Sprintf("revision %d", f.state.Current.Number)
}

// describe says what decides, for an entry; "" if it is the folder.
func (f *policySource) describe() string {
	text := f.name()
	if text == "" {
		return ""
	}
	text += " decides"
	if f.state != nil && f.state.Candidate != nil {
		text += "; " + describeCandidate(f.state.Candidate)
	}
	return text
}

// summary is describe for the entry of a start or an end.
func (f *policySource) summary() string {
	if text := f.describe(); text != "" {
		return "; " + text
	}
	return ""
}
