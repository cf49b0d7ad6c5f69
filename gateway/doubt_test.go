package gateway

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/gateway/audit"
	"cordon/plugins/sdk"
	"cordon/policy"
)

// expectDoubt sends an operation that policy would allow and wants it refused because
// nobody could know, natively.
func (w *ward) expectDoubt(c *peer, code string) {
	w.t.Helper()
	c.send("one\n")
	if line := c.line(); !strings.HasPrefix(line, "refused "+code) || !strings.HasSuffix(line, " "+string(policy.CauseDoubt)) {
		w.t.Errorf("got %q, want a refusal for doubt with the code %s", line, code)
	}
	if got := w.device.all(); strings.Contains(got, "one") {
		w.t.Errorf("the device received %q", got)
	}
}

// slowPolicy answers as decide does, in its own time.
type slowPolicy struct {
	decide func(context.Context, *policy.Request) policy.Decision
}

func (p slowPolicy) Decide(ctx context.Context, r *policy.Request) policy.Decision {
	return p.decide(ctx, r)
}

func TestPolicyInDoubt(t *testing.T) {
	allow := policy.Decision{Allow: true, Cause: policy.CausePolicy}
	for name, decide := range map[string]func(context.Context) policy.Decision{
		"error": func(context.Context) policy.Decision { return policy.Decision{Cause: policy.CauseDoubt} },
		"hangs": func(ctx context.Context) policy.Decision {
			<-ctx.Done()
			return policy.Decision{Cause: policy.CauseDoubt}
		},
		"allows when it is too late": func(ctx context.Context) policy.Decision {
			<-ctx.Done()
			return allow
		},
		"allows long after": func(ctx context.Context) policy.Decision {
			<-ctx.Done()
			time.Sleep(200 * time.Millisecond)
			return allow
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, wardConfig{limits: Limits{DecideTimeout: 200 * time.Millisecond}, policy: slowPolicy{func(ctx context.Context, r *policy.Request) policy.Decision {
				if r.Phase == policy.PhaseOperation && r.Operation.Name == "lines:one" {
					return decide(ctx)
				}
				return allow
			}}})
			c := w.dial()
			w.expectDoubt(c, "")
			c.send("two\n")
			c.expect("ok two")
		})
		t.Run(name+" at connect", func(t *testing.T) {
			w := newWard(t, wardConfig{limits: Limits{DecideTimeout: 200 * time.Millisecond}, policy: slowPolicy{func(ctx context.Context, r *policy.Request) policy.Decision {
				if r.Phase == policy.PhaseConnect {
					return decide(ctx)
				}
				return allow
			}}})
			w.expectDoubt(w.dial(), "")
			if n := w.device.accepted(); n != 0 {
				t.Errorf("the device was connected to %d times", n)
			}
		})
	}
}

func TestClosedLog(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.dial()
	c.send("zero\n")
	c.expect("ok zero")
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.expectDoubt(c, CodeUnrecorded)
	w.expectDoubt(w.dial(), CodeUnrecorded)
	if got := w.device.all(); got != "zero\n" {
		t.Errorf("the device received %q", got)
	}
}

func TestSlowLog(t *testing.T) {
	w := newWard(t, wardConfig{limits: Limits{RecordTimeout: time.Nanosecond}})
	w.expectDoubt(w.dial(), CodeUnrecorded)
	if n := w.device.accepted(); n != 0 {
		t.Errorf("the device was connected to %d times", n)
	}
}

// With a full disk nothing is allowed, and everything again when there is room.
func TestFullLog(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("cordon-test", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("SKIPPED: mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	long := strings.Repeat("why", 20<<10) // fills the log
	w := newWard(t, wardConfig{logDir: filepath.Join(dir, "log"), policy: decider(func(r *policy.Request) policy.Decision {
		return policy.Decision{Allow: true, Cause: policy.CausePolicy, Reason: long}
	})})
	c := w.dial()
	c.send("zero\n")
	c.expect("ok zero")
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	sent := "zero\n"
	for full := false; !full; {
		c.send("more\n")
		switch line := c.line(); {
		case line == "ok more":
			sent += "more\n"
		case strings.HasSuffix(line, " "+string(policy.CauseDoubt)):
			full = true
		default:
			t.Fatalf("got %q", line)
		}
		if len(sent) > 5*1000 {
			t.Fatal("the disk is full and operations go on")
		}
	}
	w.expectDoubt(c, "")
	if got := w.device.all(); got != sent {
		t.Errorf("the device received %d bytes, want %d", len(got), len(sent))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		c.send("again\n")
		return c.line() == "ok again"
	}) {
		t.Error("there is room again, and nothing is allowed")
	}
	verifyLog(t, w)
}

// fill writes to a file until its file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// When the device receives an operation, its entry is in the log already.
func TestRecordedBeforeMoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	w := newWard(t, wardConfig{logDir: dir, reply: func(line string) string {
		r, err := audit.OpenReader(dir)
		if err != nil {
			return err.Error() + "\n"
		}
		for e, err := range r.Entries(0, math.MaxInt64) {
			if err != nil {
				return err.Error() + "\n"
			}
			if e.Decision.Allow && strings.Contains(string(e.Input), `"lines:`+line+`"`) {
				return "recorded " + line + "\n"
			}
		}
		return "unrecorded " + line + "\n"
	}})
	c := w.dial()
	for _, line := range []string{"a", "b", "c", "d"} {
		c.send(line + "\n")
		c.expect("recorded " + line)
	}
}

func TestPluginNotRunning(t *testing.T) {
	w := newWard(t, wardConfig{limits: Limits{PluginTimeout: 50 * time.Millisecond}})
	w.address = w.attach(t, "nobody", hostilePlugin(t, "nobody", patience, w.gateway.Logger), w.device.address())
	c := w.dial()
	c.Write([]byte("one\n")) // the session may be over
	if got := c.ends(); got != "" {
		t.Errorf("the client received %q", got)
	}
	if got := w.device.all(); got != "" {
		t.Errorf("the device received %q", got)
	}
}

func TestNoWindow(t *testing.T) {
	w := newWard(t, wardConfig{windows: 1})
	holder := w.dial()
	holder.send("begun ")
	if !eventually(func() (arrived bool) {
		w.gateway.each(func(s *session) {
			f := &s.flows[sdk.Forward]
			f.mu.Lock()
			defer f.mu.Unlock()
			arrived = f.arrived > 0
		})
		return arrived
	}) {
		t.Fatal("nothing arrives")
	}
	silent := w.dial()
	c := w.dial()
	c.send("one\n")
	if got := c.ends(); got != "" {
		t.Errorf("without a window the client received %q", got)
	}
	holder.send("and done\n")
	holder.expect("ok begun and done")
	silent.send("two\n") // had no need of a window so far
	silent.expect("ok two")
	if got := w.device.all(); got != "begun and done\ntwo\n" {
		t.Errorf("the device received %q", got)
	}
}
