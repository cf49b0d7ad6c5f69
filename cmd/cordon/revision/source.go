package revision

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
	RolloutFile   = "rollout.json" // which revision is in force
	SubmissionDir = "submissions"  // what was submitted, with who said what of it
)

// Source is the policy that decides, wherever it comes from, without what is granted for a
// time.
type Source struct {
	Current   *rego.Engine
	Candidate *rego.Engine   // nil unless a revision is being rolled out
	State     *rollout.State // nil without policy.approval: current is the policy folder as it was read
	Begun     bool           // state is new, and not kept yet
	Bundles   *Bundles       // nil without policy.bundle: current is the one that was taken last
	Refused   error          // why the policy folder was not taken at the start; current is what it held before
}

// Open opens the policy that decides by what lies on disk. With policy.approval that
// is what was rolled out; the first time it is what the folder holds.
func Open(c *config.Config) (*Source, error) {
	if c.Policy.Bundle.Used() {
		return openTaken(c)
	}
	if !c.Policy.Approval.Needed() {
		engine, err := Load(c)
		if err != nil {
			return nil, err
		}
		return &Source{Current: engine}, CheckPatches(c, engine)
	}
	path := filepath.Join(c.Gateway.State, RolloutFile)
	state, err := rollout.Read(path)
	if err == nil {
		return openRevisions(c, state)
	}
	restore := []string{"restore " + path + " from its backup", "cordon policy history tells what was in force"}
	if !errors.Is(err, fs.ErrNotExist) {
		// Any guess, the last revision that is recorded included, could allow what was taken back.
		return nil, exit.Error{Code: "rollout.damaged", Message: "which policy is in force is not known: " + err.Error(), Exit: exit.Checks, Err: err, Try: restore}
	}
	if _, err := os.Stat(filepath.Join(c.Gateway.State, SubmissionDir)); err == nil {
		return nil, exit.Error{Code: "rollout.missing", Message: fmt.Sprintf("which policy is in force is not known: %s is gone, and there are submissions", path), Exit: exit.Checks, Err: err, Try: restore}
	}
	engine, err := Load(c)
	if err != nil {
		return nil, err
	}
	first := rollout.Begin(engine.Revision(), engine.Data())
	return &Source{Current: engine, State: &first, Begun: true}, CheckPatches(c, engine)
}

// OpenProven opens a policy of the folder as it was proven and kept, whatever the folder holds by now.
func OpenProven(c *config.Config, of Digests) (*Source, error) {
	engine, err := KeptIn(c).Open(of)
	if err != nil {
		return nil, fmt.Errorf("open the policy that was proven: %w", err)
	}
	return &Source{Current: engine}, CheckPatches(c, engine)
}

// Starting returns the policy that a start would decide by, proven as a check does it:
// how many of its tests passed, and what is to be said of it. What was rolled out was tested
// when it was submitted.
func Starting(ctx context.Context, c *config.Config) (*rego.Engine, int, []string, error) {
	warnings := []string{}
	if c.Policy.Bundle.Used() {
		f, tests, err := startingBundle(ctx, c)
		if err != nil {
			return nil, 0, nil, err
		}
		return f.Current, tests, append(warnings, f.BundleWords(c)), nil
	}
	if c.Policy.Approval.Needed() {
		f, err := Open(c)
		if err != nil {
			return nil, 0, nil, err
		}
		if !f.Begun {
			if text := f.Beside(c); text != "" {
				warnings = append(warnings, text)
			}
			return f.Current, 0, warnings, nil
		}
	}
	results, err := Test(ctx, c)
	if err != nil {
		return nil, 0, nil, err
	}
	if len(results) == 0 {
		warnings = append(warnings, "the policy has no tests")
	}
	engine, err := Load(c)
	if err != nil {
		return nil, 0, nil, err
	}
	return engine, len(results), warnings, CheckPatches(c, engine)
}

// openRevisions opens what state says is in force.
func openRevisions(c *config.Config, state rollout.State) (*Source, error) {
	f := &Source{State: &state}
	var err error
	if f.Current, err = OpenRevision(c, state.Current); err == nil && state.Candidate != nil {
		f.Candidate, err = OpenRevision(c, state.Candidate.Revision)
	}
	return f, err
}

// OpenRevision opens a revision that is kept, with the patches that devices need.
func OpenRevision(c *config.Config, r rollout.Revision) (*rego.Engine, error) {
	engine, err := KeptIn(c).Open(Digests{r.Policy, r.Data})
	if err != nil {
		return nil, fmt.Errorf("open revision %d: %w", r.Number, err)
	}
	return engine, CheckPatches(c, engine)
}

// Keep makes a first revision last, and tells the log of it. by is the user of this machine who starts the gateway.
func (f *Source) Keep(c *config.Config, by string, record func(audit.Entry) error) error {
	if !f.Begun {
		return nil
	}
	if err := KeptIn(c).Keep(f.Current); err != nil {
		return err
	}
	e := audit.Entry{Kind: kindRollout, Note: stepNote(1, ByLocal(by), "what the policy folder held when approval began"),
		Decision: policy.Decision{Revision: f.Current.Revision(), Data: f.Current.Data()}}
	if err := record(e); err != nil {
		return fmt.Errorf("record the first revision: %w", err)
	}
	f.Begun = false
	return rollout.Write(filepath.Join(c.Gateway.State, RolloutFile), *f.State)
}

// Name is what people call the policy that decides; "" if it is the folder.
func (f *Source) Name() string {
	if f.Bundles != nil {
		if in, err := f.Bundles.Kept.InForce(); err == nil && in != nil {
			return fmt.Sprintf("bundle revision %d", in.Revision)
		}
	}
	if f.State == nil {
		return ""
	}
	return fmt.Sprintf("revision %d", f.State.Current.Number)
}

// Describe says what decides, for an entry; "" if it is the folder.
func (f *Source) Describe() string {
	text := f.Name()
	if text == "" {
		return ""
	}
	text += " decides"
	if f.State != nil && f.State.Candidate != nil {
		text += "; " + describeCandidate(f.State.Candidate)
	}
	return text
}

// Summary is Describe for the entry of a start or an end.
func (f *Source) Summary() string {
	if text := f.Describe(); text != "" {
		return "; " + text
	}
	return ""
}
