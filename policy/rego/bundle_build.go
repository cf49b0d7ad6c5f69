package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// BuildBundle makes an unsigned bundle of the policy below dir, which must compile, have
// tests and pass them. The same files, revision and label give the same bytes. revision is 1
// to MaxBundleRevision; label may be empty.
func BuildBundle(ctx context.Context, dir string, revision uint64, label string) ([]byte, Results, error) {
	e, err := Load(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(e.folder.tests) == 0 {
		return nil, nil, refuse(dir, Problem{Code: "bundle.tests.none", Message: "the policy has no tests", Hint: "add *_test.rego files that say what must hold"})
	}
	results, err := e.folder.test(ctx, dir)
	if err != nil || results.Failed() > 0 {
		return nil, results, err
	}
	name := fmt.Sprint(revision)
	if label != "" {
		name += "+" + label
	}
	one := 1
	text, err := json.Marshal(manifestJSON{Revision: &name, Roots: &[]string{""}, RegoVersion: &one})
	if err != nil {
		return nil, results, fmt.Errorf("write the manifest: %w", err)
	}
	files := slices.Concat([]Source{{manifestName, text}}, e.folder.rules, e.folder.tests, e.folder.data)
	if _, p := readManifest(files); p != nil {
		return nil, results, refuse(dir, *p)
	}
	tarball, err := pack(files)
	if err == nil && len(tarball) > MaxBundle {
		err = refuse(dir, Problem{Code: "bundle.size", Message: fmt.Sprintf("makes a bundle of more than %d MiB", MaxBundle>>20)})
	}
	return tarball, results, err
}

// SignBundle puts OPA's signature into a bundle, in place of one that is there. key is a
// private key in PEM (PKCS #8); id is what the gateway calls it, or "" for KeyID's.
func SignBundle(tarball, key []byte, id string) ([]byte, error) {
	private, err := privateKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	algorithm, err := algorithmOf(private.Public())
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	if id == "" {
		id = KeyID(private.Public())
	}
	if !keyIDForm.MatchString(id) {
		return nil, fmt.Errorf("the key id %q is not 1 to 64 letters, digits, dots, hyphens and underscores", id)
	}
	files, p := unpackBundle(tarball)
	if p != nil {
		return nil, refuse("", *p)
	}
	files = slices.DeleteFunc(files, func(s Source) bool { return s.Name == signaturesName })
	var listed []bundle.FileInfo
	for _, s := range files {
		one, err := hashed(s)
		if err != nil {
			return nil, fmt.Errorf("hash %q: %w", s.Name, err)
		}
		listed = append(listed, one)
	}
	token, err := bundle.GenerateSignedToken(listed, bundle.NewSigningConfig(string(key), algorithm, ""), id)
	if err != nil {
		return nil, fmt.Errorf("sign the bundle: %w", err)
	}
	text, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		return nil, fmt.Errorf("sign the bundle: %w", err)
	}
	return pack(append([]Source{{signaturesName, text}}, files...))
}

// hashed is a file as OPA's signature lists it: documents by their values, all else by bytes.
func hashed(s Source) (bundle.FileInfo, error) {
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		return bundle.FileInfo{}, err
	}
	var value any = s.Text
	if bundle.IsStructuredDoc(s.Name) {
		value = nil
		if err := util.Unmarshal(s.Text, &value); err != nil {
			return bundle.FileInfo{}, err
		}
	}
	sum, err := hasher.HashFile(value)
	return bundle.NewFile(s.Name, hex.EncodeToString(sum), string(bundle.SHA256)), err
}

// SignDetached returns the content of the file beside a bundle, which may be taken for period
// after made. key is an Ed25519 private key in PEM. The bundle must be complete by then.
func SignDetached(tarball, key []byte, made time.Time, period time.Duration) ([]byte, error) {
	files, p := unpackBundle(tarball)
	if p != nil {
		return nil, refuse("", *p)
	}
	if _, ok := member(files, signaturesName); !ok {
		return nil, errors.New("the bundle has no " + signaturesName + " yet: OPA's signature comes first, because this one covers it")
	}
	m, p := readManifest(files)
	if p != nil {
		return nil, refuse("", *p)
	}
	d, err := newDetached(tarball, m.revision, key, made, period)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}

// pack writes a bundle that depends on its files only.
func pack(files []Source) ([]byte, error) {
	slices.SortFunc(files, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, s := range files {
		if err := w.WriteHeader(&tar.Header{Name: s.Name, Mode: 0o644, Size: int64(len(s.Text))}); err != nil {
			return nil, fmt.Errorf("pack %q: %w", s.Name, err)
		}
		if _, err := w.Write(s.Text); err != nil {
			return nil, fmt.Errorf("pack %q: %w", s.Name, err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("pack the bundle: %w", err)
	}
	return out.Bytes(), nil
}
