package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

// publishing is an HTTPS server that asks for a client certificate and offers one bundle.
type publishing struct {
	*httptest.Server
	offer           atomic.Pointer[rego.Delivery]
	down            atomic.Bool
	full, unchanged atomic.Int64
}

const publishedAt = "/ward/b.tar.gz"

func (p *publishing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := p.offer.Load()
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(d.Bundle))
	switch {
	case p.down.Load():
		http.Error(w, "down", http.StatusServiceUnavailable)
	case path.Clean(r.URL.Path) == publishedAt+rego.DetachedSuffix:
		w.Write(d.Signature)
	case path.Clean(r.URL.Path) != publishedAt:
		http.NotFound(w, r)
	case r.Header.Get("If-None-Match") == tag:
		p.unchanged.Add(1)
		w.WriteHeader(http.StatusNotModified)
	default:
		p.full.Add(1)
		w.Header().Set("ETag", tag)
		w.Write(d.Bundle)
	}
}

// bundlesServed follows a server: a newer bundle comes by itself, a bad one is refused once,
// a restart without the server decides by the last good one, a rollback by name holds, and a
// bundle carried by hand goes before what the server has.
func bundlesServed(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	p := newPublisher(t)
	open, closed := flipping.with("data.json", `{"nurse": true}`), flipping.with("data.json", `{"nurse": false}`)
	good := map[int64]rego.Delivery{1: p.publish(t, closed, 1), 2: p.publish(t, open, 2), 3: p.publish(t, closed, 3), 4: p.publish(t, open, 4)}
	publish := func(to *publishing, d rego.Delivery) { to.offer.Store(&d) }

	clients := x509.NewCertPool()
	ca, err := os.ReadFile(s.path("ca.pem"))
	if err != nil || !clients.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	server := &publishing{}
	publish(server, good[1])
	server.Server = httptest.NewUnstartedServer(server)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()
	s.write(t, "gw/server.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	s.useBundles(t, p, server.URL+publishedAt, "1s")
	s.configure(t, "every: 1s }", "every: 1s, trust_file: server.pem, certificate: ../engine.pem, certificate_key: ../engine.key }")

	if out := s.must(t, "check", "--dir", s.gw()); !strings.Contains(out, "ok: ") {
		t.Errorf("check says %q", out)
	}
	if _, err := os.Stat(s.path("gw/state/bundles/in-force.json")); err == nil {
		t.Error("check has taken a bundle")
	}
	d := s.serve(t)
	nurse := func(may bool) {
		t.Helper()
		want := "MSA|AR|"
		if may {
			want = "MSA|AA|"
		}
		answer := ""
		if !eventually(func() bool {
			c := s.dial(t, "nurse")
			defer c.Close()
			if _, err := io.WriteString(c, framed(message("ORU^R01", "N1", "2.5.1"))); err != nil {
				return false
			}
			answer = readFrame(t, c)
			return strings.Contains(answer, want)
		}) {
			t.Fatalf("the nurse is answered %q, want %s\n%s", answer, want, d.logged())
		}
	}
	in := func(revision, highest uint64) {
		t.Helper()
		if got := s.bundleStatus(t).InForce; got.Revision != revision || got.Highest != highest {
			t.Errorf("in force is revision %d of %d, want %d of %d", got.Revision, got.Highest, revision, highest)
		}
	}
	nurse(false)
	publish(server, good[2])
	nurse(true)
	in(2, 2)
	if !eventually(func() bool { return server.unchanged.Load() > 1 }) {
		t.Error("what has not changed is transferred again and again")
	}

	// A bad one stays on offer: refused once, though looked for every second.
	bad := p.publish(t, closed, 9)
	bad.Signature = newPublisher(t).detach(bad.Bundle, 9, nil)
	publish(server, bad)
	if !eventually(func() bool { return s.bundleStatus(t).Refused > 0 }) {
		t.Fatal("a bundle signed by somebody else is not refused")
	}
	transferred := server.full.Load()
	if !eventually(func() bool { return server.full.Load() > transferred+1 }) {
		t.Error("a refused bundle is not looked at again")
	}
	if status := s.bundleStatus(t); status.Refused != 1 || status.Last.Code != "bundle.detached.key" || !status.Last.Pending {
		t.Errorf("the status is %+v %+v", status.BundleStatus, status.Last)
	}
	nurse(true)
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stderr, "bundle.detached.key") || !strings.Contains(out.stderr, "revision 2 stays in force") {
		t.Errorf("reload exits with %d: %s", out.code, out.stderr)
	}

	if out := s.run(t, "doctor", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, "is refused: ") {
		t.Errorf("doctor exits with %d: %s", out.code, out.stdout)
	}

	// What the folder says counts for nothing, and is said to.
	if out := s.run(t, "check", "--dir", s.gw()); !strings.Contains(out.stderr, "decides nothing until it is in one") {
		t.Errorf("check says %s", out.stderr)
	}

	// Without the server: it is said, the gateway starts, and the last good one decides.
	server.down.Store(true)
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Unreachable || !strings.Contains(out.stderr, "bundle.unreachable") {
		t.Errorf("reload exits with %d: %s", out.code, out.stderr)
	}
	d.kill()
	d = s.serve(t)
	nurse(true)
	in(2, 2)

	// Kept and changed on the disk: not what decides.
	kept := s.path("gw/state/bundles/2.tar.gz")
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	d.stop(t)
	if err := os.WriteFile(kept, good[1].Bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "run", "--dir", s.gw()); out.code == exit.Done || !strings.Contains(out.stderr, "bundle.") {
		t.Errorf("with another bundle in place of the kept one, run exits with %d: %s", out.code, out.stderr)
	}
	if err := os.WriteFile(kept, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d = s.serve(t)

	// By hand, while the server is down; then back, by name only.
	for name, n := range map[string]int64{"stick-1": 1, "stick-3": 3} {
		s.write(t, name+".tar.gz", string(good[n].Bundle))
		s.write(t, name+".tar.gz.sig", string(good[n].Signature))
	}
	s.must(t, "policy", "bundle", "load", "stick-3.tar.gz", "--dir", s.gw())
	nurse(false)
	in(3, 3)
	if out := s.run(t, "policy", "bundle", "load", "stick-1.tar.gz", "--dir", s.gw()); out.code != exit.Conflict || !strings.Contains(out.stderr, "bundle.older") {
		t.Errorf("an older one: exit code %d, %s", out.code, out.stderr)
	}
	if out := s.run(t, "policy", "bundle", "load", "stick-1.tar.gz", "--rollback-to", "2", "--yes", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "bundle.rollback") {
		t.Errorf("another than named: exit code %d, %s", out.code, out.stderr)
	}
	if out := s.run(t, "policy", "bundle", "load", "--rollback-to", "2", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "1 value(s) of data differ") {
		t.Errorf("unconfirmed: exit code %d, %s", out.code, out.stderr)
	}
	s.must(t, "policy", "bundle", "load", "--rollback-to", "2", "--yes", "--dir", s.gw())
	nurse(true)
	in(2, 3)

	// The server comes back with what was rolled back from: it is passed over, a newer one is not.
	publish(server, good[3])
	server.down.Store(false)
	refused := s.bundleStatus(t).Refused
	if out := s.must(t, "reload", "--dir", s.gw()); !strings.Contains(out, "bundle revision 2") {
		t.Errorf("reload says %q", out)
	}
	publish(server, good[4])
	s.must(t, "reload", "--dir", s.gw())
	in(4, 4)
	status := s.bundleStatus(t)
	if status.Refused != refused || !slices.Equal(status.Kept, []uint64{4, 3, 2, 1}) {
		t.Errorf("the status is %+v", status)
	}
	nurse(true)
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	s.must(t, "policy", "bundle", "load", "stick-3.tar.gz", "--rollback-to", "3", "--yes", "--dir", s.gw())
	d = s.serve(t)
	nurse(false)
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// holdLog opens the log as another command would that changes something while no gateway runs.
func (s *site) holdLog(t *testing.T) *audit.Log {
	t.Helper()
	c, err := config.Load(filepath.Join(s.gw(), "cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := home.OpenLog(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// bundlesInTurn loads a bundle while another command takes a newer one: it waits, and does not go back behind that.
func bundlesInTurn(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	p := newPublisher(t)
	s.useBundles(t, p, "bundles", "24h")
	for n := range int64(3) {
		d := p.publish(t, s.policyFiles(t), n+1)
		s.write(t, fmt.Sprintf("stick-%d.tar.gz", n+1), string(d.Bundle))
		s.write(t, fmt.Sprintf("stick-%d.tar.gz.sig", n+1), string(d.Signature))
	}
	s.must(t, "policy", "bundle", "load", "stick-1.tar.gz", "--dir", s.gw())
	c, err := config.Load(filepath.Join(s.gw(), "cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := revision.OpenBundles(c)
	if err != nil {
		t.Fatal(err)
	}
	log := s.holdLog(t)
	slower := make(chan outcome, 1)
	go func() {
		defer close(slower)
		slower <- s.run(t, "policy", "bundle", "load", "stick-2.tar.gz", "--dir", s.gw())
	}()
	if !eventually(func() bool { names, _ := filepath.Glob(filepath.Join(b.Kept.Dir, ".handed-*")); return len(names) > 0 }) {
		t.Errorf("the slower one has not read its bundle: %+v", <-slower)
	}
	d, err := revision.ReadDelivery(s.path("stick-3.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	newer, _, err := b.Open(d, 0)
	if err == nil {
		err = b.Take(d, newer)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if out := <-slower; out.code != exit.Conflict || !strings.Contains(out.stderr, "bundle.older") {
		t.Errorf("the slower one exits with %d and says %s", out.code, out.stderr)
	}
	if in, err := b.Kept.InForce(); err != nil || in.Revision != 3 {
		t.Errorf("in force is %+v, %v", in, err)
	}
	s.must(t, "policy", "bundle", "load", "stick-3.tar.gz", "--dir", s.gw())
}
