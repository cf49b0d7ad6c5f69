package certs

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

var aDigest = sha256.Sum256([]byte("a policy"))

func newEd25519(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func state(t testing.TB, cert tls.Certificate, purpose string, at time.Time) *Statement {
	t.Helper()
	s, err := SignStatement(cert, purpose, aDigest, at)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestStatement signs with every kind of key, and takes the statement through its JSON
// form to both verifications.
func TestStatement(t *testing.T) {
	w := newWard(t)
	v := NewVerifier(w, domain)
	for name, key := range map[string]crypto.Signer{
		"P-256": newP256(t), "P-384": newEC(t, elliptic.P384()), "RSA": newRSA(t, 2048), "Ed25519": newEd25519(t),
	} {
		s := state(t, w.present(sign(t, w.middle, kim(t), key)), "policy-approve", time.Now())
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Statement
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		uphold := func(s *Statement, purpose string, digest [32]byte) (*Identity, error) {
			id, known, err := v.Uphold(s, purpose, digest)
			if !known {
				t.Errorf("%s: nobody knows whether its certificate was revoked", name)
			}
			return id, err
		}
		for _, verify := range []func(*Statement, string, [32]byte) (*Identity, error){v.Accept, uphold} {
			id, err := verify(&back, "policy-approve", aDigest)
			if err != nil || id.URI() != "spiffe://ward.example/user/dr.kim" || !slices.Equal(id.Roles, []string{"radiologist"}) {
				t.Errorf("%s: %v, %v", name, id, err)
			}
		}
	}
}

// TestFalseStatements makes every part of a statement wrong once.
func TestFalseStatements(t *testing.T) {
	w := newWard(t)
	v := NewVerifier(w, domain)
	now := time.Now()
	good := w.present(sign(t, w.middle, kim(t), newP256(t)))
	other := w.present(sign(t, w.middle, kim(t), newP256(t)))
	stranger := newIssuer(t, issuer{}, nil)
	over := kim(t)
	over.NotBefore, over.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour)
	server := kim(t)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	revoked := w.present(sign(t, w.middle, kim(t), newP256(t)))
	w.revoked[Serial(revoked.Leaf.SerialNumber)] = true

	changed := func(change func(s *Statement)) *Statement {
		s := *state(t, good, "policy-approve", now)
		s.Chain, s.Signature = slices.Clone(s.Chain), slices.Clone(s.Signature)
		change(&s)
		return &s
	}
	tlsSignature := func(s *Statement) { // what a TLS 1.3 client signs, shown as a statement
		key := good.PrivateKey.(crypto.Signer)
		_, content, _ := bytes.Cut(s.message(), []byte{0})
		m := sha256.Sum256(slices.Concat([]byte(strings.Repeat(" ", 64)+"TLS 1.3, client CertificateVerify\x00"), content))
		s.Signature, _ = key.Sign(rand.Reader, m[:], crypto.SHA256)
	}
	for _, c := range []struct {
		name string
		s    *Statement
		want error
	}{
		{"another purpose", state(t, good, "policy-submit", now), ErrStatement},
		{"another digest", changed(func(s *Statement) { s.Digest[31] ^= 1 }), ErrStatement},
		{"the time changed", changed(func(s *Statement) { s.At = s.At.Add(time.Second) }), ErrStatement},
		{"the signature changed", changed(func(s *Statement) { s.Signature[len(s.Signature)-1] ^= 1 }), ErrStatement},
		{"no signature", changed(func(s *Statement) { s.Signature = nil }), ErrStatement},
		{"a signature without end", changed(func(s *Statement) { s.Signature = make([]byte, maxSignature+1) }), ErrStatement},
		{"the certificate of another key", changed(func(s *Statement) { s.Chain = other.Certificate }), ErrStatement},
		{"no certificate", changed(func(s *Statement) { s.Chain = nil }), ErrStatement},
		{"too many certificates", changed(func(s *Statement) { s.Chain = slices.Repeat(s.Chain, 3) }), ErrStatement},
		{"a malformed certificate", changed(func(s *Statement) { s.Chain[1] = []byte{0x30, 0} }), ErrStatement},
		{"a signature made in a handshake", changed(tlsSignature), ErrStatement},
		{"too old", state(t, good, "policy-approve", now.Add(-StatementSkew-2*time.Second)), ErrStatement},
		{"from the future", state(t, good, "policy-approve", now.Add(StatementSkew+3*time.Second)), ErrStatement},
		{"the intermediate missing", state(t, sign(t, w.middle, kim(t), newP256(t)), "policy-approve", now), ErrUntrusted},
		{"from another CA", state(t, sign(t, stranger, kim(t), newP256(t)), "policy-approve", now), ErrUntrusted},
		{"expired", state(t, w.present(sign(t, w.middle, over, newP256(t))), "policy-approve", now), ErrExpired},
		{"no client's certificate", state(t, w.present(sign(t, w.middle, server, newP256(t))), "policy-approve", now), ErrProfile},
		{"revoked", state(t, revoked, "policy-approve", now), ErrRevoked},
	} {
		if id, err := v.Accept(c.s, "policy-approve", aDigest); !errors.Is(err, c.want) || id != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, id, err, c.want)
		}
		if c.name == "too old" {
			continue // but signed by a valid certificate: whoever accepted it may keep it
		}
		if id, known, err := v.Uphold(c.s, "policy-approve", aDigest); !errors.Is(err, c.want) || id != nil || known {
			t.Errorf("%s, upheld: %v, %v; want %v", c.name, id, err, c.want)
		}
	}
}

