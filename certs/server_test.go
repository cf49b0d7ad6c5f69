package certs

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// goodClient is kim, let in.
func (w *ward) goodClient(t testing.TB) tls.Certificate {
	return w.present(sign(t, w.middle, kim(t), newP256(t)))
}

func TestHandshake(t *testing.T) {
	w := newWard(t)
	cert := w.goodClient(t)
	server := ServerConfig(w, NewVerifier(w, domain))

	t.Run("our client", func(t *testing.T) {
		o := connect(t, server, ClientConfig(w.own, cert, "localhost"))
		if o.server != nil || o.got != "world" {
			t.Fatalf("server: %v, client: %v", o.server, o.client)
		}
		if o.state.Version != tls.VersionTLS13 || o.state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("version %x, group %s", o.state.Version, o.state.CurveID)
		}
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		c := w.client(&cert)
		c.MaxVersion = tls.VersionTLS12
		if o := connect(t, server, c); o.server == nil || o.client == nil || o.applicable {
			t.Errorf("server: %v, client: %v", o.server, o.client)
		}
	})
	for _, group := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384} {
		t.Run(group.String(), func(t *testing.T) {
			c := w.client(&cert)
			c.CurvePreferences = []tls.CurveID{group}
			if o := connect(t, server, c); o.server != nil || o.state.CurveID != group {
				t.Errorf("server: %v, group %s", o.server, o.state.CurveID)
			}
		})
	}
	t.Run("P-521 only", func(t *testing.T) {
		c := w.client(&cert)
		c.CurvePreferences = []tls.CurveID{tls.CurveP521}
		if o := connect(t, server, c); o.server == nil {
			t.Error("accepted")
		}
	})
	t.Run("server of another CA", func(t *testing.T) {
		if o := connect(t, server, ClientConfig(newWard(t).own, cert, "localhost")); o.server == nil || o.client == nil {
			t.Errorf("server: %v, client: %v", o.server, o.client)
		}
	})
	t.Run("server of another name", func(t *testing.T) {
		if o := connect(t, server, ClientConfig(w.own, cert, "ct-2")); o.server == nil || o.client == nil {
			t.Errorf("server: %v, client: %v", o.server, o.client)
		}
	})
}

// A listener that is lowered admits TLS 1.2 under the same checks, and nothing weaker.
func TestLowerToTLS12(t *testing.T) {
	w := newWard(t)
	v := NewVerifier(w, domain)
	server := LowerToTLS12(ServerConfig(w, v))
	good := w.goodClient(t)
	old := func(cert *tls.Certificate, version uint16, suites ...uint16) *tls.Config {
		c := w.client(cert)
		c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS10, version, suites
		return c
	}
	for name, c := range map[string]struct {
		client  *tls.Config
		version uint16 // agreed upon; 0: none
	}{
		"TLS 1.3 is preferred": {old(&good, 0), tls.VersionTLS13},
		"TLS 1.2":              {old(&good, tls.VersionTLS12), tls.VersionTLS12},
		"no certificate":       {old(nil, tls.VersionTLS12), 0},
		"TLS 1.1":              {old(&good, tls.VersionTLS11), 0},
		"CBC":                  {old(&good, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), 0},
		"no ephemeral key":     {old(&good, tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256), 0},
	} {
		o := connect(t, server, c.client)
		if let := o.server == nil; let != (c.version != 0) || let && o.state.Version != c.version {
			t.Errorf("%s: %v, version %x", name, o.server, o.state.Version)
		}
	}
	stranger := newWard(t).goodClient(t)
	if o := connect(t, server, old(&stranger, tls.VersionTLS12)); !errors.Is(o.server, ErrUntrusted) {
		t.Errorf("a foreign certificate over TLS 1.2: %v", o.server)
	}
}

// tickets counts the session tickets a client is given.
type tickets struct {
	tls.ClientSessionCache
	given atomic.Int32
}

func (c *tickets) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.given.Add(1)
	}
	c.ClientSessionCache.Put(key, s)
}

