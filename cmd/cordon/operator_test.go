package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// tellInvestigation follows a refused nurse's call to the desk: from the code in the answer to
// the rule that decided, in the log of a running gateway, for people and for programs.
func tellInvestigation(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	answer := send(t, s.dial(t, "nurse"), framed(message("ORU^R01", "R1", "2.5.1")))
	code := decisionCode.FindString(answer[strings.Index(answer, "ERR|"):])
	if code == "" {
		t.Fatalf("no decision code in %q", answer)
	}

	why := s.must(t, "why", code, "--dir", s.gw())
	for _, want := range []string{code, "DENY hl7:ORU^R01", "user/nurse.ito", "mon-7", "monitor/bedside",
		"write on monitor/bedside is not permitted for role nurse", "cordon.rego:", "did not hold"} {
		if !strings.Contains(why, want) {
			t.Errorf("why %s does not say %q:\n%s", code, want, why)
		}
	}
	if strings.Contains(why, "DEMO") || strings.Contains(s.must(t, "audit", "show", code, "--dir", s.gw()), "DEMO") {
		t.Error("the log tells the patient's name")
	}
	var explained struct {
		Schema      string
		Entry       struct{ Code, Reason string }
		Explanation []struct{ File string }
	}
	s.decode(t, &explained, "why", code, "--json", "--dir", s.gw())
	if explained.Schema != "cordon.why/v1" || explained.Entry.Code != code || len(explained.Explanation) == 0 {
		t.Errorf("why --json: %+v", explained)
	}
	var entry struct {
		Schema, Code, Kind, Policy string
		Allow                      bool
		Index                      int64
	}
	// As it is dictated over the phone.
	s.decode(t, &entry, "audit", "show", strings.ToLower(strings.ReplaceAll(code, "-", "")), "--json", "--dir", s.gw())
	if entry.Schema != "cordon.entry/v1" || entry.Code != code || entry.Allow || !strings.HasPrefix(entry.Policy, "sha256:") {
		t.Errorf("audit show %s: %+v", code, entry)
	}
	tail := strings.Split(strings.TrimSpace(s.must(t, "audit", "tail", "-n", "2", "--json", "--dir", s.gw())), "\n")
	if len(tail) != 2 || !strings.Contains(tail[1], `"code":"`+code+`"`) {
		t.Errorf("audit tail -n 2 --json: %q", tail)
	}
	var verified struct{ Entries, Signed int64 }
	s.decode(t, &verified, "audit", "verify", "--json", "--dir", s.gw())
	if verified.Entries != entry.Index+1 {
		t.Errorf("verify counts %d entries, the last one's index is %d", verified.Entries, entry.Index)
	}
	d.stop(t)
	s.must(t, "why", code, "--dir", s.gw())
}

// decode runs a command and reads its output as one JSON value.
func (s *site) decode(t *testing.T, to any, args ...string) {
	t.Helper()
	out := s.must(t, args...)
	if err := json.Unmarshal([]byte(out), to); err != nil {
		t.Fatalf("cordon %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// tellTampering changes one byte of the log at a time. Whatever it belongs to, verify
// finds it.
func tellTampering(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	c := s.dial(t, "engine")
	for range 5 {
		send(t, c, framed(message("ORU^R01", "R1", "2.5.1")))
	}
	c.Close()
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
	logs, err := filepath.Glob(filepath.Join(s.gw(), "state/audit/*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the log is in %q (%v)", logs, err)
	}
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	used := len(strings.TrimRight(string(whole), "\x00"))
	for i := 0; i < 16; i++ {
		at := used * i / 16
		changed := slices.Clone(whole)
		changed[at] ^= 0x01
		if err := os.WriteFile(logs[0], changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if out := s.run(t, "audit", "verify", "--dir", s.gw()); out.code != exit.Checks || out.stdout != "" {
			t.Errorf("byte %d of %d changed: verify exits with %d: %s%s", at, used, out.code, out.stdout, out.stderr)
		}
	}
	if err := os.WriteFile(logs[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// tellExitCodes shows what a script can tell apart.
func tellExitCodes(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.must(t, "check", "--dir", s.gw())
	typo := newSite(t, cordon)
	typo.inPolicy(t, "class in data.roles", "input.opration.class in data.roles")
	d := s.serve(t)
	busy := newSite(t, cordon)
	busy.configure(t, busy.listen, s.listen)

	for _, c := range []struct {
		at   *site
		args string
		code int
		says string // a regular expression, on standard error
	}{
		{s, "chekc", exit.Usage, `cordon check`},
		{s, "check --dir elsewhere", exit.NotFound, `config\.file\.missing`},
		{s, "why 000-00 --dir gw", exit.NotFound, `audit\.no_entry`},
		{s, "audit show 9999 --dir gw", exit.NotFound, `audit\.no_entry`},
		{s, "init gw", exit.Conflict, `init\.exists`},
		{s, "cert issue --dir gw --user nurse.ito --role nurse --out nurse", exit.Conflict, `cert\.exists`},
		{busy, "run -c gw/cordon.yaml", exit.Conflict, `code: listen\n`},
		{typo, "check --dir gw", exit.Checks, `gw/policy/cordon\.rego:\d+:\d+\n(.*\n)*.*opration`},
		{typo, "audit tail --dir gw", exit.NotFound, `audit\.missing`},
		{typo, "run --dir gw", exit.Checks, `cordon\.rego:\d+:\d+`},
	} {
		out := c.at.run(t, strings.Fields(c.args)...)
		if out.code != c.code || !regexp.MustCompile(c.says).MatchString(out.stderr) || out.stdout != "" {
			t.Errorf("cordon %s exits with %d, want %d, and says %s%s, want %s", c.args, out.code, c.code, out.stdout, out.stderr, c.says)
		}
	}
	d.stop(t)
}

// inPolicy replaces a text in the site's policy.
func (s *site) inPolicy(t *testing.T, old, new string) {
	t.Helper()
	file := filepath.Join(s.gw(), "policy", "cordon.rego")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%s does not contain %q (%v)", file, old, err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tellDemo runs the demo as a newcomer does and looks at what is left of it: nothing.
func tellDemo(t *testing.T, cordon string) {
	scratch := t.TempDir()
	cmd := exec.CommandContext(t.Context(), cordon, "demo", "--for", "2s", "--json")
	cmd.Dir = scratch
	cmd.Env = []string{"TMPDIR=" + scratch} // no HOME, no PATH
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var plugins []int
	eventually(func() bool { plugins = children(t, cmd.Process.Pid); return len(plugins) == 6 })
	if err := cmd.Wait(); err != nil {
		t.Errorf("the demo ends with %v: %s", err, stderr.String())
	}
	if len(plugins) != 6 {
		t.Errorf("the demo started %d processes, want a plugin for each of 6 protocols", len(plugins))
	}
	for _, pid := range plugins {
		if !eventually(func() bool { return !alive(pid) }) {
			t.Errorf("plugin %d is left behind", pid)
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
	var end struct {
		Schema                          string
		Acts, Allowed, Refused, Stopped int
		Failed                          []string
	}
	for line := range strings.Lines(stdout.String()) {
		if err := json.Unmarshal([]byte(line), &end); err != nil || end.Schema == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	if end.Schema != "cordon.demo/v1" || end.Acts != end.Allowed+end.Refused+end.Stopped || end.Allowed*end.Refused*end.Stopped == 0 || len(end.Failed) > 0 {
		t.Errorf("the demo ends with %+v", end)
	}
	if stderr.Len() > 0 {
		t.Errorf("the demo says %s", stderr.String())
	}
}
