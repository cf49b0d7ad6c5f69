package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// history drives a log through two lives of appends, rolls and checkpoints, whatever
// the disk does, and returns what was acknowledged. A log that does not recover dies as
// its process would.
func history(t *testing.T, cfg Config, d *faultDisk) map[int64]string {
	acked := map[int64]string{}
	for d.life = range 2 {
		l, err := Open(cfg)
		if err != nil {
			continue
		}
		if appendSome(t, l, d.life, acked) {
			l.Close()
		} else {
			l.abandon()
		}
	}
	return acked
}

func appendSome(t *testing.T, l *Log, life int, acked map[int64]string) (alive bool) {
	for i := range 8 {
		e := Entry{Kind: KindDecision, Note: fmt.Sprint(life, "/", i, strings.Repeat(".", 500))}
		for try := 0; ; try++ {
			r, err := l.Append(context.Background(), e)
			if err == nil {
				if was, twice := acked[r.Index]; twice {
					t.Fatalf("index %d acknowledged for %.6q and %.6q", r.Index, was, e.Note)
				}
				acked[r.Index] = e.Note
				break
			}
			if !errors.Is(err, ErrUnwritable) || l.Err() == nil && try > 20 {
				t.Fatal(err)
			}
			if try == 20 {
				return false
			}
			time.Sleep(100 * time.Microsecond)
		}
		if i%4 == 2 {
			l.sign(true)
		}
	}
	return true
}

func faultLimits() limits {
	lim := small()
	lim.segmentSize, lim.chunk, lim.reserve = 3<<10, 2<<10, 1<<10
	lim.queueBytes, lim.probe = 1<<10, 200*time.Microsecond
	lim.sign = time.Hour // calls then come in the same order each time
	return lim
}

// Every call of the disk fails, once or from then on, and the power may go away after.
func TestDiskFaults(t *testing.T) {
	failing := map[string]func(at, call, life int, op string) error{
		"once":          func(at, call, _ int, _ string) error { return fault(call == at, syscall.EIO) },
		"twice":         func(at, call, _ int, _ string) error { return fault(call == at || call == at+1, syscall.EIO) },
		"from then on":  func(at, call, _ int, _ string) error { return fault(call >= at, syscall.EIO) },
		"until restart": func(at, call, life int, _ string) error { return fault(call >= at && life == 0, syscall.EIO) },
		"full": func(at, call, _ int, op string) error {
			return fault(call >= at && (op == "write" || op == "open"), syscall.ENOSPC)
		},
		"full, then freed": func(at, call, _ int, op string) error {
			return fault(call >= at && call < at+20 && (op == "write" || op == "open"), syscall.ENOSPC)
		},
	}
	step := 1
	if testing.Short() {
		step = 5
	}
	for name, fails := range failing {
		t.Run(name, func(t *testing.T) {
			runs := 0
			for at := 1; ; at += step {
				reached := false
				for cut := range 2 {
					cfg := testConfig(t, Config{Dir: filepath.Join(t.TempDir(), "log"), limits: faultLimits()})
					d := newFaultDisk(cfg.Dir, at<<8|cut)
					cfg.disk = d
					d.fail = func(call int, op string) error { return fails(at, call, d.life, op) }
					acked := history(t, cfg, d)
					reached = reached || d.calls >= at
					if cut > 0 {
						d.powerCut(t)
					}
					runs++
					survived(t, cfg, acked, fmt.Sprintf("call %d, power cut %d", at, cut))
					os.RemoveAll(cfg.Dir)
				}
				if !reached {
					break
				}
			}
			t.Logf("%d histories", runs)
		})
	}
}

func fault(now bool, err error) error {
	if now {
		return fmt.Errorf("test: %w", err)
	}
	return nil
}