func TestNoResumption(t *testing.T) {
	w := newWard(t)
	cert := w.goodClient(t)
	server := ServerConfig(w, NewVerifier(w, domain))
	cache := &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	client := w.client(&cert)
	client.ClientSessionCache = cache
	for range 3 {
		if o := connect(t, server, client); o.server != nil || o.got != "world" || o.state.DidResume {
			t.Fatalf("server: %v, read %q, resumed %v", o.server, o.got, o.state.DidResume)
		}
	}
	if n := cache.given.Load(); n != 0 {
		t.Errorf("%d session tickets offered", n)
	}

	// Were tickets ever switched on, the check would still run: a client that resumes
	// is refused once its certificate is revoked.
	server = server.Clone()
	server.SessionTicketsDisabled = false
	connect(t, server, client)
	if o := connect(t, server, client); o.server != nil || !o.state.DidResume {
		t.Fatalf("server: %v, resumed %v: the test no longer resumes", o.server, o.state.DidResume)
	}
	w.revoked[Serial(cert.Leaf.SerialNumber)] = true
	w.epoch.Add(1)
	if o := connect(t, server, client); !errors.Is(o.server, ErrRevoked) || o.got != "" {
		t.Errorf("resumed after revocation: server: %v, read %q", o.server, o.got)
	}
}

// TestOpenSSL has a client that is not Go choose between the server's certificates.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	w := newWard(t)
	cert := w.goodClient(t)
	dir := t.TempDir()
	write := func(name, kind string, blocks ...[]byte) string {
		var text []byte
		for _, b := range blocks {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// An RSA-only client checks the chain's signatures by the same list, so for its
	// sake there is an RSA authority above an RSA server and an RSA client.
	rsaRoot := issuer{key: newRSA(t, 2048)}
	tmpl := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	tmpl.Subject.CommonName = "authority of RSA"
	rsaRoot.cert = sign(t, issuer{tmpl, rsaRoot.key}, tmpl, rsaRoot.key).Leaf
	w.own.AddCert(rsaRoot.cert)
	onlyRSA := sign(t, rsaRoot, &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
	}, newRSA(t, 2048))
	w.server[1] = &onlyRSA
	rsaCert := sign(t, rsaRoot, kim(t), newRSA(t, 2048))

	identity := func(name string, c tls.Certificate) []string {
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		return []string{
			"-cert", write(name+".pem", "CERTIFICATE", c.Certificate[0]),
			"-cert_chain", write(name+".chain", "CERTIFICATE", c.Certificate[1:]...),
			"-key", write(name+".key", "PRIVATE KEY", key),
		}
	}
	roots := write("roots.pem", "CERTIFICATE", w.root.cert.Raw, rsaRoot.cert.Raw)
	cases := []struct {
		name string
		args []string
		ok   bool
		want string // in what openssl prints
	}{
		{"ECDSA", identity("kim", cert), true, "Peer signature type: ECDSA"},
		{"RSA only", append([]string{"-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"}, identity("rsa", with(rsaCert, rsaRoot.cert))...), true, "Peer signature type: RSA-PSS"},
		{"no certificate", nil, false, "certificate required"},
		{"TLS 1.2", append([]string{"-tls1_2"}, identity("old", cert)...), false, "protocol version"},
	}

	server := ServerConfig(w, NewVerifier(w, domain))
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(time.Minute))
			if c.(*tls.Conn).Handshake() == nil {
				c.Write([]byte("let in\n"))
			}
			c.Close()
		}
	}()
	defer func() { l.Close(); <-served }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"s_client", "-connect", "127.0.0.1:" + port, "-servername", "ct-2", "-CAfile", roots}, c.args...)
			cmd := exec.CommandContext(t.Context(), openssl, args...)
			hold, err := cmd.StdinPipe() // end of input would close the connection first
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			out, _ := cmd.CombinedOutput()
			if in := strings.Contains(string(out), "let in"); in != c.ok || !strings.Contains(string(out), c.want) {
				t.Errorf("let in: %v; want %v and %q in:\n%s", in, c.ok, c.want, out)
			}
		})
	}
}

// TestChoose pins the order: the first certificate a client can use, whatever
// server name it asks for.
func TestChoose(t *testing.T) {
	w := newWard(t)
	hello := &tls.ClientHelloInfo{
		ServerName:        "ct-2",
		SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes:  []tls.SignatureScheme{tls.PSSWithSHA256},
	}
	c, err := choose(w.server, hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Leaf.PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("an RSA-only client got %T", c.Leaf.PublicKey)
	}
	hello.SignatureSchemes = append(hello.SignatureSchemes, tls.ECDSAWithP256AndSHA256)
	if c, _ = choose(w.server, hello); c != w.server[0] {
		t.Errorf("a client of both got %T, not the preferred", c.Leaf.PublicKey)
	}
	if _, err := choose(nil, hello); err == nil {
		t.Error("a certificate out of none")
	}
}
