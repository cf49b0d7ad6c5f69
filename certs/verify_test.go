package certs

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// parsed is what the server sees of a certificate.
func parsed(t testing.TB, c tls.Certificate) (cs tls.ConnectionState) {
	for _, der := range c.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		cs.PeerCertificates = append(cs.PeerCertificates, x)
	}
	return cs
}

func list(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestWrongCertificates makes every field wrong once. Nobody gets in, the reason
// is the right one, and no byte of application data passes either way.
func TestWrongCertificates(t *testing.T) {
	w := newWard(t)
	w.foreign = x509.NewCertPool()
	hospital := newIssuer(t, issuer{}, nil)
	w.foreign.AddCert(hospital.cert)

	other := newIssuer(t, issuer{}, nil)
	otherMiddle := newIssuer(t, other, nil)
	lateMiddle := newIssuer(t, w.root, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	elsewhere := newIssuer(t, w.root, func(c *x509.Certificate) { c.PermittedURIDomains = []string{"lab.example"} })
	serverOnly := newIssuer(t, w.root, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	leafIssuer := issuer{key: newP256(t)}
	leafIssuer.cert = sign(t, w.middle, kim(t), leafIssuer.key).Leaf
	flat := newIssuer(t, w.root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deep := newIssuer(t, flat, nil)
	weak := issuer{key: newRSA(t, 1024)}
	weak.cert = sign(t, w.root, &x509.Certificate{
		Subject: pkix.Name{CommonName: "weak authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, weak.key).Leaf
	impostor := issuer{key: newP256(t)}
	likeness := *w.middle.cert
	likeness.PublicKey = impostor.key.Public()
	impostor.cert = &likeness

	// leaf is the usual case: kim's certificate with one change, from the right authority.
	leaf := func(change func(*x509.Certificate)) tls.Certificate {
		tmpl := kim(t)
		change(tmpl)
		return w.present(sign(t, w.middle, tmpl, newP256(t)))
	}
	withURIs := func(uris ...string) tls.Certificate {
		return leaf(func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = append(c.ExtraExtensions, rawURIs(t, uris...))
		})
	}
	withClaims := func(json string) tls.Certificate {
		return leaf(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{claimsOf(t, json)} })
	}
	withValue := func(value []byte) tls.Certificate {
		return leaf(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{{Id: claimsID(t), Value: value}} })
	}
	withKey := func(key crypto.Signer) tls.Certificate { return w.present(sign(t, w.middle, kim(t), key)) }
	from := func(by issuer, above ...*x509.Certificate) tls.Certificate {
		return with(sign(t, by, kim(t), newP256(t)), above...)
	}
	revoked := leaf(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0xbad0) })
	w.revoked["bad0"] = true
	selfSigned := kim(t)
	selfKey := newP256(t)
	long := strings.Repeat("a", MaxName+1)

	cases := []struct {
		name string
		cert tls.Certificate
		want error
		tls  bool // crypto/tls, at either end, refuses it before we are asked
	}{
		{"expired", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Second)
		}), ErrExpired, false},
		{"not yet valid", leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), ErrExpired, false},

		{"from another CA", from(other), ErrUntrusted, false},
		{"from another CA with its chain", from(otherMiddle, otherMiddle.cert, other.cert), ErrUntrusted, false},
		{"from another CA with our chain", from(otherMiddle, w.middle.cert, w.root.cert), ErrUntrusted, false},
		{"self-signed", sign(t, issuer{selfSigned, selfKey}, selfSigned, selfKey), ErrUntrusted, false},
		{"intermediate missing", with(leaf(func(*x509.Certificate) {})), ErrUntrusted, false},
		{"signed with the wrong key", from(impostor, w.middle.cert), ErrUntrusted, false},
		{"signed by a leaf", from(leafIssuer, leafIssuer.cert, w.middle.cert), ErrUntrusted, false},
		{"path too long", from(deep, deep.cert, flat.cert), ErrUntrusted, false},
		{"intermediate expired", from(lateMiddle, lateMiddle.cert), ErrExpired, false},
		{"outside the name constraint", from(elsewhere, elsewhere.cert), ErrUntrusted, false},
		{"intermediate for servers only", from(serverOnly, serverOnly.cert), ErrProfile, false},
		{"weak RSA 1024 intermediate", from(weak, weak.cert), ErrProfile, false},

		{"revoked", revoked, ErrRevoked, false},

		{"weak RSA 1024", withKey(newRSA(t, 1024)), ErrProfile, false},
		{"curve P-521", withKey(newEC(t, elliptic.P521())), ErrProfile, false},
		{"curve P-224", withKey(newEC(t, elliptic.P224())), ErrProfile, true},

		{"server certificate used as client", *w.server[0], ErrProfile, false},
		{"extended key usage serverAuth", leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), ErrProfile, false},
		{"extended key usage any", leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}), ErrProfile, false},
		{"extended key usage absent", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), ErrProfile, false},
		{"key usage without digitalSignature", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), ErrProfile, false},
		{"key usage certSign", leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), ErrProfile, false},
		{"CA certificate as leaf", leaf(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), ErrProfile, false},
		{"the intermediate itself", tls.Certificate{Certificate: [][]byte{w.middle.cert.Raw}, PrivateKey: w.middle.key}, ErrProfile, false},
		{"unknown critical extension", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
		}), ErrProfile, false},

		{"certificate too large", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, maxLeaf)})
		}), ErrProfile, false},

		{"no URI", leaf(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"dr.kim"} }), ErrProfile, false},
		{"common name only", leaf(func(c *x509.Certificate) { c.URIs = nil }), ErrProfile, false},
		{"address only", leaf(func(c *x509.Certificate) { c.URIs, c.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)} }), ErrProfile, false},
		{"two URIs", leaf(func(c *x509.Certificate) {
			c.URIs = append(c.URIs, uri(t, "spiffe://ward.example/user/nurse.ito"))
		}), ErrProfile, false},
		{"the same URI twice", leaf(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), ErrProfile, false},
		{"a web URI beside it", leaf(func(c *x509.Certificate) { c.URIs = append(c.URIs, &url.URL{Scheme: "https", Host: "kim.example"}) }), ErrProfile, false},
		{"not a SPIFFE URI", withURIs("https://ward.example/user/dr.kim"), ErrProfile, false},
		{"scheme in capitals", withURIs("SPIFFE://ward.example/user/dr.kim"), ErrProfile, false},
		{"wrong trust domain", withURIs("spiffe://lab.example/user/dr.kim"), ErrProfile, false},
		{"trust domain in capitals", withURIs("spiffe://WARD.example/user/dr.kim"), ErrProfile, false},
		{"trust domain below ours", withURIs("spiffe://x.ward.example/user/dr.kim"), ErrProfile, false},
		{"trust domain beginning with ours", withURIs("spiffe://ward.example.org/user/dr.kim"), ErrProfile, false},
		{"trust domain with port", withURIs("spiffe://ward.example:443/user/dr.kim"), ErrProfile, false},
		{"user information", withURIs("spiffe://user@ward.example/user/dr.kim"), ErrProfile, false},
		{"unknown kind", withURIs("spiffe://ward.example/admin/dr.kim"), ErrProfile, false},
		{"kind in capitals", withURIs("spiffe://ward.example/User/dr.kim"), ErrProfile, false},
		{"no kind", withURIs("spiffe://ward.example/dr.kim"), ErrProfile, false},
		{"no id", withURIs("spiffe://ward.example/user/"), ErrProfile, false},
		{"id of two segments", withURIs("spiffe://ward.example/user/dr/kim"), ErrProfile, false},
		{"id with trailing slash", withURIs("spiffe://ward.example/user/dr.kim/"), ErrProfile, false},
		{"id is dots", withURIs("spiffe://ward.example/user/.."), ErrProfile, false},
		{"id percent-encoded", withURIs("spiffe://ward.example/user/dr%2ekim"), ErrProfile, false},
		{"id with query", withURIs("spiffe://ward.example/user/dr.kim?role=admin"), ErrProfile, false},
		{"id with fragment", withURIs("spiffe://ward.example/user/dr.kim#x"), ErrProfile, false},
		{"id too long", withURIs("spiffe://ward.example/user/" + long), ErrProfile, false},
		{"id with a space", withURIs("spiffe://ward.example/user/dr kim"), ErrProfile, true},
		{"id with a zero byte", withURIs("spiffe://ward.example/user/dr.kim\x00"), ErrProfile, true},

		{"claims missing", leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil }), ErrProfile, false},
		{"claims empty", withValue([]byte{}), ErrProfile, false},
		{"claims not DER", withValue([]byte(`{"roles":[],"groups":[],"mfa":false}`)), ErrProfile, false},
		{"claims an octet string", withValue(der(t, []byte(`{"roles":[],"groups":[],"mfa":false}`))), ErrProfile, false},
		{"claims a printable string", withValue(der(t, asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte(`{"roles":[],"groups":[],"mfa":false}`)})), ErrProfile, false},
		{"claims a constructed string", withValue(der(t, asn1.RawValue{Tag: asn1.TagUTF8String, IsCompound: true, Bytes: []byte(`{"roles":[],"groups":[],"mfa":false}`)})), ErrProfile, false},
		{"claims with bytes behind", withValue(append(der(t, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(`{"roles":[],"groups":[],"mfa":false}`)}), 0)), ErrProfile, false},
		{"claims malformed JSON", withClaims(`{"roles":["radiologist"],"groups":[],"mfa":true`), ErrProfile, false},
		{"claims null", withClaims(`null`), ErrProfile, false},
		{"roles null", withClaims(`{"roles":null,"groups":[],"mfa":false}`), ErrProfile, false},
		{"roles absent", withClaims(`{"groups":[],"mfa":false}`), ErrProfile, false},
		{"roles a string", withClaims(`{"roles":"radiologist","groups":[],"mfa":false}`), ErrProfile, false},
		{"groups absent", withClaims(`{"roles":[],"mfa":false}`), ErrProfile, false},
		{"mfa absent", withClaims(`{"roles":[],"groups":[]}`), ErrProfile, false},
		{"mfa a string", withClaims(`{"roles":[],"groups":[],"mfa":"true"}`), ErrProfile, false},
		{"roles twice, the second wins", withClaims(`{"roles":["nurse"],"roles":["admin"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"roles in other case", withClaims(`{"Roles":["admin"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"unknown key", withClaims(`{"roles":[],"groups":[],"mfa":false,"admin":true}`), ErrProfile, false},
		{"white space", withClaims(`{"roles": [],"groups":[],"mfa":false}`), ErrProfile, false},
		{"second value", withClaims(`{"roles":[],"groups":[],"mfa":false}{}`), ErrProfile, false},
		{"escaped role", withClaims(`{"roles":["\u006eurse"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"duplicate role", withClaims(`{"roles":["nurse","nurse"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"roles out of order", withClaims(`{"roles":["radiologist","nurse"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"empty role", withClaims(`{"roles":[""],"groups":[],"mfa":false}`), ErrProfile, false},
		{"role with a space", withClaims(`{"roles":["head nurse"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"role too long", withClaims(`{"roles":["` + long + `"],"groups":[],"mfa":false}`), ErrProfile, false},
		{"too many roles", withClaims(`{"roles":[` + list(MaxRoles+1, `"r%03d"`) + `],"groups":[],"mfa":false}`), ErrProfile, false},
		{"too many groups", withClaims(`{"roles":[],"groups":[` + list(MaxGroups+1, `"g%03d"`) + `],"mfa":false}`), ErrProfile, false},
		{"duplicate group", withClaims(`{"roles":[],"groups":["a","a"],"mfa":false}`), ErrProfile, false},
		{"claims too large", withClaims(strings.Repeat(" ", maxClaims) + `{"roles":[],"groups":[],"mfa":false}`), ErrProfile, false},
		{"claims twice", leaf(func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, c.ExtraExtensions[0]) }), ErrProfile, true},

		{"hospital's, wrong trust domain", hospitals(t, hospital, func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "spiffe://lab.example/user/dr.kim")} }), ErrProfile, false},
		{"hospital's, no URI", hospitals(t, hospital, func(c *x509.Certificate) { c.URIs = nil }), ErrProfile, false},
		{"hospital's, malformed claims", hospitals(t, hospital, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{claimsOf(t, `{}`)}
		}), ErrProfile, false},
	}

	// Where several things refuse, the reason given is the one that helps.
	says := map[string]string{
		"expired":              "ended 20",
		"not yet valid":        "begins 20",
		"revoked":              "serial bad0 of spiffe://ward.example/user/dr.kim",
		"weak RSA 1024":        "RSA key of 1024 bits",
		"no URI":               "0 URI names: want exactly one, spiffe://ward.example/<kind>/<id>",
		"wrong trust domain":   `URI "spiffe://lab.example/user/dr.kim" is not in trust domain ward.example`,
		"unknown kind":         `kind "admin"`,
		"claims missing":       "claims extension missing",
		"claims too large":     "at most 16384",
		"duplicate role":       `role "nurse": given twice`,
		"intermediate expired": "an authority above it",
	}
	v := NewVerifier(w, domain)
	server := ServerConfig(w, v)
	refused := func(t *testing.T, o outcome, alert bool) {
		t.Helper()
		if o.server == nil || o.applicable || o.got != "" {
			t.Errorf("server: %v, application data reached: %v, client read %q", o.server, o.applicable, o.got)
		}
		if o.client == nil || alert && !strings.Contains(o.client.Error(), "remote error: tls:") {
			t.Errorf("client saw %v, not an alert", o.client)
		}
	}
	t.Run("no certificate", func(t *testing.T) {
		o := connect(t, server, w.client(nil))
		refused(t, o, true)
		if !strings.Contains(fmt.Sprint(o.client), "certificate required") {
			t.Errorf("client saw %v, not certificate_required", o.client)
		}
		if _, err := v.Identify(tls.ConnectionState{}); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("Identify: %v", err)
		}
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := connect(t, server, w.client(&c.cert))
			refused(t, o, !c.tls)
			if !c.tls && !errors.Is(o.server, c.want) {
				t.Errorf("handshake: %v; want %v", o.server, c.want)
			}
			if c.tls && x509Parses(c.cert) {
				if _, err := v.Identify(parsed(t, c.cert)); !errors.Is(err, c.want) {
					t.Errorf("Identify: %v; want %v", err, c.want)
				}
			}
			if !strings.Contains(fmt.Sprint(o.server), says[c.name]) {
				t.Errorf("%v; want it to say %s", o.server, says[c.name])
			}
			if text := fmt.Sprint(o.server); len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("unfit for a log: %q", text)
			}
		})
	}
	t.Logf("%d wrong certificates", len(cases)+1)
}

