package daemon

import (
	"crypto/tls"
	"testing"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/signed"
)

// Words that were signed for a drill open nothing, and the other way round.
func TestDrillIsNoOpening(t *testing.T) {
	g := newGlass(t)
	manager := g.badge(t, ca.Request{ID: "m.ito", Roles: []string{"nurse-manager"}})
	for _, c := range []struct {
		purpose   string
		opens, ok bool
	}{{PurposeDrill, true, false}, {PurposeOpen, false, false}, {PurposeReview, false, false}, {PurposeDrill, false, true}, {PurposeOpen, true, true}} {
		said, err := signed.Sign(manager, c.purpose, g.wish(c.purpose))
		if err != nil {
			t.Fatal(err)
		}
		if c.opens {
			_, err = g.openSigned(&said, time.Now())
		} else {
			_, err = g.rehearse(t.Context(), &said, time.Now())
		}
		if (err == nil) != c.ok {
			t.Errorf("signed for %s, opens %v: %v", c.purpose, c.opens, err)
		}
		if open := len(g.standing.ledger.Facts); (open > 0) != (c.opens && c.ok) {
			t.Errorf("signed for %s: %d emergencies", c.purpose, open)
		}
	}
}

// Whom a drill refuses is refused for what an opening is.
func TestDrillRefuses(t *testing.T) {
	g := newGlass(t)
	manager := g.badge(t, ca.Request{ID: "m.ito", Roles: []string{"nurse-manager"}})
	for what, c := range map[string]struct {
		cert   tls.Certificate
		change func(*Opening)
		want   string
	}{
		"another role": {g.badge(t, ca.Request{ID: "n.abe", Roles: []string{"nurse"}}), func(*Opening) {}, "break_glass.role"},
		"class":        {manager, func(o *Opening) { o.Device = "pump-1" }, "break_glass.class"},
		"no device":    {manager, func(o *Opening) { o.Device = "ct-9" }, "device.unknown"},
		"gateway":      {manager, func(o *Opening) { o.Gateway = "ward.example/west" }, "break_glass.gateway"},
	} {
		o := g.wish(what)
		c.change(&o)
		said, err := signed.Sign(c.cert, PurposeDrill, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.rehearse(t.Context(), &said, time.Now()); code(err) != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}