// survived opens the log again on a disk that works and looks for what was acknowledged.
func survived(t *testing.T, cfg Config, acked map[int64]string, when string) {
	t.Helper()
	cfg.disk = newFaultDisk(cfg.Dir, 0) // spares the real syncs
	l, err := Open(cfg)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	r := mustAppend(t, l, Entry{Kind: KindStart})
	if r.Index < int64(len(acked)) {
		t.Fatalf("%s: %d entries acknowledged, the next is %d", when, len(acked), r.Index)
	}
	mustClose(t, l)
	if rep := mustVerify(t, cfg.Dir, nil); rep.Signed != rep.Size {
		t.Fatalf("%s: %+v", when, rep)
	}
	checkNotes(t, cfg.Dir, acked)
}

// The harness must see a log that acknowledges before the disk has the entry.
func TestPowerCutSeesLostSync(t *testing.T) {
	lost := 0
	for seed := range 20 {
		cfg := testConfig(t, Config{Dir: filepath.Join(t.TempDir(), "log"), limits: faultLimits()})
		d := newFaultDisk(cfg.Dir, seed)
		cfg.disk = d
		l, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d.lies = true
		for range 3 {
			mustAppend(t, l, Entry{Kind: KindStart})
		}
		l.abandon()
		d.powerCut(t)
		cfg.disk = nil
		again, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if again.Size() < 3 {
			lost++
		}
		again.Close()
	}
	if lost == 0 {
		t.Error("20 power cuts after syncs that did nothing lost no entry")
	}
}

// After a failed sync the next one reports success for content that is gone.
func TestFailedSyncIsNotRetried(t *testing.T) {
	cfg := testConfig(t, Config{Dir: filepath.Join(t.TempDir(), "log"), limits: faultLimits()})
	d := newFaultDisk(cfg.Dir, 1)
	cfg.disk = d
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, Entry{Kind: KindStart, Note: "before"})
	failed := false
	d.fail = func(_ int, op string) error {
		now := op == "sync" && !failed
		failed = failed || now
		return fault(now, syscall.EIO)
	}
	r := mustAppend(t, l, Entry{Kind: KindStart, Note: "during"})
	if !failed || l.seg.seq != 2 {
		t.Fatalf("sync failed: %v; segment %d, want 2", failed, l.seg.seq)
	}
	l.abandon()
	d.powerCut(t)
	survived(t, cfg, map[int64]string{0: "before", r.Index: "during"}, "after the power cut")
}

// gate is a disk whose syncs wait until it is opened.
type gate struct {
	osDisk
	mu   sync.Mutex
	shut chan struct{} // nil: open
	err  error         // what they then return

	waits atomic.Int64 // syncs that have come to the gate and found it shut
}

func (g *gate) set(c chan struct{})           { g.mu.Lock(); g.shut = c; g.mu.Unlock() }
func (g *gate) fail(err error)                { g.mu.Lock(); g.err = err; g.mu.Unlock() }
func (g *gate) state() (chan struct{}, error) { g.mu.Lock(); defer g.mu.Unlock(); return g.shut, g.err }

func (g *gate) OpenFile(name string, flag int, perm os.FileMode) (file, error) {
	f, err := g.osDisk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return gatedFile{f.(osFile), g}, nil
}

type gatedFile struct {
	osFile
	g *gate
}

func (f gatedFile) Sync() error {
	if c, _ := f.g.state(); c != nil {
		f.g.waits.Add(1)
		<-c
	}
	if _, err := f.g.state(); err != nil {
		return err
	}
	return f.osFile.Sync()
}

