package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/gateway"
	"cordon/gateway/handover"
	"cordon/policy"
)

// manager plays the part of systemd: it keeps what each process tells it.
type manager struct {
	socket *net.UnixConn
	mu     sync.Mutex
	told   []string // "PID STATE"
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{socket: l}
	var reading sync.WaitGroup
	reading.Go(m.read)
	t.Cleanup(func() { l.Close(); reading.Wait() })
	t.Setenv("NOTIFY_SOCKET", path)
	return m
}

func (m *manager) read() {
	b, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, o, _, _, err := m.socket.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		pid := int32(0)
		if control, err := unix.ParseSocketControlMessage(oob[:o]); err == nil && len(control) > 0 {
			if who, err := unix.ParseUnixCredentials(&control[0]); err == nil {
				pid = who.Pid
			}
		}
		m.mu.Lock()
		m.told = append(m.told, fmt.Sprintf("%d %s", pid, b[:n]))
		m.mu.Unlock()
	}
}

// all returns what was told, without the watchdog's pings, and how many those are.
func (m *manager) all() (states []string, pings int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.told {
		if strings.HasSuffix(s, " WATCHDOG=1") {
			pings++
			continue
		}
		states = append(states, s)
	}
	return states, pings
}

// tellServiceManager follows a gateway through a start, a reload, a hand-over and a stop, as
// systemd does: only what the main process says counts.
func tellServiceManager(t *testing.T, cordon string) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	s := newSite(t, cordon)
	d := s.serve(t)
	first := d.leader()
	s.must(t, "reload", "--dir", s.gw())
	done := s.handOver(t, "--handover")
	want := []string{
		fmt.Sprintf("%d READY=1", first),
		fmt.Sprintf("%d RELOADING=1", first), fmt.Sprintf("%d READY=1", first),
		fmt.Sprintf("%d RELOADING=1", first), fmt.Sprintf("%d MAINPID=%d", first, done.Process), fmt.Sprintf("%d READY=1", done.Process),
	}
	var states []string
	eventually(func() bool { states, _ = m.all(); return len(states) >= len(want) })
	_, before := m.all()
	if !eventually(func() bool { _, now := m.all(); return now > before+3 }) {
		t.Error("the process that has taken over sends no pings")
	}
	d.stop(t)
	want = append(want, fmt.Sprintf("%d STOPPING=1", done.Process))
	eventually(func() bool { states, _ = m.all(); return len(states) >= len(want) })
	for i := range states {
		if i >= len(want) || !strings.HasPrefix(states[i], want[i]) {
			t.Errorf("state %d is %q, want %q", i, states[i], want)
		}
	}
	if len(states) != len(want) {
		t.Errorf("the service manager was told %q", states)
	}
}

// stuck is a policy that can be made not to answer, deadline or not.
type stuck struct{ mu sync.Mutex }

func (s *stuck) Decide(context.Context, *policy.Request) policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return policy.Decision{}
}

// The watchdog is told that a gateway lives as long as it does, and again when it does again.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "150000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	hangs := &stuck{}
	parts := &assembly{log: handover.NewLog(), gateway: gateway.New(gateway.Config{Policy: hangs, Log: handover.NewLog()})}
	r := &reloader{parts: parts, log: slog.New(slog.DiscardHandler), systemd: serviceManager()}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.watchdog(ctx) })
	defer watching.Wait()
	defer stop()
	pings := func() int { _, n := m.all(); return n }
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
