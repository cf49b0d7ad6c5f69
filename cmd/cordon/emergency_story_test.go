package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/alarm"
	"cordon/policy/access"
)

// tellBreakGlass has a nurse manager use a monitor that her role has no part in, and somebody
// without any certificate at all.
func tellBreakGlass(t *testing.T, cordon string) {
	t.Run("certificate", func(t *testing.T) { glassBroken(t, cordon) })
	t.Run("sealed codes", func(t *testing.T) { codesSpent(t, cordon) })
	t.Run("nobody listens", func(t *testing.T) { alarmsWait(t, cordon) })
	t.Run("overdue", func(t *testing.T) { reviewOverdue(t, cordon) })
	t.Run("drill", func(t *testing.T) { glassDrilled(t, cordon) })
	t.Run("nobody listens in a hand-over", func(t *testing.T) { alarmsHandedOver(t, cordon) })
}

// receivers are two who are told: a syslog daemon and a program.
type receivers struct {
	*httptest.Server
	syslog net.PacketConn
	secret []byte

	mu    sync.Mutex
	down  bool
	posts []posted
	lines []string
}

type posted struct {
	alarm.Alarm
	Schema string `json:"schema"`
	err    error
}

// newReceivers starts both, and writes them into the site's configuration.
func newReceivers(t *testing.T, s *site) *receivers {
	t.Helper()
	r := &receivers{secret: []byte("thirty-two bytes, but no secret!")}
	var err error
	dir, err := os.MkdirTemp("", "cordon-log-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if r.syslog, err = net.ListenPacket("unixgram", dir+"/log"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.syslog.Close() })
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, _, err := r.syslog.ReadFrom(b)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.lines = append(r.lines, string(b[:n]))
			r.mu.Unlock()
		}
	}()
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.receive))
	t.Cleanup(r.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	s.write(t, "gw/siem.pem", string(ca))
	s.write(t, "gw/alarms.secret", "whsec_"+base64.StdEncoding.EncodeToString(r.secret)+"\n")
	s.extend(t, fmt.Sprintf(`
break_glass: { roles: [nurse-manager], groups: [icu-lead], reviewers: [privacy], max: 1h, device_classes: ["monitor/*"] }
alarms: { syslog: "unix://%s/log", webhook: { url: "%s/hook", secret_file: alarms.secret, trust_file: siem.pem } }
`, dir, r.URL))
	return r
}

// extend adds to the site's configuration.
func (s *site) extend(t *testing.T, text string) {
	t.Helper()
	old, err := os.ReadFile(s.path("gw/cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/cordon.yaml", string(old)+text)
}

func (r *receivers) receive(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p := posted{err: err}
	if err := json.Unmarshal(body, &p); err != nil {
		p.err = err
	}
	h := q.Header
	if want := "v1," + alarm.Sign(r.secret, h.Get("webhook-id"), h.Get("webhook-timestamp"), body); h.Get("webhook-signature") != want || h.Get("webhook-id") != p.ID {
		p.err = fmt.Errorf("signature %q, want %q; id %q", h.Get("webhook-signature"), want, h.Get("webhook-id"))
	}
	r.posts = append(r.posts, p)
}

// told waits until both were told of something, and returns how often.
func (r *receivers) told(t *testing.T, name, about string) {
	t.Helper()
	if !eventually(func() bool { return slices.Equal(r.count(t, name, about), []int{1, 1}) }) {
		r.mu.Lock()
		defer r.mu.Unlock()
		t.Errorf("of %s with %q were told %v; syslog has %q, the webhook %+v", name, about, "not both once", r.lines, r.posts)
	}
}

func (r *receivers) count(t *testing.T, name, about string) []int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var n [2]int
	for _, l := range r.lines {
		if strings.Contains(l, " "+name+" [cordon@32473 id=") && strings.Contains(l, about) && strings.HasPrefix(l, "<8") {
			n[0]++
		}
	}
	for _, p := range r.posts {
		if p.err != nil {
			t.Error(p.err)
		}
		if p.Name == name && strings.Contains(p.Text, about) && p.Schema == "cordon.alarm/v1" {
			n[1]++
		}
	}
	return n[:]
}

