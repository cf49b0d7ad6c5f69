package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

// tellHandover puts new processes in the place of a running gateway.
func tellHandover(t *testing.T, cordon string) {
	t.Run("under load", func(t *testing.T) { handoversUnderLoad(t, cordon) })
	t.Run("another program", func(t *testing.T) { upgraded(t, cordon) })
	t.Run("a program that fails", func(t *testing.T) { upgradeFails(t, cordon) })
	t.Run("killed at every step", func(t *testing.T) { heirKilled(t, cordon) })
	t.Run("killed afterwards", func(t *testing.T) { bothKilled(t, cordon) })
	t.Run("sessions that stay are asked again", func(t *testing.T) { stayersAsked(t, cordon) })
	t.Run("an authority taken back", func(t *testing.T) { trustTakenBack(t, cordon) })
	t.Run("quarantine afterwards", func(t *testing.T) { quarantineReaches(t, cordon) })
	t.Run("quarantine meanwhile", func(t *testing.T) { quarantineMeets(t, cordon) })
	t.Run("a rollout under way", func(t *testing.T) { rolloutHandedOver(t, cordon) })
	t.Run("bundles", func(t *testing.T) { bundleHandedOver(t, cordon) })
	t.Run("a device with one place", func(t *testing.T) { placeTaken(t, cordon) })
}

// traffic is clients that must not notice anything: some keep their connection, some open one
// for each message. Unlike load it counts what goes wrong.
type traffic struct {
	site   *site
	config *tls.Config
	stop   chan struct{}
	all    sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]bool
	faults  []string
	slowest time.Duration
}

func (s *site) traffic(t *testing.T, stayers, visitors int) *traffic {
	t.Helper()
	f := &traffic{site: s, config: s.badge(t, "engine"), stop: make(chan struct{}), acked: map[string]bool{}}
	for i := range stayers {
		c, err := f.dial()
		if err != nil {
			t.Fatal(err)
		}
		f.all.Go(func() {
			defer c.Close()
			for n := 0; f.goesOn(); n++ {
				if !f.exchange(c, fmt.Sprintf("s%d-%d", i, n)) {
					return
				}
			}
		})
	}
	for i := range visitors {
		f.all.Go(func() {
			for n := 0; f.goesOn(); n++ {
				c, err := f.dial()
				if err != nil {
					f.fault("visit %d-%d: %v", i, n, err)
					return
				}
				f.exchange(c, fmt.Sprintf("v%d-%d", i, n))
				c.Close()
			}
		})
	}
	return f
}

func (f *traffic) goesOn() bool {
	select {
	case <-f.stop:
		return false
	default:
		return true
	}
}

func (f *traffic) dial() (*tls.Conn, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", f.site.listen, f.config)
	if err == nil {
		c.SetDeadline(time.Now().Add(10 * patience))
	}
	return c, err
}

// exchange sends a message and reads its answer, which must be the device's.
func (f *traffic) exchange(c *tls.Conn, control string) bool {
	began := time.Now()
	_, err := c.Write([]byte(framed(message("ORU^R01", control, "2.5.1"))))
	answer, buf := "", make([]byte, 4096)
	for err == nil && !strings.HasSuffix(answer, "\x1c\r") {
		var n int
		n, err = c.Read(buf)
		answer += string(buf[:n])
	}
	if err != nil || !strings.Contains(answer, "\rMSA|AA|"+control+"\r") {
		f.fault("message %s: %q, %v", control, answer, err)
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked[control] = true
	f.slowest = max(f.slowest, time.Since(began))
	return true
}

func (f *traffic) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.acked)
}

// more waits until so many further messages have been answered.
func (f *traffic) more(t *testing.T, messages int) {
	t.Helper()
	want := f.count() + messages
	if !eventually(func() bool { return f.count() >= want }) {
		t.Errorf("%d messages are answered, want %d", f.count(), want)
	}
}

// end ends the traffic and reports what went wrong.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	close(f.stop)
	f.all.Wait()
	for _, fault := range f.faults[:min(len(f.faults), 10)] {
		t.Error(fault)
	}
	if n := len(f.faults); n > 0 {
		t.Errorf("%d faults", n)
	}
}

