package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cordon/cmd/cordon/exit"

	"golang.org/x/sys/unix"
)

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
	if left, _ := os.ReadDir(small); out.code != exit.Failed || !strings.Contains(out.stderr, "no space left") || len(left) > 0 {
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
		if out.code != exit.Failed || !strings.Contains(out.stderr, "space") && !strings.Contains(out.stderr, "free") {
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
	if out.code != exit.Failed || !equalTrees(before, tree(t, s.gw())) {
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
	passable(t, s.gw())
	if out := s.run(t, "backup", "x.backup", "--recipients-file", "ward.pub", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "state.user") {
		t.Errorf("where nothing runs, root's backup exits with %d: %s", out.code, out.stderr)
	}
	out := t.TempDir()
	passable(t, out)
	if err := os.Lchown(out, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	passable(t, filepath.Dir(s.cordon))
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
