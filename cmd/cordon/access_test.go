package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/policy"
	"cordon/policy/access"
)

// tellAccess has a maker's engineer let in for a time, and devices cut off.
func tellAccess(t *testing.T, cordon string) {
	t.Run("grant", func(t *testing.T) { grantEnds(t, cordon) })
	t.Run("quarantine", func(t *testing.T) { quarantineCuts(t, cordon) })
	t.Run("windows", func(t *testing.T) { windowsOverlap(t, cordon) })
	t.Run("restart", func(t *testing.T) { accessKept(t, cordon) })
	t.Run("unreadable", func(t *testing.T) { accessUnreadable(t, cordon) })
	t.Run("2,000 grants", func(t *testing.T) { manyGranted(t, cordon) })
}

// makersSite is a site whose monitor a maker's engineer comes for.
func makersSite(t *testing.T, cordon string) *site {
	t.Helper()
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "acme", "--vendor", "acme", "--role", "vendor")
	return s
}

// asks sends a query and returns the answer.
func (s *site) asks(t *testing.T, badge, control string) (*tls.Conn, string) {
	t.Helper()
	c := s.dial(t, badge)
	return c, send(t, c, framed(message("QRY^A19", control, "2.3")))
}

// access runs a command that changes access, and returns what it made.
func (s *site) access(t *testing.T, args ...string) accessDone {
	t.Helper()
	var done accessDone
	if err := json.Unmarshal([]byte(s.must(t, append(args, "--dir", s.gw(), "--yes", "--json")...)), &done); err != nil {
		t.Fatal(err)
	}
	return done
}

// entries returns the log's entries.
func (s *site) entries(t *testing.T) (list []entryJSON) {
	t.Helper()
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "100000", "--dir", s.gw())) {
		var e entryJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// noted are the notes about a fact, without its id.
func (s *site) noted(t *testing.T, id string) (notes []string) {
	t.Helper()
	for _, e := range s.entries(t) {
		if rest, ok := strings.CutPrefix(e.Note, id+" "); ok {
			notes = append(notes, string(e.Kind)+" "+rest)
		}
	}
	return notes
}

// ends reads a connection to its end.
func ends(t *testing.T, what string, c net.Conn) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("%s got %q, %v", what, got, err)
	}
}

