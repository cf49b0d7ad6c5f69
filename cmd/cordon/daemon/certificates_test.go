package daemon

import (
	"strings"
	"testing"
	"time"

	"cordon/certs/ca"
	"cordon/policy"
)

// Whoever has an identity is in the log before they have it, and whoever has lost one has lost it
// whatever becomes of the log.
func TestCertificatesRecorded(t *testing.T) {
	g := newGlass(t)
	g.config.Identity.CA.LeafTTL = time.Hour
	m := certificates{g.config, g.standing.record}
	kim := ca.Request{Kind: policy.KindUser, ID: "dr.kim", Roles: []string{"radiologist"}, Groups: []string{"icu", "ct"}, MFA: true, TTL: time.Hour}
	state := func(serial string) (revoked bool) {
		t.Helper()
		records, err := g.authority.List()
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			if records[i].Serial == serial {
				return records[i].Revoked
			}
		}
		t.Fatalf("the authority does not know %s", serial)
		return false
	}

	done, err := m.do(t.Context(), &CertificateRequest{Do: "issue", Issue: kim}, "dana")
	if err != nil {
		t.Fatal(err)
	}
	id := done.Issued.Identity
	if want := "certificate-issued " + id.Serial + " issued by dana: user/dr.kim, roles radiologist, groups ct icu, second factor, until " + id.NotAfter.UTC().Format(time.RFC3339); len(g.notes) != 1 || g.notes[0] != want {
		t.Errorf("recorded %q\nwant %q", g.notes, want)
	}
	second, err := m.do(t.Context(), &CertificateRequest{Do: "issue", Issue: ca.Request{Kind: policy.KindService, ID: "oie"}}, "dana")
	if err != nil || len(g.notes) != 2 || strings.Contains(g.notes[1], "roles") || strings.Contains(g.notes[1], "factor") {
		t.Fatalf("%v, recorded %q", err, g.notes)
	}

	g.broken = true
	if done, err := m.do(t.Context(), &CertificateRequest{Do: "issue", Issue: kim}, "dana"); code(err) != "cert.unrecorded" || done != nil {
		t.Errorf("issued without an entry: %+v, %v", done, err)
	}
	records, err := g.authority.List()
	if err != nil {
		t.Fatal(err)
	}
	valid := 0
	for i := range records {
		if records[i].ID == "dr.kim" && !records[i].Revoked {
			valid++
		}
	}
	if valid != 1 {
		t.Errorf("%d certificates of dr.kim are valid, one is recorded", valid)
	}
	if _, err := m.do(t.Context(), &CertificateRequest{Do: "revoke", Serials: []string{id.Serial}}, "dana"); code(err) != "cert.unrecorded" || !state(id.Serial) {
		t.Errorf("revoked %v without an entry: %v", state(id.Serial), err)
	}

	g.broken = false
	colons := strings.ToUpper(second.Issued.Identity.Serial[:2] + ":" + second.Issued.Identity.Serial[2:])
	if _, err := m.do(t.Context(), &CertificateRequest{Do: "revoke", Serials: []string{id.Serial, colons}}, "dana"); err != nil || !state(second.Issued.Identity.Serial) {
		t.Errorf("revoked again, with another: %v", err)
	}
	if _, err := m.do(t.Context(), &CertificateRequest{Do: "revoke", Serials: []string{"00ab12"}}, "dana"); code(err) != "cert.unknown" {
		t.Errorf("revoked what nobody issued: %v", err)
	}
	if _, err := m.do(t.Context(), &CertificateRequest{Do: "revoke", Serials: []string{"00AB12"}, Unknown: true}, "dana"); err != nil {
		t.Error(err)
	}
	want := []string{
		"certificate-revoked " + id.Serial + " revoked by dana: user/dr.kim",
		"certificate-revoked " + second.Issued.Identity.Serial + " revoked by dana: service/oie",
		"certificate-revoked ab12 revoked by dana: its holder is not known here",
	}
	if got := g.notes[2:]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("recorded %q\nwant %q", got, want)
	}
	if _, err := m.do(t.Context(), &CertificateRequest{Do: "renew"}, "dana"); err == nil {
		t.Error("an unknown wish is content")
	}
}