func x509Parses(c tls.Certificate) bool {
	_, err := x509.ParseCertificate(c.Certificate[0])
	return err == nil
}

func hospitals(t testing.TB, by issuer, change func(*x509.Certificate)) tls.Certificate {
	tmpl := kim(t)
	tmpl.ExtraExtensions = nil
	change(tmpl)
	return sign(t, by, tmpl, newP256(t))
}

func TestGoodCertificates(t *testing.T) {
	w := newWard(t)
	w.foreign = x509.NewCertPool()
	hospital := newIssuer(t, issuer{}, nil)
	w.foreign.AddCert(hospital.cert)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		cert  tls.Certificate
		roles string
	}{
		{"P-256", w.present(sign(t, w.middle, kim(t), newP256(t))), "[radiologist]"},
		{"P-384", w.present(sign(t, w.middle, kim(t), newEC(t, elliptic.P384()))), "[radiologist]"},
		{"RSA 2048", w.present(sign(t, w.middle, kim(t), newRSA(t, 2048))), "[radiologist]"},
		{"Ed25519", w.present(sign(t, w.middle, kim(t), ed)), "[radiologist]"},
		{"hospital's, without roles", hospitals(t, hospital, func(*x509.Certificate) {}), "[]"},
		{"hospital's, with roles", sign(t, hospital, kim(t), newP256(t)), "[radiologist]"},
		{"root sent along", with(sign(t, w.middle, kim(t), newP256(t)), w.root.cert, w.middle.cert), "[radiologist]"},
	}
	v := NewVerifier(w, domain)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := connect(t, ServerConfig(w, v), w.client(&c.cert))
			if o.server != nil || o.client != nil || o.got != "world" {
				t.Fatalf("server: %v, client: %v, read %q", o.server, o.client, o.got)
			}
			id, err := v.Identify(o.served)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(id.URI(), " ", id.Roles); got != "spiffe://ward.example/user/dr.kim "+c.roles {
				t.Errorf("got %s", got)
			}
			if id.Serial != Serial(c.cert.Leaf.SerialNumber) || id.NotAfter != c.cert.Leaf.NotAfter && id.NotAfter.After(c.cert.Leaf.NotAfter) {
				t.Errorf("serial %s, not after %s", id.Serial, id.NotAfter)
			}
		})
	}
}

