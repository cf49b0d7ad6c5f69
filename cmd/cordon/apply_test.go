package main

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// tellApply tries configurations that are not meant to stay.
func tellApply(t *testing.T, cordon string) {
	t.Run("its own access cut", func(t *testing.T) { accessCut(t, cordon) })
	t.Run("confirmed", func(t *testing.T) { trialConfirmed(t, cordon) })
	t.Run("the policy broken meanwhile", func(t *testing.T) { trialAndBrokenPolicy(t, cordon) })
	t.Run("started again", func(t *testing.T) { trialCrashed(t, cordon) })
	t.Run("at once, and back", func(t *testing.T) { appliedAndBack(t, cordon) })
}

// edited writes the configuration with something replaced to a file of its own.
func (s *site) edited(t *testing.T, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.gw(), "cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("the configuration does not contain %q", old)
	}
	return s.write(t, "edited.yaml", strings.Replace(string(text), old, new, 1))
}

// reached reports whether clients are served at an address.
func (s *site) reached(t *testing.T, address string) bool {
	c, err := tls.Dial("tcp", address, s.badge(t, "engine"))
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	return strings.Contains(send(t, c, framed(message("ORU^R01", "X1", "2.5.1"))), "MSA|AA|X1")
}

// accessCut moves the address that clients use, for a trial that nobody confirms.
func accessCut(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	stays := s.dial(t, "engine")
	send(t, stays, framed(message("ORU^R01", "A1", "2.5.1")))
	other := freeAddress(t)
	file := s.edited(t, s.listen, other)

	shown := s.run(t, "apply", file, "--confirm", "3s", "--dir", s.gw())
	if shown.code != exit.Usage || !strings.Contains(shown.stdout, "+ ") || !strings.Contains(shown.stdout, other) || !strings.Contains(shown.stderr, "a new process takes over") {
		t.Errorf("without --yes: exit code %d: %s%s", shown.code, shown.stdout, shown.stderr)
	}
	if !s.reached(t, s.listen) {
		t.Fatal("showing it changed something")
	}
	s.must(t, "apply", file, "--confirm", "6s", "--yes", "--dir", s.gw()) // the command is gone then
	if s.reached(t, s.listen) || !s.reached(t, other) {
		t.Error("the configuration on trial is not in force")
	}
	if out := s.run(t, "apply", file, "--confirm", "1m", "--yes", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stderr, "apply.pending") {
		t.Errorf("a second trial: exit code %d: %s", out.code, out.stderr)
	}
	if !eventually(func() bool { return s.reached(t, s.listen) }) {
		t.Fatal("nobody confirmed it, and the gateway did not go back")
	}
	if s.reached(t, other) {
		t.Error("the address of the trial is still served")
	}
	if answer := send(t, stays, framed(message("ORU^R01", "A2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|A2") {
		t.Errorf("the session from before got %q", answer)
	}
	if out := s.run(t, "confirm", "--dir", s.gw()); out.code != exit.NotFound || !strings.Contains(out.stderr, "apply.none") {
		t.Errorf("a late confirmation: exit code %d: %s", out.code, out.stderr)
	}
	if s.mentioned(t, "a configuration is on trial for") != 1 || s.mentioned(t, "rolled back: nobody has confirmed it") != 1 {
		t.Error("the log does not tell of the trial and its end")
	}
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// trialConfirmed keeps a configuration that was on trial.
func trialConfirmed(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	other := freeAddress(t)
	s.must(t, "apply", s.edited(t, s.listen, other), "--confirm", "5s", "--yes", "--dir", s.gw())
	s.must(t, "confirm", "--dir", s.gw())
	time.Sleep(6 * time.Second) // behind the time it had
	if !s.reached(t, other) || s.mentioned(t, "rolled back") != 0 || s.mentioned(t, "was confirmed") != 1 {
		t.Error("a confirmed configuration did not stay")
	}
	if _, err := os.Lstat(filepath.Join(s.gw(), "state", "trial.json")); err == nil {
		t.Error("the note of the trial is left behind")
	}
	d.stop(t)
	d = s.serve(t)
	if !s.reached(t, other) {
		t.Error("it is not what the next start runs with")
	}
	d.stop(t)
}

// trialAndBrokenPolicy has somebody at work on the policy folder when a trial ends that cuts everybody off.
func trialAndBrokenPolicy(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	s.must(t, "apply", s.edited(t, s.listen, freeAddress(t)), "--confirm", "3s", "--yes", "--dir", s.gw())
	rules := filepath.Join(s.gw(), "policy", "cordon.rego")
	whole, err := os.ReadFile(rules)
	if err == nil {
		err = os.WriteFile(rules, append(whole, "\nallow if {\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return s.reached(t, s.listen) }) {
		t.Fatal("nobody confirmed it, and the gateway did not go back")
	}
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Findings || !s.reached(t, s.listen) {
		t.Errorf("the broken policy: exit code %d: %s", out.code, out.stderr)
	}
	if err := os.WriteFile(rules, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.must(t, "reload", "--dir", s.gw())
	d.stop(t)
}

// trialCrashed kills the gateway during a trial.
func trialCrashed(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	other := freeAddress(t)
	s.must(t, "apply", s.edited(t, s.listen, other), "--confirm", "10m", "--yes", "--dir", s.gw())
	if !s.reached(t, other) {
		t.Error("the configuration on trial is not in force")
	}
	s.handOver(t, "--handover") // what is on trial stays so
	if !s.reached(t, other) {
		t.Error("a hand-over ended the trial")
	}
	d.kill()
	d = s.serve(t)
	if !s.reached(t, s.listen) || s.mentioned(t, "rolled back: the gateway was started again") != 1 {
		t.Error("the gateway did not go back")
	}
	d.stop(t)
}

// appliedAndBack applies without a trial: what cannot come into force leaves the file as it was.
func appliedAndBack(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	file := filepath.Join(s.gw(), "cordon.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := s.serve(t)
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	taken := s.edited(t, s.listen, blocker.Addr().String())
	if out := s.run(t, "apply", taken, "--yes", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stderr, "address already in use") {
		t.Errorf("a listener that is taken: exit code %d: %s", out.code, out.stderr)
	}
	if now, _ := os.ReadFile(file); string(now) != string(before) || !s.reached(t, s.listen) {
		t.Error("a refused configuration left something behind")
	}
	other := freeAddress(t)
	s.must(t, "apply", s.edited(t, s.listen, other), "--yes", "--dir", s.gw())
	if !s.reached(t, other) {
		t.Error("the configuration is not in force")
	}
	s.must(t, "apply", "--rollback", "--yes", "--dir", s.gw())
	if now, _ := os.ReadFile(file); string(now) != string(before) || !s.reached(t, s.listen) {
		t.Error("the rollback did not go back")
	}
	d.stop(t)
}
