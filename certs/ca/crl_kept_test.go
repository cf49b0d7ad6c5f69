package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cordon/certs"
)

// kept returns the files with lists that are kept.
func (g *gate) kept(t *testing.T) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(g.a.path(listsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, g.a.path(filepath.Join(listsDir, e.Name())))
	}
	return files
}

// TestStartWithoutLists begins with nothing kept and no list to be read: clients of the hospital's authority are refused,
// with a word on why, those of the gateway's own are not, and the first good list opens the door.
func TestStartWithoutLists(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	abe := h.badge(t, "dr.abe")
	for name, spoil := range map[string]func(path string) error{
		"missing":     os.Remove,
		"empty":       func(path string) error { return os.Truncate(path, 0) },
		"a page":      func(path string) error { return os.WriteFile(path, []byte("<html>502 Bad Gateway</html>"), 0o644) },
		"no folder":   func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"a link away": func(path string) error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) },
	} {
		g := &gate{trust: filepath.Join(t.TempDir(), "hospital.pem"), crl: filepath.Join(t.TempDir(), "lists", "hospital.crl"), log: new(journal)}
		if err := os.Mkdir(filepath.Dir(g.crl), 0o700); err != nil {
			t.Fatal(err)
		}
		g.put(t, g.trust, certPEM(h.cert.Raw))
		g.put(t, g.crl, listPEM(h.list(t, nil)))
		if err := spoil(g.crl); err != nil {
			t.Fatal(err)
		}
		a := newAuthority(t, Limits{})
		g.start(t, a)
		_, own := issue(t, a, kim())
		for range 2 {
			if err := g.asks(t, abe); !errors.Is(err, certs.ErrRevocationUnknown) || !strings.Contains(err.Error(), `there is no list of "St Elsewhere"`) {
				t.Errorf("%s: %v", name, err)
			}
			if err := g.asks(t, own); err != nil {
				t.Errorf("%s: a client of the gateway's own authority: %v", name, err)
			}
		}
		if told := strings.Join(g.told, "\n"); len(g.told) != 1 || !strings.Contains(told, fmt.Sprintf("read revocation lists %q: ", g.crl)) || !strings.Contains(told, `no revocation list of "St Elsewhere": its certificates are refused`) {
			t.Errorf("%s: told %q", name, told)
		}
		if found, err := a.LookAtLists(g.trust, g.crl); err != nil || len(found.Faults) != 1 || len(found.States) != 1 || found.States[0].Fault(time.Now()) == nil {
			t.Errorf("%s: looked from outside: %+v, %v", name, found, err)
		}
		if len(g.kept(t)) > 0 {
			t.Errorf("%s: kept %v", name, g.kept(t))
		}
		epoch := g.Epoch()
		if err := errors.Join(os.MkdirAll(filepath.Dir(g.crl), 0o700), os.RemoveAll(g.crl)); err != nil {
			t.Fatal(err)
		}
		g.put(t, g.crl, listPEM(h.list(t, nil)))
		if err := g.asks(t, abe); err != nil || g.Epoch() == epoch {
			t.Errorf("%s: with a list: %v", name, err)
		}
		if last := g.told[len(g.told)-1]; last != "revocation-lists: <nil>" {
			t.Errorf("%s: told last %s", name, last)
		}
	}
}

