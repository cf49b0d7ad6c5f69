package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
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
