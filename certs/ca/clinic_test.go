package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cordon/certs"
)

// clinic is a foreign authority that keeps lists.
type clinic struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	number int64 // of its last list
	serial int64 // of the last certificate
}

func newClinic(t testing.TB, name string, above *clinic) *clinic {
	return newClinicWith(t, name, above, nil)
}

func newClinicWith(t testing.TB, name string, above *clinic, change func(*x509.Certificate)) *clinic {
	c := &clinic{key: newKey(t), serial: 0x100}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if change != nil {
		change(tmpl)
	}
	if above == nil {
		above = &clinic{cert: tmpl, key: c.key}
	}
	c.cert = above.sign(t, tmpl, c.key)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *clinic) sign(t testing.TB, tmpl *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c.serial++
	tmpl.SerialNumber = big.NewInt(c.serial)
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// badge is a client's certificate, to be sent with what stands above it.
func (c *clinic) badge(t testing.TB, id string, above ...*clinic) tls.Certificate {
	key := newKey(t)
	leaf := c.sign(t, &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: domain, Path: "/user/" + id}}}, key)
	b := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, a := range above {
		b.Certificate = append(b.Certificate, a.cert.Raw)
	}
	return b
}

// list is its next list in DER, made now for a week.
func (c *clinic) list(t testing.TB, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	c.number++
	l := &x509.RevocationList{Number: big.NewInt(c.number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(7 * 24 * time.Hour)}
	for _, r := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func listPEM(lists ...[]byte) (text []byte) {
	for _, der := range lists {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: crlType, Bytes: der})...)
	}
	return text
}

// gate is a source with its two files, whom it reports to, and a verifier.
type gate struct {
	*Source
	v          *certs.Verifier
	trust, crl string
	log        *journal
	told       []string
}

func newGate(t testing.TB, trusted, lists []byte) *gate {
	t.Helper()
	g := &gate{trust: filepath.Join(t.TempDir(), "hospital.pem"), log: new(journal)}
	g.crl = filepath.Join(filepath.Dir(g.trust), "hospital.crl")
	g.put(t, g.trust, trusted)
	g.put(t, g.crl, lists)
	g.start(t, newAuthority(t, Limits{}))
	return g
}

func (g *gate) start(t testing.TB, a *Authority) {
	t.Helper()
	g.Source = newSource(t, a, SourceConfig{TrustFile: g.trust, CRLFile: g.crl, Log: slog.New(slog.NewTextHandler(g.log, nil)),
		Tried: func(what Followed, err error) { g.told = append(g.told, fmt.Sprint(what, ": ", err)) }})
	g.v = certs.NewVerifier(g.Source, domain)
}

// restarted is the gate of another process, with the same files.
func (g *gate) restarted(t testing.TB) *gate {
	t.Helper()
	again := &gate{trust: g.trust, crl: g.crl, log: new(journal)}
	again.start(t, g.a)
	return again
}

func (g *gate) put(t testing.TB, file string, text []byte) {
	t.Helper()
	if err := writeFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if g.Source != nil {
		g.lookNow()
	}
}

// asks has a client identified as in a handshake.
func (g *gate) asks(t testing.TB, b tls.Certificate) error {
	t.Helper()
	var peers []*x509.Certificate
	for _, der := range b.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, c)
	}
	g.Epoch() // as the gateway does all the time
	_, err := g.v.Identify(tls.ConnectionState{PeerCertificates: peers})
	return err
}

func raws(cs ...*clinic) (all [][]byte) {
	for _, c := range cs {
		all = append(all, c.cert.Raw)
	}
	return slices.Clip(all)
}