// What was configured wrong is no start: there is nothing that could become good by itself.
func TestNoFileOfLists(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	a := newAuthority(t, Limits{})
	dir := t.TempDir()
	trust, pipe, good := filepath.Join(dir, "hospital.pem"), filepath.Join(dir, "pipe"), filepath.Join(dir, "hospital.crl")
	for file, text := range map[string][]byte{trust: certPEM(h.cert.Raw), good: listPEM(h.list(t, nil))} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ trust, lists, want string }{
		{trust, dir, "want a file"},
		{trust, pipe, "want a file"}, // which would have been waited for
		{trust, os.DevNull, "want a file"},
		{dir, good, "want a file"},
		{good, good, "no certificate"},
		{filepath.Join(dir, "none"), good, "no such file"},
		{"", good, "without trusted authorities"},
	} {
		_, err := newTrust(a, c.trust, c.lists, nil, nil)
		_, looked := a.LookAtLists(c.trust, c.lists)
		for _, err := range []error{err, looked} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("trust file %q, lists %q: %v, want %s", c.trust, c.lists, err, c.want)
			}
		}
	}
	// Once it is at work, it stays so.
	g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil)))
	if err := errors.Join(os.Remove(g.crl), syscall.Mkfifo(g.crl, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := g.Look(); !errors.Is(err, errNoFile) {
		t.Errorf("a pipe in the place of lists: %v", err)
	}
}

// TestKept lets processes come and go beside a broken download: what the last good list says stands until that is
// over, and its number is the least that counts.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newClinic(t, "St Elsewhere", nil)
		stolen, good := h.badge(t, "dr.kim"), h.badge(t, "dr.abe")
		before := listPEM(h.list(t, nil))
		g := newGate(t, certPEM(h.cert.Raw), before)
		g.Look()
		g.put(t, g.crl, listPEM(h.list(t, nil, stolen.Leaf)))
		if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Fatal(err)
		}
		files := g.kept(t)
		if len(files) != 1 {
			t.Fatalf("kept %v", files)
		}
		for path, mode := range map[string]fs.FileMode{files[0]: 0o600, filepath.Dir(files[0]): fs.ModeDir | 0o700} {
			if info, err := os.Stat(path); err != nil || info.Mode() != mode {
				t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
			}
		}

		g.put(t, g.crl, before)
		g = g.restarted(t)
		if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("after a restart, an older list takes a revocation back: %v", err)
		}
		if told := strings.Join(g.told, "\n"); len(g.told) != 1 || !strings.Contains(told, `has number 1, older than 2, the one known (if that authority counts anew: stop the gateway, and remove "`+files[0]+`")`) {
			t.Errorf("told %q", told)
		}
		if found, err := g.a.LookAtLists(g.trust, g.crl); err != nil || len(found.Faults) != 1 || !strings.Contains(found.Faults[0].Error(), "older than 2") || found.States[0].Fault(time.Now()) != nil {
			t.Errorf("looked from outside: %+v, %v", found, err)
		}

		if err := os.Remove(g.crl); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * 24 * time.Hour)
		if err := g.restarted(t).asks(t, good); err != nil {
			t.Errorf("as long as the kept list is in force: %v", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		g = g.restarted(t)
		if err := g.asks(t, good); !errors.Is(err, certs.ErrRevocationUnknown) || !strings.Contains(err.Error(), `the list of "St Elsewhere" was over`) {
			t.Errorf("when the kept list is over: %v", err)
		}
		if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("when the kept list is over, the revoked one: %v", err)
		}
		g.put(t, g.crl, listPEM(h.list(t, nil, stolen.Leaf)))
		if err := g.restarted(t).asks(t, good); err != nil {
			t.Errorf("with the next one: %v", err)
		}
	})
}

// A clock that a start finds set back does not turn the kept list into one that is to come.
func TestKeptByWrongClock(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	kim := h.badge(t, "dr.kim")
	g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil)))
	g.Look()
	later := h.list(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Hour) })
	if err := os.WriteFile(g.kept(t)[0], later, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(g.crl); err != nil {
		t.Fatal(err)
	}
	if err := g.restarted(t).asks(t, kim); err != nil {
		t.Error(err)
	}
}

// What is kept is believed for what was signed and of whom: a file that is damaged, forged or another's counts for
// nothing, is told of once, and is written anew from a good list.
func TestKeptDamaged(t *testing.T) {
	h, other := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil)
	forged := newClinic(t, "St Elsewhere", nil).list(t, nil)
	kim, abe := h.badge(t, "dr.kim"), other.badge(t, "dr.abe")
	good := h.list(t, nil)
	for name, der := range map[string][]byte{"empty": nil, "cut": good[:len(good)/2], "forged": forged, "another's": other.list(t, nil)} {
		g := newGate(t, certPEM(raws(h, other)...), listPEM(good, other.list(t, nil)))
		g.Look()
		file := g.Source.trust.kept.path(signerOf(h.cert))
		for range 2 {
			if err := os.WriteFile(file, der, 0o600); err != nil {
				t.Fatal(err)
			}
			g.put(t, g.crl, []byte("none"))
			again := g.restarted(t)
			if err := again.asks(t, kim); !errors.Is(err, certs.ErrRevocationUnknown) {
				t.Errorf("%s: %v", name, err)
			}
			if err := again.asks(t, abe); err != nil {
				t.Errorf("%s: of another authority: %v", name, err)
			}
			if told := strings.Join(again.told, "\n"); len(again.told) != 1 || strings.Count(told, `read the list of "St Elsewhere" that was kept, "`+file) != 1 || strings.Contains(told, `no revocation list of "Elsewhere General"`) {
				t.Errorf("%s: told %q", name, told)
			}
			if found, err := g.a.LookAtLists(g.trust, g.crl); err != nil || !strings.Contains(fmt.Sprint(found.Faults), "that was kept") {
				t.Errorf("%s: looked from outside: %+v, %v", name, found, err)
			}
		}
		g.put(t, g.crl, listPEM(h.list(t, nil), other.list(t, nil)))
		again := g.restarted(t)
		if err := again.asks(t, kim); err != nil {
			t.Errorf("%s: with a good list: %v", name, err)
		}
		again.Look()
		if told := strings.Join(again.told, "\n"); len(again.told) != 2 || !strings.Contains(again.told[0], "one that is older than it would be believed") || again.told[1] != "revocation-lists: <nil>" {
			t.Errorf("%s: with a good list, told %q", name, told)
		}
		if found, err := g.a.LookAtLists(g.trust, g.crl); err != nil || len(found.Faults) > 0 {
			t.Errorf("%s: with a good list, looked from outside: %+v, %v", name, found, err)
		}
	}
}

