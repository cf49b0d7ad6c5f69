package revision

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// publisher makes bundles of a small policy.
type publisher struct{ opa, signer rego.KeyPair }

func (p publisher) bundle(t *testing.T, revision uint64, name string, made time.Time) rego.Delivery {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"a.rego":      "package cordon\n\nallow if input.subject.id == \"" + name + "\"\n",
		"a_test.rego": "package cordon_test\n\nimport data.cordon\n\ntest_name if cordon.allow with input as {\"subject\": {\"id\": \"" + name + "\"}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := rego.Delivery{Name: name}
	tarball, _, err := rego.BuildBundle(t.Context(), dir, revision, "")
	if err == nil {
		d.Bundle, err = rego.SignBundle(tarball, p.opa.Private, "")
	}
	if err == nil {
		d.Signature, err = rego.SignDetached(d.Bundle, p.signer.Private, made, time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBackToKept goes back to bundles that were taken once. What was in force stays good for that, however long ago it was
// signed. Another one of its number, or one that was never taken here, does not become good by being named.
func TestBackToKept(t *testing.T) {
	var p publisher
	var err error
	if p.opa, p.signer, err = rego.NewBundleKeyPairs(); err != nil {
		t.Fatal(err)
	}
	b := &Bundles{Kept: KeptBundles{t.TempDir()}}
	if b.Keys, err = rego.NewBundleKeys(p.opa.Public, "", p.signer.Public); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := now.Add(-40 * 24 * time.Hour)
	first, second, third := p.bundle(t, 11, "first", old), p.bundle(t, 12, "second", old.Add(time.Minute)), p.bundle(t, 13, "third", now)
	for _, d := range []rego.Delivery{first, second, third} {
		opened, err := rego.OpenBundle(d.Name, d.Bundle, d.Signature, b.Keys, time.Time{})
		if err == nil {
			err = b.Take(d, opened)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name     string
		d        rego.Delivery
		rollback uint64
		code     string
	}{
		{"kept, signed long ago", first, 11, ""},
		{"another kept one", second, 12, ""},
		{"not named", first, 0, "bundle.detached.expired"},
		{"another number named", first, 12, "bundle.detached.expired"},
		{"another of its number", p.bundle(t, 11, "forged", now), 11, "bundle.revision.reused"},
		{"never taken", p.bundle(t, 10, "unknown", now), 10, ""},
		{"never taken, signed long ago", p.bundle(t, 10, "unknown", old), 10, "bundle.detached.expired"},
	} {
		opened, news, err := b.Open(c.d, c.rollback)
		code := ""
		if err != nil {
			code = exit.Errors(err)[0].Code
		}
		if code != c.code || code == "" && (!news || opened.Revision != c.rollback) {
			t.Errorf("%s: %v %v, want %q", c.name, opened, err, c.code)
		}
	}
}

// TestPipeSwapped has whoever controls the folder of bundles put a pipe in a bundle's place between two looks at it: to open it
// would wait for a writer who never comes, and with it whoever reloads, or stops, the gateway.
func TestPipeSwapped(t *testing.T) {
	dir := t.TempDir()
	path, pipe, file := filepath.Join(dir, "a"+BundleExt), filepath.Join(dir, "pipe"), filepath.Join(dir, "file")
	stop, swapping := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				swapping <- nil
				return
			default:
			}
			err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Rename(file, path), unix.Mkfifo(pipe, 0o600), os.Rename(pipe, path))
			if err != nil {
				swapping <- err
				return
			}
		}
	}()
	read := make(chan int)
	go func() {
		files := 0
		for range 20000 {
			if d, err := ReadDelivery(path); err == nil && len(d.Bundle) == 1 {
				files++
			}
		}
		read <- files
	}()
	select {
	case files := <-read:
		if files == 0 {
			t.Error("no file was read")
		}
	case <-time.After(time.Minute):
		t.Error("a reader waits for a pipe")
		if w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil { // lets it go
			w.Close()
		}
	}
	close(stop)
	if err := <-swapping; err != nil {
		t.Fatal(err)
	}
}

// Who hands over a bundle gets an answer about that one, whoever else does so at the time.
func TestHanded(t *testing.T) {
	k := KeptBundles{filepath.Join(t.TempDir(), "bundles")}
	if _, err := k.Hand(rego.Delivery{Bundle: []byte("one")}); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(k.Dir, 0o700); err != nil {
		t.Errorf("where no gateway takes bundles: %v", err)
	}
	orders := map[string]BundleOrder{}
	for _, text := range []string{"one", "two"} {
		digest, err := k.Hand(rego.Delivery{Name: text, Bundle: []byte(text), Signature: []byte("of " + text)})
		if err != nil {
			t.Fatal(err)
		}
		orders[text] = BundleOrder{SHA256: digest}
	}
	for text, o := range orders {
		for range 2 { // by a process that hands over itself, and by the next
			if d, err := k.Handed(o); err != nil || string(d.Bundle) != text || string(d.Signature) != "of "+text {
				t.Errorf("%s: handed was %q with %q, %v", text, d.Bundle, d.Signature, err)
			}
		}
	}
	if err := os.WriteFile(k.handed(orders["two"].SHA256), []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.Withdraw(orders["one"].SHA256)
	for _, o := range []BundleOrder{orders["one"], orders["two"], {}, {SHA256: "../" + orders["two"].SHA256}} {
		d, err := k.Handed(o)
		if f, ok := errors.AsType[exit.Error](err); !ok || f.Code != "bundle.handed" || len(d.Bundle) > 0 {
			t.Errorf("%+v: handed was %q, %v", o, d.Bundle, err)
		}
	}
	k.Withdraw(orders["two"].SHA256)
	if left, err := os.ReadDir(k.Dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
