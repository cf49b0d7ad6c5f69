package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// small makes segments roll and checkpoints come often.
func small() limits {
	return limits{
		segmentSize: 8 << 10, chunk: 4 << 10, reserve: 2 << 10, queueBytes: 2 << 10, queueCount: 64, unsigned: 1 << 20,
		sign: 5 * time.Millisecond, keep: 20 * time.Millisecond, probe: 2 * time.Millisecond,
	}
}

func testConfig(t testing.TB, cfg Config) Config {
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Origin == "" {
		cfg.Origin = "cordon.test/log"
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	return cfg
}

func openTest(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(testConfig(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mustAppend(t testing.TB, l *Log, e Entry) Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustVerify(t testing.TB, dir string, trusted []byte) Report {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(dir, fileVerifier))
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(dir, string(key), Options{TrustedCheckpoint: trusted})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAppendReadReopen(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "new"), Gateway: "gw-1", limits: small()}
	var codes []string
	for round := range 4 {
		l := openTest(t, cfg)
		for i := range 30 {
			e := sampleEntry()
			e.Gateway = ""
			e.Note = fmt.Sprint(round*30 + i)
			r := mustAppend(t, l, e)
			if r.Index != int64(len(codes)) {
				t.Fatalf("index %d, want %d", r.Index, len(codes))
			}
			codes = append(codes, r.Code)
		}
		mustClose(t, l)
		if rep := mustVerify(t, cfg.Dir, nil); rep.Size != int64(len(codes)) || rep.Signed != rep.Size || rep.Torn != 0 {
			t.Fatalf("after round %d: %+v", round, rep)
		}
	}
	r, err := OpenReader(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range codes {
		e, err := r.ByCode(code)
		if err != nil || e.Index != int64(i) || e.Note != fmt.Sprint(i) || e.Gateway != "gw-1" || string(e.Input) != sampleInput {
			t.Fatalf("entry %d by %s: %+v, %v", i, code, e, err)
		}
	}
	n := int64(17)
	for e, err := range r.Entries(17, 103) {
		if err != nil || e.Index != n {
			t.Fatalf("entry %d, %v; want %d", e.Index, err, n)
		}
		n++
	}
	if n != 103 {
		t.Errorf("iteration ended before %d", n)
	}
	if _, err := r.Entry(120); !errors.Is(err, ErrNoEntry) {
		t.Errorf("entry 120: %v", err)
	}
	if _, err := r.Entry(-1); !errors.Is(err, ErrNoEntry) {
		t.Errorf("entry -1: %v", err)
	}
	if size, err := r.Size(); size != 120 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	for _, name := range []string{fileKey, fileCodes, fileCheckpoint, "00000001.log"} {
		if st, err := os.Stat(filepath.Join(cfg.Dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	if st, _ := os.Stat(cfg.Dir); st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v", st.Mode())
	}
	if segs, _ := filepath.Glob(filepath.Join(cfg.Dir, "*.log")); len(segs) < 5 {
		t.Errorf("only %d segments", len(segs))
	}
}

func TestOneWriter(t *testing.T) {
	cfg := testConfig(t, Config{})
	l := openTest(t, cfg)
	if second, err := Open(cfg); err == nil {
		second.Close()
		t.Fatal("a second writer was let in")
	} else {
		t.Log(err)
	}
	mustAppend(t, l, Entry{Kind: KindStart})
	mustClose(t, l)
	if _, err := l.Append(t.Context(), Entry{Kind: KindStop}); !errors.Is(err, ErrUnwritable) {
		t.Errorf("append after close: %v", err)
	}
	other := cfg
	other.Origin = "cordon.test/other"
	if l, err := Open(other); err == nil {
		l.Close()
		t.Error("opened under another origin")
	}
	for _, origin := range []string{"", "a b", "a+b", "é", "a\nb"} {
		if l, err := Open(Config{Dir: t.TempDir(), Origin: origin}); err == nil {
			l.Close()
			t.Errorf("made a log named %q", origin)
		}
	}
}

func TestConcurrentAppends(t *testing.T) {
	for _, prompt := range []time.Duration{0, time.Millisecond, time.Hour} {
		t.Run(prompt.String(), func(t *testing.T) { concurrentAppends(t, prompt) })
	}
}

func concurrentAppends(t *testing.T, prompt time.Duration) {
	l := openTest(t, Config{limits: small(), Prompt: prompt})
	var wg sync.WaitGroup
	var mu sync.Mutex
	notes := map[int64]string{}
	for g := range 32 {
		wg.Go(func() {
			ctx := t.Context()
			if g%2 == 0 {
				ctx = context.Background() // leads itself
			}
			for i := range 40 {
				e := Entry{Kind: KindDecision, Note: fmt.Sprint(g, "/", i)}
				r, err := l.Append(ctx, e)
				if errors.Is(err, ErrUnwritable) && l.Err() == nil {
					continue // the small queue was full
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if was, twice := notes[r.Index]; twice {
					t.Errorf("index %d given to %q and %q", r.Index, was, e.Note)
				}
				notes[r.Index] = e.Note
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	mustClose(t, l)
	rep := mustVerify(t, l.cfg.Dir, nil)
	if rep.Size != int64(len(notes)) {
		t.Errorf("%d entries acknowledged, %d in the log", len(notes), rep.Size)
	}
	checkNotes(t, l.cfg.Dir, notes)
}

// checkNotes looks up every acknowledged entry.
func checkNotes(t testing.TB, dir string, notes map[int64]string) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for e, err := range r.Entries(0, 1<<62) {
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := notes[e.Index]; ok {
			found++
			if e.Note != want {
				t.Fatalf("entry %d is %q, acknowledged was %q", e.Index, e.Note, want)
			}
		}
	}
	if found != len(notes) {
		t.Fatalf("%d of %d acknowledged entries are in the log", found, len(notes))
	}
}

func TestCheckpointComesByItself(t *testing.T) {
	l := openTest(t, Config{limits: small()})
	mustAppend(t, l, Entry{Kind: KindStart})
	r, _ := OpenReader(l.cfg.Dir)
	eventually(t, "a checkpoint of the entry", func() bool {
		p, err := r.Prove(0)
		return err == nil && CheckProof(p, r.VerifierKey()) == nil
	})
	mustAppend(t, l, Entry{Kind: KindStop})
	eventually(t, "a checkpoint of the next", func() bool { _, err := r.Prove(1); return err == nil })
}

// patience bounds every wait. None takes nearly as long; a machine may be busy.
const patience = time.Minute

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func TestFollow(t *testing.T) {
	l := openTest(t, Config{limits: small()})
	r, _ := OpenReader(l.cfg.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 100 {
			if _, err := l.Append(t.Context(), Entry{Kind: KindStart, Note: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
	})
	want := int64(3)
	for e, err := range r.Follow(ctx, want) {
		if err != nil || e.Index != want || e.Note != fmt.Sprint(want) {
			t.Fatalf("followed to %+v, %v; want %d", e, err, want)
		}
		if want++; want == 100 {
			cancel()
		}
	}
	wg.Wait()
	if want != 100 {
		t.Errorf("followed to %d", want)
	}
}

// What the log says of itself agrees with what was appended to it.
func TestStats(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir(), Origin: "cordon.test/stats", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.Append(t.Context(), Entry{Kind: KindStart}); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Entries != 3 || s.Waiting != 0 || s.Refused != 0 || s.Err != nil || s.Commits.Count != 3 || s.Commits.Sum <= 0 {
		t.Errorf("the log says of itself %+v", s)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), Entry{Kind: KindStart}); err == nil || l.Stats().Refused != 1 {
		t.Errorf("appended to a closed log: %v, %+v", err, l.Stats())
	}
}
