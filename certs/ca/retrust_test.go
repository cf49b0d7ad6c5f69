package ca

import (
	"errors"
	"path/filepath"
	"testing"

	"cordon/certs"
)

// TestRetrust has a source go by other files: who is vouched for by whom they name, and is on no list, is let in, and nobody else;
// where the trust file cannot be read nobody is, until it can be. Lists that were good once count on, as at a start; an authority
// of which there never was one vouches for nobody.
func TestRetrust(t *testing.T) {
	first, second, third := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil), newClinic(t, "Elsewhere North", nil)
	ito, abe, stolen, ali := first.badge(t, "dr.ito"), second.badge(t, "dr.abe"), second.badge(t, "dr.kim"), third.badge(t, "dr.ali")
	g := newGate(t, certPEM(first.cert.Raw), listPEM(first.list(t, nil)))
	dir := t.TempDir()
	trust, lists, missing := filepath.Join(dir, "second.pem"), filepath.Join(dir, "second.crl"), filepath.Join(dir, "later")
	g.put(t, trust, certPEM(second.cert.Raw))
	g.put(t, lists, listPEM(second.list(t, nil, stolen.Leaf)))
	north := filepath.Join(dir, "north.pem")
	g.put(t, north, certPEM(second.cert.Raw, third.cert.Raw))
	no, unknown := certs.ErrUntrusted, certs.ErrRevocationUnknown
	for _, c := range []struct {
		name, trust, crl      string
		fails                 bool
		ito, abe, stolen, ali error
	}{
		{"as before", g.trust, g.crl, false, nil, no, no, no},
		{"another, whose lists are not to be read", trust, missing, true, no, unknown, unknown, no},
		{"another with its list", trust, lists, false, no, nil, certs.ErrRevoked, no},
		{"another, and nobody asks for lists", trust, "", false, no, nil, nil, no},
		{"one more, without a list", north, lists, false, no, nil, certs.ErrRevoked, unknown},
		{"not to be read", missing, "", true, no, no, no, no},
		{"lists of nobody", "", lists, true, no, no, no, no},
		{"none", "", "", false, no, no, no, no},
		{"not to be read again", missing, lists, true, no, no, no, no},
	} {
		epoch := g.Epoch()
		if err := g.Retrust(c.trust, c.crl); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if moved := g.Epoch() != epoch; moved != (c.name != "as before") {
			t.Errorf("%s: sessions are asked again: %v", c.name, moved)
		}
		for range 2 { // at once, and after another look at the files
			if x, y, z, n := g.asks(t, ito), g.asks(t, abe), g.asks(t, stolen), g.asks(t, ali); !errors.Is(x, c.ito) || !errors.Is(y, c.abe) || !errors.Is(z, c.stolen) || !errors.Is(n, c.ali) {
				t.Errorf("%s: %v; %v; %v; %v", c.name, x, y, z, n)
			}
			g.lookNow()
		}
	}
	g.put(t, missing, certPEM(second.cert.Raw))
	if err := g.asks(t, abe); err != nil {
		t.Errorf("once it can be read: %v", err)
	}
	if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("once it can be read, the revoked one: %v", err)
	}
}
