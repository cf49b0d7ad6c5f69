package rego

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const small = "package cordon\nallow := true if input.subject.mfa\n"

func TestFolderLinks(t *testing.T) {
	outside := write(t, map[string]string{"p.rego": small})
	for _, c := range []struct {
		name string
		link func(dir string) error
		says string // "" if the policy is accepted
	}{
		{"to a file inside", func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "hidden"), []byte("package lib\nx := 1\n"), 0o644); err != nil {
				return err
			}
			return os.Symlink("hidden", filepath.Join(dir, "lib.rego"))
		}, ""},
		{"to a file outside", func(dir string) error {
			return os.Symlink(filepath.Join(outside, "p.rego"), filepath.Join(dir, "q.rego"))
		}, "out of the policy folder"},
		{"upwards", func(dir string) error { return os.Symlink("../../etc/passwd", filepath.Join(dir, "q.rego")) }, "out of the policy folder"},
		{"to a folder outside", func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "lib")) }, ""},
		{"to a folder inside", func(dir string) error { return os.Symlink(".", filepath.Join(dir, "lib")) }, "a link to a folder"},
		{"to nothing", func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "data.json")) }, "leads nowhere"},
		{"a pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "q.rego"), 0o600) }, "not a regular file"},
		{"hidden", func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, ".git", "x.rego"), []byte("}"), 0o644)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{"p.rego": small})
			if err := c.link(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir)
			var p *Problems
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && (!errors.As(err, &p) || !strings.Contains(p.Error(), c.says)):
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFolderLimits(t *testing.T) {
	files := map[string]string{"p.rego": small}
	for i := range maxFiles {
		files[fmt.Sprintf("lib%d.rego", i)] = fmt.Sprintf("package lib%d\n", i)
	}
	if _, err := Load(write(t, files)); err == nil || !strings.Contains(err.Error(), "more than 1000 files") {
		t.Errorf("too many files: %v", err)
	}
	big := `{"x": "` + strings.Repeat("x", 12<<20) + `"}`
	if _, err := Load(write(t, map[string]string{"p.rego": small, "a/data.json": big, "b/data.json": big, "c/data.json": big})); err == nil || !strings.Contains(err.Error(), "more than 32 MiB in all") {
		t.Errorf("too much: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "open policy folder") {
		t.Errorf("no folder: %v", err)
	}
}

// TestDigest is the digest that sha256sum makes.
func TestDigest(t *testing.T) {
	dir := write(t, map[string]string{"b.rego": "package b\n", "a.rego": small, "a_test.rego": "package a_test\ntest_x if 1 == 1\n"})
	e, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	lines := fmt.Sprintf("%x  a.rego\n%x  b.rego\n", sha256.Sum256([]byte(small)), sha256.Sum256([]byte("package b\n")))
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(lines))); e.Revision() != want {
		t.Errorf("%s, want %s", e.Revision(), want)
	}
	if n := len(e.Sources()); n != 2 {
		t.Errorf("%d sources: a test decides nothing", n)
	}
}

// TestData puts files together.
func TestData(t *testing.T) {
	e := load(t, map[string]string{
		"p.rego":              "package cordon\nallow if {\n\tdata.a.b == 1\n\tdata.a.c.d == \"no\"\n\tdata.wards.icu.beds == [1, 2.5, 12345678901234567890]\n}\n",
		"data.json":           `{"a": {"b": 1}}`,
		"data.yaml":           "# a comment\na:\n  c: {d: no}\n",
		"wards/icu/data.yaml": "beds: [1, 2.5, 12345678901234567890]\n",
	})
	if d := e.Decide(t.Context(), request("any")); !d.Allow {
		t.Errorf("%+v", d)
	}
}

func FuzzArchive(f *testing.F) {
	e := load(f, map[string]string{"p.rego": small, "data.yaml": "a: 1"})
	f.Add(e.Archive())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readArchive(b)
		if err != nil {
			return
		}
		again, err := readArchive(got.archive())
		if err != nil || digest(again.rules) != digest(got.rules) || digest(again.data) != digest(got.data) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzData(f *testing.F) {
	f.Add([]byte("a: [1, {b: c}]\n"))
	f.Add([]byte("a: &x 1\nb: *x\n"))
	f.Add([]byte("{\"a\": 1}"))
	f.Add([]byte("? a\n: b\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"data.yaml", "data.json"} {
			if m, p := readData([]Source{{name, b}}); len(p) == 0 && m == nil {
				t.Error("neither data nor a problem")
			}
		}
	})
}

// TestArchiveWithTests hands a policy over with its tests: whoever gets it runs the same ones,
// and it is the same policy.
func TestArchiveWithTests(t *testing.T) {
	dir := t.TempDir()
	if err := WriteShipped(dir); err != nil {
		t.Fatal(err)
	}
	e, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := LoadArchive(e.ArchiveWithTests())
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Test(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	results, err := got.Test(t.Context())
	if err != nil || len(results) != len(want) || results.Failed() > 0 || len(results) == 0 {
		t.Errorf("%d tests, %d failed (%v), want %d", len(results), results.Failed(), err, len(want))
	}
	if got.Revision() != e.Revision() || got.Data() != e.Data() || string(got.Archive()) != string(e.Archive()) {
		t.Error("with its tests it is another policy")
	}
}

// A byte order mark is refused, whether or not a parser would pass over it.
func TestByteOrderMark(t *testing.T) {
	for _, name := range []string{"p.rego", "p_test.rego", "data.yaml", "lib/data.json"} {
		files := map[string]string{"p.rego": small, "p_test.rego": "package t\n", "data.yaml": "a: 1\n", "lib/data.json": "{}"}
		files[name] = "\ufeff" + files[name]
		_, err := Load(write(t, files))
		if problems, ok := errors.AsType[*Problems](err); !ok || problems.List[0].Code != "policy.file.encoding" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
