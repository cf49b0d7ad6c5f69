package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/backup"
	"cordon/gateway/audit"
)

// tellBackup has a gateway come back from a backup, and hostile or unlucky ones fail.
func tellBackup(t *testing.T, cordon string) {
	t.Run("lost and restored", func(t *testing.T) { restoredElsewhere(t, cordon) })
	t.Run("while access changes", func(t *testing.T) { backupsOfMoments(t, cordon) })
	t.Run("over another", func(t *testing.T) { restoredOver(t, cordon) })
	t.Run("apart", func(t *testing.T) { restoredApart(t, cordon) })
	t.Run("bad backups", func(t *testing.T) { badBackups(t, cordon) })
	t.Run("forged backups", func(t *testing.T) { forgedBackups(t, cordon) })
	t.Run("full disk", func(t *testing.T) { backupFullDisk(t, cordon) })
	t.Run("undone", func(t *testing.T) { restoreUndone(t, cordon) })
	t.Run("gateway's own user", func(t *testing.T) { restoredForUser(t, cordon) })
}

// keys makes a key for backups and returns the flags that seal for it and that open.
func (s *site) keys(t *testing.T) {
	t.Helper()
	s.must(t, "backup", "keygen", "--out", "ward", "-q")
}

func (s *site) backUp(t *testing.T, file string) backedUp {
	t.Helper()
	var done backedUp
	s.decode(t, &done, "backup", file, "--recipients-file", "ward.pub", "--dir", s.gw(), "--json")
	return done
}

func (s *site) restore(t *testing.T, file, dir string, more ...string) restored {
	t.Helper()
	var done restored
	s.decode(t, &done, append([]string{"restore", file, "--dir", dir, "--identity", "ward.key", "--json"}, more...)...)
	return done
}

// elsewhere is the site on another machine: with what people carry, and nothing of the gateway.
func (s *site) elsewhere(t *testing.T, carry ...string) *site {
	t.Helper()
	there := &site{cordon: s.cordon, dir: t.TempDir(), listen: s.listen, device: s.device}
	for _, name := range append(carry, "ward.key", "ward.pub", "ca.pem") {
		text, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		there.write(t, name, string(text))
	}
	return there
}

// revoke takes the certificates of a subject back.
func (s *site) revoke(t *testing.T, id string) {
	t.Helper()
	var list struct {
		Certificates []struct{ ID, Serial string }
	}
	s.decode(t, &list, "cert", "list", "--json", "--dir", s.gw())
	for _, c := range list.Certificates {
		if c.ID == id {
			s.must(t, "cert", "revoke", "--yes", "--dir", s.gw(), c.Serial)
		}
	}
}

// refused reports whether a client with a badge gets no answer.
func (s *site) refused(t *testing.T, badge string) bool {
	t.Helper()
	c, err := tls.Dial("tcp", s.listen, s.badge(t, badge))
	if err != nil {
		return true
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, framed(message("ORU^R01", "X1", "2.5.1")))
	_, err = c.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes here
	return err != nil
}

