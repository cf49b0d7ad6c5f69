package audit

import (
	"bytes"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// folder is a log's files in memory.
type folder map[string][]byte

func readFolder(t testing.TB, dir string) folder {
	t.Helper()
	f := folder{}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if f[n.Name()], err = os.ReadFile(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// write makes dir hold f, where it held was.
func (f folder) write(t testing.TB, dir string, was folder) {
	t.Helper()
	for name := range was {
		if _, ok := f[name]; !ok {
			os.Remove(filepath.Join(dir, name))
		}
	}
	for name, b := range f {
		if old, ok := was[name]; ok && bytes.Equal(old, b) {
			continue
		}
		os.Remove(filepath.Join(dir, name)) // ext4 would write a truncated file to the disk at once
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (f folder) clone() folder {
	c := folder{}
	for name, b := range f {
		c[name] = b
	}
	return c
}

func (f folder) segments() []string {
	var names []string
	for name := range f {
		if strings.HasSuffix(name, ".log") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// smallLog is a closed log of a few segments, with its verifier key.
func smallLog(t testing.TB, entries int) (dir, key string, f folder) {
	t.Helper()
	lim := small()
	lim.segmentSize, lim.sign, lim.keep = 3<<10, time.Hour, 0
	cfg := testConfig(t, Config{Dir: filepath.Join(t.TempDir(), "log"), limits: lim})
	l := openTest(t, cfg)
	for i := range entries {
		mustAppend(t, l, Entry{Kind: KindDecision, Gateway: "gw", Input: json.RawMessage(`{"n":1}`), Note: fmt.Sprint("note ", i)})
		if i%20 == 6 {
			if err := l.sign(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, l)
	f = readFolder(t, cfg.Dir)
	return cfg.Dir, string(f[fileVerifier]), f
}

// mutate changes f in one way a careless or hostile hand could, and says how.
func mutate(rnd *rand.Rand, f folder, older []folder) string {
	segs := f.segments()
	name := segs[rnd.IntN(len(segs))]
	if rnd.IntN(6) == 0 {
		name = []string{fileCheckpoint, fileHistory, fileCodes}[rnd.IntN(3)]
	}
	b := slices.Clone(f[name])
	at := rnd.IntN(len(b))
	to := min(len(b), at+1+rnd.IntN(1<<rnd.IntN(9)))
	lines := bytes.SplitAfter(b, []byte("\n"))
	line := rnd.IntN(len(lines) - 1)
	other := rnd.IntN(len(lines) - 1)
	how := ""
	switch rnd.IntN(14) {
	case 0, 1, 2:
		how = fmt.Sprintf("bit flipped at %d", at)
		b[at] ^= 1 << rnd.IntN(8)
	case 3:
		how = fmt.Sprintf("bytes %d to %d cut out", at, to)
		b = slices.Delete(b, at, to)
	case 4:
		how = fmt.Sprintf("cut at %d", at)
		b = b[:at]
	case 5:
		how = fmt.Sprintf("bytes %d to %d doubled", at, to)
		b = slices.Insert(b, to, slices.Clone(b[at:to])...)
	case 6:
		how = fmt.Sprintf("random bytes at %d", at)
		for i := range b[at:to] {
			b[at+i] = byte(rnd.Uint32())
		}
	case 7:
		how = fmt.Sprintf("random bytes put in at %d", at)
		x := make([]byte, to-at)
		for i := range x {
			x[i] = byte(rnd.Uint32())
		}
		b = slices.Insert(b, at, x...)
	case 8:
		how = fmt.Sprintf("lines %d and %d swapped", line, other)
		lines[line], lines[other] = lines[other], lines[line]
		b = bytes.Join(lines, nil)
	case 9:
		how = fmt.Sprintf("line %d put in at %d", line, other)
		b = bytes.Join(slices.Insert(slices.Clone(lines), other, lines[line]), nil)
	case 10:
		how = fmt.Sprintf("line %d taken out", line)
		b = bytes.Join(slices.Delete(lines, line, line+1), nil)
	case 11:
		how = fmt.Sprintf("line %d changed, its CRC made to fit", line)
		l := slices.Clone(lines[line])
		if name == fileCheckpoint || name == fileHistory || name == fileCodes || len(l) <= lineHead+1 {
			l[0] ^= 4
		} else {
			l[lineHead+rnd.IntN(len(l)-lineHead-1)] ^= 1
			l = sealLine(l[:len(l)-1], 0)
		}
		lines[line] = l
		b = bytes.Join(lines, nil)
	case 12:
		other := segs[rnd.IntN(len(segs))]
		if rnd.IntN(2) == 0 || other == name || !strings.HasSuffix(name, ".log") {
			delete(f, name)
			return name + " deleted"
		}
		f[name], f[other] = f[other], f[name]
		return name + " and " + other + " swapped"
	case 13:
		old := older[rnd.IntN(len(older))]
		clear(f)
		for name, b := range old {
			f[name] = b
		}
		return fmt.Sprintf("all set back to %s", bytes.SplitN(f[fileCheckpoint], []byte("\n"), 3)[1])
	}
	f[name] = b
	return name + ": " + how
}

// Options.TrustedCheckpoint in hand, every mutation is found, and where.
func TestMutations(t *testing.T) {
	dir, key, good := smallLog(t, 60)
	trusted := good[fileCheckpoint]
	marks, _, _, err := parseHistory(good[fileHistory], must(note.NewVerifier(strings.TrimSpace(key))))
	if err != nil || len(marks) < 4 || len(good.segments()) < 4 {
		t.Fatalf("%d kept checkpoints, %d segments, %v", len(marks), len(good.segments()), err)
	}
	older := rollbacks(t, good, marks[:len(marks)-1])
	n := 22_000
	if testing.Short() {
		n = 2_000
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	found, located := 0, 0
	was := good
	for range n {
		f := good.clone()
		how := mutate(rnd, f, older)
		if same(good, f) {
			continue // two equal lines swapped and the like
		}
		f.write(t, dir, was)
		was = f
		rep, err := Verify(dir, key, Options{TrustedCheckpoint: trusted})
		if err == nil && rep.Torn == 0 {
			if b := f[fileHistory]; len(b) < len(good[fileHistory]) && bytes.HasPrefix(good[fileHistory], b) && same(good, with(f, fileHistory, good[fileHistory])) {
				continue // fewer kept checkpoints: the entries are not touched
			}
			t.Fatalf("not found: %s", how)
		}
		found++
		var d *Damage
		if want, ok := firstChanged(good, f); ok && errors.As(err, &d) {
			if d.Index != want {
				t.Fatalf("%s: the first bad entry is %d, Verify says %v", how, want, err)
			}
			located++
		}
	}
	good.write(t, dir, was)
	if rep := mustVerify(t, dir, trusted); rep.Checkpoints < len(marks)+2 || rep.Torn != 0 {
		t.Errorf("untouched: %+v", rep)
	}
	t.Logf("%d mutations found, the first bad entry checked for %d", found, located)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func same(a, b folder) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if x, ok := b[name]; !ok || !bytes.Equal(a[name], x) {
			return false
		}
	}
	return true
}

func with(f folder, name string, b []byte) folder {
	c := f.clone()
	c[name] = b
	return c
}

// firstChanged is the first entry that differs, where only segments do and their
// number, names and headers are the same.
func firstChanged(good, bad folder) (int64, bool) {
	if len(good) != len(bad) {
		return 0, false
	}
	for name := range good {
		if _, ok := bad[name]; !ok || !strings.HasSuffix(name, ".log") && !bytes.Equal(good[name], bad[name]) {
			return 0, false
		}
	}
	index := int64(0)
	for _, name := range good.segments() {
		g := bytes.SplitAfter(good[name], []byte("\n"))
		b := bytes.SplitAfter(bad[name], []byte("\n"))
		if !bytes.Equal(g[0], b[0]) {
			return 0, false // the header
		}
		for i := range g[1 : len(g)-1] { // behind the last newline is nothing
			if len(b) <= i+1 || !bytes.Equal(g[i+1], b[i+1]) {
				return index, true
			}
			index++
		}
		if !bytes.Equal(good[name], bad[name]) {
			return index, true
		}
	}
	return 0, false
}

// rollbacks are the states the whole folder had when it was signed earlier.
func rollbacks(t *testing.T, good folder, marks []tlog.Tree) (older []folder) {
	notes := bytes.SplitAfter(good[fileHistory], []byte("\n"))
	for i, m := range marks {
		f := good.clone()
		f[fileHistory] = bytes.Join(notes[:5*(i+1)], nil)
		f[fileCheckpoint] = bytes.Join(notes[5*i:5*(i+1)], nil)
		f[fileHashes] = good[fileHashes][:tlog.StoredHashCount(m.N)*tlog.HashSize]
		n := int64(0)
		for _, name := range good.segments() {
			lines := bytes.SplitAfter(good[name], []byte("\n"))
			if n >= m.N {
				delete(f, name)
				continue
			}
			body := min(int64(len(lines)-2), m.N-n)
			f[name] = bytes.Join(lines[:1+body], nil)
			n += body
		}
		older = append(older, f)
	}
	return older
}

// Without a checkpoint kept elsewhere a whole rollback is a valid log; with it, none is.
func TestRollback(t *testing.T) {
	dir, key, good := smallLog(t, 60)
	marks, _, _, _ := parseHistory(good[fileHistory], must(note.NewVerifier(strings.TrimSpace(key))))
	was := good
	for i, f := range rollbacks(t, good, marks[:len(marks)-1]) {
		f.write(t, dir, was)
		was = f
		if _, err := Verify(dir, key, Options{}); err != nil {
			t.Fatalf("the test's rollback is not even a log: %v", err)
		}
		var d *Damage
		if _, err := Verify(dir, key, Options{TrustedCheckpoint: good[fileCheckpoint]}); !errors.As(err, &d) || d.Index != marks[i].N {
			t.Errorf("set back to %d of 60: %v", marks[i].N, err)
		}
		// Who forgets the history is found out, by Open too.
		careless := with(f, fileHistory, good[fileHistory])
		careless.write(t, dir, was)
		was = careless
		if _, err := Verify(dir, key, Options{}); !errors.As(err, &d) {
			t.Errorf("set back to %d but for the history: %v", marks[i].N, err)
		}
		if l, err := Open(testConfig(t, Config{Dir: dir})); !errors.As(err, &d) {
			l.Close()
			t.Errorf("opened though set back to %d but for the history", marks[i].N)
		}
	}
}

// Open itself refuses entries that are fewer or other than its checkpoint signs.
func TestOpenRefusesDamage(t *testing.T) {
	dir, _, good := smallLog(t, 60)
	segs := good.segments()
	last := segs[len(segs)-1]
	lines := bytes.SplitAfter(good[last], []byte("\n"))
	changed := slices.Clone(lines[1])
	changed[len(changed)-4] ^= 1
	was := good
	for name, f := range map[string]folder{
		"last entry missing":   with(good, last, bytes.Join(lines[:len(lines)-2], nil)),
		"last segment missing": func() folder { f := good.clone(); delete(f, last); return f }(),
		"entry changed":        with(good, last, bytes.Join(slices.Concat(lines[:1], [][]byte{sealLine(changed[:len(changed)-1], 0)}, lines[2:]), nil)),
		"checkpoint missing":   func() folder { f := good.clone(); delete(f, fileCheckpoint); return f }(),
		"checkpoint changed":   with(good, fileCheckpoint, bytes.Replace(good[fileCheckpoint], []byte("\n60\n"), []byte("\n59\n"), 1)),
		"key missing":          func() folder { f := good.clone(); delete(f, fileKey); return f }(),
		"first segment damaged": with(good, segs[0], func() []byte {
			b := slices.Clone(good[segs[0]])
			b[3] ^= 1
			return b
		}()),
	} {
		f.write(t, dir, was)
		was = f
		l, err := Open(testConfig(t, Config{Dir: dir}))
		var d *Damage
		if !errors.As(err, &d) {
			l.Close()
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	for name, f := range map[string]folder{ // only a cache
		"hashes missing": func() folder { f := good.clone(); delete(f, fileHashes); return f }(),
		"hashes damaged": with(good, fileHashes, make([]byte, len(good[fileHashes]))),
	} {
		f.write(t, dir, was)
		l, err := Open(testConfig(t, Config{Dir: dir}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mustAppend(t, l, Entry{Kind: KindStart})
		mustClose(t, l)
		was = readFolder(t, dir)
		r := must(OpenReader(dir))
		for i := range int64(61) {
			if _, err := r.Prove(i); err != nil {
				t.Errorf("%s, then opened: %v", name, err)
			}
		}
		good.write(t, dir, was)
		was = good
	}
}

// What a crash leaves behind the last entry is cut off and told of, not refused.
func TestTornTail(t *testing.T) {
	dir, key, good := smallLog(t, 60)
	segs := good.segments()
	last := segs[len(segs)-1]
	lines := bytes.SplitAfter(good[last], []byte("\n"))
	torn := slices.Concat(good[last], lines[1][:50], make([]byte, 1000))
	f := with(good, last, torn)
	next := segmentHeader("cordon.test/log", int64(len(segs)+1), 60)
	f[fmt.Sprintf("%08d.log", len(segs)+1)] = next[:len(next)-1] // and a segment that was being made
	f.write(t, dir, good)
	if rep, err := Verify(dir, key, Options{}); err != nil || rep.Torn != 50+int64(len(next)-1) || rep.Size != 60 {
		t.Errorf("%+v, %v", rep, err)
	}
	l := openTest(t, Config{Dir: dir})
	r := mustAppend(t, l, Entry{Kind: KindStart})
	mustClose(t, l)
	if rep := mustVerify(t, dir, good[fileCheckpoint]); rep.Torn != 0 || rep.Size != 62 || r.Index != 61 {
		t.Errorf("%+v", rep)
	}
	if e, err := must(OpenReader(dir)).Entry(60); err != nil || e.Kind != KindGap {
		t.Errorf("entry 60: %+v, %v", e, err)
	}
}

// No false alarm while the log is written, checkpoints, rolls and all.
func TestVerifyWhileWriting(t *testing.T) {
	l := openTest(t, Config{limits: small()})
	key := string(readFolder(t, l.cfg.Dir)[fileVerifier])
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					// The small queue may be full.
					if _, err := l.Append(t.Context(), sampleEntry()); err != nil && l.Err() != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var trusted []byte
	for range 100 {
		rep, err := Verify(l.cfg.Dir, key, Options{TrustedCheckpoint: trusted})
		if err != nil {
			t.Errorf("%+v, %v", rep, err)
			break
		}
		trusted = must(os.ReadFile(filepath.Join(l.cfg.Dir, fileCheckpoint)))
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	mustClose(t, l)
	t.Logf("%+v", mustVerify(t, l.cfg.Dir, trusted))
}

func TestProof(t *testing.T) {
	dir, key, _ := smallLog(t, 60)
	r := must(OpenReader(dir))
	for i := range int64(60) {
		p, err := r.Prove(i)
		if err != nil {
			t.Fatal(err)
		}
		var q Proof // as it travels
		if err := json.Unmarshal(must(json.Marshal(p)), &q); err != nil || CheckProof(q, key) != nil {
			t.Fatalf("proof %d: %v, %v", i, err, CheckProof(q, key))
		}
		for name, change := range map[string]func(){
			"entry":      func() { q.Entry[len(q.Entry)-3] ^= 1 },
			"index":      func() { q.Index ^= 1 },
			"negative":   func() { q.Index = -1 },
			"beyond":     func() { q.Index = 60 },
			"path":       func() { q.Path[0][0] ^= 1 },
			"short path": func() { q.Path = q.Path[1:] },
			"checkpoint": func() { q.Checkpoint = strings.Replace(q.Checkpoint, "\n60\n", "\n61\n", 1) },
		} {
			q = p
			q.Entry, q.Path = slices.Clone(p.Entry), slices.Clone(p.Path)
			if change(); CheckProof(q, key) == nil {
				t.Errorf("proof %d with another %s passes", i, name)
			}
		}
	}
	if _, err := r.Prove(60); !errors.Is(err, ErrNoEntry) {
		t.Errorf("proof 60: %v", err)
	}
}

// A writer that lies about an index is found out by whoever checks the proof.
func TestProofOfAnotherIndex(t *testing.T) {
	skey, vkey, err := note.GenerateKey(crand.Reader, "cordon.test/lie")
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Index: 7, Code: "7QF-21", Kind: KindStart}
	p := Proof{Entry: e.appendJSON(nil)}
	msg, err := formatCheckpoint(tlog.Tree{N: 1, Hash: tlog.RecordHash(p.Entry)}, must(note.NewSigner(skey)))
	if err != nil {
		t.Fatal(err)
	}
	p.Checkpoint = string(msg)
	if err := CheckProof(p, vkey); err == nil || !strings.Contains(err.Error(), "not number 0") {
		t.Errorf("entry 7 proven to be entry 0: %v", err)
	}
}

// What random mutation finds too rarely.
func TestRareMutations(t *testing.T) {
	dir, key, good := smallLog(t, 60)
	segs := good.segments()
	next := int64(len(segs) + 1)
	second := bytes.SplitAfter(good[segs[1]], []byte("\n"))
	h, err := parseHead(second[1][lineHead:])
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := slices.Clone(good[fileCheckpoint])
	checkpoint[len(checkpoint)-3]++ // of the base64 character before "=\n" four bits are not used
	was := good
	for name, f := range map[string]folder{
		"second segment once more": with(good, fmt.Sprintf("%08d.log", next),
			append(segmentHeader("cordon.test/log", next, h.index), bytes.Join(second[1:], nil)...)),
		"checkpoint's spare bits": with(good, fileCheckpoint, checkpoint),
		"kept checkpoint once more": with(good, fileHistory,
			append(slices.Clone(good[fileHistory]), good[fileCheckpoint]...)),
	} {
		f.write(t, dir, was)
		was = f
		var d *Damage
		if rep, err := Verify(dir, key, Options{}); !errors.As(err, &d) {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
		if l, err := Open(testConfig(t, Config{Dir: dir})); !errors.As(err, &d) {
			l.Close()
			t.Errorf("%s: opened", name)
		}
		want := int64(0)
		for e, err := range must(OpenReader(dir)).Entries(0, 1<<62) {
			if err == nil && e.Index != want {
				t.Fatalf("%s: entry %d is read where %d belongs", name, e.Index, want)
			}
			want++
		}
	}
}

// Reader and Verify never panic, and Verify never finds a damaged log well.
func FuzzHostileLog(f *testing.F) {
	dir, key, good := smallLog(f, 30)
	segs := good.segments()
	f.Add(good[segs[0]], good[segs[1]], good[fileCheckpoint], good[fileHistory], good[fileHashes])
	f.Add([]byte{}, []byte("\n"), []byte("\n\n"), []byte("x\n1\n"), []byte{})
	was := good
	f.Fuzz(func(t *testing.T, s1, s2, checkpoint, history, hashes []byte) {
		bad := good.clone()
		bad[segs[0]], bad[segs[1]], bad[fileCheckpoint], bad[fileHistory], bad[fileHashes] = s1, s2, checkpoint, history, hashes
		bad.write(t, dir, was)
		was = bad
		_, err := Verify(dir, key, Options{TrustedCheckpoint: good[fileCheckpoint]})
		if err == nil && (!bytes.Equal(s1, good[segs[0]]) || !bytes.Equal(s2, good[segs[1]])) {
			t.Error("changed segments, no error")
		}
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.Size()
		r.Prove(3)
		r.Entry(12)
		for e, err := range r.Entries(0, 1<<62) {
			if err == nil && e.Index > 1000 {
				t.Errorf("entry %d", e.Index)
			}
		}
	})
}