// emergencySite is a site whose nurse manager has no part in its monitor.
func emergencySite(t *testing.T, cordon string) (*site, *receivers) {
	t.Helper()
	s := makersSite(t, cordon)
	s.issue(t, "manager", "--user", "m.ito", "--role", "nurse-manager")
	s.issue(t, "reviewer", "--user", "p.kim", "--role", "privacy", "--role", "nurse-manager")
	s.issue(t, "ended", "--user", "m.old", "--role", "nurse-manager", "--ttl", "5s")
	return s, newReceivers(t, s)
}

// waitEnded waits until a certificate is over.
func (s *site) waitEnded(t *testing.T, badge string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, badge+".pem"), filepath.Join(s.dir, badge+".key"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(pair.Leaf.NotAfter) + time.Second)
}

// opens opens the glass and returns the emergency.
func (s *site) opens(t *testing.T, stdin string, args ...string) openedJSON {
	t.Helper()
	args = append([]string{"break-glass", "open", "--device", "mon-7", "--reason", "patient in danger", "--dir", s.gw(), "--json"}, args...)
	out := runProgram(t, s.dir, strings.NewReader(stdin), s.cordon, args...)
	var opened openedJSON
	if err := json.Unmarshal([]byte(out.stdout), &opened); err != nil || out.code != exit.Done {
		t.Fatalf("cordon %v exited with %d: %s%s", args, out.code, out.stdout, out.stderr)
	}
	return opened
}

// stays has the glass not opened, and says why.
func (s *site) stays(t *testing.T, stdin string, code int, why string, args ...string) {
	t.Helper()
	args = append([]string{"break-glass", "open", "--reason", "patient in danger", "--dir", s.gw()}, args...)
	if out := runProgram(t, s.dir, strings.NewReader(stdin), s.cordon, args...); out.code != code || !strings.Contains(out.stderr, why) {
		t.Errorf("%v: exit code %d, want %d with %q: %s%s", args, out.code, code, why, out.stdout, out.stderr)
	}
}

// answered asks the monitor something, and says what came of it.
func (s *site) answered(t *testing.T, badge, trigger, control string) (*tls.Conn, string) {
	t.Helper()
	c := s.dial(t, badge)
	answer := send(t, c, framed(message(trigger, control, "2.3")))
	for _, code := range []string{"AA", "AR"} {
		if strings.Contains(answer, "MSA|"+code+"|"+control) {
			return c, code
		}
	}
	t.Errorf("%s of %s is answered %q", trigger, badge, answer)
	return c, answer
}