// grantEnds lets a vendor in for some seconds: refused before, permitted meanwhile, and cut
// off while it does nothing.
func grantEnds(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	d := s.serve(t)
	early, answer := s.asks(t, "acme", "V1")
	if !strings.Contains(answer, "MSA|AR|V1") {
		t.Errorf("before the grant the answer is %q", answer)
	}
	s.explained(t, s.lastRefusal(t), "DENY hl7:QRY^A19", "vendor/acme has no grant for mon-7")
	engine, _ := s.asks(t, "engine", "E1")

	grant := []string{"access", "grant", "vendor:acme", "--device", "mon-7", "--for", "8s", "--reason", "WO-881", "--sponsor", "user/dr.kim", "--dir", s.gw()}
	if out := s.run(t, grant...); out.code != exit.Usage || !strings.Contains(out.stderr, "vendor/acme may read, query on mon-7") || !strings.Contains(out.stderr, "code: unconfirmed") {
		t.Errorf("unconfirmed: exit code %d, %s", out.code, out.stderr)
	}
	if out := s.run(t, "access", "grant", "vendor/acme", "--device", "mon-9", "--for", "3s", "--reason", "x", "--yes", "--dir", s.gw()); out.code != exit.NotFound {
		t.Errorf("on a device that is not there: exit code %d, %s", out.code, out.stderr)
	}
	if out := s.run(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "73h", "--reason", "x", "--yes", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "72h0m0s") {
		t.Errorf("for too long: exit code %d, %s", out.code, out.stderr)
	}
	began := time.Now()
	done := s.access(t, grant[:len(grant)-2]...)
	if len(done.Facts) != 1 || done.Facts[0].Phase() != access.InForce || !done.Running || done.Facts[0].Sponsor != "user/dr.kim" {
		t.Fatalf("granted %+v", done)
	}
	id := done.Facts[0].ID
	ends(t, "the session that was refused", early)
	live, answer := s.asks(t, "acme", "V2")
	if !strings.Contains(answer, "MSA|AA|V2") {
		t.Errorf("with the grant the answer is %q", answer)
	}
	if answer := send(t, s.dial(t, "acme"), framed(message("ORU^R01", "V3", "2.3"))); !strings.Contains(answer, "MSA|AR|V3") {
		t.Errorf("what was not granted is answered %q", answer)
	}
	s.explained(t, s.lastRefusal(t), id+" is for other operations than write")
	ends(t, "the session whose grant ended", live)
	t.Logf("a grant of 8s ended a session %v after the command began", time.Since(began))
	if answer := send(t, engine, framed(message("ORU^R01", "E2", "2.3"))); !strings.Contains(answer, "MSA|AA|E2") {
		t.Errorf("somebody else is answered %q", answer)
	}
	if _, answer := s.asks(t, "acme", "V4"); !strings.Contains(answer, "MSA|AR|V4") {
		t.Errorf("after the grant the answer is %q", answer)
	}

	var allowed, cut entryJSON
	for _, e := range s.entries(t) {
		switch {
		case e.Rule == "grant "+id && e.Allow && strings.Contains(string(e.Input), `"phase":"operation"`):
			allowed = e
		case e.Note == "ended a live session" && !e.Allow:
			cut = e
		}
	}
	if want := done.Facts[0].Until.UnixNano(); allowed.ValidUntil != want {
		t.Errorf("what the grant permitted is valid until %d, want %d", allowed.ValidUntil, want)
	}
	s.explained(t, allowed.Code, "because   grant "+id, "grants.rego", "other access is granted now")
	s.explained(t, cut.Code, "DENY connect", "vendor/acme")
	if notes := s.noted(t, id); len(notes) != 2 || !strings.Contains(notes[0], "grant made by ") || !strings.Contains(notes[0], "reason: WO-881, sponsor user/dr.kim") || !strings.HasPrefix(notes[1], "grant ended by itself") {
		t.Errorf("the log says of it %q", notes)
	}

	// What is ended by hand.
	id = s.access(t, "access", "grant", "vendor/acme", "--device-class", "monitor/*", "--for", "1h", "--reason", "WO-882").Facts[0].ID
	live, answer = s.asks(t, "acme", "V5")
	if !strings.Contains(answer, "MSA|AA|V5") {
		t.Errorf("with a grant on the class the answer is %q", answer)
	}
	var out outcome
	if !eventually(func() bool { // those that were refused before are on their way out
		out = s.run(t, "access", "end", id, "--reason", "done", "--dir", s.gw())
		return out.code != exit.Usage || strings.Contains(out.stderr, "1 of vendor/acme with mon-7")
	}) || out.code != exit.Usage {
		t.Errorf("unconfirmed: exit code %d, %s", out.code, out.stderr)
	}
	if done := s.access(t, "access", "end", strings.ToLower(id), "--reason", "done"); done.Ended != 1 {
		t.Errorf("ended by hand: %+v", done)
	}
	ends(t, "the session whose grant was ended", live)
	if out := s.run(t, "access", "end", id, "--reason", "done", "--yes", "--dir", s.gw()); out.code != exit.Conflict {
		t.Errorf("ended twice: exit code %d, %s", out.code, out.stderr)
	}
	// A replay asks under what was granted then.
	var r replayed
	if err := json.Unmarshal([]byte(s.must(t, "policy", "replay", "--json", "--dir", s.gw())), &r); err != nil || r.Recorded == 0 || len(r.Groups) > 0 {
		t.Errorf("the replay of the same policy says %+v, %v", r, err)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// quarantineCuts quarantines one of two devices, under sessions with both.
func quarantineCuts(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	other := *s
	other.listen, other.device = freeAddress(t), newRecorder(t)
	_, port, _ := net.SplitHostPort(other.device.address())
	other.add(t, "mon-8", "monitor/bedside", "hl7", port)
	s.serve(t)
	cut, _ := s.asks(t, "engine", "A1")
	stays := other.dial(t, "engine")
	send(t, stays, framed(message("ORU^R01", "B1", "2.3")))

	out := s.run(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "it beacons", "--dir", s.gw())
	if out.code != exit.Usage || !strings.Contains(out.stderr, "live sessions that it cuts:\n    1 of service/oie with mon-7") || strings.Contains(out.stderr, "mon-8") {
		t.Errorf("unconfirmed: exit code %d, %s", out.code, out.stderr)
	}
	began := time.Now()
	done := s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "it beacons")
	if done.Ended != 1 {
		t.Errorf("quarantined: %+v", done)
	}
	ends(t, "the session of the quarantined device", cut)
	t.Logf("its session ended %v after the command began", time.Since(began))
	if _, answer := s.asks(t, "engine", "A2"); !strings.Contains(answer, "MSA|AR|A2") {
		t.Errorf("a quarantined device is answered for with %q", answer)
	}
	s.explained(t, s.lastRefusal(t), "device mon-7 is quarantined")
	if answer := send(t, stays, framed(message("ORU^R01", "B2", "2.3"))); !strings.Contains(answer, "MSA|AA|B2") {
		t.Errorf("the other device answers %q", answer)
	}
	if out := s.must(t, "device", "list", "--dir", s.gw()); !strings.Contains(out, "mon-7\tmonitor/bedside\tquarantined until ") || !strings.Contains(out, "mon-8\tmonitor/bedside\tactive") {
		t.Errorf("the devices are\n%s", out)
	}

	// The policy has no say: one that allows everything, reloaded, changes nothing.
	policyDir := filepath.Join(s.gw(), "policy")
	if err := os.Rename(policyDir, policyDir+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(policyDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/policy/all.rego", "package cordon\n\nallow := true\n")
	s.must(t, "reload", "--dir", s.gw())
	if _, answer := s.asks(t, "engine", "A3"); !strings.Contains(answer, "MSA|AR|A3") {
		t.Errorf("under a policy that allows everything a quarantined device is answered for with %q", answer)
	}
	if out := s.run(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "1h", "--reason", "x", "--yes", "--dir", s.gw()); out.code != exit.Conflict || !strings.Contains(out.stderr, "access.unread") {
		t.Errorf("a grant that no rule reads: exit code %d, %s", out.code, out.stderr)
	}

	if out := s.run(t, "access", "end", done.Facts[0].ID, "--reason", "x", "--yes", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "device release mon-7") {
		t.Errorf("a quarantine ended as a grant is: exit code %d, %s", out.code, out.stderr)
	}
	s.access(t, "device", "release", "mon-7", "--reason", "reimaged")
	if _, answer := s.asks(t, "engine", "A4"); !strings.Contains(answer, "MSA|AA|A4") {
		t.Errorf("after the release the answer is %q", answer)
	}
	if out := s.run(t, "device", "release", "mon-7", "--reason", "x", "--yes", "--dir", s.gw()); out.code != exit.NotFound {
		t.Errorf("released twice: exit code %d, %s", out.code, out.stderr)
	}
	if notes := s.noted(t, done.Facts[0].ID); len(notes) != 2 || !strings.HasPrefix(notes[0], "quarantine made by ") || !strings.HasPrefix(notes[1], "release ended by ") || !strings.HasSuffix(notes[1], "reason: reimaged") {
		t.Errorf("the log says of it %q", notes)
	}
}

// windowsOverlap has maintenance and quarantine of one device begin and end in each other.
func windowsOverlap(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	s.serve(t)
	answers := func(control, want string) *tls.Conn {
		t.Helper()
		c, answer := s.asks(t, "acme", control)
		if !strings.Contains(answer, "MSA|"+want+"|"+control) {
			t.Errorf("the vendor's %s is answered %q, want %s", control, answer, want)
		}
		return c
	}
	answers("W1", "AR")
	short := s.access(t, "device", "maintenance", "mon-7", "--for", "1h", "--reason", "WO-1").Facts[0].ID
	long := s.access(t, "device", "maintenance", "mon-7", "--for", "2h", "--reason", "WO-2").Facts[0].ID
	live := answers("W2", "AA")
	if done := s.access(t, "access", "end", short, "--reason", "done"); done.Ended != 0 {
		t.Errorf("the end of one of two windows cut %d sessions", done.Ended)
	}
	first := s.access(t, "device", "quarantine", "mon-7", "--until-released", "--reason", "INC-1").Facts[0].ID
	ends(t, "the session in maintenance", live)
	s.access(t, "device", "quarantine", "mon-7", "--for", "1s", "--reason", "INC-2")
	if !eventually(func() bool {
		return len(s.noted(t, first)) == 1 && strings.Contains(s.must(t, "access", "list", "--all", "--dir", s.gw()), "\tover\tmon-7 quarantined")
	}) {
		t.Error("the quarantine of a second does not end")
	}
	answers("W3", "AR")
	s.access(t, "device", "release", "mon-7", "--reason", "clean")
	live = answers("W4", "AA")
	s.access(t, "access", "end", long, "--reason", "done")
	ends(t, "the session of the maintenance that was ended", live)
	answers("W5", "AR")
	// One that is to come begins and ends by itself.
	s.access(t, "device", "maintenance", "mon-7", "--for", "8s", "--from", time.Now().Add(2*time.Second).Format(time.RFC3339), "--reason", "WO-3")
	if !eventually(func() bool {
		return strings.Contains(s.must(t, "device", "show", "mon-7", "--dir", s.gw()), "state\tmaintenance until ")
	}) {
		t.Error("the window does not begin")
	}
	live = answers("W6", "AA")
	ends(t, "the session of the window that ended by itself", live)
}

// accessKept kills the gateway between one thing and the next.
func accessKept(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	// Without a gateway it is recorded and kept all the same.
	id := s.access(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "1h", "--reason", "WO-1").Facts[0].ID
	if notes := s.noted(t, id); len(notes) != 1 {
		t.Errorf("the log says of it %q", notes)
	}
	d := s.serve(t)
	if _, answer := s.asks(t, "acme", "K1"); !strings.Contains(answer, "MSA|AA|K1") {
		t.Errorf("what was granted before the start is answered %q", answer)
	}
	s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "INC-1")
	soon := s.access(t, "access", "grant", "service/oie", "--device", "mon-7", "--for", "1s", "--class", "admin", "--reason", "WO-2").Facts[0].ID
	d.kill()
	time.Sleep(time.Until(time.Now().Add(1100 * time.Millisecond)))
	d = s.serve(t)
	if _, answer := s.asks(t, "acme", "K2"); !strings.Contains(answer, "MSA|AR|K2") {
		t.Errorf("after a restart the quarantined device is answered for with %q", answer)
	}
	if !eventually(func() bool { return len(s.noted(t, soon)) == 2 }) {
		t.Errorf("the log says of the grant that ended meanwhile %q", s.noted(t, soon))
	}
	s.access(t, "device", "release", "mon-7", "--reason", "clean")
	if _, answer := s.asks(t, "acme", "K3"); !strings.Contains(answer, "MSA|AA|K3") {
		t.Errorf("the grant that outlived the restart is answered %q", answer)
	}
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// accessUnreadable starts a gateway that cannot know what is quarantined.
func accessUnreadable(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "INC-1")
	s.access(t, "device", "release", "mon-7", "--reason", "clean")
	file := filepath.Join(s.gw(), "state", daemon.LedgerFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, filepath.Join("gw", "state", daemon.LedgerFile), string(good[:len(good)/2]))
	d := s.serve(t)
	if _, answer := s.asks(t, "engine", "U1"); !strings.Contains(answer, "MSA|AR|U1") {
		t.Errorf("while it is not known what is quarantined the answer is %q", answer)
	}
	s.explained(t, s.lastRefusal(t), "device mon-7 is quarantined")
	for _, args := range [][]string{{"access", "list"}, {"device", "quarantine", "mon-7", "--for", "1h", "--reason", "x", "--yes"}, {"check"}} {
		if out := s.run(t, append(args, "--dir", s.gw())...); out.code != exit.Checks || !strings.Contains(out.stderr, "access.unreadable") {
			t.Errorf("%v: exit code %d, %s", args, out.code, out.stderr)
		}
	}
	if out := s.run(t, "doctor", "--dir", s.gw()); !strings.Contains(out.stdout, "high\taccess\t") {
		t.Errorf("doctor says\n%s", out.stdout)
	}
	d.stop(t)
	s.write(t, filepath.Join("gw", "state", daemon.LedgerFile), string(good))
	s.serve(t)
	if _, answer := s.asks(t, "engine", "U2"); !strings.Contains(answer, "MSA|AA|U2") {
		t.Errorf("with the file restored the answer is %q", answer)
	}
}

// manyGranted makes one grant more where 2,000 are.
func manyGranted(t *testing.T, cordon string) {
	s := makersSite(t, cordon)
	var l access.Ledger
	for i := range 2000 {
		var err error
		if l, _, err = l.Make(access.Fact{Kind: access.Grant, Subject: fmt.Sprintf("vendor/maker-%d", i/4), Device: fmt.Sprintf("mon-%d", i), Classes: []policy.Class{policy.ClassRead, policy.ClassQuery},
			From: time.Now(), Until: time.Now().Add(time.Hour), Reason: "WO-881", By: "root"}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.gw(), "state", "access"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(filepath.Join(s.gw(), "state", daemon.LedgerFile)); err != nil {
		t.Fatal(err)
	}
	s.serve(t)
	began := time.Now()
	s.access(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "1h", "--reason", "WO-882")
	t.Logf("one grant beside 2,000 took %v, the command's start included", time.Since(began))
	if _, answer := s.asks(t, "acme", "M1"); !strings.Contains(answer, "MSA|AA|M1") {
		t.Errorf("the answer is %q", answer)
	}
}
