package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// tellHalfEdited restarts a gateway whose policy folder somebody is editing: an edit that a reload refuses comes into force
// by no restart, and no restart fails for it. What decided before decides on, and says so.
func tellHalfEdited(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	type standing struct {
		Policy, Data string
		Reloads      []struct {
			Source, Why string
			OK          bool
		}
	}
	now := func() (all standing, folder string) {
		t.Helper()
		out := s.run(t, "status", "--json", "--dir", s.gw())
		if err := json.Unmarshal([]byte(out.stdout), &all); err != nil {
			t.Fatalf("status exits with %d: %v\n%s", out.code, err, out.stderr)
		}
		for _, r := range all.Reloads {
			if r.Source == "folder" && !r.OK {
				folder = r.Why
			}
		}
		return all, folder
	}
	d := s.serve(t)
	first, why := now()
	if why != "" {
		t.Fatalf("as it is written, the folder is refused: %s", why)
	}
	d.stop(t)

	const table = "  nurse:\n"
	for _, c := range []struct{ what, file, old, new, why string }{
		{"a rule that its tests contradict", "policy/cordon.rego", "known if input.operation.class != \"unknown\"", "known if true", "policy tests fail"},
		{"a table that is broken off", "policy/data.yaml", table, "  nurse: [\n", ""},
	} {
		s.edit(t, c.file, c.old, c.new)
		if out := s.run(t, "check", "--dir", s.gw()); out.code != exit.Checks {
			t.Errorf("%s: check exits with %d: %s", c.what, out.code, out.stderr)
		}
		d := s.serve(t)
		is, why := now()
		if is.Policy != first.Policy || is.Data != first.Data {
			t.Errorf("%s: a restart brings another policy into force", c.what)
		}
		if why == "" || !strings.Contains(why, c.why) {
			t.Errorf("%s: status says %q of the folder, want %q", c.what, why, c.why)
		}
		if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "E1", "2.5.1"))); !strings.Contains(answer, "MSA|AA") {
			t.Errorf("%s: what is permitted is answered %q", c.what, answer)
		}
		if answer := send(t, s.dial(t, "nurse"), framed(message("ORU^R01", "N1", "2.5.1"))); !strings.Contains(answer, "MSA|AR") {
			t.Errorf("%s: what is refused is answered %q", c.what, answer)
		}
		if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Findings {
			t.Errorf("%s: reload exits with %d: %s", c.what, out.code, out.stderr)
		}
		if log := s.must(t, "audit", "tail", "-n", "50", "--dir", s.gw()); !strings.Contains(log, "refused at the start, what was in force before decides") {
			t.Errorf("%s: the log says nothing of it:\n%s", c.what, log)
		}
		if !eventually(func() bool { return strings.Contains(d.logged(), `"msg":"alarm","name":"policy-refused"`) }) {
			t.Errorf("%s: it is no alarm:\n%s", c.what, d.logged())
		}
		s.edit(t, c.file, c.new, c.old)
		s.must(t, "reload", "--dir", s.gw())
		if is, why := now(); why != "" || is.Policy != first.Policy {
			t.Errorf("%s, undone: status says %q of the folder", c.what, why)
		}
		d.stop(t)
	}

	d = s.serve(t)
	s.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles: {user/dr.kim: [KIM-WS]}\n")
	s.must(t, "reload", "--dir", s.gw())
	second, _ := now()
	if second.Data == first.Data {
		t.Fatal("the policy is the same")
	}
	d.stop(t)
	if err := os.Rename(s.path("gw/policy"), filepath.Join(s.gw(), "policy.away")); err != nil {
		t.Fatal(err)
	}
	d = s.serve(t)
	if is, why := now(); is.Data != second.Data || why == "" {
		t.Errorf("without the folder, not what was reloaded last decides; status says %q", why)
	}
	d.stop(t)
}
