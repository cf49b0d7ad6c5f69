package rego

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// signers are the two keys of one publisher.
type signers struct{ opa, own KeyPair }

func newSigners(t testing.TB) signers {
	t.Helper()
	opa, own, err := NewBundleKeyPairs()
	if err != nil {
		t.Fatal(err)
	}
	return signers{opa, own}
}

func (s signers) keys(t testing.TB) *BundleKeys {
	t.Helper()
	k, err := NewBundleKeys(s.opa.Public, "", s.own.Public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publish builds and signs a bundle of these files.
func (s signers) publish(t testing.TB, files map[string]string, revision uint64) (tarball, signature []byte) {
	t.Helper()
	plain, results, err := BuildBundle(t.Context(), write(t, files), revision, "spring")
	if err != nil || results.Failed() > 0 {
		t.Fatal(err, results)
	}
	if tarball, err = SignBundle(plain, s.opa.Private, ""); err == nil {
		signature, err = SignDetached(tarball, s.own.Private, time.Now(), time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tarball, signature
}

var deliverable = map[string]string{
	"p.rego":        small,
	"p_test.rego":   "package cordon_test\n\nimport data.cordon\n\ntest_yes if cordon.allow with input as {\"subject\": {\"mfa\": true}}\n",
	"data.yaml":     "# kept\nwards: [icu]\n",
	"lib/data.json": `{"beds": 3.0}`,
}

// A bundle decides exactly as the folder that it was built from: same files, same digests.
func TestBundleIsTheFolder(t *testing.T) {
	s := newSigners(t)
	tarball, signature := s.publish(t, deliverable, 7)
	again, _ := s.publish(t, deliverable, 7)
	if a, b := len(tarball), len(again); a < b-100 || a > b+100 {
		t.Errorf("the same folder makes bundles of %d and %d bytes", a, b)
	}
	b, err := OpenBundle("b.tar.gz", tarball, signature, s.keys(t), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := load(t, deliverable)
	if b.Revision != 7 || b.Label != "spring" || b.Engine.Revision() != e.Revision() || b.Engine.Data() != e.Data() || b.Digest != digestOf(tarball) {
		t.Errorf("got revision %d %q with the policy %s and the data %s", b.Revision, b.Label, b.Engine.Revision(), b.Engine.Data())
	}
	if results, err := b.Engine.Test(t.Context()); err != nil || len(results) != 1 || results.Failed() > 0 {
		t.Errorf("its tests: %+v, %v", results, err)
	}
	one, _, err := BuildBundle(t.Context(), write(t, deliverable), 7, "spring")
	other, _, err2 := BuildBundle(t.Context(), write(t, deliverable), 7, "spring")
	if err != nil || err2 != nil || !bytes.Equal(one, other) {
		t.Errorf("two builds of the same files differ: %v, %v", err, err2)
	}
}

// "opa build" lays a bundle out in another way, which is read alike.
func TestBundleAsOPABuilds(t *testing.T) {
	s := newSigners(t)
	tarball, _ := s.publish(t, deliverable, 7)
	files, p := unpackBundle(tarball)
	if p != nil {
		t.Fatal(p)
	}
	for i := range files {
		if files[i].Name == signaturesName {
			files[i].Text = bytes.Replace(files[i].Text, []byte("{"), []byte(`{"plugin":"_default",`), 1)
		}
		files[i].Name = "/" + files[i].Name
	}
	tarball, err := pack(files)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := SignDetached(tarball, s.own.Private, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenBundle("b", tarball, signature, s.keys(t), time.Now())
	if err != nil || b.Engine.Revision() != load(t, deliverable).Revision() {
		t.Errorf("refused, or other files: %v", err)
	}
}

// Every kind of key that OPA's signature may be made with works, and says its algorithm.
func TestBundleKeyKinds(t *testing.T) {
	s := newSigners(t)
	_, ed, err := NewBundleKeyPairs()
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := BuildBundle(t.Context(), write(t, deliverable), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, k := range map[string]KeyPair{"ES256": s.opa, "EdDSA": ed, "RS256": rsaPair(t, 2048)} {
		tarball, err := SignBundle(plain, k.Private, "clinic-1")
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		signature, err := SignDetached(tarball, s.own.Private, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := NewBundleKeys(k.Public, "clinic-1", s.own.Public)
		if err != nil || keys.algorithm != algorithm {
			t.Fatalf("the algorithm is %q, %v; want %s", keys.algorithm, err, algorithm)
		}
		if _, err := OpenBundle("b", tarball, signature, keys, time.Now()); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func rsaPair(t testing.TB, bits int) KeyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pair(key, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Keys that nothing should be verified with are refused when they are read.
func TestBundleKeysRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	s := newSigners(t)
	for _, x := range []struct {
		name        string
		key, signer []byte
		id, says    string
	}{
		{"a private key", s.opa.Private, s.own.Public, "", `a "PRIVATE KEY" in PEM`},
		{"a shared secret", []byte("secret"), s.own.Public, "", "not a PEM file"},
		{"a short RSA key", rsaPair(t, 1024).Public, s.own.Public, "", "1024 bits"},
		{"no Ed25519 key", s.opa.Public, s.opa.Public, "", "not an Ed25519 key"},
		{"an id of another form", s.opa.Public, s.own.Public, "a b", `"a b"`},
		{"a damaged key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), s.own.Public, "", "asn1"},
	} {
		if _, err := NewBundleKeys(x.key, x.id, x.signer); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %q in it", x.name, err, x.says)
		}
	}
}

// With one byte changed anywhere, the bundle or its detached signature is refused.
func TestBundleAnyByte(t *testing.T) {
	s := newSigners(t)
	keys := s.keys(t)
	tarball, signature := s.publish(t, map[string]string{"p.rego": deliverable["p.rego"], "p_test.rego": deliverable["p_test.rego"]}, 3)
	now := time.Now()
	for i := range tarball {
		flipped := bytes.Clone(tarball)
		flipped[i] ^= 1 << (i % 8)
		if _, err := OpenBundle("b", flipped, signature, keys, now); err == nil {
			t.Fatalf("accepted with byte %d of the bundle changed", i)
		}
	}
	for i := range signature {
		flipped := bytes.Clone(signature)
		flipped[i] ^= 1 << (i % 7)
		if b, err := OpenBundle("b", tarball, flipped, keys, now); err == nil && !onlySpelling(flipped, signature) {
			t.Fatalf("accepted as revision %d with byte %d of the detached signature changed:\n%s", b.Revision, i, flipped)
		}
	}
}

// onlySpelling reports whether two detached signatures say the same: JSON does not mind the
// space between values and, as Go reads it, the case of keys.
func onlySpelling(a, b []byte) bool {
	var x, y detached
	return strictJSON(a, &x) == nil && strictJSON(b, &y) == nil && bytes.Equal(x.signed(), y.signed()) && bytes.Equal(x.Signature, y.Signature)
}

// The inner signature holds by itself: with one byte of a file changed and the outer
// signature made anew, OPA's refuses.
func TestBundleAnyByteInside(t *testing.T) {
	s := newSigners(t)
	keys := s.keys(t)
	tarball, _ := s.publish(t, deliverable, 3)
	files, p := unpackBundle(tarball)
	if p != nil {
		t.Fatal(p)
	}
	for i, f := range files {
		for at := range f.Text {
			changed := slices.Clone(files)
			text := bytes.Clone(f.Text)
			text[at] ^= 1
			changed[i].Text = text
			if p := keys.verifyFiles(changed); p == nil && !sameDocument(f, text) {
				t.Fatalf("accepted with byte %d of %s changed to %q", at, f.Name, text[at])
			}
		}
	}
}

// sameDocument: of data and manifests OPA signs the values, not how they are written.
func sameDocument(was Source, is []byte) bool {
	a, err := hashed(was)
	b, err2 := hashed(Source{was.Name, is})
	return err == nil && err2 == nil && a.Hash == b.Hash || was.Name == signaturesName && bytes.EqualFold(was.Text, is)
}

// A server is asked again only for what has changed, and what OPA's reader must not see is
// handed on to be judged.
func TestDownload(t *testing.T) {
	s := newSigners(t)
	var offer atomic.Pointer[Delivery]
	var full, unchanged atomic.Int64
	publish := func(revision uint64) {
		tarball, signature := s.publish(t, deliverable, revision)
		offer.Store(&Delivery{"", tarball, signature})
	}
	publish(1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := offer.Load()
		switch tag := `"` + digestOf(d.Bundle) + `"`; {
		case r.URL.Path == "/p/b.tar.gz"+DetachedSuffix && d.Signature != nil:
			w.Write(d.Signature)
		case r.URL.Path != "/p/b.tar.gz":
			http.NotFound(w, r)
		case r.Header.Get("If-None-Match") == tag:
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
		default:
			full.Add(1)
			w.Header().Set("ETag", tag)
			w.Write(d.Bundle)
		}
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	keys := s.keys(t)
	d, err := NewDownloader(server.URL+"/p/b.tar.gz", keys, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fetch := func(want uint64, code string) {
		t.Helper()
		got, err := d.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := OpenBundle(got.Name, got.Bundle, got.Signature, keys, time.Now())
		if problems, ok := errors.AsType[*Problems](err); ok && problems.List[0].Code == code {
			return
		}
		if err != nil || code != "" || b.Revision != want {
			t.Errorf("got %v, want revision %d or the refusal %q", err, want, code)
		}
	}
	fetch(1, "")
	fetch(1, "")
	publish(2)
	fetch(2, "")
	if full.Load() != 2 || unchanged.Load() != 1 {
		t.Errorf("%d whole answers and %d that nothing has changed, want 2 and 1", full.Load(), unchanged.Load())
	}
	good := offer.Load()
	offer.Store(&Delivery{"", good.Bundle, nil})
	d.opa.SetCache("")
	fetch(0, "bundle.detached.missing")
	offer.Store(&Delivery{"", bytes.Repeat([]byte{0x1f, 0x8b}, MaxBundle), good.Signature})
	fetch(0, "bundle.size")
	// Nobody but our reader is shown a bomb, though it is signed: OPA's would unpack all of it.
	big := make([]byte, maxData)
	bomb, err := pack([]Source{{"a/data.json", big}, {"b/data.json", big}, {"c/data.json", big}})
	if err != nil {
		t.Fatal(err)
	}
	beside, err := newDetached(bomb, 3, s.own.Private, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(beside)
	if err != nil {
		t.Fatal(err)
	}
	offer.Store(&Delivery{"", bomb, text})
	fetch(0, "bundle.unpacked")
	offer.Store(good)
	fetch(2, "") // at once, although it has been there before

	if _, err := NewDownloader("http://localhost/b.tar.gz", keys, nil); err == nil {
		t.Error("takes http")
	}
	stranger, err := NewDownloader(server.URL+"/p/b.tar.gz", keys, &tls.Config{RootCAs: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of an unknown authority: %v", err)
	}
}