func glassBroken(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	s.stays(t, "", exit.Unreachable, "no gateway runs", "--device", "mon-7", "--cert", "manager.pem")
	d := s.serve(t)
	if _, got := s.answered(t, "manager", "QRY^A19", "B1"); got != "AR" {
		t.Errorf("before the emergency she is answered %s", got)
	}
	if out := s.must(t, "alarm", "test", "--dir", s.gw()); !strings.Contains(out, "syslog\tsent") || !strings.Contains(out, "webhook\tsent") {
		t.Errorf("a test says\n%s", out)
	}
	told.told(t, "test", "nothing is amiss")

	// Whom it is not for.
	s.stays(t, "", exit.Denied, "user/nurse.ito has roles nurse", "--device", "mon-7", "--cert", "nurse.pem")
	s.stays(t, "", exit.Denied, "vendor/acme has roles", "--device", "mon-7", "--cert", "acme.pem")
	s.waitEnded(t, "ended")
	s.stays(t, "", exit.Denied, "outside its validity", "--device", "mon-7", "--cert", "ended.pem")
	s.stays(t, "", exit.Usage, "1h0m0s at most", "--device", "mon-7", "--cert", "manager.pem", "--for", "61m")
	s.stays(t, "", exit.NotFound, "mon-9", "--device", "mon-9", "--cert", "manager.pem")
	s.stays(t, "", exit.Usage, "--device is not given", "--cert", "manager.pem")
	told.told(t, "break-glass-refused", "user/nurse.ito has roles nurse")

	began := time.Now()
	opened := s.opens(t, "", "--cert", "manager.pem", "--for", "20s").Opened
	live, got := s.answered(t, "manager", "QRY^A19", "B2")
	t.Logf("from the command to the answer %v", time.Since(began))
	if got != "AA" || opened.Subject != "user/m.ito" || opened.By != "user/m.ito" {
		t.Errorf("in the emergency she is answered %s; it is %+v", got, opened)
	}
	told.told(t, "break-glass-opened", opened.ID)
	if _, got := s.answered(t, "manager", "ORU^R01", "B3"); got != "AA" {
		t.Errorf("her results are answered %s", got)
	}
	if _, got := s.answered(t, "reviewer", "QRY^A19", "B4"); got != "AR" {
		t.Errorf("somebody else is answered %s", got)
	}
	if out := s.must(t, "access", "list", "--dir", s.gw()); !strings.Contains(out, opened.ID+"\tin force\tbreak-glass for user/m.ito on mon-7") {
		t.Errorf("the list is\n%s", out)
	}
	if out := s.must(t, "device", "list", "--dir", s.gw()); !strings.Contains(out, "active, break-glass "+opened.ID+" for user/m.ito") {
		t.Errorf("the devices are\n%s", out)
	}
	ends(t, "her session after the emergency", live)
	if _, got := s.answered(t, "manager", "QRY^A19", "B5"); got != "AR" {
		t.Errorf("after the emergency she is answered %s", got)
	}
	told.told(t, "break-glass-closed", opened.ID)

	// What it permitted is found, explained and reviewed by somebody else.
	var shown emergencyJSON
	if err := json.Unmarshal([]byte(s.must(t, "break-glass", "show", opened.ID, "--json", "--dir", s.gw())), &shown); err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	for _, o := range shown.Operations {
		done[o.Operation] = o.Count
	}
	if done["hl7:QRY^A19"] != 1 || done["hl7:ORU^R01"] != 1 || done["connect"] < 2 || len(shown.Entries) != 2 {
		t.Errorf("done in it was %v; entries %+v", done, shown.Entries)
	}
	i := slices.IndexFunc(shown.Operations, func(o operated) bool { return o.Operation == "hl7:QRY^A19" })
	s.explained(t, shown.Operations[i].Code, "break-glass "+opened.ID, "In an emergency.")
	review := []string{"break-glass", "review", opened.ID, "--note", "needed", "--dir", s.gw(), "--cert"}
	for badge, why := range map[string]string{"manager": "has roles nurse-manager", "nurse": "has roles nurse", "acme": "has roles vendor"} {
		if out := s.run(t, append(review, badge+".pem")...); out.code != exit.Denied || !strings.Contains(out.stderr, why) {
			t.Errorf("reviewed by %s: exit code %d, %s", badge, out.code, out.stderr)
		}
	}
	s.must(t, append(review, "reviewer.pem")...)
	told.told(t, "break-glass-reviewed", "found: needed")
	if out := s.run(t, append(review, "reviewer.pem")...); out.code != exit.Conflict {
		t.Errorf("reviewed twice: exit code %d, %s", out.code, out.stderr)
	}

	// One who could review others' does not review her own; who closes it ends it at once.
	own := s.opens(t, "", "--cert", "reviewer.pem").Opened
	if got := own.Until.Sub(own.From); got != 30*time.Minute {
		t.Errorf("it lasts %v", got)
	}
	live, got = s.answered(t, "reviewer", "QRY^A19", "B6")
	if out := s.run(t, "break-glass", "review", own.ID, "--note", "x", "--cert", "reviewer.pem", "--dir", s.gw()); got != "AA" || out.code != exit.Denied {
		t.Errorf("answered %s; one's own is reviewed: exit code %d, %s", got, out.code, out.stderr)
	}
	s.must(t, "break-glass", "close", own.ID, "--dir", s.gw())
	ends(t, "the session of what was closed", live)

	// Nothing on a quarantined device.
	s.access(t, "device", "quarantine", "mon-7", "--for", "1h", "--reason", "INC-1")
	s.stays(t, "", exit.Denied, "mon-7 is quarantined", "--device", "mon-7", "--cert", "manager.pem")

	if notes := s.noted(t, opened.ID); len(notes) != 3 || !strings.HasPrefix(notes[0], "break-glass-opened made by user/m.ito: ") || !strings.HasPrefix(notes[1], "break-glass-closed ended by itself") ||
		!strings.HasPrefix(notes[2], "break-glass-reviewed reviewed by user/p.kim") {
		t.Errorf("the log says of it %q", notes)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

func codesSpent(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	s.serve(t)
	open := []string{"--device", "mon-7", "--codes", "--person", "n.abe", "--out", "abe"}
	s.stays(t, "X\n", exit.NotFound, "there are no sealed codes", open...)
	var sealed struct {
		Need  int
		Codes []string
	}
	if err := json.Unmarshal([]byte(s.must(t, "break-glass", "seal", "--codes", "4", "--json", "--dir", s.gw())), &sealed); err != nil || len(sealed.Codes) != 4 || sealed.Need != 2 {
		t.Fatalf("sealed %+v, %v", sealed, err)
	}
	if out := s.run(t, "break-glass", "seal", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "4 unused codes") {
		t.Errorf("sealed anew, unconfirmed: exit code %d, %s", out.code, out.stderr)
	}
	state, err := os.ReadFile(s.path("gw/state/" + envelope.File))
	if err != nil || strings.Contains(string(state), sealed.Codes[0][:5]) {
		t.Errorf("a code is kept: %s, %v", state, err)
	}
	const not = "it takes 2"
	s.stays(t, sealed.Codes[0]+"\n", exit.Denied, not, open...)
	s.stays(t, sealed.Codes[0]+"\n"+sealed.Codes[0]+"\n", exit.Denied, not, open...)

	opened := s.opens(t, strings.ToLower(sealed.Codes[2])+"\n"+strings.ReplaceAll(sealed.Codes[0], "-", " ")+"\n", "--codes", "--person", "n.abe", "--out", "abe", "--for", "1h")
	if opened.Opened.By != "user/n.abe" || !strings.HasPrefix(opened.Opened.Subject, "user/n.abe.sealed-") || !strings.HasPrefix(opened.Opened.Proof, "sealed codes 1, 3 of ") {
		t.Errorf("opened %+v", opened)
	}
	told.told(t, "break-glass-opened", opened.Opened.ID)
	live, got := s.answered(t, "abe", "QRY^A19", "C1")
	if got != "AA" {
		t.Errorf("with the certificate the answer is %s", got)
	}
	if left := s.badge(t, "abe").Certificates[0].Leaf.NotAfter.Sub(opened.Opened.Until); left > patience {
		t.Errorf("the certificate ends %v after the emergency", left)
	}
	s.must(t, "break-glass", "close", opened.Opened.ID, "--dir", s.gw())
	ends(t, "the session of what was closed", live)
	if _, got := s.answered(t, "abe", "QRY^A19", "C2"); got != "AR" {
		t.Errorf("after the emergency the certificate is good for %s", got)
	}

	// Each is good once; whoever guesses waits, also with the right ones, also after a restart.
	open[len(open)-1] = "again"
	s.stays(t, sealed.Codes[0]+"\n"+sealed.Codes[1]+"\n", exit.Denied, not, open...)
	for range envelope.FreeTries + 5 {
		out := runProgram(t, s.dir, strings.NewReader("GUESS-GUESS-GUESS\nGUESS-GUESS-GUESZ\n"), s.cordon, append([]string{"break-glass", "open", "--reason", "x", "--dir", s.gw()}, open...)...)
		if out.code != exit.Denied {
			t.Errorf("a guess: exit code %d, %s", out.code, out.stderr)
		}
		if strings.Contains(out.stderr, "break_glass.wait") {
			break
		}
	}
	told.told(t, "break-glass-refused", "there are no sealed codes")
	set, err := envelope.Read(s.path("gw/state"))
	if err != nil || set.Unused() != 2 || set.Wrong < envelope.FreeTries {
		t.Errorf("left are %+v, %v", set, err)
	}
	set.Wrong, set.Last = envelope.FreeTries+6, time.Now()
	if err := set.Write(s.path("gw/state")); err != nil {
		t.Fatal(err)
	}
	s.stays(t, sealed.Codes[1]+"\n"+sealed.Codes[3]+"\n", exit.Denied, "break_glass.wait", open...)
	set.Last = time.Now().Add(-envelope.LongestWait)
	if err := set.Write(s.path("gw/state")); err != nil {
		t.Fatal(err)
	}
	if again := s.opens(t, sealed.Codes[1]+"\n"+sealed.Codes[3]+"\n", "--codes", "--person", "n.abe", "--out", "again"); again.Opened.Subject == opened.Opened.Subject {
		t.Errorf("another emergency under the same name %s", again.Opened.Subject)
	}
	if out := s.run(t, "doctor", "--dir", s.gw()); !strings.Contains(out.stdout, "0 sealed codes are left") || !strings.Contains(out.stdout, opened.Opened.ID+", opened by user/n.abe, is to be reviewed") {
		t.Errorf("doctor says\n%s", out.stdout)
	}
}

// alarmsWait opens the glass while nobody can be told, and restarts the gateway in between.
func alarmsWait(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	told.down = true
	d := s.serve(t)
	opened := s.opens(t, "", "--cert", "manager.pem").Opened
	if _, got := s.answered(t, "manager", "QRY^A19", "D1"); got != "AA" {
		t.Errorf("while nobody can be told she is answered %s", got)
	}
	if !eventually(func() bool { return strings.Contains(d.logged(), "503") }) {
		t.Errorf("the log does not say that nobody could be told")
	}
	if out := s.run(t, "alarm", "test", "--dir", s.gw()); out.code != exit.Unreachable || !strings.Contains(out.stdout, "webhook\tfailed\twebhook: ") {
		t.Errorf("a test: exit code %d, %s%s", out.code, out.stdout, out.stderr)
	}
	d.kill()
	told.mu.Lock()
	told.down = false
	told.mu.Unlock()
	s.serve(t)
	told.told(t, "break-glass-opened", opened.ID)
	if _, got := s.answered(t, "manager", "QRY^A19", "D2"); got != "AA" {
		t.Errorf("after the restart she is answered %s", got)
	}
}

// reviewOverdue starts a gateway a day after an emergency.
func reviewOverdue(t *testing.T, cordon string) {
	s, told := emergencySite(t, cordon)
	then := time.Now().Add(-25 * time.Hour)
	l, f, err := (access.Ledger{}).Make(access.Fact{Kind: access.Emergency, Subject: "user/m.ito", Device: "mon-7", From: then, Until: then.Add(time.Hour), Reason: "x", By: "user/m.ito", Proof: "statement"}, then)
	if err != nil {
		t.Fatal(err)
	}
	l, _ = l.Advance(then)
	if err := os.Mkdir(s.path("gw/state/access"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(s.path("gw/state/" + daemon.LedgerFile)); err != nil {
		t.Fatal(err)
	}
	s.serve(t)
	told.told(t, "break-glass-overdue", f.ID)
	if out := s.must(t, "break-glass", "list", "--dir", s.gw()); !strings.Contains(out, "OVERDUE since ") {
		t.Errorf("the list is\n%s", out)
	}
	if out := s.run(t, "doctor", "--dir", s.gw()); !strings.Contains(out.stdout, "high\tbreak-glass\t"+f.ID) {
		t.Errorf("doctor says\n%s", out.stdout)
	}
	// It blocks nothing clinically.
	s.opens(t, "", "--cert", "manager.pem")
}
