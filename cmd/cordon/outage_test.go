package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// tellDrain ends a gateway under load as an update does: exit code 0, no message cut in
// two, and none acknowledged that did not arrive.
func tellDrain(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.configure(t, "limits:\n", "limits:\n  drain_timeout: 1s\n")
	d := s.serve(t)
	l := s.load(t, 4)
	l.waitFor(t, 100)
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	l.end()
	s.account(t, l, false)
	if !strings.Contains(s.must(t, "audit", "tail", "-n", "1", "--dir", s.gw()), " STOP ") {
		t.Error("the log does not end with the gateway's stop")
	}
}

// tellPowerFailure kills a gateway under load. Its plugin goes with it; what the device
// received is in the log, and the gateway starts again.
func tellPowerFailure(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	for range 3 {
		d := s.serve(t)
		plugins := children(t, d.cmd.Process.Pid)
		if len(plugins) != 1 {
			t.Errorf("the gateway has started %d processes, want 1 plugin", len(plugins))
		}
		l := s.load(t, 4)
		l.waitFor(t, 50)
		d.kill()
		l.end()
		for _, pid := range plugins {
			if !eventually(func() bool { return !alive(pid) }) {
				t.Errorf("plugin %d outlived its gateway", pid)
			}
		}
		s.account(t, l, true)
	}
	d := s.serve(t)
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "R1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R1") {
		t.Errorf("after the restart the answer is %q", answer)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// configure replaces a text in the configuration.
func (s *site) configure(t *testing.T, old, new string) {
	t.Helper()
	file := filepath.Join(s.gw(), "cordon.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not contain %q once", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// load is clients that send one result after the other until their connection ends.
type load struct {
	sending sync.WaitGroup
	clients []*tls.Conn

	mu    sync.Mutex
	acked []string // control ids
}

func (s *site) load(t *testing.T, clients int) *load {
	t.Helper()
	l := &load{}
	for i := range clients {
		c := s.dial(t, "engine")
		l.clients = append(l.clients, c)
		l.sending.Go(func() { l.send(c, fmt.Sprintf("%d-%d", time.Now().UnixNano(), i)) })
	}
	return l
}

func (l *load) send(c *tls.Conn, name string) {
	buf := make([]byte, 4096)
	for n := 0; ; n++ {
		control := fmt.Sprintf("%s-%d", name, n)
		if _, err := c.Write([]byte(framed(message("ORU^R01", control, "2.5.1")))); err != nil {
			return
		}
		answer := ""
		for !strings.HasSuffix(answer, "\x1c\r") {
			got, err := c.Read(buf)
			if err != nil {
				return
			}
			answer += string(buf[:got])
		}
		if strings.Contains(answer, "\rMSA|AA|"+control+"\r") {
			l.mu.Lock()
			l.acked = append(l.acked, control)
			l.mu.Unlock()
		}
	}
}

// waitFor waits until so many messages are acknowledged.
func (l *load) waitFor(t *testing.T, messages int) {
	t.Helper()
	if !eventually(func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) >= messages }) {
		t.Fatalf("%d messages are acknowledged, want %d", len(l.acked), messages)
	}
}

func (l *load) end() {
	for _, c := range l.clients {
		c.Close()
	}
	l.sending.Wait()
}

// account compares three records once the gateway is gone: what clients know to be
// delivered, what the device received, and what the log allowed. If the gateway was killed,
// the last message of a connection may have been cut.
func (s *site) account(t *testing.T, l *load, killed bool) {
	t.Helper()
	var arrived []string
	for _, session := range s.device.all() {
		for frame := range strings.SplitAfterSeq(string(session.bytes), "\x1c\r") {
			if frame == "" {
				continue // behind the last one
			}
			control, whole := "", ""
			if fields := strings.Split(frame, "|"); len(fields) > 10 {
				control = fields[9]
				whole = framed(message("ORU^R01", control, "2.5.1"))
			}
			cut := killed && (whole == "" || strings.HasPrefix(whole, frame))
			if frame != whole && !cut {
				t.Errorf("the device received a part of a message: %q", frame)
			}
			arrived = append(arrived, control)
		}
	}
	slices.Sort(arrived)
	if twice := len(arrived) - len(slices.Compact(slices.Clone(arrived))); twice != 0 {
		t.Errorf("%d messages arrived twice", twice)
	}
	for _, control := range l.acked {
		if _, there := slices.BinarySearch(arrived, control); !there {
			t.Errorf("message %s was acknowledged and did not arrive", control)
		}
	}
	var allowed int
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "1000000", "--dir", s.gw())) {
		var e struct {
			Allow bool
			Input struct{ Phase string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Allow && e.Input.Phase == "operation" {
			allowed++
		}
	}
	t.Logf("%d acknowledged of this load; in all %d at the device, %d allowed in the log", len(l.acked), len(arrived), allowed)
	if len(arrived) > allowed {
		t.Errorf("the device received %d messages, and the log allowed %d", len(arrived), allowed)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}
