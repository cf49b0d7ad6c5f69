package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
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

// keys makes a key for backups, ward.key and ward.pub.
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
	if left, _ := filepath.Glob(filepath.Join(s.gw(), "state", ".backup-"+"*")); len(left) > 0 {
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
	if disk.Exists(there.gw()) || dry.Restored || dry.Entries != done.Entries {
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
	if at.Kind != "restore" || !strings.Contains(at.Note, fmt.Sprintf("up to entry %d", done.Entries-1)) || !strings.Contains(at.Note, done.Made.UTC().Format(time.RFC3339)) {
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
	if out := there.run(t, "audit", "verify", "--dir", there.gw(), "--checkpoint", "later"); out.code != exit.Checks {
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
