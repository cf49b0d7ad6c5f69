package rego

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// FuzzOpenBundle: what is not signed is refused, whatever it is. What the signer did sign, be it
// what an attacker made, is a policy that OPA's key signed too, or is refused with a reason.
func FuzzOpenBundle(f *testing.F) {
	s := newSigners(f)
	keys := s.keys(f)
	tarball, signature := s.publish(f, deliverable, 3)
	plain, err := pack([]Source{{manifestName, []byte(`{"revision":"1"}`)}, {"p.rego", []byte(small)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tarball, signature)
	f.Add(plain, signature)
	f.Add(tarball, []byte(`{"schema":"`+detachedSchema+`","revision":3}`))
	f.Fuzz(func(t *testing.T, file, text []byte) {
		check := func(detached []byte) {
			if _, err := OpenBundle("b", file, detached, keys, time.Time{}); err == nil && !bytes.Equal(file, tarball) && !sameFiles(file, tarball) {
				t.Fatal("accepted what nobody signed")
			} else if _, ok := errors.AsType[*Problems](err); err != nil && !ok {
				t.Fatalf("not a *Problems: %v", err)
			}
		}
		check(text)
		if own, err := newDetached(file, 3, s.own.Private, time.Now(), time.Hour); err == nil {
			signed, err := json.Marshal(own)
			if err != nil {
				t.Fatal(err)
			}
			check(signed)
		}
	})
}

// FuzzUnpack reads archives as their signer would have made them, by mistake or on purpose. Whatever is taken out
// of one can be packed again, and is the same then.
func FuzzUnpack(f *testing.F) {
	s := newSigners(f)
	keys := s.keys(f)
	tarball, _ := s.publish(f, deliverable, 3)
	files, p := unpackBundle(tarball)
	if p != nil {
		f.Fatal(p)
	}
	plain, p := inflate(tarball)
	if p != nil {
		f.Fatal(p)
	}
	for _, one := range files {
		f.Add(one.Name, one.Text, tarball)
	}
	f.Add("../x.rego", []byte("x"), []byte("PK\x03\x04"))
	f.Add("x.rego", []byte("x"), plain)
	f.Add("x.rego", []byte("x"), tarOf([]Source{{"p.rego", []byte(small)}, {"data.json", []byte("{}")}})) // short, so that headers are changed
	f.Fuzz(func(t *testing.T, name string, text, raw []byte) {
		for _, b := range [][]byte{raw, deflate(t, raw), repack(t, name, text)} {
			files, p := unpackBundle(b)
			if p != nil {
				continue
			}
			size := 0
			for i, one := range files {
				size += len(one.Text)
				if i > 0 && files[i-1].Name >= one.Name || one.Name == "" || one.Name[0] == '/' || strings.Contains("/"+one.Name+"/", "/../") {
					t.Fatalf("a file named %q", one.Name)
				}
			}
			if size > maxUnpacked || len(files) > maxMembers {
				t.Fatalf("%d files of %d bytes", len(files), size)
			}
			again, err := pack(slices.Clone(files))
			if err != nil {
				t.Fatalf("%d files were taken out of what cannot be packed: %v", len(files), err)
			}
			if other, p := unpackBundle(again); p != nil || !slices.EqualFunc(files, other, func(a, b Source) bool { return a.Name == b.Name && bytes.Equal(a.Text, b.Text) }) {
				t.Fatalf("packed again it is something else (%v)", p)
			}
			readManifest(files)
			policyFiles(files)
			if keys.verifyFiles(files) == nil && !bytes.Equal(b, tarball) && !sameFiles(b, tarball) {
				t.Fatal("OPA's signature accepted for files that nobody signed")
			}
		}
	})
}

// FuzzManifest reads manifests: one that is taken says a revision that can be written again.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"revision":"12+spring","roots":[""],"rego_version":1,"metadata":{"by":"x"}}`))
	f.Add([]byte(`{"revision":"1000000001"}`))
	f.Add([]byte(`{"revision":"1","roots":["a"],"wasm":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, p := readManifest([]Source{{manifestName, text}})
		if p == nil && (m.revision < 1 || m.revision > MaxBundleRevision || strings.ContainsAny(m.label, "\n\" ")) {
			t.Fatalf("%q is revision %d %q", text, m.revision, m.label)
		}
		if p != nil && (p.Code == "" || p.Message == "") {
			t.Fatalf("%q is refused without a reason", text)
		}
	})
}

// FuzzToken verifies tokens that the pinned key did sign, whatever their header and claims say: one
// that is taken lists the bundle's file, by the key's own algorithm and name, and nothing else.
func FuzzToken(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // the same in each process of the fuzzer
	info, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: info})
	keys, err := NewBundleKeys(public, "k", public)
	if err != nil {
		f.Fatal(err)
	}
	one := Source{"p.rego", []byte(small)}
	listed, err := hashed(one)
	if err != nil {
		f.Fatal(err)
	}
	const header = `{"alg":"EdDSA","kid":"k"}`
	for _, c := range [][2]string{
		{header, `{"files":[{"name":"p.rego","hash":"` + listed.Hash + `","algorithm":"SHA-256"}]}`},
		{`{"alg":"EdDSA"}`, `{"files":[{"name":"p.rego","hash":"` + listed.Hash + `","algorithm":"SHA-256"}],"keyid":"k"}`},
		{`{"alg":"none","kid":"k"}`, `{"files":[]}`},
		{`{"alg":"EdDSA","kid":"k","crit":["b64"]}`, `{"files":[{"name":"p.rego","hash":"","algorithm":"MD5"}],"scope":"write"}`},
		{header, `{"files":[{"name":"p.rego","hash":"00","algorithm":"SHA-256"},{"name":"P.REGO"},{"name":"p.rego"}]}`},
	} {
		f.Add([]byte(c[0]), []byte(c[1]))
	}
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		encode := base64.RawURLEncoding.EncodeToString
		signed := encode(header) + "." + encode(claims)
		token := signed + "." + encode(ed25519.Sign(private, []byte(signed)))
		text, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
		if err != nil {
			t.Fatal(err)
		}
		if p := keys.verifyFiles([]Source{{signaturesName, text}, one}); p != nil {
			if p.Code == "" || p.Message == "" {
				t.Fatalf("%q and %q are refused without a reason", header, claims)
			}
			return
		}
		var c struct{ Files []bundle.FileInfo }
		if err := json.Unmarshal(claims, &c); err != nil || len(c.Files) != 1 || c.Files[0].Name != one.Name {
			t.Fatalf("%q and %q are taken, %v", header, claims, err)
		}
		if changed := (Source{one.Name, append([]byte("#"), one.Text...)}); keys.verifyFiles([]Source{{signaturesName, text}, changed}) == nil {
			t.Fatalf("%q and %q are taken for another file", header, claims)
		}
	})
}

// FuzzDetached: no text but the signer's own is a detached signature, however it is written.
func FuzzDetached(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	info, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		f.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: info})
	keys, err := NewBundleKeys(public, "k", public)
	if err != nil {
		f.Fatal(err)
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d, err := newDetached([]byte("bundle"), 3, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), made, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(bytes.Replace(text, []byte(`"revision":3`), []byte(`"revision":4`), 1))
	f.Add(bytes.Replace(text, []byte(`"revision":3`), []byte(`"revision":4,"revision":3`), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, p := keys.openDetached([]byte("bundle"), text, made); p == nil && (got.Revision != d.Revision || !got.Made.Equal(d.Made) || !got.Until.Equal(d.Until)) {
			t.Fatalf("%q is taken as revision %d from %v until %v", text, got.Revision, got.Made, got.Until)
		}
	})
}

// deflate compresses what is in a bundle.
func deflate(t *testing.T, plain []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(plain)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// repack makes a bundle of one file, if one can be made.
func repack(t *testing.T, name string, text []byte) []byte {
	b, err := pack([]Source{{name, text}})
	if err != nil {
		return nil
	}
	return b
}

func sameFiles(a, b []byte) bool {
	x, _ := unpackBundle(a)
	y, _ := unpackBundle(b)
	return slices.EqualFunc(x, y, func(a, b Source) bool { return a.Name == b.Name && sameDocument(a, b.Text) })
}