// What waits behind a batch that fails has indices that no longer follow.
func TestFailedBatchTakesQueueAlong(t *testing.T) {
	g := &gate{}
	lim := small()
	lim.sign = time.Hour
	told := make(chan error, 10)
	l := openTest(t, Config{limits: lim, disk: g, Unwritable: func(cause error) { told <- cause }})
	mustAppend(t, l, Entry{Kind: KindStart})
	c := make(chan struct{})
	g.set(c)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if r, err := l.Append(t.Context(), Entry{Kind: KindStart}); !errors.Is(err, ErrUnwritable) {
				t.Errorf("acknowledged as %+v, %v", r, err)
			}
		})
		eventually(t, "it waits", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.next == int64(i)+2 })
	}
	g.fail(syscall.EIO)
	g.set(nil)
	close(c)
	wg.Wait()
	if err := l.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("health: %v", err)
	}
	if cause := <-told; !errors.Is(cause, syscall.EIO) || len(told) > 0 {
		t.Errorf("told of %v, and %d times more", cause, len(told))
	}
	g.fail(nil)
	eventually(t, "recovery", func() bool { return l.Err() == nil })
	if r := mustAppend(t, l, Entry{Kind: KindStart}); r.Index != 2 { // 1 tells of the gap
		t.Errorf("index %d", r.Index)
	}
	mustClose(t, l)
	mustVerify(t, l.cfg.Dir, nil)
}

// With Config.Prompt the appender that meets the slow disk first stays; no other does.
func TestPromptOnSlowDisk(t *testing.T) {
	g := &gate{}
	lim := small()
	lim.sign = time.Hour // no sync but the entries'
	l := openTest(t, Config{limits: lim, disk: g, Prompt: time.Millisecond})
	c := make(chan struct{})
	g.set(c)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := l.Append(ctx, Entry{Kind: KindStart})
		first <- err
	}()
	eventually(t, "the first is at the disk", func() bool { return g.waits.Load() > 0 })
	cancel()
	time.Sleep(5 * time.Millisecond) // longer than Prompt
	select {
	case err := <-first:
		t.Errorf("the first did not wait for the disk: %v", err)
	default:
	}
	close(c)
	<-first
	c = make(chan struct{})
	g.set(c)
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.Append(ctx, Entry{Kind: KindStart}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("append to a disk known to be slow: %v", err)
	}
	g.set(nil)
	close(c)
}

func TestSlowDisk(t *testing.T) {
	few := small()
	few.queueCount = 9 // the 8 that wait, and one
	t.Run("bytes", func(t *testing.T) { slowDisk(t, small()) })
	t.Run("count", func(t *testing.T) { slowDisk(t, few) })
}

func slowDisk(t *testing.T, lim limits) {
	g := &gate{}
	l := openTest(t, Config{limits: lim, disk: g})
	mustAppend(t, l, Entry{Kind: KindStart})
	c := make(chan struct{})
	g.set(c)

	// The lone appender and those behind it return with their ctx, though no sync does.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := l.Append(ctx, Entry{Kind: KindStart}); !errors.Is(err, ErrUnwritable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("append on a hanging disk: %v", err)
			}
		})
	}
	wg.Wait()

	// The queue is bounded: soon entries are refused without waiting.
	full := 0
	for range 2000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		go func() { cancel() }()
		_, err := l.Append(ctx, Entry{Kind: KindStart})
		if !errors.Is(err, ErrUnwritable) {
			t.Fatalf("append on a hanging disk: %v", err)
		}
		if !errors.Is(err, context.Canceled) {
			full++
		}
	}
	l.mu.Lock()
	count, size := l.pending.count, len(l.pending.lines)
	l.mu.Unlock()
	if full == 0 || count > l.cfg.queueCount || size > l.cfg.queueBytes+1 {
		t.Errorf("%d of 2000 entries refused by the queue, which holds %d entries of %d bytes", full, count, size)
	}

	g.set(nil)
	close(c)
	eventually(t, "the disk answers again", func() bool {
		_, err := l.Append(t.Context(), Entry{Kind: KindStart})
		return err == nil
	})
	mustClose(t, l)
	mustVerify(t, l.cfg.Dir, nil)
}

