package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// copied is a file of a copy.
type copied struct {
	name    string
	content []byte
}

func copyOf(t *testing.T, dir string, checkpoint []byte) []copied {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []copied
	_, err = r.Copy(checkpoint, func(name string, content []byte) error {
		files = append(files, copied{name, bytes.Clone(content)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func checkCopy(files []copied, key string) (Report, error) {
	k := CopyCheck{VerifierKey: key}
	for _, f := range files {
		if err := k.Take(f.name, bytes.NewReader(f.content)); err != nil {
			return Report{}, err
		}
	}
	return k.Done()
}

func place(t *testing.T, files []copied) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A copy taken while entries come is good up to its checkpoint, and a log can go on from it. The
// one it was taken of goes its own way, which whoever has a checkpoint of it sees.
func TestCopy(t *testing.T) {
	cfg := testConfig(t, Config{Dir: t.TempDir(), limits: small()})
	l := openTest(t, cfg)
	for range 100 {
		mustAppend(t, l, sampleEntry())
	}
	var writing sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Append(t.Context(), sampleEntry())
			}
		}
	})
	last := mustAppend(t, l, Entry{Kind: KindBackup, Note: "begun"}).Index
	checkpoint, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, sampleEntry())
	if _, err := l.Checkpoint(); err != nil { // which is kept, too
		t.Fatal(err)
	}
	files := copyOf(t, l.cfg.Dir, checkpoint)
	close(stop)
	writing.Wait()
	mustClose(t, l)

	report, err := checkCopy(files, "")
	if err != nil || report.Size <= last || report.Signed != report.Size || len(files) < 8 {
		t.Fatalf("the copy holds %+v in %d files (%v), want more than entry %d and some segments", report, len(files), err, last)
	}
	newest, err := os.ReadFile(filepath.Join(l.cfg.Dir, fileCheckpoint))
	if err != nil {
		t.Fatal(err)
	}

	cfg.Dir = place(t, files)
	on := openTest(t, cfg)
	if r := mustAppend(t, on, Entry{Kind: KindRestore, Note: "restored"}); r.Index != report.Size {
		t.Errorf("the log goes on with entry %d, want %d", r.Index, report.Size)
	}
	mustClose(t, on)
	if r := mustVerify(t, cfg.Dir, checkpoint); r.Size != report.Size+1 || !slices.Equal(r.Restored, []int64{report.Size}) {
		t.Errorf("verify says %+v", r)
	}
	var damage *Damage
	if _, err := Verify(cfg.Dir, string(files[0].content), Options{TrustedCheckpoint: newest}); !errors.As(err, &damage) {
		t.Errorf("against a later checkpoint of the log it was taken of: %v", err)
	}
}

// Whatever is changed, cut, dropped, doubled or swapped in a copy is found.
func TestCopyMutations(t *testing.T) {
	l := openTest(t, Config{limits: small()})
	for range 40 {
		mustAppend(t, l, sampleEntry())
	}
	checkpoint, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	files := copyOf(t, l.cfg.Dir, checkpoint)
	mustClose(t, l)
	good := func() []copied { return slices.Clone(files) }
	bad := func(what string, files []copied) {
		t.Helper()
		if report, err := checkCopy(files, ""); err == nil {
			t.Errorf("%s: nothing is found, %+v", what, report)
		}
	}
	for i, f := range files {
		step := max(1, len(f.content)/97)
		for at := 0; at < len(f.content)-1; at += step { // what white space is behind a key does not matter
			changed := good()
			changed[i].content = bytes.Clone(f.content)
			changed[i].content[at] ^= 0x01 // no other case, which the keys' hexadecimal digits may have
			bad(f.name, changed)
		}
		cut := good()
		cut[i].content = f.content[:len(f.content)/2]
		if f.name != fileHistory { // where it is cut between two checkpoints, nobody can tell
			bad(f.name+" cut", cut)
		}
		bad(f.name+" dropped", slices.Delete(good(), i, i+1))
		bad(f.name+" twice", slices.Insert(good(), i, f))
		if strings.HasSuffix(f.name, ".log") && i+1 < len(files) {
			swapped := good()
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			bad(f.name+" swapped", swapped)
		}
	}
	// What a CRC does not tell: somebody who knows how lines are made.
	last := len(files) - 1
	lines := bytes.SplitAfter(files[last].content, []byte("\n"))
	lines[1] = sealLine(bytes.TrimSuffix(bytes.Replace(lines[1], []byte("gw-1"), []byte("gw-2"), 1), []byte("\n")), 0)
	resealed := good()
	resealed[last].content = bytes.Join(lines, nil)
	bad("an entry that says something else", resealed)
	// Segments that are in their order here, and would not be in a folder.
	renumbered := good()
	for i, seq := range []int64{999, 998} {
		f := &renumbered[last-1+i]
		head, rest, _ := bytes.Cut(f.content, []byte("\n"))
		first, err := strconv.ParseInt(string(head[bytes.LastIndexByte(head, ' ')+1:]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		f.name = filepath.Base(segmentPath("", seq))
		f.content = append(segmentHeader(l.origin, seq, first), rest...)
	}
	bad("segments renumbered", renumbered)
	bad("nothing", nil)
	bad("another file", append(good(), copied{"x", nil}))

	other := openTest(t, Config{})
	key, err := os.ReadFile(filepath.Join(other.cfg.Dir, fileVerifier))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkCopy(files, string(key)); !errors.Is(err, ErrOtherLog) {
		t.Errorf("with another log's key: %v", err)
	}
}

// A log that is damaged has no copy.
func TestCopyOfDamage(t *testing.T) {
	l := openTest(t, Config{limits: small()})
	for range 40 {
		mustAppend(t, l, sampleEntry())
	}
	checkpoint, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	dir := l.cfg.Dir
	mustClose(t, l)
	path := filepath.Join(dir, "00000001.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Entry 0 says something else, and its CRC fits.
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines[1] = sealLine(bytes.TrimSuffix(bytes.Replace(lines[1], []byte("gw-1"), []byte("gw-2"), 1), []byte("\n")), 0)
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	var damage *Damage
	if _, err := r.Copy(checkpoint, func(string, []byte) error { return nil }); !errors.As(err, &damage) {
		t.Errorf("copy of a damaged log: %v", err)
	}
}

func TestSign(t *testing.T) {
	l := openTest(t, Config{})
	dir, key := l.cfg.Dir, l.verifier
	msg, err := Sign(dir, "cordon-backup/1\nabc\n")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, fileVerifier))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := CheckSigned(msg, string(public)); err != nil || text != "cordon-backup/1\nabc\n" {
		t.Errorf("signed was %q, %v", text, err)
	}
	if _, err := CheckSigned(bytes.Replace(msg, []byte("abc"), []byte("abd"), 1), string(public)); err == nil {
		t.Error("other words pass")
	}
	if _, err := Sign(dir, key.Name()+"\n5\n"); err == nil {
		t.Error("a checkpoint can be had signed")
	}
}