// restoredElsewhere: a gateway is backed up under load, lost whole, and restored on another
// machine.
func restoredElsewhere(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	s.issue(t, "thief", "--service", "thief", "--role", "interface-engine")
	s.revoke(t, "thief")
	d := s.serve(t)
	s.must(t, "device", "add", "mon-8", "--dir", s.gw(), "--class", "monitor/bedside", "--protocol", "hl7", "--address", "127.0.0.1", "--port", "9", "--listen", freeAddress(t))
	s.must(t, "reload", "--dir", s.gw())
	s.access(t, "device", "quarantine", "mon-8", "--until-released", "--reason", "INC-1")
	grant := s.access(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "3s", "--reason", "WO-1").Facts[0].ID
	s.access(t, "access", "grant", "vendor/bolt", "--device", "mon-7", "--for", "1h", "--reason", "WO-2")
	l := s.load(t, 4)
	l.waitFor(t, 50)
	file := filepath.Join(t.TempDir(), "ward.backup")
	done := s.backUp(t, file)
	l.mu.Lock()
	acked := len(l.acked)
	l.mu.Unlock()
	l.waitFor(t, acked+50) // nobody was kept
	key := s.write(t, "key.pub", readText(t, filepath.Join(s.gw(), "state/audit/key.pub")))
	later := ""
	if !eventually(func() bool {
		later = readText(t, filepath.Join(s.gw(), "state/audit/checkpoint"))
		return later != done.Checkpoint
	}) {
		t.Fatal("the log is not signed any more")
	}
	if left, _ := filepath.Glob(filepath.Join(s.gw(), "state", freezePrefix+"*")); len(left) > 0 {
		t.Errorf("the backup left %v", left)
	}
	d.kill()
	l.end()
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}

	s.must(t, "backup", "verify", file, "--identity", "ward.key", "--key", key)
	there := s.elsewhere(t, "engine.pem", "engine.key", "nurse.pem", "nurse.key", "thief.pem", "thief.key")
	there.write(t, "key.pub", readText(t, key))
	there.write(t, "later", later)
	dry := there.restore(t, file, there.gw(), "--dry-run")
	if exists(there.gw()) || dry.Restored || dry.Entries != done.Entries {
		t.Errorf("a dry run wrote something, or says %+v", dry)
	}
	back := there.restore(t, file, there.gw(), "--key", "key.pub")
	if !back.Restored || !back.Trusted || back.Entry != done.Entries || len(back.Loss.Replaced) > 0 {
		t.Errorf("the restore says %+v", back)
	}
	there.must(t, "check", "--dir", there.gw())
	time.Sleep(time.Until(done.Made.Add(5 * time.Second))) // the short grant is over by now
	again := there.serve(t)
	if answer := send(t, there.dial(t, "engine"), framed(message("ORU^R01", "R1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R1") {
		t.Errorf("a certificate of before is answered %q", answer)
	}
	if answer := send(t, there.dial(t, "nurse"), framed(message("ORU^R01", "R2", "2.5.1"))); !strings.Contains(answer, "MSA|AR|R2") {
		t.Errorf("the nurse is answered %q", answer)
	}
	if !there.refused(t, "thief") {
		t.Error("a revoked certificate is taken")
	}
	var facts []struct{ ID, Subject, Device, Kind string }
	there.decode(t, &facts, "access", "list", "--json", "--dir", there.gw())
	if len(facts) != 2 || !slices.ContainsFunc(facts, func(f struct{ ID, Subject, Device, Kind string }) bool { return f.Device == "mon-8" }) {
		t.Errorf("in force is %+v, want the quarantine and the long grant", facts)
	}
	var ended bool
	for _, note := range there.noted(t, grant) {
		ended = ended || strings.Contains(note, "ended by itself")
	}
	if !ended {
		t.Errorf("of the grant that ran out the log says %q", there.noted(t, grant))
	}
	again.stop(t)

	entries := there.entries(t)
	at := entries[done.Entries]
	if at.Kind != "restore" || !strings.Contains(at.Note, fmt.Sprintf("up to entry %d", done.Entries-1)) || !strings.Contains(at.Note, stamp(done.Made)) {
		t.Errorf("entry %d is %+v", done.Entries, at)
	}
	if entries[done.Entries-1].Index != done.Entries-1 || !slices.ContainsFunc(entries[:done.Entries], func(e entryJSON) bool { return e.Kind == "backup" }) {
		t.Error("the backup's own entry is not in it")
	}
	var verified struct {
		Entries  int64
		Restored []int64
	}
	there.decode(t, &verified, "audit", "verify", "--json", "--dir", there.gw(), "--key", "key.pub")
	if !slices.Equal(verified.Restored, []int64{done.Entries}) {
		t.Errorf("verify says %+v", verified)
	}
	there.write(t, "then", done.Checkpoint)
	there.must(t, "audit", "verify", "--dir", there.gw(), "--checkpoint", "then")
	if out := there.run(t, "audit", "verify", "--dir", there.gw(), "--checkpoint", "later"); out.code != exitChecks {
		t.Errorf("against a later checkpoint of the lost log verify exits with %d: %s", out.code, out.stdout+out.stderr)
	}
}

// backupsOfMoments: whatever a backup's log says was granted is in its ledger, and the other way
// round.
func backupsOfMoments(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	d := s.serve(t)
	var granting sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 2 {
		granting.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				s.run(t, "access", "grant", fmt.Sprintf("vendor/v%d-%d", worker, n), "--device", "mon-7", "--for", "1h", "--reason", "WO-1", "--yes", "--dir", s.gw())
			}
		})
	}
	var done []backedUp
	for n := range 8 {
		done = append(done, s.backUp(t, fmt.Sprintf("%d.backup", n)))
	}
	close(stop)
	granting.Wait()
	d.stop(t)
	grants := 0
	for n := range done {
		there := &site{cordon: s.cordon, dir: s.path(fmt.Sprintf("there%d", n))}
		s.restore(t, fmt.Sprintf("%d.backup", n), there.gw())
		var facts []struct{ ID string }
		s.decode(t, &facts, "access", "list", "--all", "--json", "--dir", there.gw())
		inLedger, told := map[string]bool{}, map[string]bool{}
		for _, f := range facts {
			inLedger[f.ID] = true
		}
		for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "100000", "--dir", there.gw())) {
			var e entryJSON
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if id, _, ok := strings.Cut(e.Note, " made by "); ok && e.Kind == audit.KindGrant {
				told[id] = true
			}
		}
		if !maps.Equal(inLedger, told) {
			t.Errorf("backup %d: the log tells of %v, the ledger has %v", n, told, inLedger)
		}
		grants = len(told)
	}
	t.Logf("%d grants in the last of %d backups", grants, len(done))
}

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
	if out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key", "--yes"); out.code != exitConflict || !strings.Contains(out.stderr, "restore.running") {
		t.Errorf("over a running gateway it exits with %d: %s", out.code, out.stderr)
	}
	d.stop(t)
	out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key")
	for _, want := range []string{"believed again", "would end\t" + quarantine, "would be in force\t" + grant, "are not in the backup"} {
		if out.code != exitUsage || !strings.Contains(out.stdout, want) {
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
	d = s.serve(t)
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "R1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R1") {
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
		{"", "--state " + filepath.Join(apart, "state"), exitUsage},
		{"--state new/state", "--audit " + filepath.Join(apart, "log"), exitUsage},
		{"--state new/state --audit new/log", "--outside", exitUsage},
	} {
		if out := s.run(t, append(open, strings.Fields(c.flags)...)...); out.code != c.code || !strings.Contains(out.stderr, c.says) || exists(s.path("new")) {
			t.Errorf("with %q it exits with %d: %s", c.flags, out.code, out.stderr)
		}
	}
	if !equalTrees(before, tree(t, apart)) {
		t.Error("something was written that was not named")
	}
	// A drill beside it: the state and the log go elsewhere, the configuration says so. The policy is moved aside.
	if out := s.run(t, append(open, "--state", "drill/state", "--audit", "drill/log", "--outside", "--yes")...); out.code != exitDone {
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

// badBackups are refused, each with its code, and nothing is written.
func badBackups(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	s.must(t, "backup", "keygen", "--out", "other", "-q")
	s.write(t, "phrase", "correct horse battery staple\n")
	s.write(t, "short", "hunter2\n")
	file := s.path("good.backup")
	s.backUp(t, file)
	s.must(t, "backup", "phrase.backup", "--passphrase-file", "phrase", "--dir", s.gw())
	s.must(t, "backup", "verify", "phrase.backup", "--passphrase-file", "phrase")
	good := []byte(readText(t, file))
	for at := range 8 {
		changed := bytes.Clone(good)
		changed[len(good)*at/8+40] ^= 1
		s.write(t, fmt.Sprintf("flip%d.backup", at), string(changed))
	}
	s.write(t, "cut.backup", string(good[:len(good)-1000]))
	s.write(t, "zip.backup", "PK\x03\x04")
	s.must(t, "init", "stranger")
	s.must(t, "backup", "stranger.backup", "--recipients-file", "ward.pub", "--dir", "stranger")
	s.write(t, "key.pub", readText(t, filepath.Join(s.gw(), "state/audit/key.pub")))
	type bad struct {
		args string
		code int
		says string
	}
	cases := []bad{
		{"cut.backup --identity ward.key", exitChecks, "backup.damaged"},
		{"zip.backup --identity ward.key", exitChecks, "backup.damaged"},
		{"missing.backup --identity ward.key", exitNotFound, "file.missing"},
		{"good.backup --identity other.key", exitDenied, "backup.key"},
		{"good.backup --identity ward.pub", exitUsage, "backup.identity"},
		{"good.backup --passphrase-file phrase", exitDenied, "backup.key"},
		{"phrase.backup --passphrase-file short", exitDenied, "backup.key"},
		{"phrase.backup --identity ward.key", exitDenied, "backup.key"},
		{"good.backup", exitUsage, "usage"},
		{"stranger.backup --identity ward.key --key key.pub", exitChecks, "backup.signature"},
	}
	for at := range 8 {
		cases = append(cases, bad{fmt.Sprintf("flip%d.backup --identity ward.key", at), 0, "backup."})
	}
	for _, c := range cases {
		for _, command := range []string{"backup verify", "restore --dir new"} {
			out := s.run(t, strings.Fields(command+" "+c.args)...)
			if c.code == 0 && out.code != exitChecks && out.code != exitDenied || c.code != 0 && out.code != c.code || !strings.Contains(out.stderr, "code: "+c.says) || exists(s.path("new")) {
				t.Errorf("%s %s exits with %d: %s", command, c.args, out.code, out.stderr)
			}
		}
	}
	for args, code := range map[string]string{
		"good.backup --recipients-file ward.pub": "backup.exists", "x.backup": "backup.recipient", "x.backup --recipient age1qqq": "backup.recipient",
		"x.backup --passphrase-file short": "backup.passphrase", "gw/state/x.backup --recipients-file ward.pub": "backup.inside",
	} {
		if out := s.run(t, append([]string{"backup", "--dir", "gw"}, strings.Fields(args)...)...); !strings.Contains(out.stderr, "code: "+code) || exists(s.path("x.backup")) {
			t.Errorf("backup %s exits with %d: %s", args, out.code, out.stderr)
		}
	}
	if out := s.run(t, "restore", "good.backup", "--identity", "ward.key"); out.code != exitUsage {
		t.Errorf("restore without --dir exits with %d: %s", out.code, out.stderr)
	}
	// A log that is damaged is not carried on.
	log := filepath.Join(s.gw(), "state/audit/00000001.log")
	text := []byte(readText(t, log))
	text[80] ^= 1
	if err := os.WriteFile(log, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "backup", "x.backup", "--recipients-file", "ward.pub", "--dir", "gw"); out.code == exitDone || exists(s.path("x.backup")) {
		t.Errorf("with a damaged log backup exits with %d: %s", out.code, out.stderr)
	}
}

// forgedBackups come from somebody who has the public key, and perhaps once had a backup.
func forgedBackups(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	s.backUp(t, s.path("good.backup"))
	log := filepath.Join(s.gw(), "state/audit")
	key, err := os.Open(s.path("ward.key"))
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	with, err := backup.ParseIdentities(key)
	if err != nil {
		t.Fatal(err)
	}
	to, err := backup.ParseRecipients(strings.NewReader(readText(t, s.path("ward.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	good, err := backup.Read(strings.NewReader(readText(t, s.path("good.backup"))), with, func(name string, _ int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	signs := func(text string) ([]byte, error) { return audit.Sign(log, text) }
	forge := func(name string, change func(map[string]string, *backup.Manifest), sign func(string) ([]byte, error)) {
		t.Helper()
		m, files := good.Manifest, maps.Clone(texts)
		change(files, &m)
		var b bytes.Buffer
		w, err := backup.NewWriter(&b, to)
		if err != nil {
			t.Fatal(err)
		}
		names := slices.Sorted(maps.Keys(files))
		for _, f := range good.Files { // in their order, then what is new
			if text, there := files[f.Name]; there {
				f.Size = int64(len(text))
				if err := w.Add(f, strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			names = slices.DeleteFunc(names, func(n string) bool { return n == f.Name })
		}
		for _, n := range names {
			if err := w.Add(backup.File{Name: n, Size: int64(len(files[n])), Mode: 0o755}, strings.NewReader(files[n])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(&m, sign); err != nil {
			t.Fatal(err)
		}
		s.write(t, name+".backup", b.String())
	}
	replaced := func(name, old, new string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) {
			if !strings.Contains(files[name], old) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			files[name] = strings.Replace(files[name], old, new, 1)
		}
	}
	put := func(name, text string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) { files[name] = text }
	}
	without := func(name string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) { delete(files, name) }
	}
	target := filepath.Join(t.TempDir(), "target")
	for _, c := range []struct {
		name   string
		change func(map[string]string, *backup.Manifest)
		sign   func(string) ([]byte, error)
		code   string
	}{
		{"unchanged", func(map[string]string, *backup.Manifest) {}, signs, ""},
		{"unsigned", func(map[string]string, *backup.Manifest) {}, func(string) ([]byte, error) { return nil, nil }, "backup.signature"},
		{"other_words", func(map[string]string, *backup.Manifest) {}, func(text string) ([]byte, error) { return signs("x" + text) }, "backup.signature"},
		{"another_configuration", replaced("config/cordon.yaml", "4096", "4095"), func(string) ([]byte, error) { return good.Signature, nil }, "backup.signature"},
		{"another_gateway", func(_ map[string]string, m *backup.Manifest) { m.Gateway = "cordon.internal/other" }, signs, "backup.content"},
		{"another_name", replaced("config/cordon.yaml", "name: cordon", "name: other"), signs, "backup.content"},
		{"more_entries", func(_ map[string]string, m *backup.Manifest) { m.Log.Entries++ }, signs, "backup.content"},
		{"entry_changed", replaced("audit/00000001.log", "root", "toor"), signs, "audit.damaged"},
		{"log_cut", func(files map[string]string, _ *backup.Manifest) {
			log := strings.SplitAfter(files["audit/00000001.log"], "\n")
			files["audit/00000001.log"] = strings.Join(log[:1], "")
		}, signs, "audit.damaged"},
		{"no_key", without("audit/key"), signs, "backup.content"},
		{"no_authority", without("state/ca/intermediate.key"), signs, "backup.content"},
		{"no_configuration", without("config/cordon.yaml"), signs, "backup.content"},
		{"another_folder", put("etc/passwd", "x"), signs, "backup.content"},
		{"no_folder", put("passwd", "x"), signs, "backup.content"},
		{"file_in_the_log", put("audit/x", "x"), signs, "backup.content"},
		{"unnamed_outside", put("outside"+target, "x"), signs, "backup.content"},
		{"broken_configuration", replaced("config/cordon.yaml", "version: 1", "version: 2"), signs, "config."},
		{"state_is_all", replaced("config/cordon.yaml", "state: state ", "state: . "), signs, "backup.layout"},
		{"state_out_of_it", replaced("config/cordon.yaml", "state: state ", "state: ../../target "), signs, "restore.outside"},
		{"state_elsewhere", replaced("config/cordon.yaml", "state: state ", "state: "+target+" "), signs, "restore.outside"},
		{"named_outside", func(files map[string]string, m *backup.Manifest) {
			put("outside"+target, "x")(files, m)
			replaced("config/cordon.yaml", "# trust_file: hospital.pem", "trust_file: "+target+" #")(files, m)
		}, signs, "restore.outside"},
	} {
		forge(c.name, c.change, c.sign)
		out := s.run(t, "restore", c.name+".backup", "--dir", "new", "--identity", "ward.key", "--yes")
		if c.code == "" {
			if out.code != exitDone {
				t.Fatalf("%s: it exits with %d: %s", c.name, out.code, out.stderr)
			}
			if err := os.RemoveAll(s.path("new")); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out.code == exitDone || !strings.Contains(out.stderr, "code: "+c.code) || exists(s.path("new")) || exists(target) {
			t.Errorf("%s: it exits with %d: %s", c.name, out.code, out.stderr)
		}
	}
}

// backupFullDisk: a disk that fills up in the middle costs nothing that was there.
func backupFullDisk(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	file := s.path("good.backup")
	done := s.backUp(t, file)
	small := t.TempDir()
	mount := func(kib int64) {
		t.Helper()
		if err := unix.Mount("tmpfs", small, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
			noPeer(t, "a file system of limited size needs root: "+err.Error())
		}
	}
	unmount := func() {
		t.Helper()
		if err := unix.Unmount(small, 0); err != nil {
			t.Fatal(err)
		}
	}
	mount(16)
	out := s.run(t, "backup", filepath.Join(small, "x.backup"), "--recipients-file", "ward.pub", "--dir", s.gw())
	if left, _ := os.ReadDir(small); out.code != exitFailed || !strings.Contains(out.stderr, "no space left") || len(left) > 0 {
		t.Errorf("a backup to a full disk exits with %d, leaves %v: %s", out.code, left, out.stderr)
	}
	unmount()
	// Too little for the files; for the files, and not for the log to go on.
	for _, room := range []int64{done.Bytes / 2 >> 10, done.Bytes>>10 + 600} {
		mount(room)
		dir := filepath.Join(small, "gw")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cordon.yaml"), []byte("of another"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := s.run(t, "restore", file, "--dir", dir, "--identity", "ward.key", "--yes")
		if out.code != exitFailed || !strings.Contains(out.stderr, "space") && !strings.Contains(out.stderr, "free") {
			t.Errorf("a restore with %d KiB exits with %d: %s", room, out.code, out.stderr)
		}
		if is := tree(t, small); len(is) != 1 || is["gw/cordon.yaml"] != "of another" {
			t.Errorf("a restore with %d KiB left %q", room, is)
		}
		unmount()
	}
}

// restoreUndone: one part cannot be moved, so all are where they were.
func restoreUndone(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	file := s.path("good.backup")
	s.backUp(t, file)
	policy := filepath.Join(s.gw(), "policy")
	if err := unix.Mount(policy, policy, "", unix.MS_BIND, ""); err != nil { // rename(2) of a mount point is EBUSY
		noPeer(t, "a mount needs root: "+err.Error())
	}
	before := tree(t, s.gw())
	out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key", "--yes")
	if out.code != exitFailed || !equalTrees(before, tree(t, s.gw())) {
		t.Errorf("it exits with %d, and the gateway is not as it was: %s", out.code, out.stderr)
	}
	if err := unix.Unmount(policy, 0); err != nil {
		t.Fatal(err)
	}
	s.restore(t, file, s.gw(), "--yes")
	s.must(t, "check", "--dir", s.gw())
}

// restoredForUser: the gateway runs as a user of its own, root makes and restores its backups.
func restoredForUser(t *testing.T, cordon string) {
	if os.Geteuid() != 0 {
		noPeer(t, "files of two users need root")
	}
	const nobody = 65534
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	state := filepath.Join(s.gw(), "state")
	own := func(dir string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	own(state)
	for dir := s.gw(); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out := s.run(t, "backup", "x.backup", "--recipients-file", "ward.pub", "--dir", s.gw()); out.code != exitUsage || !strings.Contains(out.stderr, "backup.user") {
		t.Errorf("where nothing runs, root's backup exits with %d: %s", out.code, out.stderr)
	}
	out := t.TempDir()
	for dir := out; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Lchown(out, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(s.cordon), filepath.Dir(filepath.Dir(s.cordon))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(out, "ward.backup")
	cmd := exec.CommandContext(t.Context(), s.cordon, "backup", file, "--recipients-file", s.path("ward.pub"), "--dir", s.gw())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the gateway's own user: %v: %s", err, said)
	}
	elsewhere := t.TempDir()
	back := s.restore(t, file, filepath.Join(elsewhere, "gw"))
	for name, want := range map[string]struct {
		uid  uint32
		mode fs.FileMode
	}{
		"state": {nobody, 0o700}, "state/ca/intermediate.key": {nobody, 0o600}, "state/audit/hashes": {nobody, 0o600}, "state/audit/lock": {nobody, 0o600},
		"state/audit/key": {nobody, 0o600}, "state/ca/root.pem": {nobody, 0o644}, "cordon.yaml": {0, 0o644}, "policy": {0, 0o755}, "policy/data.yaml": {0, 0o644},
	} {
		info, err := os.Stat(filepath.Join(back.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if is := info.Sys().(*syscall.Stat_t).Uid; is != want.uid || info.Mode().Perm() != want.mode {
			t.Errorf("%s belongs to %d with mode %04o, want %d and %04o", name, is, info.Mode().Perm(), want.uid, want.mode)
		}
	}
}

// tree reads every file below a directory, but for sockets.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = readText(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func equalTrees(a, b map[string]string) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
