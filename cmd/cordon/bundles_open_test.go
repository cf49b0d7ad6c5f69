package main

import (
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
