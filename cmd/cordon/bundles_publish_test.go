package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/policy/rego"
)

// publisher makes bundles, good and bad, without the code that is to refuse them: where that
// would not make one, the bytes are made here.
type publisher struct {
	key    *ecdsa.PrivateKey
	keyID  string
	signer ed25519.PrivateKey
	opa    rego.KeyPair
	own    rego.KeyPair
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	opa, own, err := rego.NewBundleKeyPairs()
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{keyID: opa.ID, opa: opa, own: own}
	read := func(text []byte) any {
		block, _ := pem.Decode(text)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	p.key, p.signer = read(opa.Private).(*ecdsa.PrivateKey), read(own.Private).(ed25519.PrivateKey)
	return p
}

// files of a policy, by name.
type files map[string]string

func (f files) with(name, text string) files {
	out := maps.Clone(f)
	if out[name] = text; text == "" {
		delete(out, name)
	}
	return out
}

func manifestOf(revision string) string {
	return fmt.Sprintf(`{"revision": %q, "roots": [""], "rego_version": 1}`, revision)
}

// member is one entry of an archive.
type member struct {
	tar.Header
	text string
}

func (f files) members() (list []member) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		list = append(list, member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, f[name]})
	}
	return list
}

// archive writes members as a tar archive, whatever they are.
func archive(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		if m.Typeflag == tar.TypeReg {
			m.Size = int64(len(m.text))
		}
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// beside is a detached signature.
type beside struct {
	Schema    string    `json:"schema"`
	Key       string    `json:"key"`
	SHA256    string    `json:"sha256"`
	Revision  int64     `json:"revision"`
	Made      time.Time `json:"made"`
	Until     time.Time `json:"until"`
	Signature []byte    `json:"signature"`
}

// detach signs a file of that revision. change, if not nil, changes what is signed.
func (p *publisher) detach(tarball []byte, revision int64, change func(*beside)) []byte {
	sum := sha256.Sum256(tarball)
	now := time.Now().UTC().Truncate(time.Second)
	b := &beside{Schema: "cordon.policy.bundle.signature/v1", Key: p.own.ID, SHA256: hex.EncodeToString(sum[:]), Revision: revision, Made: now, Until: now.Add(time.Hour)}
	if change != nil {
		change(b)
	}
	b.Signature = ed25519.Sign(p.signer, fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%d\n%d\n", b.Schema, b.Key, b.SHA256, b.Revision, b.Made.Unix(), b.Until.Unix()))
	text, _ := json.Marshal(b) // of strings, numbers and times
	return text
}

// claims are what OPA's signature is over.
type claims struct {
	Files []hashOf `json:"files"`
	Scope string   `json:"scope,omitempty"`
	Key   string   `json:"keyid,omitempty"`
}

type hashOf struct {
	Name      string `json:"name"`
	Hash      string `json:"hash"`
	Algorithm string `json:"algorithm"`
}

// header is that of OPA's token.
type header map[string]any

func (p *publisher) header() header { return header{"alg": "ES256", "kid": p.keyID} }

// token signs claims as ES256 (RFC 7518 section 3.4), whatever the header says.
func (p *publisher) token(t *testing.T, h header, c any) string {
	t.Helper()
	text := segment64(t, h) + "." + segment64(t, c)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment64(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// hashes lists files as "opa sign" does.
func (p *publisher) hashes(t *testing.T, f files) claims {
	t.Helper()
	signed, err := rego.SignBundle(gzipped(t, archive(t, f.members()...)), p.opa.Private, "")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != ".signatures.json" {
			continue
		}
		var list struct{ Signatures []string }
		if err := json.NewDecoder(r).Decode(&list); err != nil {
			t.Fatal(err)
		}
		body, err := base64.RawURLEncoding.DecodeString(strings.Split(list.Signatures[0], ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var c claims
		if err := json.Unmarshal(body, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// signaturesOf is the content of .signatures.json.
func signaturesOf(tokens ...string) string {
	text, _ := json.Marshal(map[string][]string{"signatures": tokens})
	return string(text)
}

// publish signs files as they should be.
func (p *publisher) publish(t *testing.T, f files, revision int64) rego.Delivery {
	t.Helper()
	f = f.with(".manifest", manifestOf(fmt.Sprint(revision)))
	return p.sealed(t, f.with(".signatures.json", signaturesOf(p.token(t, p.header(), p.hashes(t, f)))), revision)
}

// sealed packs files as they are and signs beside them.
func (p *publisher) sealed(t *testing.T, f files, revision int64) rego.Delivery {
	t.Helper()
	return p.outside(gzipped(t, archive(t, f.members()...)), revision)
}

// outside signs any file from outside only.
func (p *publisher) outside(tarball []byte, revision int64) rego.Delivery {
	return rego.Delivery{Bundle: tarball, Signature: p.detach(tarball, revision, nil)}
}

// offer puts a delivery where the site's gateway looks for bundles, and takes away what was
// there.
func (s *site) offer(t *testing.T, d rego.Delivery) {
	t.Helper()
	for name, text := range map[string][]byte{"gw/bundles/b.tar.gz.sig": d.Signature, "gw/bundles/b.tar.gz": d.Bundle} {
		if err := os.Remove(s.path(name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if text != nil {
			s.write(t, name, string(text))
		}
	}
}

// useBundles makes the site's gateway take its policy from p's bundles.
func (s *site) useBundles(t *testing.T, p *publisher, from, every string) {
	t.Helper()
	if err := os.MkdirAll(s.path("gw/bundles"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/bundle.pub", string(p.opa.Public))
	s.write(t, "gw/signer.pub", string(p.own.Public))
	s.configure(t, "policy:\n", fmt.Sprintf("policy:\n  bundle: { from: %q, key: bundle.pub, signer: signer.pub, every: %s }\n", from, every))
}
