package rego

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Bundle is a policy as it was delivered: one file, signed twice. Both signatures are
// verified and its policy compiles; its tests were not run.
type Bundle struct {
	Engine   *Engine
	Revision uint64    // from 1, higher is newer; MaxBundleRevision at most
	Label    string    // what people call it; may be empty
	Digest   string    // of the whole file, as sha256sum prints it
	Made     time.Time // when it was signed
	Until    time.Time // how long it may be taken; one that was taken stays good
}

// OpenBundle verifies a bundle with the detached signature that lies beside it, and compiles
// its policy. name is what messages call it. now is compared with the detached signature's
// times; the zero time is for a bundle that was taken before, and compares nothing.
//
// The detached signature comes first: nothing is unpacked that it does not cover. Whatever is
// wrong with the bundle is a *Problems; its codes begin with "bundle." if the delivery is at
// fault, with "policy." if the policy is.
func OpenBundle(name string, tarball, signature []byte, keys *BundleKeys, now time.Time) (*Bundle, error) {
	refused := func(p *Problem) error {
		if p.File == "" {
			return refuse("", Problem{File: name, Line: p.Line, Column: p.Column, Code: p.Code, Message: p.Message, Hint: p.Hint})
		}
		return refuse(name, *p)
	}
	if p := checkSize(tarball); p != nil {
		return nil, refused(p)
	}
	d, p := keys.openDetached(tarball, signature, now)
	if p != nil {
		return nil, refused(p)
	}
	files, p := unpackBundle(tarball)
	if p != nil {
		return nil, refused(p)
	}
	m, p := readManifest(files)
	if p == nil && m.revision != d.Revision {
		p = &Problem{Code: "bundle.detached.revision", Message: fmt.Sprintf("the detached signature is for revision %d, but the bundle is revision %d", d.Revision, m.revision),
			Hint: "sign it again: cordon policy bundle sign"}
	}
	if p != nil {
		return nil, refused(p)
	}
	f, p := policyFiles(files)
	if p != nil {
		return nil, refused(p)
	}
	if p := keys.verifyFiles(files); p != nil {
		return nil, refused(p)
	}
	e, err := newEngine(f, name)
	if err != nil {
		return nil, err
	}
	if len(f.tests) == 0 {
		return nil, refused(&Problem{Code: "bundle.tests.none", Message: "the policy has no tests", Hint: "add *_test.rego files that say what must hold"})
	}
	return &Bundle{Engine: e, Revision: m.revision, Label: m.label, Digest: digestOf(tarball), Made: d.Made, Until: d.Until}, nil
}

// policyFiles sorts out what of a bundle is policy.
func policyFiles(files []Source) (*folder, *Problem) {
	f := &folder{}
	for _, s := range files {
		if s.Name == manifestName || s.Name == signaturesName {
			continue
		}
		if strings.HasPrefix(s.Name, accessName+"/") {
			p := reserved(s.Name)
			return nil, &p
		}
		if p := f.add(s.Name, s.Text); p != nil {
			return nil, p
		}
	}
	if p := f.limits(); p != nil {
		return nil, p
	}
	f.sort()
	return f, nil
}

func digestOf(tarball []byte) string {
	sum := sha256.Sum256(tarball)
	return hex.EncodeToString(sum[:])
}
