package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cordon/cmd/cordon/daemon"

	"golang.org/x/sys/unix"
)

// quarantineReaches quarantines a device whose session is two processes back.
func quarantineReaches(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	d := s.serve(t)
	stays, _ := s.asks(t, "engine", "A1")
	s.access(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "1h", "--reason", "WO-881")
	vendor, answer := s.asks(t, "acme", "V1")
	if !strings.Contains(answer, "MSA|AA|V1") {
		t.Fatalf("the vendor with a grant is answered %q", answer)
	}
	s.handOver(t, "--handover")
	s.handOver(t, "--handover")
	if answer := send(t, vendor, framed(message("QRY^A19", "V2", "2.3"))); !strings.Contains(answer, "MSA|AA|V2") {
		t.Errorf("after two hand-overs the vendor is answered %q", answer)
	}
	var list []struct{ ID string }
	s.decode(t, &list, "access", "list", "--json", "--dir", s.gw())
	if len(list) != 1 {
		t.Fatalf("the new process knows of %+v", list)
	}
	if done := s.access(t, "access", "end", list[0].ID, "--reason", "done"); done.Ended != 1 {
		t.Errorf("the grant's end says %+v", done)
	}
	ends(t, "the session of the vendor", vendor)
	began := time.Now()
	if done := s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "it beacons"); done.Ended != 1 {
		t.Errorf("the quarantine says %+v", done)
	}
	ends(t, "the session of the quarantined device", stays)
	t.Logf("its session ended %v after the command began", time.Since(began))
	var why []string
	for _, e := range s.entries(t) {
		if e.Note == "ended a live session" {
			why = append(why, e.Reason)
		}
	}
	if len(why) != 2 || why[1] != "device mon-7 is quarantined" {
		t.Errorf("the log says of sessions that ended %q", why)
	}
	for _, pid := range d.processes()[:2] {
		if !eventually(func() bool { return !alive(pid) }) {
			t.Errorf("process %d has no sessions, and goes on", pid)
		}
	}
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// quarantineMeets quarantines a device ever later in a hand-over: the process before does it, or
// the one behind.
func quarantineMeets(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	d := s.serve(t)
	began := time.Now()
	s.handOver(t, "--handover")
	whole := time.Since(began)
	const times = 4
	for i := range times {
		if err := s.quarantineDuring(t, func(int) { time.Sleep(whole * time.Duration(i) / times) }); err != nil {
			t.Errorf("the hand-over: %v", err)
		}
	}
	// And when the new process has read what is quarantined, and has not taken over.
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	events := os.NewFile(uintptr(watch), "inotify")
	defer events.Close()
	if _, err := unix.InotifyAddWatch(watch, filepath.Join(s.gw(), "state", filepath.Dir(daemon.LedgerFile)), unix.IN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	tries := 0
	for ; tries < 5 && s.quarantineDuring(t, func(heir int) {
		buf := make([]byte, 4096)
		events.SetReadDeadline(time.Now().Add(time.Millisecond))
		for err := error(nil); err == nil; { // by others, before
			_, err = events.Read(buf)
		}
		events.SetReadDeadline(time.Now().Add(patience))
		_, err := events.Read(buf)
		syscall.Kill(heir, syscall.SIGSTOP)
		time.AfterFunc(15*time.Second, func() { syscall.Kill(heir, syscall.SIGCONT) }) // the old one waits for less; and this one may lead by now
		if err != nil {
			t.Errorf("the new process reads no ledger: %v", err)
		}
	}) != nil; tries++ {
		t.Log("it was stopped too late: the old process went on without it")
	}
	if tries == 5 {
		t.Log("it was never stopped in time; the quarantine held all the same")
	}
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// quarantineDuring hands over, and quarantines a device at the moment for which at waits. The
// quarantine holds, whatever becomes of the hand-over, which is the error.
func (s *site) quarantineDuring(t *testing.T, at func(heir int)) (handover error) {
	t.Helper()
	stays, _ := s.asks(t, "engine", "A1")
	old := s.leading(t)
	asked := exec.CommandContext(t.Context(), s.cordon, "reload", "--handover", "--dir", s.gw())
	if err := asked.Start(); err != nil {
		t.Fatal(err)
	}
	heir := 0
	if !eventually(func() bool { heir = newest(t, old); return heir != 0 }) {
		t.Fatal("no process is started")
	}
	t.Cleanup(func() { syscall.Kill(heir, syscall.SIGCONT) }) // a process that is stopped ends with nobody
	at(heir)
	done := s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "it beacons")
	syscall.Kill(heir, syscall.SIGCONT)
	handover = asked.Wait()
	if done.Ended != 1 {
		t.Errorf("the quarantine says %+v", done)
	}
	ends(t, "the session of the quarantined device", stays)
	if _, answer := s.asks(t, "engine", "A2"); !strings.Contains(answer, "MSA|AR|A2") {
		t.Errorf("quarantined during a hand-over, the device is answered for with %q", answer)
	}
	s.access(t, "device", "release", "mon-7", "--reason", "reimaged")
	if notes := s.noted(t, done.Facts[0].ID); len(notes) != 2 {
		t.Errorf("the log says of it %q", notes)
	}
	return handover
}