// A list that cannot be kept is in force all the same, which is told, and is kept as soon as it can be.
func TestNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newClinic(t, "St Elsewhere", nil)
		stolen := h.badge(t, "dr.kim")
		g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil)))
		if err := os.WriteFile(g.a.path(listsDir), nil, 0o600); err != nil { // in the folder's place
			t.Fatal(err)
		}
		g.put(t, g.crl, listPEM(h.list(t, nil, stolen.Leaf)))
		for range 3 {
			if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
				t.Errorf("not in force: %v", err)
			}
			if err := g.Look(); err == nil {
				t.Error("looked, and found nothing")
			}
		}
		if told := strings.Join(g.told, "\n"); len(g.told) != 1 || !strings.Contains(told, `keep the revocation list of "St Elsewhere" in "`+g.a.path(listsDir)+`": not a directory: it is in force, and a restart would not know it`) {
			t.Errorf("told %q", told)
		}
		if err := os.Remove(g.a.path(listsDir)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(refusedAgain)
		if err := g.Look(); err != nil || len(g.kept(t)) != 1 || g.told[len(g.told)-1] != "revocation-lists: <nil>" {
			t.Errorf("kept %v, told %q, %v", g.kept(t), g.told, err)
		}
		if err := os.Remove(g.crl); err != nil {
			t.Fatal(err)
		}
		if err := g.restarted(t).asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("after a restart: %v", err)
		}
	})
}

// During a hand-over two processes keep lists. One that follows another file does not put an older list in the
// place of the newer one.
func TestKeptByTwo(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	stolen := h.badge(t, "dr.kim")
	old := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil)))
	behind := listPEM(h.list(t, nil))
	next := old.restarted(t)
	next.crl = filepath.Join(t.TempDir(), "next.crl")
	next.put(t, next.crl, listPEM(h.list(t, nil, stolen.Leaf)))
	next.start(t, old.a)
	if err := next.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
		t.Error(err)
	}
	next.Look()
	old.put(t, old.crl, behind)
	if err := old.Look(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(next.crl); err != nil {
		t.Fatal(err)
	}
	if err := next.restarted(t).asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("after a restart the newer list is not known: %v", err)
	}
}

// An authority that is trusted anew finds its list again, and it is still no older one that counts.
func TestKeptWhileAway(t *testing.T) {
	h, other := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil)
	stolen := h.badge(t, "dr.kim")
	before := h.list(t, nil)
	g := newGate(t, certPEM(raws(h, other)...), listPEM(h.list(t, nil, stolen.Leaf), other.list(t, nil)))
	g.Look()
	g.put(t, g.trust, certPEM(other.cert.Raw))
	g.put(t, g.crl, listPEM(other.list(t, nil)))
	if err := g.asks(t, stolen); !errors.Is(err, certs.ErrUntrusted) {
		t.Errorf("of an authority that is not trusted: %v", err)
	}
	g.put(t, g.trust, certPEM(raws(h, other)...))
	for _, lists := range [][]byte{nil, listPEM(before, other.list(t, nil))} {
		if lists != nil {
			g.put(t, g.crl, lists)
		}
		if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("of one that is trusted again: %v", err)
		}
	}
	if err := g.Look(); err == nil || !strings.Contains(err.Error(), "older than") {
		t.Errorf("an older list: %v", err)
	}
}

// Of many older lists one is told of, and always the same.
func TestOlderToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*clinic
		var before, now [][]byte
		for i := range 8 {
			h := newClinic(t, fmt.Sprintf("Clinic %d", i), nil)
			all, before, now = append(all, h), append(before, h.list(t, nil)), append(now, h.list(t, nil))
		}
		g := newGate(t, certPEM(raws(all...)...), listPEM(now...))
		g.put(t, g.crl, listPEM(before...))
		for range 20 {
			if err := g.Look(); err == nil {
				t.Fatal("older lists are believed")
			}
			time.Sleep(2 * refusedAgain)
		}
		if len(g.told) != 1 {
			t.Errorf("told %q", g.told)
		}
	})
}

// An authority that counts anew is followed once its kept list was removed, as the fault says.
func TestCountsAnew(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	kim := h.badge(t, "dr.kim")
	g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, func(l *x509.RevocationList) { l.Number = big.NewInt(900) })))
	g.Look()
	g.put(t, g.crl, listPEM(h.list(t, nil, kim.Leaf)))
	again := g.restarted(t)
	if err := again.asks(t, kim); err != nil {
		t.Errorf("by the list with the higher number: %v", err)
	}
	if err := os.Remove(g.kept(t)[0]); err != nil {
		t.Fatal(err)
	}
	if err := g.restarted(t).asks(t, kim); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("by the list that counts anew: %v", err)
	}
}