// settled compares what clients know, what the device received and what the log allowed: each
// message once.
func (f *traffic) settled(t *testing.T) {
	t.Helper()
	var arrived []string
	for frame := range strings.SplitAfterSeq(f.site.device.received(), "\x1c\r") {
		if fields := strings.Split(frame, "|"); len(fields) > 10 {
			arrived = append(arrived, fields[9])
		}
	}
	once := map[string]bool{}
	for _, control := range arrived {
		if once[control] {
			t.Errorf("message %s arrived twice", control)
		}
		once[control] = true
	}
	allowed := 0
	for _, e := range f.site.entries(t) {
		if e.Allow && strings.Contains(string(e.Input), `"phase":"operation"`) {
			allowed++
		}
	}
	if len(arrived) != len(f.acked) || allowed != len(f.acked) {
		t.Errorf("%d messages were answered, %d arrived and %d were allowed in the log", len(f.acked), len(arrived), allowed)
	}
	t.Logf("%d messages, the slowest took %v", len(f.acked), f.slowest)
	f.site.must(t, "audit", "verify", "--dir", f.site.gw())
}

// mentioned counts the entries whose note contains a text.
func (s *site) mentioned(t *testing.T, text string) (n int) {
	for _, e := range s.entries(t) {
		if strings.Contains(e.Note, text) {
			n++
		}
	}
	return n
}

// handOver has a new process take over, and returns what the gateway said.
func (s *site) handOver(t *testing.T, args ...string) daemon.Reloaded {
	t.Helper()
	var done daemon.Reloaded
	s.decode(t, &done, append([]string{"reload", "--json", "--dir", s.gw()}, args...)...)
	if done.Process == 0 {
		t.Fatalf("no process took over: %+v", done)
	}
	return done
}

// leading is the process that the gateway's commands reach: the one that has taken over, also before its line is read that it
// is ready.
func (s *site) leading(t *testing.T) int {
	t.Helper()
	var now daemon.Health
	s.decode(t, &now, "health", "--json", "--dir", s.gw())
	return now.PID
}

