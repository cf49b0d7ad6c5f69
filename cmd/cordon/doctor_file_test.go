package main

import (
	"os"
	"path/filepath"
	"testing"

	"cordon/cmd/cordon/config"
)

// Who can write the file says what the segment helper does, and that is to be root alone.
func TestDoctorFile(t *testing.T) {
	if os.Geteuid() != 0 {
		lacks(t, "only root can give files away")
	}
	const nobody = 65534
	for _, c := range []struct {
		name     string
		spoil    func(file, dir string) error
		segments int
		want     int
	}{
		{"as it should be", func(string, string) error { return nil }, 1, 0},
		{"the file of another", func(file, _ string) error { return os.Chown(file, nobody, nobody) }, 1, 1},
		{"for its group", func(file, _ string) error { return os.Chmod(file, 0o660) }, 1, 1},
		{"the directory of another", func(_, dir string) error { return os.Chown(dir, nobody, nobody) }, 1, 1},
		{"the directory for all", func(_, dir string) error { return os.Chmod(dir, 0o777) }, 1, 1},
		{"by a link", func(file, dir string) error {
			real := filepath.Join(t.TempDir(), "real.yaml")
			if err := os.Rename(file, real); err != nil {
				return err
			}
			if err := os.Chmod(real, 0o666); err != nil {
				return err
			}
			return os.Symlink(real, file)
		}, 1, 1},
		{"gone", func(file, _ string) error { return os.Remove(file) }, 1, 1},
		{"no segment", func(file, _ string) error { return os.Chown(file, nobody, nobody) }, 0, 0},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, config.FileName)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(file, dir); err != nil {
			t.Fatal(err)
		}
		x := &examination{config: &config.Config{Segments: make([]config.Segment, c.segments)}}
		x.lookAtFile(file)
		if len(x.findings) != c.want {
			t.Errorf("%s: %+v", c.name, x.findings)
		}
	}
}
