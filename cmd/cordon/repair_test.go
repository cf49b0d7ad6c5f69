package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"cordon/policy/rego"
)

// tellRepair asks what would have allowed a refused nurse, makes the first edit that is proposed
// at the line it names, and asks again.
func tellRepair(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "other", "--user", "nurse.abe", "--role", "nurse")
	d := s.serve(t)
	refused := send(t, s.dial(t, "nurse"), framed(message("ORU^R01", "N1", "2.5.1")))
	send(t, s.dial(t, "other"), framed(message("ORU^R01", "N2", "2.5.1")))
	unknown := send(t, s.dial(t, "nurse"), framed(message("ZZZ^Z01", "N3", "2.5.1")))
	allowed := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "R1", "2.5.1")))
	code := decisionCode.FindString(refused[strings.Index(refused, "ERR|"):])

	before := s.read(t, "gw/policy/data.yaml")
	var why struct{ Repair repaired }
	s.decode(t, &why, "why", code, "--repair", "--json", "--dir", s.gw())
	if now := s.read(t, "gw/policy/data.yaml"); now != before {
		t.Errorf("the policy was changed to\n%s", now)
	}
	i := slices.IndexFunc(why.Repair.Repairs, func(r rego.Repair) bool { return r.Edits[0].Kind == rego.EditData })
	if i < 0 {
		t.Fatalf("proposed: %+v", why.Repair)
	}
	// A role for one person changes nothing for the other nurse, the tables do.
	role := slices.IndexFunc(why.Repair.Repairs, func(r rego.Repair) bool { return r.Edits[0].Kind == rego.EditRole })
	if role < 0 || role > i || why.Repair.Repairs[role].Effect.Allowed != 0 || why.Repair.Repairs[role].Effect.Asked != 1 {
		t.Errorf("a role is proposed as %d, the tables as %d: %+v", role, i, why.Repair.Repairs)
	}
	proposed := why.Repair.Repairs[i]
	if x := proposed.Effect; x.Asked != 1 || x.Allowed != 1 || x.People != 1 || x.Denied != 0 || len(x.Examples) != 1 {
		t.Errorf("effect: %+v", x)
	}
	text := s.must(t, "why", code, "--repair", "--dir", s.gw())
	for _, want := range []string{"repair 1", "role nurse may write on monitor/bedside", "policy/data.yaml:", "it would have allowed 1 like this one, and 1 others of 1 subject(s)", "nothing is changed"} {
		if !strings.Contains(text, want) {
			t.Errorf("a person is not told %q:\n%s", want, text)
		}
	}

	edit := proposed.Edits[0]
	lines := strings.Split(before, "\n")
	if edit.Before != "" {
		lines[edit.Line-1] = edit.After
	} else {
		lines = slices.Insert(lines, edit.Line-1, edit.After)
	}
	if err := os.WriteFile(s.path("gw/policy/data.yaml"), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	var evaluated struct{ Allow bool }
	s.decode(t, &evaluated, "policy", "eval", code, "--json", "--dir", s.gw())
	if !evaluated.Allow {
		t.Errorf("after %q it is refused", edit.After)
	}

	again := s.must(t, "why", code, "--repair", "--dir", s.gw())
	if !strings.Contains(again, "allows it already") {
		t.Errorf("after the edit:\n%s", again)
	}
	for about, answer := range map[string]string{"allow_unknown": unknown, "nothing to repair": allowed} {
		code := decisionCode.FindString(answer)
		if code == "" { // what is allowed is not told a code
			var entry struct{ Code string }
			s.decode(t, &entry, "audit", "tail", "-n", "1", "--json", "--dir", s.gw())
			code = entry.Code
		}
		if text := s.must(t, "why", code, "--repair", "--dir", s.gw()); !strings.Contains(text, "repair    none: ") {
			t.Errorf("of %s a person is told\n%s", about, text)
		}
	}
	d.stop(t)
}

func (s *site) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