// handoversUnderLoad hands over four times in a row while clients come, go and stay.
func handoversUnderLoad(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	f := s.traffic(t, 3, 2)
	f.more(t, 50)
	const times = 4
	for range times {
		s.handOver(t, "--handover")
		f.more(t, 50)
	}
	if got := len(d.processes()); got != times+1 {
		t.Errorf("%d processes have been ready, want %d", got, times+1)
	}
	if !alive(d.cmd.Process.Pid) {
		t.Error("the first process has ended, and three sessions with it")
	}
	f.end(t)
	for _, pid := range d.processes()[:times] {
		if !eventually(func() bool { return !alive(pid) }) {
			t.Errorf("process %d has no sessions, and goes on", pid)
		}
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	if n := s.mentioned(t, "taking over from process"); n != times {
		t.Errorf("%d entries say that a process took over, want %d", n, times)
	}
	f.settled(t)
}

// ownProgram gives the site a copy of the program that it may replace.
func (s *site) ownProgram(t *testing.T) {
	t.Helper()
	own := s.path("cordon")
	text, err := os.ReadFile(s.cordon)
	if err == nil {
		err = os.WriteFile(own, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.cordon = own
}

// install puts another program in the place of the site's, as a package does.
func (s *site) install(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(s.cordon+".new", text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.cordon+".new", s.cordon); err != nil {
		t.Fatal(err)
	}
}

// upgraded replaces the program: a reload brings it in, and nothing else does.
func upgraded(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.ownProgram(t)
	s.issueStaff(t)
	d := s.serve(t)
	c := s.dial(t, "engine")
	send(t, c, framed(message("ORU^R01", "U1", "2.5.1")))
	text, err := os.ReadFile(s.cordon)
	if err != nil {
		t.Fatal(err)
	}
	s.install(t, append(text, "a newer one"...)) // behind what the loader reads
	done := s.handOver(t)
	if !slices.Contains(done.HandedOver, "the program") || done.Staying != 1 {
		t.Errorf("the reload says %+v", done)
	}
	runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", done.Process))
	if err != nil {
		t.Fatal(err)
	}
	if installed, err := os.Stat(s.cordon); err != nil || !os.SameFile(runs, installed) {
		t.Errorf("process %d does not run the new program (%v)", done.Process, err)
	}
	for i, c := range []*tls.Conn{c, s.dial(t, "engine")} {
		if answer := send(t, c, framed(message("ORU^R01", "U2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|U2") {
			t.Errorf("session %d: the answer is %q", i, answer)
		}
	}
	d.stop(t)
}

// upgradeFails installs programs that cannot take over. The old one goes on, and says why.
func upgradeFails(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.ownProgram(t)
	s.issueStaff(t)
	whole, err := os.ReadFile(s.cordon)
	if err != nil {
		t.Fatal(err)
	}
	d := s.serve(t)
	f := s.traffic(t, 1, 1)
	f.more(t, 5)
	for _, program := range []struct{ name, text string }{
		{"one that ends at once", "#!/bin/sh\nexit 3\n"},
		{"one that cannot be started", "no program"},
		{"one that talks nonsense", "#!/bin/sh\nprintf 'hello hello hello' >&3\nsleep 1\n"},
	} {
		s.install(t, []byte(program.text))
		out := runProgram(t, s.dir, nil, cordon, "reload", "--dir", s.gw())
		if out.code != exit.Findings {
			t.Errorf("%s: exit code %d: %s%s", program.name, out.code, out.stdout, out.stderr)
		}
		f.more(t, 5)
	}
	if len(d.processes()) != 1 {
		t.Errorf("processes %v have been ready, want one", d.processes())
	}
	s.install(t, whole)
	s.handOver(t)
	f.more(t, 5)
	f.end(t)
	d.stop(t)
	f.settled(t)
}

// heirKilled kills the new process ever later. Until it has taken over, the old one goes on as
// if nothing had been.
func heirKilled(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	f := s.traffic(t, 1, 1)
	began := time.Now()
	s.handOver(t, "--handover")
	whole := time.Since(began)
	went, failed := 0, 0
	for i := range 10 {
		old := s.leading(t)
		asked := exec.CommandContext(t.Context(), cordon, "reload", "--handover", "--dir", s.gw())
		if err := asked.Start(); err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		go func() { answered <- asked.Wait() }()
		heir := 0
		if !eventually(func() bool { heir = newest(t, old); return heir != 0 }) {
			t.Fatal("no process is started")
		}
		// It is stopped before it is judged: what it has said by then counts.
		time.Sleep(whole * time.Duration(i) / 20)
		syscall.Kill(heir, syscall.SIGSTOP)
		var err error
		taken := false
		select {
		case err = <-answered:
			taken = err == nil
			syscall.Kill(heir, syscall.SIGCONT)
		case <-time.After(time.Second):
			syscall.Kill(heir, syscall.SIGKILL)
			err = <-answered
		}
		if !taken && err == nil {
			t.Errorf("killed after %v, and the command is content", whole*time.Duration(i)/20)
		}
		if taken {
			went++
		} else {
			failed++
			if !alive(old) {
				t.Fatal("the old process has ended")
			}
		}
		f.more(t, 5)
	}
	t.Logf("%d processes were killed before they took over, %d were not", failed, went)
	if failed == 0 {
		t.Error("no process was killed before it took over")
	}
	f.end(t)
	d.stop(t)
	f.settled(t)
}

// newest is the child of a gateway's process that is a gateway too; 0: there is none.
func newest(t *testing.T, parent int) int {
	for _, pid := range children(t, parent) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(line), "\x00"); err == nil && len(args) > 1 && args[1] == "run" {
			return pid
		}
	}
	return 0
}

// bothKilled kills the process that has taken over: sessions of the old one, which nobody
// records any more, end. Then the gateway starts as after any power failure.
func bothKilled(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	stays := s.dial(t, "engine")
	send(t, stays, framed(message("ORU^R01", "K1", "2.5.1")))
	done := s.handOver(t, "--handover")
	send(t, stays, framed(message("ORU^R01", "K2", "2.5.1")))
	syscall.Kill(done.Process, syscall.SIGKILL)
	if n, err := stays.Read(make([]byte, 1)); err == nil {
		t.Errorf("the session that stayed got %d bytes", n)
	}
	if !eventually(func() bool { return !alive(done.OldProcess) }) {
		t.Error("the old process goes on without a log")
	}
	<-d.exited
	d = s.serve(t)
	stays = s.dial(t, "engine")
	s.handOver(t, "--handover")
	send(t, stays, framed(message("ORU^R01", "K3", "2.5.1")))
	d.kill()
	d = s.serve(t)
	send(t, s.dial(t, "engine"), framed(message("ORU^R01", "K4", "2.5.1")))
	d.stop(t)
	if got := strings.Count(s.device.received(), "ORU^R01"); got != 4 {
		t.Errorf("the device received %d messages, want 4", got)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// stayersAsked changes what decisions rest on after a hand-over: sessions of the old process
// end that are not permitted any more, and only those.
func stayersAsked(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "other", "--service", "oie-2", "--role", "interface-engine")
	second := freeAddress(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	s.must(t, "device", "add", "mon-8", "--dir", s.gw(), "--class", "monitor/bedside", "--protocol", "hl7", "--address", "127.0.0.1", "--port", port, "--listen", second)
	third := freeAddress(t)
	s.must(t, "device", "add", "mon-9", "--dir", s.gw(), "--class", "monitor/bedside", "--protocol", "hl7", "--address", "127.0.0.1", "--port", port, "--listen", third)
	d := s.serve(t)
	dial := func(address, badge string) *tls.Conn {
		c, err := tls.Dial("tcp", address, s.badge(t, badge))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(2 * patience))
		send(t, c, framed(message("ORU^R01", "Q1", "2.5.1")))
		return c
	}
	quarantined, stays, removed, revoked := dial(s.listen, "engine"), dial(second, "engine"), dial(third, "engine"), dial(second, "other")
	first := s.handOver(t, "--handover")
	s.handOver(t, "--handover") // through two processes
	if first.Staying != 4 {
		t.Errorf("%d sessions stay, want 4", first.Staying)
	}
	over := func(what string, c *tls.Conn) {
		t.Helper()
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the session got %d bytes", what, n)
		}
	}
	works := func() {
		t.Helper()
		if answer := send(t, stays, framed(message("ORU^R01", "Q2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|Q2") {
			t.Errorf("the session that is permitted got %q", answer)
		}
	}
	file := filepath.Join(s.gw(), "cordon.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/cordon.yaml", strings.Replace(string(text), "    class: monitor/bedside\n", "    class: monitor/bedside\n    state: quarantined\n", 1))
	var done daemon.Reloaded
	s.decode(t, &done, "reload", "--json", "--dir", s.gw())
	if done.Ended != 1 || done.Process != 0 {
		t.Errorf("the quarantine ended %d sessions, want 1: %+v", done.Ended, done)
	}
	over("quarantined", quarantined)
	works()

	var list struct{ Certificates []struct{ Serial, ID string } }
	s.decode(t, &list, "cert", "list", "--json", "--dir", s.gw())
	for _, c := range list.Certificates {
		if c.ID == "oie-2" {
			s.must(t, "cert", "revoke", "--yes", "--dir", s.gw(), c.Serial)
		}
	}
	over("revoked", revoked)
	works()

	if text, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "  mon-9:")
	s.write(t, "gw/cordon.yaml", before)
	if done := s.handOver(t); !slices.Contains(done.HandedOver, "which devices there are") {
		t.Errorf("the removal says %+v", done)
	}
	over("removed", removed)
	works()
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// placeTaken hands over while a device's only place is taken: the new process does not dial it
// before the old one's session is over.
func placeTaken(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.configure(t, "proto: hl7,", "proto: hl7, sessions: 1,")
	d := s.serve(t)
	first := s.dial(t, "engine")
	send(t, first, framed(message("ORU^R01", "P1", "2.5.1")))
	s.handOver(t, "--handover")
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "P2", "2.5.1"))); strings.Contains(answer, "MSA|AA|") {
		t.Errorf("while the place is taken the answer is %q", answer)
	}
	first.Close()
	if !eventually(func() bool {
		c := s.dial(t, "engine")
		defer c.Close()
		return strings.Contains(send(t, c, framed(message("ORU^R01", "P3", "2.5.1"))), "MSA|AA|P3")
	}) {
		t.Error("the place stays taken")
	}
	d.stop(t)
}
