package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

// lintPolicy returns what looks like a slip in the policy, files joined with its folder.
func lintPolicy(ctx context.Context, c *config.Config, engine *rego.Engine) []rego.Finding {
	site := rego.Site{}
	for _, d := range c.Devices {
		one := rego.SiteDevice{ID: d.ID, Class: d.Class}
		for _, s := range d.Services {
			one.Protocols = append(one.Protocols, s.Proto)
		}
		site.Devices = append(site.Devices, one)
	}
	found := engine.Lint(site)
	if stale(ctx, c, engine) {
		found = append(found, rego.Finding{Problem: rego.Problem{File: rego.TableFile, Code: "policy.lint.table", Message: "is not what the policy does", Hint: "cordon policy table -w"}, Warning: true})
	}
	for i := range found {
		found[i].File = filepath.Join(c.Policy.Dir, filepath.FromSlash(found[i].File))
	}
	return found
}

// stale reports whether the table kept in the policy folder is another policy's. One that was
// made for more roles and devices than the data speak of counts as another's.
func stale(ctx context.Context, c *config.Config, engine *rego.Engine) bool {
	kept, err := os.ReadFile(filepath.Join(c.Policy.Dir, rego.TableFile))
	if err != nil {
		return false // whoever keeps none has none that is wrong
	}
	cells, err := engine.Table(ctx, engine.Vocabulary())
	return err != nil || !bytes.Equal(kept, rego.TableMarkdown(cells))
}

// maxRegal bounds a run of regal, which is not ours.
const (
	maxRegal       = time.Minute
	maxRegalOutput = 4 << 20
)

// errNoRegal says that regal is not installed.
var errNoRegal = errors.New("regal is not installed, so its rules were not asked (https://github.com/open-policy-agent/regal)")

// regal runs "regal lint" on the policy folder and returns what it says, as warnings: its rules
// are about style.
func regal(ctx context.Context, dir string) ([]rego.Finding, error) {
	program, err := exec.LookPath("regal")
	if err != nil {
		return nil, errNoRegal
	}
	ctx, cancel := context.WithTimeout(ctx, maxRegal)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "lint", "--format", "json", ".")
	cmd.Dir = dir
	var out limited
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	found, bad := readRegal(out.text, dir)
	if bad != nil { // it exits with 3 if it finds something
		return nil, fmt.Errorf("%s said nothing that could be read: %w", program, errors.Join(err, bad))
	}
	return found, nil
}

// readRegal reads what "regal lint --format json" writes.
func readRegal(text []byte, dir string) (found []rego.Finding, err error) {
	var report struct {
		Violations *[]struct {
			Title, Description string
			Location           struct {
				File     string
				Row, Col int
			}
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	if report.Violations == nil {
		return nil, errors.New("no list of violations")
	}
	for _, v := range *report.Violations {
		found = append(found, rego.Finding{Warning: true, Problem: rego.Problem{File: filepath.Join(dir, filepath.FromSlash(v.Location.File)), Line: v.Location.Row, Column: v.Location.Col,
			Code: "regal." + v.Title, Message: strings.TrimSpace(v.Description)}})
	}
	return found, nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ text []byte }

func (l *limited) Write(b []byte) (int, error) {
	l.text = append(l.text, b[:min(len(b), maxRegalOutput-len(l.text))]...)
	return len(b), nil
}

// lintFailure turns errors among findings into a failure; warnings are none.
func lintFailure(found []rego.Finding) error {
	problems := &rego.Problems{}
	for _, f := range found {
		if !f.Warning {
			problems.List = append(problems.List, f.Problem)
		}
	}
	if len(problems.List) == 0 {
		return nil
	}
	return revision.PolicyFailure(problems)
}
