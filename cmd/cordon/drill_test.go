package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

// drills runs a drill.
func (s *site) drills(t *testing.T, args ...string) (outcome, daemon.DrillAnswer) {
	t.Helper()
	out := s.run(t, append([]string{"break-glass", "drill", "--json", "--dir", s.gw()}, args...)...)
	var done daemon.DrillAnswer
	if err := json.Unmarshal([]byte(out.stdout), &done); out.code == exit.Done && err != nil {
		t.Fatalf("a drill says %s: %v", out.stdout, err)
	}
	return out, done
}

// glassDrilled tries emergencies that open nothing: both channels hear of it, and who would not be let in
// learns why.
func glassDrilled(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	if out, _ := s.drills(t); out.code != exit.Unreachable {
		t.Errorf("without a gateway a drill exits with %d: %s", out.code, out.stderr)
	}
	s.serve(t)
	out, done := s.drills(t)
	if out.code != exit.Done || done.ID == "" || len(done.Channels) != 2 || !done.Channels[0].OK || !done.Channels[1].OK || done.Subject != "" {
		t.Errorf("a drill exits with %d: %s%s", out.code, out.stdout, out.stderr)
	}
	told.told(t, "break-glass-drill", "DRILL: nothing is opened")
	if got := told.count(t, "break-glass-drill", done.ID); got[1] != 0 { // the text has no id
		t.Errorf("of %s: %v", done.ID, got)
	}
	out, done = s.drills(t, "--device", "mon-7", "--cert", "manager.pem")
	if out.code != exit.Done || done.Subject != "user/m.ito" || done.Device != "mon-7" {
		t.Errorf("her drill exits with %d: %s%s", out.code, out.stdout, out.stderr)
	}
	told.told(t, "break-glass-drill", "user/m.ito could open mon-7")

	// It opened nothing, is not to be reviewed, and its statement opens nothing.
	if _, got := s.answered(t, "manager", "QRY^A19", "L1"); got != "AR" {
		t.Errorf("after a drill she is answered %s", got)
	}
	if out := s.must(t, "break-glass", "list", "--dir", s.gw()); strings.Contains(out, "m.ito") {
		t.Errorf("after a drill the list is\n%s", out)
	}
	if n := s.mentioned(t, "DRILL: nothing is opened, and nobody has to act; asked for by "); n != 2 {
		t.Errorf("%d entries tell of drills, want 2", n)
	}

	// Who would not be let in; nobody is woken for it.
	for badge, why := range map[string]string{"nurse": "user/nurse.ito has roles nurse", "acme": "vendor/acme has roles"} {
		if out, _ := s.drills(t, "--device", "mon-7", "--cert", badge+".pem"); out.code != exit.Denied || !strings.Contains(out.stderr, why) {
			t.Errorf("the drill of %s exits with %d: %s", badge, out.code, out.stderr)
		}
	}
	s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "INC-1")
	if out, _ := s.drills(t, "--device", "mon-7", "--cert", "manager.pem"); out.code != exit.Denied || !strings.Contains(out.stderr, "mon-7 is quarantined") {
		t.Errorf("a drill on a quarantined device exits with %d: %s", out.code, out.stderr)
	}
	s.access(t, "device", "release", "mon-7", "--reason", "reimaged")
	s.forbids(t)
	if out, _ := s.drills(t, "--device", "mon-7", "--cert", "manager.pem"); out.code != exit.Denied || !strings.Contains(out.stderr, "the policy would not let user/m.ito connect") {
		t.Errorf("a drill under a policy that permits nothing exits with %d: %s", out.code, out.stderr)
	}
	if got := told.count(t, "break-glass-refused", ""); got[0]+got[1] > 0 {
		t.Errorf("a drill that fails is an alarm: %v", got)
	}

	// A channel that is down is found.
	told.mu.Lock()
	told.down = true
	told.mu.Unlock()
	if out, done := s.drills(t); out.code != exit.Unreachable || !strings.Contains(out.stdout, `"webhook","ok":false`) || strings.Contains(out.stdout, `"syslog","ok":false`) {
		t.Errorf("with a channel that is down a drill exits with %d: %+v %s%s", out.code, done, out.stdout, out.stderr)
	}
}

// forbids puts a policy in force that reads emergencies, and has none of them on the monitor.
func (s *site) forbids(t *testing.T) {
	t.Helper()
	file := "gw/policy/break_glass.rego"
	text, err := os.ReadFile(s.path(file))
	if err != nil {
		t.Fatal(err)
	}
	const line = "\temergency.device == input.device.id\n"
	if strings.Count(string(text), line) != 1 {
		t.Fatalf("%s has no line %q", file, line)
	}
	s.write(t, file, strings.Replace(string(text), line, line+"\tinput.device.id != \"mon-7\"\n", 1))
	s.must(t, "reload", "--dir", s.gw())
}

// alarmsHandedOver opens the glass while nobody can be told, and has another process take over: the alarm is
// not lost, and if it comes twice it is the same.
func alarmsHandedOver(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	told.down = true
	d := s.serve(t)
	live, _ := s.answered(t, "engine", "ORU^R01", "H1") // the old process stays for it
	opened := s.opens(t, "", "--cert", "manager.pem").Opened
	if !eventually(func() bool { return strings.Contains(d.logged(), "503") }) {
		t.Error("the log does not say that nobody could be told")
	}
	s.handOver(t, "--handover")
	s.handOver(t, "--handover")
	told.mu.Lock()
	told.down = false
	told.mu.Unlock()
	if !eventually(func() bool { return told.count(t, "break-glass-opened", opened.ID)[1] > 0 }) {
		t.Fatal("the alarm is lost")
	}
	time.Sleep(3 * time.Second) // for whoever would tell it again
	told.mu.Lock()
	ids := map[string]int{}
	for _, p := range told.posts {
		if p.Name == "break-glass-opened" {
			ids[p.ID]++
		}
	}
	told.mu.Unlock()
	if len(ids) != 1 {
		t.Errorf("one alarm has the ids %v", ids)
	}
	for id, n := range ids {
		if n > 2 {
			t.Errorf("%s was told %d times", id, n)
		}
		syslog := 0
		told.mu.Lock()
		for _, l := range told.lines {
			if strings.Contains(l, " break-glass-opened [") {
				if !strings.Contains(l, `id="`+id+`"`) {
					t.Errorf("syslog has another id: %s", l)
				}
				syslog++
			}
		}
		told.mu.Unlock()
		if syslog < 1 || syslog > 2 {
			t.Errorf("syslog was told %d times", syslog)
		}
	}
	live.Close()
	d.stop(t)
}
