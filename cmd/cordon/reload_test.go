package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/deploy/dimse"
)

// tellReload edits the policy and the configuration of a running gateway.
func tellReload(t *testing.T, cordon string) {
	t.Run("refused", func(t *testing.T) { reloadsRefused(t, cordon) })
	t.Run("quarantine and revocation", func(t *testing.T) { sessionsEnded(t, cordon) })
	t.Run("in the middle of an image", func(t *testing.T) { imageCutShort(t, cordon) })
	t.Run("under load", func(t *testing.T) { reloadsUnderLoad(t, cordon) })
}

// reloadsRefused tries edits that must not come into force: each is refused with what is
// wrong, and decisions go on as before.
func reloadsRefused(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	s.must(t, "device", "add", "mon-8", "--dir", s.gw(), "--profile", "philips-intellivue", "--protocol", "hl7",
		"--address", "127.0.0.1", "--port", port, "--listen", freeAddress(t))
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Unreachable || !strings.Contains(out.stderr, "reload.unreachable") {
		t.Errorf("without a gateway: exit code %d, %s", out.code, out.stderr)
	}
	d := s.serve(t)
	c := s.dial(t, "engine")
	serves := func(control string) {
		t.Helper()
		if answer := send(t, c, framed(message("ORU^R01", control, "2.5.1"))); !strings.Contains(answer, "MSA|AA|"+control) {
			t.Errorf("the answer is %q", answer)
		}
	}
	serves("R0")
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	if info, err := os.Stat(filepath.Join(s.gw(), "state", control.Name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket is open to others: %v, %v", info.Mode(), err)
	}
	if out := s.must(t, "reload", "--dir", s.gw()); !strings.HasPrefix(out, "nothing has changed") {
		t.Errorf("a reload of what is in force says %q", out)
	}
	policyFile := func(name string) string { return filepath.Join(s.gw(), "policy", name) }
	for i, edit := range []struct{ name, file, old, new, code, says string }{
		{"broken Rego", policyFile("cordon.rego"), "default allow := false", "default allow := flase", "policy.", "cordon.rego"},
		{"a rule its tests do not allow", policyFile("cordon.rego"), `in_use if input.device.state in {"active", "maintenance"}`,
			`in_use if input.device.state in {"active", "maintenance", "quarantined"}`, "policy.test", "tests fail"},
		{"a missing patch", policyFile("patches.rego"), "intellivue-results-only", "intellivue-anything", "policy.", "intellivue"},
		{"the gateway's name", filepath.Join(s.gw(), "cordon.yaml"), "name: cordon", "name: another", "reload.restart", "gateway.name"},
		{"a listener that is taken", filepath.Join(s.gw(), "cordon.yaml"), s.listen, blocker.Addr().String(), "listen", "address already in use"},
		{"no YAML", filepath.Join(s.gw(), "cordon.yaml"), "version: 1", "version: [", "config.", "cordon.yaml"},
	} {
		text, err := os.ReadFile(edit.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), edit.old) {
			t.Fatalf("%s: %q is not in %s", edit.name, edit.old, edit.file)
		}
		if err := os.WriteFile(edit.file, []byte(strings.ReplaceAll(string(text), edit.old, edit.new)), 0o600); err != nil {
			t.Fatal(err)
		}
		out := s.run(t, "reload", "--dir", s.gw())
		if out.code != exit.Findings || !strings.Contains(out.stderr, "code: "+edit.code) || !strings.Contains(out.stderr, edit.says) {
			t.Errorf("%s: exit code %d:\n%s", edit.name, out.code, out.stderr)
		}
		serves(fmt.Sprintf("R%d", i+1))
		if err := os.WriteFile(edit.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(d.logged(), "reload refused"); n != 6 {
		t.Errorf("%d lines of the daemon's log say that a reload was refused, want 6", n)
	}
	if n := strings.Count(s.must(t, "audit", "tail", "-n", "1000", "--dir", s.gw()), "refused: "); n != 6 {
		t.Errorf("%d entries say that a reload was refused, want 6", n)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// sessionsEnded quarantines a device, releases it, and takes a certificate back, each time
// under two sessions.
func sessionsEnded(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "other", "--service", "oie-2", "--role", "interface-engine")
	d := s.serve(t)
	taken, other := s.dial(t, "engine"), s.dial(t, "other")
	for _, c := range []net.Conn{taken, other} {
		if _, err := io.WriteString(c, framed(message("ORU^R01", "R1", "2.5.1"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, answer := range []string{readFrame(t, taken), readFrame(t, other)} {
		if !strings.Contains(answer, "MSA|AA|R1") {
			t.Fatalf("the answer is %q", answer)
		}
	}
	var serial string
	var list struct {
		Certificates []struct{ Serial, ID string }
	}
	if err := json.Unmarshal([]byte(s.must(t, "cert", "list", "--json", "--dir", s.gw())), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Certificates {
		if c.ID == "oie" {
			serial = c.Serial
		}
	}
	began := time.Now()
	s.must(t, "cert", "revoke", "--yes", "--dir", s.gw(), serial)
	if got, err := io.ReadAll(taken); err != nil || len(got) > 0 {
		t.Errorf("the revoked session got %q, %v", got, err)
	}
	t.Logf("the session ended %v after the command began", time.Since(began))
	if answer := send(t, other, framed(message("ORU^R01", "R2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R2") {
		t.Errorf("after somebody else's revocation the answer is %q", answer)
	}

	s.configure(t, "    class: monitor/bedside\n", "    class: monitor/bedside\n    state: quarantined\n")
	var done daemon.Reloaded
	if err := json.Unmarshal([]byte(s.must(t, "reload", "--json", "--dir", s.gw())), &done); err != nil {
		t.Fatal(err)
	}
	if !done.Changed || done.Ended != 1 || !slices.Equal(done.Devices, []string{"mon-7"}) || done.Policy != done.OldPolicy {
		t.Errorf("the reload says %+v", done)
	}
	if got, err := io.ReadAll(other); err != nil || len(got) > 0 {
		t.Errorf("the session of the quarantined device got %q, %v", got, err)
	}
	refused := send(t, s.dial(t, "other"), framed(message("ORU^R01", "R3", "2.5.1")))
	if !strings.Contains(refused, "MSA|AR|R3") {
		t.Errorf("a quarantined device answers %q", refused)
	}
	// The log has both ends, and explains the second.
	var ends, badge []string
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "1000", "--dir", s.gw())) {
		var e entryJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Note == "ended a live session" && !e.Allow {
			ends = append(ends, e.Code)
		}
		if strings.HasPrefix(e.Note, serial+" ") {
			badge = append(badge, string(e.Kind)+strings.TrimPrefix(e.Note, serial))
		}
	}
	// Issued before it ran, and taken back by it; both by who ran the commands.
	by := " by " + control.Operator() + ": service/oie"
	if len(badge) != 2 || !strings.HasPrefix(badge[0], "certificate-issued issued"+by+", roles interface-engine, until ") || badge[1] != "certificate-revoked revoked"+by {
		t.Errorf("the log says of the certificate %q", badge)
	}
	if len(ends) != 2 {
		t.Fatalf("the log has %d ends of live sessions, want 2", len(ends))
	}
	if out := s.must(t, "why", ends[0], "--dir", s.gw()); !strings.Contains(out, "revoked") {
		t.Errorf("why %s says %s", ends[0], out)
	}
	if out := s.must(t, "why", ends[1], "--dir", s.gw()); !strings.Contains(out, "device mon-7 is quarantined") || !strings.Contains(out, "DENY connect") {
		t.Errorf("why %s says %s", ends[1], out)
	}

	s.configure(t, "    state: quarantined\n", "")
	s.must(t, "reload", "--dir", s.gw())
	if answer := send(t, s.dial(t, "other"), framed(message("ORU^R01", "R4", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R4") {
		t.Errorf("after the release the answer is %q", answer)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	if _, err := os.Lstat(filepath.Join(s.gw(), "state", control.Name)); err == nil {
		t.Error("the control socket is left behind")
	}
}

// imageCutShort quarantines an archive while an image of 4 GiB is stored. DICOM's answer to
// C-STORE would come behind the image, which is too late: the association is cut, the archive
// stores nothing, and the log says why.
func imageCutShort(t *testing.T, cordon string) {
	device := startSCP(t)
	s := newArchive(t, cordon, device.port())
	d := s.serve(t)
	image := dimse.CTImage("1.2.3.4", "100123", 4<<30-16)
	ct := &counted{Conn: s.dial(t, "ct")}
	a, err := dimse.Associate(ct, dimse.Request{CalledAE: "PACS", CallingAE: "CT2", MaxPDU: 128 << 10, SOPClasses: []string{image.SOPClass}})
	if err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() {
		_, err := a.Store(image)
		stored <- err
	}()
	if !eventually(func() bool { return ct.sent.Load() > 16<<20 }) {
		t.Fatalf("%d bytes of the image are sent", ct.sent.Load())
	}
	s.edit(t, "cordon.yaml", "    class: imaging/archive\n", "    class: imaging/archive\n    state: quarantined\n")
	began := time.Now()
	s.must(t, "reload", "--dir", s.gw())
	if err := <-stored; err == nil {
		t.Error("the image was stored")
	}
	t.Logf("the association ended %v after the reload began, and %d MiB", time.Since(began), ct.sent.Load()>>20)
	s.explained(t, s.lastRefusal(t), "DENY dicom:C-STORE", "device pacs-1 is quarantined")
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	device.mu.Lock()
	defer device.mu.Unlock()
	if len(device.stored) > 0 {
		t.Error("the archive has stored a part of the image")
	}
}

// counted is a client that counts what it has sent.
type counted struct {
	*tls.Conn
	sent atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// edition is a policy that refuses a device as any other edition knows it, so that one
// decision on the policy of one reload and the configuration of another would show.
const edition = `package cordon

default allow := false

allow if input.device.labels.edition == "%[1]d"
`

const editionTest = `package cordon_test

import data.cordon

test_own if cordon.allow with input as {"device": {"labels": {"edition": "%[1]d"}}}

test_other if not cordon.allow with input as {"device": {"labels": {"edition": "0"}}}
`

// reloadsUnderLoad reloads a hundred times, by command and by signal, while clients send
// as fast as they are answered. None is refused and none is ended.
func reloadsUnderLoad(t *testing.T, cordon string) {
	const reloads = 100
	s := newSite(t, cordon, "--label", "edition=1")
	s.issueStaff(t)
	folder := filepath.Join(s.gw(), "policy")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		s.write(t, "gw/policy/edition.rego", fmt.Sprintf(edition, n))
		s.write(t, "gw/policy/edition_test.rego", fmt.Sprintf(editionTest, n))
	}
	publish(1)
	d := s.serve(t)
	l := s.load(t, 4)
	l.waitFor(t, 20)
	for n := 2; n <= reloads+1; n++ {
		publish(n)
		s.configure(t, fmt.Sprintf("edition: %q", fmt.Sprint(n-1)), fmt.Sprintf("edition: %q", fmt.Sprint(n)))
		if n%10 == 0 {
			before := strings.Count(d.logged(), `"msg":"reloaded"`)
			d.cmd.Process.Signal(syscall.SIGHUP)
			if !eventually(func() bool { return strings.Count(d.logged(), `"msg":"reloaded"`) > before }) {
				t.Fatal("SIGHUP reloads nothing")
			}
			continue
		}
		done, err := askReload(t.Context(), filepath.Join(s.gw(), "state"))
		if err != nil || !done.Changed || done.Ended != 0 || done.Tests != 2 {
			t.Fatalf("reload %d: %+v, %v", n, done, err)
		}
	}
	l.mu.Lock()
	acked := len(l.acked)
	l.mu.Unlock()
	l.waitFor(t, acked+20) // all of them: a client whose message is refused goes on without counting it
	l.end()
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	editions := map[string]string{} // a code that each decided
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "1000000", "--dir", s.gw())) {
		var e entryJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != "decision" {
			continue
		}
		editions[e.Policy] = e.Code
		if !e.Allow {
			t.Errorf("refused: %s", line)
		}
	}
	tried := 0
	for _, code := range editions { // any three
		if s.explained(t, code, "rule      edition.rego:5"); tried == 2 {
			break
		}
		tried++
	}
	t.Logf("%d messages under %d reloads, decided by %d revisions", len(l.acked), reloads, len(editions))
	s.account(t, l, false)
}

// askReload asks the gateway whose state directory this is.
func askReload(ctx context.Context, state string) (done daemon.Reloaded, err error) {
	err = daemon.AskChange(ctx, state, "reload", daemon.ChangeRequest{}, &done)
	return done, err
}
