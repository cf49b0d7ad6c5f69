package main

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"cordon/policy/rego"
)

// What is wrong with a bundle before its tests are run is seen without a gateway, too: the
// quick half of the story.
func TestBadBundles(t *testing.T) {
	p := newPublisher(t)
	keys, err := rego.NewBundleKeys(p.opa.Public, "", p.own.Public)
	if err != nil {
		t.Fatal(err)
	}
	open := func(d rego.Delivery) error {
		_, err := rego.OpenBundle("b.tar.gz", d.Bundle, d.Signature, keys, time.Now())
		return err
	}
	if err := open(p.publish(t, refusing, 11)); err != nil {
		t.Fatalf("the bundle that all of them are made from: %v", err)
	}
	later := map[string]bool{"policy.test": true, "policy.patch.missing": true, "bundle.tests.slow": true, "bundle.older": true, "bundle.revision.reused": true, "test that does not compile": true}
	for _, b := range badBundles() {
		if later[b.code] || later[b.name] {
			continue
		}
		problems, ok := errors.AsType[*rego.Problems](open(b.make(t, p)))
		if !ok || problems.List[0].Code != b.code {
			t.Errorf("%s: %v, want %s", b.name, problems, b.code)
		}
	}
}

// What is refused is told once; what may be half published, if it stays so.
func TestSightings(t *testing.T) {
	var sightings updates
	one, other := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("other"))
	for _, x := range []struct {
		name     string
		delivery [sha256.Size]byte
		code     string
		polled   bool
		known    bool // before
		counts   bool
	}{
		{"half published", one, "bundle.detached.file", true, false, false},
		{"then whole", other, "", true, false, true},
		{"no news", other, "", true, true, false},
		{"half again", one, "bundle.detached.missing", true, false, false},
		{"and still", one, "bundle.detached.missing", true, false, true},
		{"for good", one, "bundle.detached.missing", true, true, false},
		{"a person asks", one, "bundle.detached.missing", false, true, true},
		{"half, and a person asks at once", other, "bundle.detached.file", false, false, true},
		{"signed by a clock that is ahead", one, "bundle.detached.future", true, false, true},
		{"as before", one, "bundle.detached.future", true, false, false},
		{"its time has come", one, "", true, false, true},
	} {
		if got := sightings.known(x.delivery); got != x.known {
			t.Errorf("%s: known is %v", x.name, got)
		}
		if got := sightings.counts(x.delivery, x.code, x.polled); got != x.counts {
			t.Errorf("%s: counts is %v", x.name, got)
		}
	}
}
