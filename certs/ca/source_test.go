package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cordon/certs"
)

// journal is what a Source has reported.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), s)
}

func newSource(t testing.TB, a *Authority, c SourceConfig) *Source {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := a.Source(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lookNow makes the next question look at the files, whatever the clock says.
func (s *Source) lookNow() { s.trust.next.Store(0) }

// revoked asks about a leaf of this authority.
func (s *Source) revoked(leaf *x509.Certificate) bool {
	return s.CheckRevocation([]*x509.Certificate{leaf, s.a.intermediate, s.a.root}) != nil
}

// visit makes one connection and returns who the server says came.
func visit(t testing.TB, server *tls.Config, v *certs.Verifier, client *tls.Config) (id *certs.Identity, err error) {
	t.Helper()
	l, lerr := net.Listen("tcp", "127.0.0.1:0")
	if lerr != nil {
		t.Fatal(lerr)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var raw net.Conn
		if raw, err = l.Accept(); err != nil {
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(time.Minute))
		c := tls.Server(raw, server)
		if err = c.Handshake(); err == nil {
			id, err = v.Identify(c.ConnectionState())
		}
	}()
	raw, lerr := net.Dial("tcp", l.Addr().String())
	if lerr != nil {
		t.Fatal(lerr)
	}
	raw.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(raw, client)
	if herr := c.Handshake(); herr == nil {
		io.Copy(io.Discard, c)
	} else {
		t.Logf("client: %v", herr)
	}
	raw.Close()
	<-done
	return id, err
}

func TestSource(t *testing.T) {
	a := newAuthority(t, Limits{})
	s := newSource(t, a, SourceConfig{Names: []string{"gw.ward.example", "localhost"}})
	v := certs.NewVerifier(s, a.TrustDomain())
	server := certs.ServerConfig(s, v)
	i, c := issue(t, a, kim())
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(i.CA) {
		t.Fatal("no root in what was issued")
	}
	for _, name := range []string{"gw.ward.example", "localhost", "127.0.0.1", "::1"} {
		id, err := visit(t, server, v, certs.ClientConfig(roots, c, name))
		if err != nil || id.URI() != "spiffe://ward.example/user/dr.kim" {
			t.Fatalf("%s: %v, %v", name, id, err)
		}
	}
	if _, ok := s.Certificates()[1].Leaf.PublicKey.(*rsa.PublicKey); !ok {
		t.Error("no RSA certificate")
	}
	// The gateway's own certificate lets nobody in.
	if _, err := visit(t, server, v, certs.ClientConfig(roots, *s.Certificates()[0], "localhost")); !errors.Is(err, certs.ErrProfile) {
		t.Errorf("server certificate as client: %v", err)
	}

	// Revoked, by another process so to speak, while the leaf is remembered.
	epoch := s.Epoch()
	if err := a.Revoke(t.Context(), i.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	s.lookNow()
	if _, err := visit(t, server, v, certs.ClientConfig(roots, c, "localhost")); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("after revocation: %v", err)
	}
	if s.Epoch() <= epoch {
		t.Errorf("epoch %d, before the revocation %d", s.Epoch(), epoch)
	}
	// Another source, started later, knows it too.
	if again := newSource(t, a, SourceConfig{}); !again.revoked(c.Leaf) {
		t.Error("forgotten by the next start")
	}
	// The serial alone does not condemn another authority's certificate.
	namesake := *c.Leaf
	namesake.RawIssuer = []byte("other")
	if s.revoked(&namesake) {
		t.Error("another authority's certificate of that serial counts as revoked")
	}
}

// TestNeverForgets replaces a good revocation list by everything that is not a newer
// one. The good one stays, one line is reported, and the repaired file is followed.
func TestNeverForgets(t *testing.T) {
	a := newAuthority(t, Limits{})
	i, c := issue(t, a, kim())
	early, err := os.ReadFile(a.path(crlFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), i.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	log := new(journal)
	s := newSource(t, a, SourceConfig{Log: slog.New(slog.NewTextHandler(log, nil))})
	good, err := os.ReadFile(a.path(crlFile))
	if err != nil {
		t.Fatal(err)
	}
	thief := newAuthority(t, Limits{})
	for range 9 {
		if err := thief.publish(); err != nil { // a number beyond ours
			t.Fatal(err)
		}
	}
	forged, err := os.ReadFile(thief.path(crlFile))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(pemBytes(t, good))
	flipped[len(flipped)-1] ^= 1
	wrong := map[string][]byte{
		"empty":        {},
		"garbage":      []byte("no list"),
		"cut":          good[:len(good)/2],
		"older":        early,
		"forged":       forged,
		"one bit off":  pem.EncodeToMemory(&pem.Block{Type: crlType, Bytes: flipped}),
		"two lists":    append(bytes.Clone(good), good...),
		"other type":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pemBytes(t, good)}),
		"no directory": nil,
	}
	epoch := s.Epoch()
	for name, content := range wrong {
		before := log.count("not followed")
		if content == nil {
			err = os.Remove(a.path(crlFile))
		} else {
			err = writeFile(a.path(crlFile), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.lookNow()
			if !s.revoked(c.Leaf) {
				t.Errorf("%s: the revocation is forgotten", name)
			}
		}
		if n := log.count("not followed") - before; n != 1 {
			t.Errorf("%s: reported %d times", name, n)
		}
		if err := writeFile(a.path(crlFile), good, 0o644); err != nil {
			t.Fatal(err)
		}
		s.lookNow()
		s.Epoch()
	}
	if s.Epoch() != epoch {
		t.Errorf("epoch %d, was %d: nothing had changed", s.Epoch(), epoch)
	}
	if n := log.count("not followed"); n != len(wrong) {
		t.Errorf("%d faults reported, %d made: the repaired file is one", n, len(wrong))
	}
	// At a start there is nothing to fall back on; but the database knows.
	if err := os.WriteFile(a.path(crlFile), forged, 0o644); err != nil {
		t.Fatal(err)
	}
	if !newSource(t, a, SourceConfig{}).revoked(c.Leaf) {
		t.Error("a start with a forged list forgets")
	}
}

func pemBytes(t testing.TB, text []byte) []byte {
	block, _ := pem.Decode(text)
	if block != nil {
		return block.Bytes
	}
	t.Fatal("no PEM")
	return nil
}

// hospital is an existing authority with its own ways: it knows SPIFFE names and no
// roles.
type hospital struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newHospital(t testing.TB) *hospital {
	h := &hospital{}
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "St Elsewhere"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	h.cert, h.key = h.sign(t, tmpl)
	return h
}

func (h *hospital) sign(t testing.TB, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(7)
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := h.cert, h.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func (h *hospital) client(t testing.TB, uri string) tls.Certificate {
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	c, key := h.sign(t, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{u},
	})
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

func TestTrustFile(t *testing.T) {
	a := newAuthority(t, Limits{})
	h := newHospital(t)
	c := h.client(t, "spiffe://ward.example/user/dr.kim")
	path := filepath.Join(t.TempDir(), "hospital.pem")
	if _, err := a.Source(t.Context(), SourceConfig{TrustFile: path, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("started without its trust file")
	}
	replace := func(text []byte) {
		t.Helper()
		if err := writeFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	replace(certPEM(newHospital(t).cert.Raw))
	log := new(journal)
	s := newSource(t, a, SourceConfig{TrustFile: path, Log: slog.New(slog.NewTextHandler(log, nil))})
	v := certs.NewVerifier(s, domain)
	server := certs.ServerConfig(s, v)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.RootPEM())
	expect := func(step string, want error) {
		t.Helper()
		s.lookNow()
		id, err := visit(t, server, v, certs.ClientConfig(roots, c, "localhost"))
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v; want %v", step, err, want)
		}
		if err == nil && fmt.Sprint(id.URI(), id.Roles, id.MFA) != "spiffe://ward.example/user/dr.kim[] false" {
			t.Errorf("%s: %+v", step, id)
		}
	}
	expect("another hospital is trusted", certs.ErrUntrusted)
	replace(certPEM(newHospital(t).cert.Raw, h.cert.Raw))
	expect("this one too", nil)
	for name, text := range map[string][]byte{
		"empty": {}, "blank": []byte("\n"), "garbage": []byte("x"), "a leaf": certPEM(c.Leaf.Raw), "a key": a.keyText(t), "trailing garbage": append(certPEM(h.cert.Raw), 'x'),
	} {
		before := log.count("not followed")
		replace(text)
		expect(name, nil)
		if log.count("not followed") != before+1 {
			t.Errorf("%s: not reported once", name)
		}
		replace(certPEM(h.cert.Raw))
		expect("repaired", nil)
	}
	replace(certPEM(newHospital(t).cert.Raw))
	expect("withdrawn", certs.ErrUntrusted)
}

// TestWatched replaces a file by one of the same size and time.
func TestWatched(t *testing.T) {
	w := watched{path: filepath.Join(t.TempDir(), "file")}
	var then time.Time
	for _, content := range []string{"one", "two"} {
		if err := writeFile(w.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if w.seen != nil {
			if err := os.Chtimes(w.path, then, then); err != nil {
				t.Fatal(err)
			}
		}
		text, info, err := w.read()
		if string(text) != content || err != nil {
			t.Fatalf("read %q, %v; want %q", text, err, content)
		}
		w.seen, then = info, info.ModTime()
		if text, _, err := w.read(); text != nil || err != nil {
			t.Errorf("read again: %q, %v", text, err)
		}
	}
	if err := os.Truncate(w.path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.read(); err == nil {
		t.Error("a file beyond the limit was read")
	}
}

func (a *Authority) keyText(t testing.TB) []byte {
	text, err := os.ReadFile(a.path(interKey))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRenewal(t *testing.T) {
	a := newAuthority(t, Limits{})
	s := newSource(t, a, SourceConfig{})
	old := s.Certificates()
	leaf := old[0].Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if due := s.renewalDue(); due.After(leaf.NotBefore.Add(life*2/3)) || due.Before(leaf.NotBefore.Add(life/2)) {
		t.Errorf("of %s to %s, renewal is due %s", leaf.NotBefore, leaf.NotAfter, due)
	}
	// A renewal that fails leaves the old ones.
	if err := os.Rename(a.path(interKey), a.path("away")); err != nil {
		t.Fatal(err)
	}
	if err := s.renew(t.Context()); err == nil || s.Certificates()[0] != old[0] {
		t.Errorf("renewal without a key: %v", err)
	}
	if err := os.Rename(a.path("away"), a.path(interKey)); err != nil {
		t.Fatal(err)
	}
	if err := s.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, c := range s.Certificates() {
		if c.Leaf.SerialNumber.Cmp(old[i].Leaf.SerialNumber) == 0 {
			t.Error("not renewed")
		}
	}
}

// TestRun lets days pass in an instant: Run renews what is due, tries again ever
// more seldom while it cannot, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, Limits{})
		log := new(journal)
		s := newSource(t, a, SourceConfig{Log: slog.New(slog.NewTextHandler(log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()

		first := s.Certificates()[0]
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if s.Certificates()[0] != first {
			t.Error("renewed before it was due")
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		second := s.Certificates()[0]
		if second == first {
			t.Error("not renewed when due")
		}

		if err := os.Rename(a.path(interKey), a.path("away")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		// Ten hours at most, soon 7 to 15 minutes apart as chance has it; one a minute would be hundreds.
		if n := log.count("not renewed"); n < 10 || n > 100 || s.Certificates()[0] != second {
			t.Errorf("%d attempts without a key", n)
		}
		if err := os.Rename(a.path("away"), a.path(interKey)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if s.Certificates()[0] == second {
			t.Error("not renewed once it could be")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
