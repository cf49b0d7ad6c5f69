package ca

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"cordon/certs"
)

// TestRevokeUnknown: what this authority does not know can be in its list.
func TestRevokeUnknown(t *testing.T) {
	a := newAuthority(t, Limits{})
	x, _ := issue(t, a, kim())
	const later = "0badc0de"
	if err := a.Revoke(t.Context(), later); !errors.Is(err, ErrUnknown) {
		t.Errorf("it knows %s: %v", later, err)
	}
	for range 2 {
		if err := a.RevokeUnknown(t.Context(), later, x.Identity.Serial); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "xyz", "-1", "0", strings.Repeat("f", 42)} {
		if err := a.RevokeUnknown(t.Context(), bad, "aa"); err == nil {
			t.Errorf("serial %q was revoked", bad)
		}
	}
	text, err := os.ReadFile(a.path(crlFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list.RevokedCertificateEntries {
		got = append(got, certs.Serial(e.SerialNumber))
	}
	slices.Sort(got)
	if want := []string{later, x.Identity.Serial}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the list has %q, want %q", got, want)
	}
}
