package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cordon/gateway"
	"cordon/gateway/handover"
	"cordon/policy"
)

// The watchdog is told that a gateway lives as long as it does, and again when it does again.
func TestWatchdog(t *testing.T) {
	pings := pinged(t)
	t.Setenv("WATCHDOG_USEC", "150000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	hangs := &stuck{}
	parts := &Assembly{log: handover.NewLog(), Gateway: gateway.New(gateway.Config{Policy: hangs, Log: handover.NewLog()})}
	r := &reloader{parts: parts, log: slog.New(slog.DiscardHandler), systemd: serviceManager()}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.watchdog(ctx) })
	defer watching.Wait()
	defer stop()
	more := func() bool {
		before := pings()
		return eventually(func() bool { return pings() > before+2 })
	}
	if !more() {
		t.Fatal("there are no pings")
	}
	hangs.mu.Lock()
	time.Sleep(200 * time.Millisecond) // what was under way
	before := pings()
	time.Sleep(400 * time.Millisecond)
	if now := pings(); now != before {
		t.Errorf("%d pings while the policy does not answer", now-before)
	}
	hangs.mu.Unlock()
	if !more() {
		t.Error("there are no pings any more")
	}
	t.Setenv("WATCHDOG_PID", "1")
	if got := watchdogInterval(); got != 0 {
		t.Errorf("the watchdog of another process wants pings every %v", got)
	}
}

// stuck is a policy that can be made not to answer, deadline or not.
type stuck struct{ mu sync.Mutex }

func (s *stuck) Decide(context.Context, *policy.Request) policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return policy.Decision{}
}

// pinged makes this process one that a service manager watches, and counts what that is told.
func pinged(t *testing.T) func() int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	var n atomic.Int64
	var reading sync.WaitGroup
	reading.Go(func() {
		for b := make([]byte, 64); ; {
			k, err := l.Read(b)
			if err != nil {
				return
			}
			if string(b[:k]) == "WATCHDOG=1" {
				n.Add(1)
			}
		}
	})
	t.Cleanup(func() { l.Close(); reading.Wait() })
	return func() int { return int(n.Load()) }
}

// eventually waits for something that is about to happen.
func eventually(holds func() bool) bool {
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// patience bounds every wait. None takes nearly as long.
const patience = time.Minute