// A full disk refuses what is allowed, records what is refused, and recovers alone.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a file system of limited size needs root: %v", err)
	}
	defer unix.Unmount(dir, 0)
	l := openTest(t, Config{Dir: filepath.Join(dir, "log")}) // the real limits
	defer l.Close()
	allow := sampleEntry()
	refuse := sampleEntry()
	refuse.Decision.Allow = false
	mustAppend(t, l, allow)

	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1 << 20; n > 0; {
		if _, err := f.Write(make([]byte, n)); err != nil {
			n /= 2
		}
	}
	f.Close()

	acked := int64(1)
	for eventuallyFull := 0; ; eventuallyFull++ {
		if _, err = l.Append(t.Context(), allow); err != nil {
			break
		}
		if acked++; eventuallyFull > 20_000 {
			t.Fatal("a full disk takes entries without end")
		}
	}
	if !errors.Is(err, ErrUnwritable) || !errors.Is(err, syscall.ENOSPC) || !errors.Is(l.Err(), ErrUnwritable) {
		t.Fatalf("append on a full disk: %v; health: %v", err, l.Err())
	}
	r := mustAppend(t, l, refuse) // the refusal itself still gets its code
	if r.Index != acked || r.Code == "" {
		t.Errorf("refusal recorded as %+v, want index %d", r, acked)
	}
	mustAppend(t, l, Entry{Kind: KindRevoked, Note: "a1 revoked by root: user/dr.kim"})
	if _, err := l.Append(t.Context(), allow); !errors.Is(err, ErrUnwritable) {
		t.Errorf("append on a full disk: %v", err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { return l.Err() == nil })
	r = mustAppend(t, l, allow)
	rd, _ := OpenReader(l.cfg.Dir)
	if gap, err := rd.Entry(r.Index - 1); err != nil || gap.Kind != KindGap || !strings.Contains(gap.Note, "2 entries refused") {
		t.Errorf("entry before recovery: %+v, %v", gap, err)
	}
	mustClose(t, l)
	mustVerify(t, l.cfg.Dir, nil)
}

// Whatever does not fit even the reserve is refused, and leaves nothing behind.
func TestReserveUsedUp(t *testing.T) {
	cfg := testConfig(t, Config{Dir: filepath.Join(t.TempDir(), "log"), limits: faultLimits()})
	d := newFaultDisk(cfg.Dir, 1)
	cfg.disk = d
	l := openTest(t, cfg)
	full := func(call int, op string) error { return fault(op == "open", syscall.ENOSPC) }
	d.mu.Lock()
	d.fail = func(call int, op string) error {
		if op == "write" && len(d.names) > 0 {
			// Only growing fails, as on a disk without room.
			return nil
		}
		return full(call, op)
	}
	d.mu.Unlock()
	refused := Entry{Kind: KindDecision, Note: strings.Repeat(".", 300)}
	notes := map[int64]string{}
	var err error
	for range 100 {
		var r Receipt
		if r, err = l.Append(t.Context(), refused); err != nil {
			break
		}
		notes[r.Index] = refused.Note
	}
	if !errors.Is(err, ErrUnwritable) {
		t.Fatalf("no end of room: %v", err)
	}
	d.mu.Lock()
	d.fail = nil
	d.mu.Unlock()
	eventually(t, "recovery", func() bool { return l.Err() == nil })
	r := mustAppend(t, l, Entry{Kind: KindStart})
	if r.Index != int64(len(notes))+1 { // the gap entry lies between
		t.Errorf("index %d after %d acknowledged entries", r.Index, len(notes))
	}
	mustClose(t, l)
	mustVerify(t, cfg.Dir, nil)
	checkNotes(t, cfg.Dir, notes)
}

// The last byte of a segment stays zero: endsClean relies on it.
func TestLastByteIsNeverUsed(t *testing.T) {
	s, err := createSegment(osDisk{}, t.TempDir(), "x", 1, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.f.Close()
	if room := int(s.size - s.end); s.fits(room) || !s.fits(room-1) {
		t.Errorf("of %d bytes: all fit: %v; all but one: %v", room, s.fits(room), s.fits(room-1))
	}
}
