package ca

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/certs"
	"cordon/policy"

	"github.com/smallstep/certificates/authority/provisioner"
	"go.etcd.io/bbolt"
)

const domain = "ward.example"

func newAuthority(t testing.TB, l Limits) *Authority {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := Init(dir, Config{TrustDomain: domain, Name: "Ward 4"}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func kim() Request {
	return Request{Kind: policy.KindUser, ID: "dr.kim", Roles: []string{"radiologist"}, Groups: []string{"ward-4", "night"}, MFA: true}
}

func issue(t testing.TB, a *Authority, r Request) (*Issued, tls.Certificate) {
	t.Helper()
	i, err := a.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(i.Chain, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	return i, c
}

func TestInit(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "ca")
	if err := Init(dir, Config{TrustDomain: domain}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{rootKey, interKey, dbFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	c, err := readCertificate(filepath.Join(dir, interFile))
	if err != nil || !c.PermittedDNSDomainsCritical || !c.MaxPathLenZero {
		t.Errorf("the intermediate (%v) is not bound as it should be", err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, rootKey))
	err = Init(dir, Config{TrustDomain: domain})
	if after, _ := os.ReadFile(filepath.Join(dir, rootKey)); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "never overwritten") || string(before) != string(after) {
		t.Errorf("second init: %v, key changed: %v", err, string(before) != string(after))
	}
	if entries, _ := os.ReadDir(parent); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	for _, td := range []string{"", "Ward", "10.0.0.1", "a_b"} {
		if err := Init(filepath.Join(parent, "x"), Config{TrustDomain: td}); err == nil {
			t.Errorf("trust domain %q accepted", td)
		}
	}
	if err := Init(filepath.Join(parent, "empty"), Config{TrustDomain: domain, Name: strings.Repeat("x", 49)}); err == nil {
		t.Error("name of 49 bytes accepted")
	}
	if err := os.Mkdir(filepath.Join(parent, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Init(filepath.Join(parent, "empty"), Config{TrustDomain: domain}); err != nil {
		t.Errorf("into an empty directory: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	a := newAuthority(t, Limits{})
	other := newAuthority(t, Limits{})
	if _, err := Open(a.dir, Limits{TTL: 25 * time.Hour}); err == nil {
		t.Error("ttl beyond the maximum accepted")
	}
	root, err := os.ReadFile(other.path(rootFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.path(rootFile), root, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(a.dir, Limits{}); err == nil {
		t.Error("an intermediate of another root accepted")
	}
	if err := os.Chmod(other.path(interKey), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Issue(t.Context(), kim()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read was used: %v", err)
	}
}

func TestIssue(t *testing.T) {
	a := newAuthority(t, Limits{})
	r := kim()
	r.Roles = []string{"radiologist", "nurse", "nurse"}
	for _, key := range []KeyType{"", ECDSA, RSA} {
		r.Key = key
		before := time.Now()
		i, c := issue(t, a, r)
		id, err := certs.Parse(c.Leaf, domain)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(id.URI(), " ", id.Roles, id.Groups, id.MFA); got != "spiffe://ward.example/user/dr.kim [nurse radiologist] [night ward-4] true" {
			t.Errorf("%q: %s", key, got)
		}
		if i.Identity.Serial != id.Serial || len(id.Serial) < 20 {
			t.Errorf("serial %q, reported %q", id.Serial, i.Identity.Serial)
		}
		if !c.Leaf.NotBefore.Before(before.Add(-50*time.Second)) || c.Leaf.NotAfter.Before(before.Add(8*time.Hour-time.Second)) {
			t.Errorf("valid %s to %s", c.Leaf.NotBefore, c.Leaf.NotAfter)
		}
		for _, e := range c.Leaf.Extensions {
			if strings.HasPrefix(e.Id.String(), "1.3.6.1.4.1.37476.") {
				t.Errorf("extension %s gives the authority's software away", e.Id)
			}
		}
	}
}

// TestIssueRefuses asks for what may not be issued, and finds that nothing was signed.
func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t, Limits{})
	wrong := map[string]func(*Request){
		"no id":             func(r *Request) { r.ID = "" },
		"id with a slash":   func(r *Request) { r.ID = "dr/kim" },
		"id in a template":  func(r *Request) { r.ID = `{{.Token}}` },
		"kind":              func(r *Request) { r.Kind = "admin" },
		"gateway as kind":   func(r *Request) { r.Kind = KindGateway },
		"role with a quote": func(r *Request) { r.Roles = []string{`a","b`} },
		"too many roles":    func(r *Request) { r.Roles = manyNames(certs.MaxRoles + 1) },
		"too many groups":   func(r *Request) { r.Groups = manyNames(certs.MaxGroups + 1) },
		"ttl too long":      func(r *Request) { r.TTL = 24*time.Hour + 1 },
		"ttl negative":      func(r *Request) { r.TTL = -time.Hour },
		"key type":          func(r *Request) { r.Key = "dsa" },
	}
	for name, change := range wrong {
		r := kim()
		change(&r)
		if _, err := a.Issue(t.Context(), r); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	if list, err := a.List(); err != nil || len(list) != 0 {
		t.Errorf("signed all the same: %v, %v", list, err)
	}
	_, c := issue(t, a, kim())
	other := certs.Identity{TrustDomain: domain, Kind: policy.KindUser, ID: "dr.lee", Roles: []string{"radiologist"}, Groups: []string{"night", "ward-4"}, MFA: true}
	if _, err := a.lint(&c, &other); err == nil {
		t.Error("dr.kim's certificate passes as dr.lee's")
	}
}

func TestIssueLimits(t *testing.T) {
	a := newAuthority(t, Limits{})
	none := kim()
	none.Roles, none.Groups, none.MFA = nil, nil, false
	most := kim()
	most.Roles, most.Groups, most.TTL = manyNames(certs.MaxRoles), manyNames(certs.MaxGroups), 24*time.Hour
	most.ID = strings.Repeat("i", 64)
	for _, r := range []Request{none, most} {
		issue(t, a, r)
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%03d-%s", i, strings.Repeat("n", certs.MaxName-4)))
	}
	return names
}

// TestTemplateFails asks the embedded authority itself, with tokens that lack
// something: what would silently become null must fail.
func TestTemplateFails(t *testing.T) {
	a := newAuthority(t, Limits{})
	uri := "spiffe://ward.example/user/dr.kim"
	full := func() map[string]any {
		return map[string]any{"roles": []string{"nurse"}, "groups": []string{}, "mfa": false}
	}
	csrFor := func(uri string) *x509.CertificateRequest {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		return &x509.CertificateRequest{Subject: pkix.Name{CommonName: "dr.kim"}, URIs: []*url.URL{u}}
	}
	sign := func(s *session, asked, granted string, claims map[string]any, ttl time.Duration) error {
		_, err := s.sign(t.Context(), clientProvisioner, csrFor(asked), []string{granted}, claims, ttl, ECDSA)
		return err
	}
	err := a.use(func(s *session) error {
		if err := sign(s, uri, uri, full(), time.Hour); err != nil {
			t.Errorf("whole token: %v", err)
		}
		for name, wrong := range map[string]any{"roles": "nurse", "groups": nil, "mfa": "false"} {
			claims := full()
			delete(claims, name)
			if err := sign(s, uri, uri, claims, time.Hour); err == nil || !strings.Contains(err.Error(), "the request") {
				t.Errorf("token without %s: %v", name, err)
			}
			claims[name] = wrong
			if err := sign(s, uri, uri, claims, time.Hour); err == nil || !strings.Contains(err.Error(), "the request") {
				t.Errorf("token with %s %v: %v", name, wrong, err)
			}
		}
		const other, foreign = "spiffe://ward.example/user/other", "spiffe://lab.example/user/dr.kim"
		if sign(s, uri, other, full(), time.Hour) == nil {
			t.Error("a request for another name than the token's was signed")
		}
		if sign(s, foreign, foreign, full(), time.Hour) == nil {
			t.Error("a name outside the trust domain was signed")
		}
		if sign(s, uri, uri, full(), 25*time.Hour) == nil {
			t.Error("25 h were signed")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAbsent pins that the embedded authority offers two JWK provisioners whose key
// is nowhere on disk, and neither ACME, SCEP nor SSH.
func TestAbsent(t *testing.T) {
	a := newAuthority(t, Limits{})
	err := a.use(func(s *session) error {
		list, _, err := s.auth.GetProvisioners("", 100)
		if err != nil {
			return err
		}
		if len(list) != 2 {
			t.Errorf("%d provisioners", len(list))
		}
		for _, p := range list {
			if p.GetType() != provisioner.TypeJWK {
				t.Errorf("provisioner %s of type %s", p.GetName(), p.GetType())
			}
			ctx := provisioner.NewContextWithMethod(t.Context(), provisioner.SSHSignMethod)
			if _, err := p.AuthorizeSSHSign(ctx, "token"); err == nil {
				t.Errorf("provisioner %s signs for SSH", p.GetName())
			}
			if err := p.AuthorizeRenew(t.Context(), a.intermediate); err == nil {
				t.Errorf("provisioner %s renews", p.GetName())
			}
			if _, _, ok := p.GetEncryptedKey(); ok {
				t.Errorf("provisioner %s hands out its key", p.GetName())
			}
		}
		if s.auth.GetSCEP() != nil {
			t.Error("SCEP is there")
		}
		if keys, err := s.auth.GetSSHRoots(t.Context()); err == nil && len(keys.HostKeys)+len(keys.UserKeys) > 0 {
			t.Error("SSH keys are there")
		}
		if s.auth.GetAdminDatabase() != nil || s.auth.IsAdminAPIEnabled() {
			t.Error("remote administration is there")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRevokeAndList(t *testing.T) {
	a := newAuthority(t, Limits{})
	x, _ := issue(t, a, kim())
	y, _ := issue(t, a, Request{Kind: policy.KindService, ID: "lis", TTL: time.Hour})
	if err := a.Revoke(t.Context(), x.Identity.Serial, "00ff"); err == nil {
		t.Error("an unknown serial was revoked")
	}
	for _, bad := range []string{"", "xyz", "-1"} {
		if err := a.Revoke(t.Context(), bad); err == nil {
			t.Errorf("serial %q was revoked", bad)
		}
	}
	expect := func(want string) {
		t.Helper()
		list, err := a.List()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			got = append(got, fmt.Sprint(r.Kind, "/", r.ID, r.Roles, r.Revoked))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("list %s; want %s", got, want)
		}
	}
	expect("user/dr.kim[radiologist] false service/lis[] false")
	for range 2 {
		if err := a.Revoke(t.Context(), strings.ToUpper(y.Identity.Serial)); err != nil {
			t.Fatal(err)
		}
	}
	expect("user/dr.kim[radiologist] false service/lis[] true")
}

func TestForget(t *testing.T) {
	a := newAuthority(t, Limits{})
	x, _ := issue(t, a, kim())
	if err := a.Revoke(t.Context(), x.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{remembered, 1}, {remembered + 9*time.Hour, 0}} {
		if err := a.use(func(s *session) error { return s.forget(time.Now().Add(c.after)) }); err != nil {
			t.Fatal(err)
		}
		if list, err := a.List(); err != nil || len(list) != c.left {
			t.Errorf("after %s: %d left (%v), want %d", c.after, len(list), err, c.left)
		}
	}
}

// TestShared has many issue at once, and then nobody let in.
func TestShared(t *testing.T) {
	a := newAuthority(t, Limits{})
	var wg sync.WaitGroup
	for i := range 8 {
		b, err := Open(a.dir, Limits{}) // as another process would
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			r := kim()
			r.ID = fmt.Sprint("user-", i)
			if _, err := b.Issue(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, err := a.List(); err != nil || len(list) != 8 {
		t.Errorf("%d issued (%v), want 8", len(list), err)
	}
}

func TestHeld(t *testing.T) {
	t.Parallel() // it waits for 5 s
	a := newAuthority(t, Limits{})
	holder, err := bbolt.Open(a.path(dbFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := a.Issue(t.Context(), kim()); err == nil || !strings.Contains(err.Error(), "another process has held it") {
		t.Errorf("with the database held: %v", err)
	}
}

// TestOpenSSLVerifies has another implementation accept chain and revocation list.
func TestOpenSSLVerifies(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	a := newAuthority(t, Limits{})
	good, _ := issue(t, a, kim())
	bad, _ := issue(t, a, kim())
	if err := a.Revoke(t.Context(), bad.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	verify := func(chain []byte, args ...string) string {
		t.Helper()
		path := filepath.Join(dir, "leaf.pem")
		if err := os.WriteFile(path, chain, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"verify", "-x509_strict", "-CAfile", a.path(rootFile), "-untrusted", path}, args...)
		out, _ := exec.CommandContext(t.Context(), openssl, append(args, path)...).CombinedOutput()
		return string(out)
	}
	list := []string{"-purpose", "sslclient", "-crl_check", "-CRLfile", a.path(crlFile)}
	if out := verify(good.Chain, list...); !strings.HasSuffix(out, ": OK\n") {
		t.Errorf("client certificate: %s", out)
	}
	if out := verify(bad.Chain, list...); !strings.Contains(out, "certificate revoked") {
		t.Errorf("revoked certificate: %s", out)
	}
	s := newSource(t, a, SourceConfig{})
	for _, c := range s.Certificates() {
		for _, name := range [][]string{{"-verify_hostname", "localhost"}, {"-verify_ip", "127.0.0.1"}, {"-verify_ip", "::1"}} {
			if out := verify(certPEM(c.Certificate...), append(name, "-purpose", "sslserver")...); !strings.HasSuffix(out, ": OK\n") {
				t.Errorf("server certificate, %s: %s", name[1], out)
			}
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	a := newAuthority(b, Limits{})
	for b.Loop() {
		if _, err := a.Issue(b.Context(), kim()); err != nil {
			b.Fatal(err)
		}
	}
}
