package ca

import (
	"errors"
	"path/filepath"
	"testing"

	"cordon/certs"
)

// TestRetrust has a source go by other files: who is vouched for by whom they name, and is on no list, is let in, and nobody else;
// where one of the two files cannot be read nobody is, until it can be. Our own clients do not notice.
func TestRetrust(t *testing.T) {
	first, second := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil)
	ito, abe, stolen := first.badge(t, "dr.ito"), second.badge(t, "dr.abe"), second.badge(t, "dr.kim")
	g := newGate(t, certPEM(first.cert.Raw), listPEM(first.list(t, nil)))
	dir := t.TempDir()
	trust, lists, missing := filepath.Join(dir, "second.pem"), filepath.Join(dir, "second.crl"), filepath.Join(dir, "later")
	g.put(t, trust, certPEM(second.cert.Raw))
	g.put(t, lists, listPEM(second.list(t, nil, stolen.Leaf)))
	both := filepath.Join(dir, "both.pem")
	g.put(t, both, certPEM(first.cert.Raw, second.cert.Raw))
	for _, c := range []struct {
		name, trust, crl string
		fails            bool
		ito, abe, stolen error
	}{
		{"as before", g.trust, g.crl, false, nil, certs.ErrUntrusted, certs.ErrUntrusted},
		{"another with its list", trust, lists, false, certs.ErrUntrusted, nil, certs.ErrRevoked},
		{"another, and nobody asks for lists", trust, "", false, certs.ErrUntrusted, nil, nil},
		{"both, with the list of one", both, lists, false, certs.ErrRevocationUnknown, nil, certs.ErrRevoked},
		{"both, their lists not to be read", both, missing, true, certs.ErrRevocationUnknown, certs.ErrRevocationUnknown, certs.ErrRevocationUnknown},
		{"not to be read", missing, "", true, certs.ErrUntrusted, certs.ErrUntrusted, certs.ErrUntrusted},
		{"lists of nobody", "", lists, true, certs.ErrUntrusted, certs.ErrUntrusted, certs.ErrUntrusted},
		{"none", "", "", false, certs.ErrUntrusted, certs.ErrUntrusted, certs.ErrUntrusted},
		{"not to be read again", missing, lists, true, certs.ErrUntrusted, certs.ErrUntrusted, certs.ErrUntrusted},
	} {
		epoch := g.Epoch()
		if err := g.Retrust(c.trust, c.crl); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if moved := g.Epoch() != epoch; moved != (c.name != "as before") {
			t.Errorf("%s: sessions are asked again: %v", c.name, moved)
		}
		for range 2 { // at once, and after another look at the files
			if a, b, d := g.asks(t, ito), g.asks(t, abe), g.asks(t, stolen); !errors.Is(a, c.ito) || !errors.Is(b, c.abe) || !errors.Is(d, c.stolen) {
				t.Errorf("%s: %v; %v; %v", c.name, a, b, d)
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
