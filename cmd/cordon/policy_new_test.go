package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

// policyChecked is what "policy check" says to programs.
type policyChecked struct {
	Policy, Data string
	Tests        int
	Warnings     []string
	Findings     []rego.Finding
	Regal        bool
}

// TestPolicyNew makes a folder to edit in, edits it, and sees what check and diff say.
func TestPolicyNew(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no regal
	gw, c := newGateway(t)
	next := filepath.Join(t.TempDir(), "next")
	inProcess(t, exit.Done, "policy", "new", next, "--dir", gw)
	inProcess(t, exit.Conflict, "policy", "new", next, "--dir", gw)
	check := func(status int) (out policyChecked) {
		t.Helper()
		text := inProcess(t, status, "policy", "check", next, "--dir", gw, "--json")
		if status == exit.Done {
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	engine, err := revision.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	if out := check(exit.Done); out.Policy != engine.Revision() || out.Data != engine.Data() || out.Tests == 0 || len(out.Findings)+len(out.Warnings) > 0 || out.Regal {
		t.Errorf("as it is: %+v", out)
	}

	there := *c
	there.Policy.Dir = next
	edit(t, &there, "data.yaml", "\n# Besides, while", "  porter:\n    monitor/*: [read]\n\n# Besides, while")
	edit(t, &there, "data.yaml", "kinds:\n", "kinds:\n  porter: user\n")
	out := check(exit.Done) // warnings are no failure
	i := slices.IndexFunc(out.Findings, func(f rego.Finding) bool { return f.Code == "policy.lint.table" })
	if i < 0 || !out.Findings[i].Warning || out.Findings[i].File != filepath.Join(next, rego.TableFile) {
		t.Errorf("a table that is another policy's: %+v", out.Findings)
	}
	inProcess(t, exit.Done, "policy", "table", next, "-w", "--dir", gw)
	if out := check(exit.Done); len(out.Findings) > 0 {
		t.Errorf("after it was written: %+v", out.Findings)
	}
	if text, err := os.ReadFile(filepath.Join(next, rego.TableFile)); err != nil || !strings.Contains(string(text), "| porter | `monitor/*` | any but dicom | yes | yes | yes | – |") {
		t.Errorf("the table: %s, %v", text, err)
	}
	var diff struct{ Table []rego.CellChange }
	if err := json.Unmarshal([]byte(inProcess(t, exit.Done, "policy", "diff", c.Policy.Dir, next, "--dir", gw, "--json")), &diff); err != nil {
		t.Fatal(err)
	}
	if len(diff.Table) == 0 || slices.ContainsFunc(diff.Table, func(x rego.CellChange) bool { return x.Role != "porter" || len(x.Before) > 0 }) {
		t.Errorf("cells that changed: %+v", diff.Table)
	}

	edit(t, &there, "data.yaml", "    monitor/*: [read]\n\n", "    monitor/*: [raed]\n\n")
	if text := inProcess(t, exit.Checks, "policy", "check", next, "--dir", gw, "--json"); text != "" {
		t.Errorf("a slip that cannot be meant: %s", text)
	}
}

// TestRegalReport reads a report of regal's documented form.
func TestRegalReport(t *testing.T) {
	found, err := readRegal([]byte(`{"violations": [{"title": "line-length", "description": "Line too long", "category": "style", "level": "error",
		"location": {"col": 121, "row": 7, "file": "cordon.rego", "text": "x"}}], "summary": {"num_violations": 1}}`), "next")
	if err != nil || len(found) != 1 || found[0].String() != "next/cordon.rego:7:121: Line too long" || found[0].Code != "regal.line-length" || !found[0].Warning {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, bad := range []string{"", "{}", "panic: x", `{"violations": 7}`} {
		if _, err := readRegal([]byte(bad), "next"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
