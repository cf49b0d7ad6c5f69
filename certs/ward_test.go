package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const domain = "ward.example"

// issuer is an authority made for a test.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// ward is a hospital's certificates: a root, an intermediate below it, a server
// certificate of each kind; and it is their Source.
type ward struct {
	root, middle issuer
	server       []*tls.Certificate
	own, foreign *x509.CertPool
	revoked      map[string]bool
	epoch        atomic.Uint64
}

func (w *ward) Certificates() []*tls.Certificate             { return w.server }
func (w *ward) Roots() (own, foreign *x509.CertPool)         { return w.own, w.foreign }
func (w *ward) Epoch() uint64                                { return w.epoch.Load() }
func (w *ward) present(leaf tls.Certificate) tls.Certificate { return with(leaf, w.middle.cert) }

func (w *ward) CheckRevocation(chain []*x509.Certificate) error {
	for _, c := range chain {
		if w.revoked[Serial(c.SerialNumber)] {
			return fmt.Errorf("%w: serial %s", ErrRevoked, Serial(chain[0].SerialNumber))
		}
	}
	return nil
}

func newWard(t testing.TB) *ward {
	w := &ward{own: x509.NewCertPool(), revoked: map[string]bool{}}
	w.epoch.Store(1)
	w.root = newIssuer(t, issuer{}, nil)
	w.middle = newIssuer(t, w.root, nil)
	w.own.AddCert(w.root.cert)
	for _, key := range []crypto.Signer{newP256(t), newRSA(t, 2048)} {
		leaf := sign(t, w.middle, &x509.Certificate{
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			DNSNames:    []string{"localhost"},
		}, key)
		c := w.present(leaf)
		w.server = append(w.server, &c)
	}
	return w
}

func newIssuer(t testing.TB, parent issuer, change func(*x509.Certificate)) issuer {
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "authority " + strconv.FormatInt(serials.Add(1), 10)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if change != nil {
		change(tmpl)
	}
	key := newP256(t)
	if parent.cert == nil {
		parent = issuer{cert: tmpl, key: key}
	}
	leaf := sign(t, parent, tmpl, key)
	return issuer{cert: leaf.Leaf, key: key}
}

var serials atomic.Int64

// sign makes a certificate, filling in a serial number and an hour's validity.
func sign(t testing.TB, by issuer, tmpl *x509.Certificate, key crypto.Signer) tls.Certificate {
	t.Helper()
	if tmpl.SerialNumber == nil {
		tmpl.SerialNumber = big.NewInt(0x1000 + serials.Add(1))
	}
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = time.Now().Add(-time.Minute)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.Leaf, _ = x509.ParseCertificate(der) // nil if it is so wrong that it cannot be parsed
	return c
}

// with is the certificate sent together with what stands above it.
func with(leaf tls.Certificate, above ...*x509.Certificate) tls.Certificate {
	leaf.Certificate = leaf.Certificate[:1:1]
	for _, c := range above {
		leaf.Certificate = append(leaf.Certificate, c.Raw)
	}
	return leaf
}

func newP256(t testing.TB) *ecdsa.PrivateKey { return newEC(t, elliptic.P256()) }

func newEC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// kim is the template of a good client certificate: what each bad one is made from.
func kim(t testing.TB) *x509.Certificate {
	return &x509.Certificate{
		Subject:         pkix.Name{CommonName: "dr.kim"},
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:            []*url.URL{uri(t, "spiffe://ward.example/user/dr.kim")},
		ExtraExtensions: []pkix.Extension{claimsOf(t, `{"roles":["radiologist"],"groups":["ward-4"],"mfa":true}`)},
	}
}

func uri(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// rawURIs is a subject alternative name that holds exactly these bytes as URIs.
func rawURIs(t testing.TB, uris ...string) pkix.Extension {
	var names []asn1.RawValue
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der(t, names)}
}

func claimsOf(t testing.TB, json string) pkix.Extension {
	return pkix.Extension{Id: claimsID(t), Value: der(t, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(json)})}
}

func claimsID(t testing.TB) (oid asn1.ObjectIdentifier) {
	for arc := range strings.SplitSeq(ClaimsOID, ".") {
		n, err := strconv.Atoi(arc)
		if err != nil {
			t.Fatal(err)
		}
		oid = append(oid, n)
	}
	return oid
}

func der(t testing.TB, v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outcome is how a connection went, seen from both ends.
type outcome struct {
	server     error // of the handshake
	client     error // of the handshake, or of the read after it
	got        string
	state      tls.ConnectionState // the client's
	served     tls.ConnectionState // the server's
	applicable bool                // the server got as far as application data
}

// connect makes one connection over loopback. A server that accepts its client
// reads five bytes and answers with five.
func connect(t testing.TB, server, client *tls.Config) (o outcome) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			o.server = err
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(time.Minute))
		c := tls.Server(raw, server)
		if o.server = c.Handshake(); o.server != nil {
			return
		}
		o.applicable = true
		o.served = c.ConnectionState()
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			o.server = err
			return
		}
		io.WriteString(c, "world")
		c.Close()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(raw, client)
	if o.client = c.Handshake(); o.client == nil {
		// Under TLS 1.3 the client is done before the server has judged it.
		io.WriteString(c, "hello")
		var b []byte
		b, o.client = io.ReadAll(c)
		o.got = string(b)
	}
	o.state = c.ConnectionState()
	raw.Close()
	<-done
	return o
}

// client returns the configuration of a client that sends cert, whatever it is.
func (w *ward) client(cert *tls.Certificate) *tls.Config {
	return &tls.Config{
		RootCAs:    w.own,
		ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert == nil {
				return &tls.Certificate{}, nil
			}
			return cert, nil
		},
	}
}