// TestRemembered shows what a remembered leaf is still asked every time, and what
// makes it forgotten.
func TestRemembered(t *testing.T) {
	w := newWard(t)
	now := time.Now()
	v := NewVerifier(w, domain)
	v.now = func() time.Time { return now }
	short := newIssuer(t, w.root, func(c *x509.Certificate) { c.NotAfter = now.Add(10 * time.Minute) })
	good := with(sign(t, short, kim(t), newP256(t)), short.cert)
	whole, alone := parsed(t, good), parsed(t, with(good))

	expect := func(step string, cs tls.ConnectionState, want error) {
		t.Helper()
		if _, err := v.Identify(cs); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", step, err, want)
		}
	}
	expect("unknown leaf without its intermediate", alone, ErrUntrusted)
	expect("with it", whole, nil)
	expect("known leaf without it", alone, nil)

	now = now.Add(11 * time.Minute)
	expect("intermediate over, leaf not", alone, ErrExpired)
	now = now.Add(-2 * time.Hour)
	expect("clock before the leaf", alone, ErrExpired)
	now = now.Add(2*time.Hour - 11*time.Minute)
	expect("clock right again", alone, nil)

	serial := Serial(good.Leaf.SerialNumber)
	w.revoked[serial] = true
	expect("revoked within the epoch", whole, ErrRevoked)
	delete(w.revoked, serial)

	w.epoch.Add(1)
	expect("known in an earlier epoch", alone, ErrUntrusted)
	expect("learnt anew", whole, nil)
	w.own = x509.NewCertPool()
	w.epoch.Add(1)
	expect("root removed", whole, ErrUntrusted)
}

// TestKnownBounded fills the memory beyond its bound and lets a reader of an old
// epoch try to bring it back.
func TestKnownBounded(t *testing.T) {
	var k known
	key := func(i int) (b [32]byte) { b[0], b[1] = byte(i), byte(i>>8); return b }
	k.get(key(0), 1)
	for i := range maxKnown + 100 {
		k.put(key(i), 1, finding{})
	}
	if len(k.byKey) != maxKnown {
		t.Errorf("%d leaves remembered, bound %d", len(k.byKey), maxKnown)
	}
	k.get(key(0), 2)
	k.put(key(7), 1, finding{})
	if _, ok := k.get(key(7), 2); ok || len(k.byKey) != 0 {
		t.Error("a finding of epoch 1 is known in epoch 2")
	}
	k.put(key(7), 2, finding{})
	if _, ok := k.get(key(7), 1); ok {
		t.Error("a finding of epoch 2 is known in epoch 1")
	}
	if _, ok := k.get(key(7), 2); !ok {
		t.Error("a late reader made epoch 2 forget")
	}
}
