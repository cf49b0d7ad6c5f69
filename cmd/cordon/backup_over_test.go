package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// restoredOver: what is there is shown, kept beside, and no longer counts.
func restoredOver(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	s.issue(t, "late", "--service", "late", "--role", "interface-engine")
	grant := s.access(t, "access", "grant", "vendor/bolt", "--device", "mon-7", "--for", "1h", "--reason", "WO-2").Facts[0].ID
	file := filepath.Join(t.TempDir(), "ward.backup")
	done := s.backUp(t, file) // nothing runs
	s.revoke(t, "late")
	s.must(t, "access", "end", grant, "--reason", "done", "--yes", "--dir", s.gw())
	quarantine := s.access(t, "device", "quarantine", "mon-7", "--until-released", "--reason", "INC-9").Facts[0].ID
	s.write(t, "gw/note.txt", "somebody's own")
	before := tree(t, s.gw())

	d := s.serve(t)
	if out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key", "--yes"); out.code != exit.Conflict || !strings.Contains(out.stderr, "restore.running") {
		t.Errorf("over a running gateway it exits with %d: %s", out.code, out.stderr)
	}
	d.stop(t)
	out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key")
	for _, want := range []string{"revoked, and stays so", "and stays\t" + quarantine, "and stays\t" + grant, "has ended", "are not in the backup"} {
		if out.code != exit.Usage || !strings.Contains(out.stdout, want) {
			t.Errorf("unasked it exits with %d and says %s%s, want %q", out.code, out.stdout, out.stderr, want)
		}
	}
	after := tree(t, s.gw())
	for name, text := range before {
		if !strings.HasPrefix(name, "state/audit/") && !strings.HasPrefix(name, "state/ca/") && after[name] != text { // the gateway ran in between
			t.Errorf("%s was changed without a word", name)
		}
	}
	over := s.restore(t, file, s.gw(), "--yes")
	if len(over.Aside) != 1 || over.Loss.Entries == 0 || len(over.Loss.Revoked) != 1 || over.Entry != done.Entries {
		t.Errorf("the restore says %+v, loss %+v", over, over.Loss)
	}
	if text := readText(t, s.path("gw/note.txt")); text != "somebody's own" {
		t.Errorf("what is not the gateway's is %q", text)
	}
	aside := tree(t, over.Aside[0])
	for name, text := range after {
		if kept, ok := aside[name]; name != "note.txt" && name != "operator.pem" && name != "operator.key" && name != "ca.pem" && (!ok || kept != text) {
			t.Errorf("%s is not kept aside", name)
		}
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
	entry := s.entries(t)[done.Entries]
	if !strings.Contains(entry.Note, "are not in the backup") {
		t.Errorf("the log says %q", entry.Note)
	}
	// What was taken away since stays so, and the log says it.
	d = s.serve(t)
	if !s.refused(t, "late") {
		t.Error("a certificate revoked since the backup is taken")
	}
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "R1", "2.5.1"))); !strings.Contains(answer, "MSA|AR|R1") {
		t.Errorf("a device quarantined since the backup answers %q", answer)
	}
	for id, want := range map[string]string{quarantine: "stays in force over a restore", grant: "stays ended over a restore"} {
		if notes := strings.Join(s.noted(t, id), "\n"); !strings.Contains(notes, want) {
			t.Errorf("of %s the log says %q, want %q", id, notes, want)
		}
	}
	s.access(t, "device", "release", "mon-7", "--reason", "over")
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "R2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R2") {
		t.Errorf("the answer is %q", answer)
	}
	second := s.backUp(t, file+"2") // what was moved aside is in no other backup
	if second.Bytes > done.Bytes*3/2 {
		t.Errorf("the next backup has %d bytes, the first %d", second.Bytes, done.Bytes)
	}
	d.stop(t)
}

// restoredApart: the state and the log lie outside the configuration's directory, and nothing is
// written there unless it is named.
func restoredApart(t *testing.T, cordon string) {
	s := emptySite(t, cordon)
	s.keys(t)
	apart := t.TempDir()
	s.must(t, "init", "apart", "--state", filepath.Join(apart, "state"))
	s.must(t, "backup", "none.backup", "--recipients-file", "ward.pub", "--dir", "apart")
	hospital := filepath.Join(apart, "hospital.pem")
	if err := os.WriteFile(hospital, []byte(readText(t, filepath.Join(apart, "state/ca/root.pem"))), 0o644); err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		"  checkpoint: 1s": "  dir: " + filepath.Join(apart, "log") + "\n  checkpoint: 1s", "# trust_file: hospital.pem # believe these roots too": "trust_file: " + hospital,
		"  dir: policy ": "  dir: " + filepath.Join(apart, "rules") + " ",
	} {
		text := readText(t, s.path("apart/cordon.yaml"))
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		s.write(t, "apart/cordon.yaml", strings.Replace(text, old, new, 1))
	}
	if err := os.Rename(s.path("apart/policy"), filepath.Join(apart, "rules")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(apart, "state/audit")); err != nil {
		t.Fatal(err)
	}
	s.must(t, "check", "--dir", "apart")
	s.must(t, "backup", "a.backup", "--recipients-file", "ward.pub", "--dir", "apart")
	before := tree(t, apart)

	open := []string{"restore", "a.backup", "--dir", "new", "--identity", "ward.key"}
	for _, c := range []struct {
		flags, says string
		code        int
	}{
		{"", "--state " + filepath.Join(apart, "state"), exit.Usage},
		{"--state new/state", "--audit " + filepath.Join(apart, "log"), exit.Usage},
		{"--state new/state --audit new/log", "--outside", exit.Usage},
	} {
		if out := s.run(t, append(open, strings.Fields(c.flags)...)...); out.code != c.code || !strings.Contains(out.stderr, c.says) || disk.Exists(s.path("new")) {
			t.Errorf("with %q it exits with %d: %s", c.flags, out.code, out.stderr)
		}
	}
	if !equalTrees(before, tree(t, apart)) {
		t.Error("something was written that was not named")
	}
	// A drill beside it: the state and the log go elsewhere, the configuration says so. The policy is moved aside.
	if out := s.run(t, append(open, "--state", "drill/state", "--audit", "drill/log", "--outside", "--yes")...); out.code != exit.Done {
		t.Fatalf("it exits with %d: %s", out.code, out.stderr)
	}
	if text := readText(t, s.path("new/cordon.yaml")); !strings.Contains(text, s.path("drill/state")) || !strings.Contains(text, s.path("drill/log")) {
		t.Errorf("the configuration is\n%s", text)
	}
	s.must(t, "audit", "verify", "--dir", "new")
	s.must(t, "check", "--dir", "new")
	// Lost whole, and back where it was.
	for _, name := range []string{"state", "log", "rules", "hospital.pem"} {
		if err := os.RemoveAll(filepath.Join(apart, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.must(t, "restore", "a.backup", "--dir", "new2", "--identity", "ward.key", "--state", filepath.Join(apart, "state"), "--audit", filepath.Join(apart, "log"), "--outside")
	s.must(t, "check", "--dir", "new2")
	after := tree(t, apart)
	for name, text := range before {
		if after[name] != text && !strings.HasPrefix(name, "log/") && name != "state/ca/issued.db" { // its pages have moved
			t.Errorf("%s is not as it was", name)
		}
	}
}