// TestUphold follows one statement from its making until nobody can vouch for it.
func TestUphold(t *testing.T) {
	w := newWard(t)
	v := NewVerifier(w, domain)
	made := time.Now()
	tmpl := kim(t)
	tmpl.NotAfter = made.Add(10 * time.Minute)
	w.middle = newIssuer(t, w.root, func(c *x509.Certificate) { c.NotAfter = made.Add(100 * time.Hour) })
	cert := w.present(sign(t, w.middle, tmpl, newP256(t)))
	s := state(t, cert, "policy-approve", made)

	expect := func(step string, after time.Duration, accepted, upheld error, known bool) {
		t.Helper()
		v.now = func() time.Time { return made.Add(after) }
		if _, err := v.Accept(s, "policy-approve", aDigest); !errors.Is(err, accepted) {
			t.Errorf("%s: accept: %v; want %v", step, err, accepted)
		}
		if _, got, err := v.Uphold(s, "policy-approve", aDigest); !errors.Is(err, upheld) || got != known {
			t.Errorf("%s: uphold: %v, %v; want %v, %v", step, got, err, known, upheld)
		}
	}
	expect("when made", 0, nil, nil, true)
	expect("before it was made", -time.Hour, ErrStatement, ErrStatement, false)
	expect("later", 6*time.Minute, ErrStatement, nil, true)
	expect("when the certificate is over", time.Hour, ErrStatement, nil, true)
	expect("when its revocation is forgotten", 10*time.Minute+Remembered+time.Minute, ErrStatement, nil, false)
	w.revoked[Serial(cert.Leaf.SerialNumber)] = true
	expect("when it was revoked", 2*time.Minute, ErrRevoked, ErrRevoked, false)
	expect("when it was revoked and is over", time.Hour, ErrStatement, ErrRevoked, false)
}

func TestSignStatementRefuses(t *testing.T) {
	w := newWard(t)
	good := w.present(sign(t, w.middle, kim(t), newP256(t)))
	stolen := good
	stolen.PrivateKey = newP256(t)
	keyless := good
	keyless.PrivateKey = nil
	for name, try := range map[string]struct {
		cert    tls.Certificate
		purpose string
	}{
		"another's key": {stolen, "x"}, "no key": {keyless, "x"}, "no purpose": {good, ""},
		"a purpose with a space": {good, "a b"}, "a long purpose": {good, strings.Repeat("a", MaxName+1)}, "nothing": {},
	} {
		if _, err := SignStatement(try.cert, try.purpose, aDigest, time.Now()); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// FuzzStatement gives the reader any bytes. What it accepts is written as the same bytes,
// and only the original counts.
func FuzzStatement(f *testing.F) {
	w := newWard(f)
	v := NewVerifier(w, domain)
	s := state(f, w.present(sign(f, w.middle, kim(f), newEd25519(f))), "policy-approve", time.Now())
	good, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`{"purpose"`), []byte(`{"Purpose":"","purpose"`), 1))
	f.Add(bytes.Replace(good, []byte(`Z"`), []byte(`+00:00"`), 1))
	f.Add(append(good[:len(good)-1:len(good)-1], `,"more":1}`...))
	f.Add([]byte(`{"purpose":"a","digest":"","at":"","chain":null,"signature":null}`))
	f.Add([]byte(`{"purpose":"a","digest":"` + strings.Repeat("00", 32) + `","at":"0000-01-01T00:00:00Z","chain":[""],"signature":""}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Statement
		if err := s.UnmarshalJSON(text); err != nil {
			if !errors.Is(err, ErrStatement) || s.Chain != nil {
				t.Errorf("refused with %v", err)
			}
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var plain bytes.Buffer
		if err := json.Compact(&plain, text); err != nil || !bytes.Equal(again, plain.Bytes()) {
			t.Errorf("%q, written again %q", text, again)
		}
		// Certificates beside the chain are the one thing that nobody signs.
		_, _, err = v.Uphold(&s, "policy-approve", aDigest)
		s.Chain = s.Chain[:min(1, len(s.Chain))]
		if mine, _ := json.Marshal(s); err == nil && !bytes.Contains(good, mine[:bytes.IndexByte(mine, ']')]) {
			t.Errorf("somebody else's statement counts: %s", text)
		}
	})
}
