package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"

	"golang.org/x/sys/unix"
)

// restoresWithoutRoom: at whichever file the disk is full, the old gateway is whole.
func restoresWithoutRoom(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	s.backUp(t, "ward.backup")
	changedSince(t, s)
	saved := filepath.Join(t.TempDir(), "gw")
	copyAll(t, s.gw(), saved)
	before := tree(t, s.gw())
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.gw(), 0o700); err != nil {
		t.Fatal(err)
	}
	restored := func(room string) bool {
		t.Helper()
		if err := unix.Mount("tmpfs", s.gw(), "tmpfs", 0, room+",mode=700"); err != nil {
			noPeer(t, "a file system of limited size needs root: "+err.Error())
		}
		defer func() {
			if err := unix.Unmount(s.gw(), 0); err != nil {
				t.Fatal(err)
			}
		}()
		if out, err := exec.Command("cp", "-a", saved+"/.", s.gw()).CombinedOutput(); err != nil {
			if strings.Contains(string(out), "No space left") {
				return false // less than what is there
			}
			t.Fatalf("cp: %v: %s", err, out)
		}
		out := s.run(t, "restore", "ward.backup", "--dir", "gw", "--identity", "ward.key", "--yes")
		is := tree(t, s.gw())
		if out.code == exit.Done {
			s.must(t, "check", "--dir", "gw")
			return true
		}
		if lock := "state/audit/lock"; out.code != exit.Failed || !strings.Contains(out.stderr, "space") && !strings.Contains(out.stderr, "free") || is[lock] != before[lock] || !equalTrees(is, before) {
			t.Errorf("with %s it exits with %d and leaves %q: %s", room, out.code, slices.Sorted(maps.Keys(is)), out.stderr)
		}
		return false
	}
	steps := 0
	for inodes := 40; !restored(fmt.Sprintf("size=64m,nr_inodes=%d", inodes)) && !t.Failed(); inodes += 3 {
		steps++
	}
	for kib := 1000; !restored(fmt.Sprintf("size=%dk", kib)) && !t.Failed(); kib += 96 {
		steps++
	}
	t.Logf("%d restores without room", steps)
}

// notesOfOthers: what is noted of a restore that was cut short moves nothing outside the gateway's directories, and two
// restores do not meet.
func notesOfOthers(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	s.backUp(t, "ward.backup")
	s.write(t, "theirs", "theirs")
	note := home.ExchangeFile(s.gw(), "20261122T120000.000Z")
	aside := filepath.Join(s.gw(), home.ReplacedPrefix+"20261122T120000.000Z")
	for name, x := range map[string]*home.Exchange{
		"a place": {Moves: []home.Move{{From: s.path("gw/x"), To: s.path("theirs")}, {From: s.path("gw/cordon.yaml"), To: s.path("gw/y"), In: true}}},
		"added":   {Moves: []home.Move{{From: s.path("gw/x"), To: aside + "/x"}}, Added: []home.AddedOne{{Place: s.path("theirs"), Second: s.path("theirs")}}},
		"done":    {Moves: []home.Move{{From: s.path("gw/x"), To: s.path("gw/y"), In: true}}, Added: []home.AddedOne{{Place: s.path("theirs"), Second: s.path("theirs")}}},
		"aside":   {Moves: []home.Move{{From: s.path("gw/x"), To: aside + "/x"}}, Aside: []string{s.dir}},
	} {
		if err := x.Note(note); err != nil {
			t.Fatal(err)
		}
		if out := s.run(t, "restore", "ward.backup", "--dir", "gw", "--identity", "ward.key", "--yes"); out.code != exit.Conflict || !strings.Contains(out.stderr, "code: restore.unfinished\n") || s.read(t, "theirs") != "theirs" {
			t.Errorf("%s: it exits with %d: %s", name, out.code, out.stderr)
		}
	}
	s.write(t, filepath.Join("gw", filepath.Base(note)), "{")
	for _, args := range [][]string{{"restore", "ward.backup", "--dir", "gw", "--identity", "ward.key", "--yes"}, {"check", "--dir", "gw"}, {"backup", "x.backup", "--recipients-file", "ward.pub", "--dir", "gw"}} {
		if out := s.run(t, args...); out.code != exit.Conflict || !strings.Contains(out.stderr, "code: restore.unfinished\n") {
			t.Errorf("with half a note, %s exits with %d: %s", args[0], out.code, out.stderr)
		}
	}
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(s.gw())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "restore", "ward.backup", "--dir", "gw", "--identity", "ward.key", "--yes"); out.code != exit.Conflict || !strings.Contains(out.stderr, "code: restore.running\n") {
		t.Errorf("beside another, it exits with %d: %s", out.code, out.stderr)
	}
}
