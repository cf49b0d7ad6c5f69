package main

import (
	"os"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// startSerial makes a device at the end of a serial line and its terminal server, the port of
// which it returns.
func (s *site) startSerial(t *testing.T, record string) (port string) {
	t.Helper()
	python := pythonWith(t, "serial", "python3-serial")
	socat := peer(t, "socat", "socat")
	exists := func(path string) func() bool {
		return func() bool { _, err := os.Stat(path); return err == nil }
	}
	cable := start(t, s.dir, socat, "PTY,raw,echo=0,link=line", "PTY,raw,echo=0,link=device")
	cable.waitFor(t, "laid", exists(s.path("device")))
	device := start(t, s.dir, python, peerScript(t, "serial_device.py"), "device", record)
	device.waitFor(t, "listening to its line", exists(record))
	port = freePort(t)
	server := start(t, s.dir, socat, "TCP-LISTEN:"+port+",bind=127.0.0.1,reuseaddr,fork", "OPEN:line,raw,echo=0")
	server.waitFor(t, "listening", func() bool { return listening(port) })
	return port
}

// tellCommand reads a serial device behind its terminal server, by pyserial and by netcat, and
// does not get to set anything.
func tellCommand(t *testing.T, cordon string) {
	netcat := peer(t, "nc", "netcat-openbsd")
	s := emptySite(t, cordon)
	device := rack{s, s.path("record")}
	port := s.startSerial(t, device.record)
	s.add(t, "anaesthesia-1", "anaesthesia/machine", "command", port, "--profile", "example-anaesthesia")
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	s.issue(t, "nurse", "--user", "nurse.ito", "--role", "nurse")
	d := s.serve(t)
	workstation := func(badge string, commands ...string) []string {
		t.Helper()
		args := append([]string{peerScript(t, "serial_client.py"), s.tunnel(t, badge)}, commands...)
		out := runProgram(t, s.dir, nil, pythonWith(t, "serial", "python3-serial"), args...)
		if out.code != 0 {
			t.Errorf("pyserial exits with %d: %s", out.code, out.stderr)
		}
		return strings.Split(strings.TrimSpace(out.stdout), "\n")
	}

	// One session: what is refused gets the device's own error, and the session goes on.
	said := workstation("biomed", "VTD", "VTv1.0", "VTgN266.5", "VTs", "VTt202611221200", "VTX", "VTA", "VTI")
	want := []string{"D 071 016 2.1", "ERR", "ERR", "ERR", "ERR", "ERR", "APNEA", "LOW O2", "END", "I 7100 1.4"}
	if len(said) != len(want) {
		t.Fatalf("pyserial says %q, want %q", said, want)
	}
	for i, line := range said {
		if want[i] != "ERR" {
			if line != want[i] {
				t.Errorf("reply %d is %q, want %q", i+1, line, want[i])
			}
			continue
		}
		code := decisionCode.FindString(line)
		if why := s.must(t, "why", code, "--dir", s.gw()); line != "ERR "+code || !strings.Contains(why, "DENY command:") {
			t.Errorf("reply %d is %q, of which why says %s", i+1, line, why)
		}
	}
	device.wantRecord(t, "\x1bVTD\r\x1bVTA\r\x1bVTI\r")
	for _, operation := range []string{"set_protocol_version", "set_gas", "silence_alarms", "set_time", "unknown"} {
		if log := s.must(t, "audit", "tail", "-n", "20", "--dir", s.gw()); !strings.Contains(log, "command:"+operation) {
			t.Errorf("command:%s is not in the log:\n%s", operation, log)
		}
	}

	if said := workstation("nurse", "VTD"); len(said) != 1 || !strings.HasPrefix(said[0], "ERR ") {
		t.Errorf("the wrong person gets %q", said)
	}
	// A command inside another, by hand.
	out := runProgram(t, s.dir, strings.NewReader("\x1bVTD\x1bVTs\r"), netcat, "-q", "2", "127.0.0.1", s.tunnel(t, "biomed"))
	if !strings.HasPrefix(out.stdout, "ERR ") || !strings.HasSuffix(out.stdout, "\r\n") {
		t.Errorf("netcat says %q", out.stdout)
	}
	out = runProgram(t, s.dir, strings.NewReader("\x1bVTI\r"), netcat, "-q", "2", "127.0.0.1", s.tunnel(t, "biomed"))
	if out.stdout != "I 7100 1.4\r\n" {
		t.Errorf("netcat says %q", out.stdout)
	}
	device.wantRecord(t, "\x1bVTD\r\x1bVTA\r\x1bVTI\r\x1bVTI\r")
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}
