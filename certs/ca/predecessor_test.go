package ca

import (
	"errors"
	"os"
	"testing"

	"cordon/certs"
)

// What an authority that was replaced has revoked stays revoked by its last list, when the one after it takes its
// intermediate for a foreign one, as deploy/README.md says.
func TestPredecessor(t *testing.T) {
	before := newAuthority(t, Limits{})
	stolen, s := issue(t, before, kim())
	_, g := issue(t, before, kim())
	if err := before.Revoke(t.Context(), stolen.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(before.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	next := newGate(t, read(interFile), read(crlFile))
	if err := next.asks(t, s); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("revoked by the authority before: %v", err)
	}
	if err := next.asks(t, g); err != nil {
		t.Errorf("of the authority before: %v", err)
	}
	own, o := issue(t, next.a, kim())
	if err := next.asks(t, o); err != nil {
		t.Errorf("of this authority: %v", err)
	}
	if err := next.a.Revoke(t.Context(), own.Identity.Serial); err != nil {
		t.Fatal(err)
	}
	next.lookNow()
	if err := next.asks(t, o); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("revoked by this authority: %v", err)
	}
}
