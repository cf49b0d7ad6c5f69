package main

import (
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// tellInForce edits the folder of a gateway whose policy comes from elsewhere. What is asked of the policy is asked of the
// one that decides, and what is proposed says where the folder is to be edited.
func tellInForce(t *testing.T, cordon string) {
	t.Run("bundles", func(t *testing.T) {
		s := newSite(t, cordon)
		p := newPublisher(t)
		s.useBundles(t, p, "bundles", "24h")
		s.offer(t, p.publish(t, s.policyFiles(t), 7))
		s.asksWhatDecides(t, "bundle revision 7", "cordon policy bundle build ")
	})
	t.Run("approval", func(t *testing.T) {
		s := newSite(t, cordon)
		s.configure(t, "policy:\n", "policy:\n  approval: { authors: [security], approvers: [security-lead] }\n")
		s.asksWhatDecides(t, "revision 1", "cordon policy submit")
	})
}

func (s *site) asksWhatDecides(t *testing.T, name, next string) {
	s.issueStaff(t)
	d := s.serve(t)
	c := s.dial(t, "nurse")
	refused := send(t, c, framed(message("ORU^R01", "N1", "2.5.1")))
	send(t, c, framed(message("ORU^R01", "N2", "2.5.1")))
	code := decisionCode.FindString(refused[strings.Index(refused, "ERR|"):])
	var before struct{ Policy, Data, Workspace string }
	s.decode(t, &before, "policy", "table", "--json", "--dir", s.gw())
	if before.Workspace != "" {
		t.Errorf("a folder that is in force is said to differ: %s", before.Workspace)
	}

	// The folder allows it now, two lines further down, and is not in force.
	s.inTables(t, "# At any time.\n", "# At any\n# time, so they\n# say.\n")
	s.inTables(t, "monitor/*: [read, query, notify]", "monitor/*: [read, query, notify, write]")
	var why struct{ Repair repaired }
	s.decode(t, &why, "why", code, "--repair", "--json", "--dir", s.gw())
	r := why.Repair
	if r.Data != before.Data || r.Policy != before.Policy || !strings.Contains(r.Beside, "differs from "+name) || !slices.ContainsFunc(r.Try, func(s string) bool { return strings.HasPrefix(s, next) }) {
		t.Errorf("it begins with policy %s data %s, says %q, and then %q", r.Policy, r.Data, r.Beside, r.Try)
	}
	there, placed := 0, 0
	for _, p := range r.Repairs {
		for _, x := range p.Edits {
			switch {
			case x.Kind != rego.EditData:
			case x.There:
				there++
			default:
				placed++
				if lines := strings.Split(s.read(t, "gw/policy/data.yaml"), "\n"); x.Line < 1 || strings.TrimSpace(lines[x.Line-2]) != "monitor/*: [read, query, notify, write]" {
					t.Errorf("an edit goes to line %d of the folder's file: %+v", x.Line, x)
				}
			}
		}
	}
	if there != 1 || placed == 0 {
		t.Errorf("%d edits are said to be in the folder already, %d have a line: %+v", there, placed, r.Repairs)
	}
	text := s.must(t, "why", code, "--repair", "--dir", s.gw())
	for _, want := range []string{"says it already, and is not in force", "differs from " + name} {
		if !strings.Contains(text, want) {
			t.Errorf("a person is not told %q:\n%s", want, text)
		}
	}

	var evaluated struct {
		Allow           bool
		Data, Workspace string
	}
	s.decode(t, &evaluated, "policy", "eval", code, "--json", "--dir", s.gw())
	if evaluated.Allow || evaluated.Data != before.Data || evaluated.Workspace == "" {
		t.Errorf("eval asks another policy than the one that decides: %+v", evaluated)
	}
	s.decode(t, &evaluated, "policy", "eval", code, "--against", s.path("gw/policy"), "--json", "--dir", s.gw())
	if !evaluated.Allow {
		t.Errorf("eval does not ask the folder that it is given: %+v", evaluated)
	}
	var r2 struct {
		Data, Workspace string
		Groups          []rego.Group
	}
	s.decode(t, &r2, "policy", "replay", "--since", "1h", "--json", "--dir", s.gw())
	if r2.Data != before.Data || len(r2.Groups) > 0 || !strings.Contains(r2.Workspace, "differs from "+name) {
		t.Errorf("replay asks %+v", r2)
	}
	if out := s.run(t, "policy", "replay", "--since", "1h", "--against", s.path("gw/policy"), "--fail-on", "newly-allowed", "--dir", s.gw()); out.code != exit.Findings {
		t.Errorf("replay of the folder exits with %d", out.code)
	}
	var l struct {
		Policy, Data, Workspace string
		Groups                  []struct{ Operation string }
	}
	s.decode(t, &l, "policy", "learn", "--since", "1h", "--out", s.path("learned"), "--json", "--dir", s.gw())
	if l.Data != before.Data || l.Workspace == "" || len(l.Groups) != 1 || strings.Contains(s.read(t, "learned/data.yaml"), "so they") {
		t.Errorf("learned from another policy than the one that decides: %+v", l)
	}
	if text := s.must(t, "policy", "diff", "--dir", s.gw()); !strings.Contains(text, "role nurse may write on monitor/*") {
		t.Errorf("the folder differs by %s", text)
	}
	if text := s.must(t, "policy", "diff", "in-force", s.path("learned"), "--dir", s.gw()); strings.Contains(text, "role nurse may write on monitor/*") {
		t.Errorf("what was learned differs by %s", text)
	}
	s.must(t, "policy", "new", s.path("next"), "--dir", s.gw())
	if strings.Contains(s.read(t, "next/data.yaml"), "so they") {
		t.Error("a new folder begins with what is not in force")
	}

	// A folder that cannot be used has no lines to edit.
	s.inTables(t, "roles:\n", "roles: [\n")
	why.Repair = repaired{}
	s.decode(t, &why, "why", code, "--repair", "--json", "--dir", s.gw())
	if len(why.Repair.Repairs) == 0 || !strings.Contains(why.Repair.Beside, "cannot be used") {
		t.Errorf("beside a damaged folder: %+v", why.Repair)
	}
	for _, p := range why.Repair.Repairs {
		for _, x := range p.Edits {
			if x.File != "" {
				t.Errorf("beside a damaged folder an edit goes to %s:%d", x.File, x.Line)
			}
		}
	}
	d.stop(t)
}
