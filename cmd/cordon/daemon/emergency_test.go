package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/cmd/cordon/signed"
	"cordon/gateway"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
	"cordon/policy/rego"
)

// glass is a gateway's break-glass without the gateway's sockets.
type glass struct {
	*emergencies
	authority *ca.Authority
	broken    bool     // the log cannot be written
	notes     []string // in it
	alarms    []string
}

func newGlass(t *testing.T) *glass {
	t.Helper()
	dir := t.TempDir()
	if err := rego.WriteShipped(filepath.Join(dir, "policy")); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{
		Gateway: config.Gateway{Name: "east", State: dir}, Identity: config.Identity{TrustDomain: "ward.example"}, Policy: config.Policy{Dir: filepath.Join(dir, "policy")},
		Devices:    []config.Device{{ID: "ct-2", Class: "imaging/ct", State: policy.StateActive}, {ID: "pump-1", Class: "pump/infusion", State: policy.StateActive}},
		BreakGlass: config.BreakGlass{Roles: []string{"nurse-manager"}, Groups: []string{"icu-lead"}, Duration: 30 * time.Minute, Max: 2 * time.Hour, DeviceClasses: []string{"imaging/*"}},
	}
	if err := ca.Init(filepath.Join(dir, home.CADir), ca.Config{TrustDomain: "ward.example"}); err != nil {
		t.Fatal(err)
	}
	authority, err := ca.Open(filepath.Join(dir, home.CADir), ca.Limits{TTL: time.Hour, MaxTTL: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	source, err := authority.Source(t.Context(), ca.SourceConfig{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := revision.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	g := &glass{authority: authority}
	record := func(e audit.Entry) error {
		if g.broken {
			return errors.New("no space left on device")
		}
		g.notes = append(g.notes, string(e.Kind)+" "+e.Note)
		return nil
	}
	quiet := slog.New(slog.DiscardHandler)
	parts := &Assembly{Config: c, configured: inForce{policy: engine, devices: configuredFacts(c)}, source: &revision.Source{Current: engine}, Policy: engine,
		Gateway: gateway.New(gateway.Config{Certs: source, Policy: engine, Logger: quiet})}
	parts.standing = openStanding(c, record, parts, quiet)
	parts.standing.alarm = func(e audit.Entry, f *access.Fact) { g.alarms = append(g.alarms, string(e.Kind)) }
	g.emergencies = &emergencies{config: c, standing: parts.standing, verifier: certs.NewVerifier(source, "ward.example"), issue: authority.Issue, log: quiet}
	return g
}

// badge issues a certificate to somebody.
func (g *glass) badge(t *testing.T, r ca.Request) tls.Certificate {
	t.Helper()
	if r.Kind == "" {
		r.Kind = policy.KindUser
	}
	issued, err := g.authority.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(issued.Chain, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (g *glass) wish(once string) Opening {
	return Opening{Gateway: "ward.example/east", Device: "ct-2", Reason: "patient in danger", Once: once}
}

// opens signs an opening and hands it in.
func (g *glass) opens(t *testing.T, cert tls.Certificate, purpose string, o any) (EmergencyAnswer, error) {
	t.Helper()
	said, err := signed.Sign(cert, purpose, o)
	if err != nil {
		t.Fatal(err)
	}
	return g.do(t.Context(), &EmergencyRequest{Do: map[string]string{PurposeOpen: "open", PurposeReview: "review"}[purpose], Signed: &said}, "root", time.Now())
}

// code is a failure's, "" if there is none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return exit.Errors(err)[0].Code
}

// Nothing is opened for somebody who may not, whatever the command that asks has checked.
func TestGlassStays(t *testing.T) {
	g := newGlass(t)
	manager := g.badge(t, ca.Request{ID: "m.ito", Roles: []string{"nurse-manager"}})
	for what, c := range map[string]struct {
		cert   tls.Certificate
		change func(*Opening)
		want   string
	}{
		"another role":    {g.badge(t, ca.Request{ID: "n.abe", Roles: []string{"nurse"}, Groups: []string{"icu"}}), nil, "break_glass.role"},
		"a vendor":        {g.badge(t, ca.Request{Kind: policy.KindVendor, ID: "acme", Roles: []string{"nurse-manager"}}), nil, "break_glass.role"},
		"a service":       {g.badge(t, ca.Request{Kind: policy.KindService, ID: "oie", Groups: []string{"icu-lead"}}), nil, "break_glass.role"},
		"another gateway": {manager, func(o *Opening) { o.Gateway = "ward.example/west" }, "break_glass.gateway"},
		"no device":       {manager, func(o *Opening) { o.Device = "ct-9" }, "device.unknown"},
		"class":           {manager, func(o *Opening) { o.Device = "pump-1" }, "break_glass.class"},
		"for too long":    {manager, func(o *Opening) { o.Seconds = 2*3600 + 1 }, "break_glass.long"},
		"for ages":        {manager, func(o *Opening) { o.Seconds = 1 << 62 }, "break_glass.long"},
		"backwards":       {manager, func(o *Opening) { o.Seconds = -1 << 62 }, "break_glass.long"},
		"no reason":       {manager, func(o *Opening) { o.Reason = " " }, "access.refused"},
		"two lines":       {manager, func(o *Opening) { o.Reason = "a\nb" }, "access.refused"},
	} {
		o := g.wish(what)
		if c.change != nil {
			c.change(&o)
		}
		alarms := len(g.alarms)
		if _, err := g.opens(t, c.cert, PurposeOpen, o); code(err) != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
		if len(g.alarms) != alarms+1 || !strings.HasPrefix(g.notes[len(g.notes)-1], string(audit.KindBreakGlassRefused)) {
			t.Errorf("%s: alarms %v, notes %q", what, g.alarms, g.notes)
		}
	}

	// Statements that are somebody else's words, or another thing.
	said, err := signed.Sign(manager, PurposeOpen, g.wish("x"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := signed.Sign(manager, PurposeReview, g.wish("x"))
	if err != nil {
		t.Fatal(err)
	}
	late := said
	late.Statement, err = certs.SignStatement(manager, PurposeOpen, said.Statement.Digest, time.Now().Add(-certs.StatementSkew-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	changed := said
	changed.Words = []byte(strings.Replace(string(said.Words), "ct-2", "ct-3", 1))
	for what, s := range map[string]signed.Words{"another purpose": other, "an old one": late, "changed words": changed, "nothing": {Words: said.Words}} {
		if _, err := g.do(t.Context(), &EmergencyRequest{Do: "open", Signed: &s}, "root", time.Now()); code(err) != "statement.refused" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := g.do(t.Context(), &EmergencyRequest{Do: "open", Signed: &signed.Words{Words: append(said.Words, ' '), Statement: said.Statement}}, "root", time.Now()); err == nil {
		t.Error("words of another form are taken")
	}

	// A certificate that was revoked.
	gone := g.badge(t, ca.Request{ID: "m.gone", Roles: []string{"nurse-manager"}})
	leaf, err := x509.ParseCertificate(gone.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := g.authority.Revoke(t.Context(), certs.Serial(leaf.SerialNumber)); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		_, err := g.opens(t, gone, PurposeOpen, g.wish("gone"))
		return code(err) == "statement.refused"
	}) {
		t.Error("a certificate that was revoked opens a device")
	}
	for i := range g.standing.ledger.Facts {
		if f := &g.standing.ledger.Facts[i]; f.Subject != "user/m.gone" { // before the revocation was read
			t.Errorf("opened %+v", f)
		}
	}
	// Not by the verbs of access either.
	if _, err := g.standing.do(&AccessRequest{Do: "make", Fact: access.Fact{Kind: access.Emergency, Subject: "user/x", Device: "ct-2", From: time.Now(), Until: time.Now().Add(time.Hour), Reason: "x", Proof: "x"}}, "root", time.Now()); err == nil {
		t.Error("an emergency is made as a grant is")
	}
}

// What is signed is good once.
func TestOpenedOnce(t *testing.T) {
	g := newGlass(t)
	lead := g.badge(t, ca.Request{ID: "l.kim", Groups: []string{"icu-lead"}})
	said, err := signed.Sign(lead, PurposeOpen, g.wish("one"))
	if err != nil {
		t.Fatal(err)
	}
	r := &EmergencyRequest{Do: "open", Signed: &said}
	done, err := g.do(t.Context(), r, "root", time.Now())
	if err != nil || done.Fact.Phase() != access.InForce || done.Fact.Subject != "user/l.kim" || done.Fact.Until.Sub(done.Fact.From) != 30*time.Minute {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := g.standing.do(&AccessRequest{Do: "end", ID: done.Fact.ID, Reason: "done"}, "dana", time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.do(t.Context(), r, "root", time.Now()); code(err) != "access.conflict" {
		t.Errorf("opened again with the same statement: %v", err)
	}
	if _, err := g.opens(t, lead, PurposeOpen, g.wish("two")); err != nil {
		t.Error(err)
	}
	// A policy that does not look, and a device that is quarantined.
	if _, err := g.standing.do(quarantineRequest(time.Now(), time.Hour), "dana", time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.opens(t, lead, PurposeOpen, g.wish("three")); code(err) != "break_glass.quarantined" {
		t.Errorf("on a quarantined device: %v", err)
	}
	if err := os.Remove(filepath.Join(g.config.Policy.Dir, "break_glass.rego")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.standing.do(&AccessRequest{Do: "release", Device: "ct-2", Reason: "clean"}, "dana", time.Now()); err != nil {
		t.Fatal(err)
	}
}

// What cannot be recorded is not opened, and the codes stay good; a review needs its entry too.
func TestGlassUnrecorded(t *testing.T) {
	g := newGlass(t)
	lead := g.badge(t, ca.Request{ID: "l.kim", Groups: []string{"icu-lead"}})
	sealed, err := g.do(t.Context(), &EmergencyRequest{Do: "seal", Make: 3, Need: 2}, "dana", time.Now())
	if err != nil || len(sealed.Codes) != 3 {
		t.Fatalf("%+v, %v", sealed, err)
	}
	byCodes := &EmergencyRequest{Do: "open", Opening: g.wish(""), Person: "n.abe", Codes: sealed.Codes[1:]}
	g.broken = true
	if _, err := g.opens(t, lead, PurposeOpen, g.wish("one")); code(err) != errUnrecorded.Code {
		t.Errorf("opened without an entry: %v", err)
	}
	if _, err := g.do(t.Context(), byCodes, "root", time.Now()); code(err) != errUnrecorded.Code {
		t.Errorf("opened without an entry: %v", err)
	}
	if _, err := g.do(t.Context(), &EmergencyRequest{Do: "seal", Make: 3, Need: 2}, "dana", time.Now()); code(err) != errUnrecorded.Code {
		t.Errorf("sealed without an entry: %v", err)
	}
	if n := len(g.standing.ledger.Facts); n != 0 {
		t.Errorf("%d are open", n)
	}
	g.broken = false
	done, err := g.do(t.Context(), byCodes, "root", time.Now())
	if err != nil || done.Issued == nil || len(done.Issued.Identity.Roles) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if until := done.Issued.Identity.NotAfter; until.After(done.Fact.Until.Add(patience)) {
		t.Errorf("the certificate ends at %v, the emergency at %v", until, done.Fact.Until)
	}

	found := Review{Gateway: "ward.example/east", ID: done.Fact.ID, Note: "needed"}
	if _, err := g.opens(t, lead, PurposeReview, found); code(err) != "access.conflict" {
		t.Errorf("reviewed while it goes on: %v", err)
	}
	if _, err := g.standing.do(&AccessRequest{Do: "end", ID: done.Fact.ID, Reason: "done"}, "dana", time.Now()); err != nil {
		t.Fatal(err)
	}
	g.broken = true
	if _, err := g.opens(t, lead, PurposeReview, found); code(err) != errUnrecorded.Code || !g.standing.ledger.Facts[0].Unreviewed() {
		t.Errorf("reviewed without an entry: %v", err)
	}
	g.broken = false
	for what, change := range map[string]func(*Review){"another gateway": func(r *Review) { r.Gateway = "x" }, "another": func(r *Review) { r.ID = "E-00000" }, "no note": func(r *Review) { r.Note = "" }} {
		r := found
		change(&r)
		if _, err := g.opens(t, lead, PurposeReview, r); err == nil {
			t.Errorf("%s: reviewed", what)
		}
	}
	// Not under the name in which the codes were used.
	for _, name := range []string{"n.abe", "N.Abe"} {
		if _, err := g.opens(t, g.badge(t, ca.Request{ID: name, Groups: []string{"icu-lead"}}), PurposeReview, found); code(err) != "break_glass.own" {
			t.Errorf("one's own is reviewed by %s: %v", name, err)
		}
	}
	if done, err := g.opens(t, lead, PurposeReview, found); err != nil || done.Fact.Unreviewed() {
		t.Errorf("%+v, %v", done, err)
	}
	want := []string{"break-glass-refused", "break-glass-refused", "break-glass-opened", "break-glass-closed", "break-glass-reviewed"}
	if strings.Join(g.alarms, " ") != strings.Join(want, " ") {
		t.Errorf("alarms %v, want %v", g.alarms, want)
	}
}

// The certificate's authority fails: the codes stay good, and nothing is open.
func TestGlassWithoutAuthority(t *testing.T) {
	g := newGlass(t)
	sealed, err := g.do(t.Context(), &EmergencyRequest{Do: "seal", Make: 2, Need: 2}, "dana", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := &EmergencyRequest{Do: "open", Opening: g.wish(""), Person: "n.abe", Codes: sealed.Codes}
	good := g.issue
	g.issue = func(context.Context, ca.Request) (*ca.Issued, error) { return nil, errors.New("no authority") }
	if _, err := g.do(t.Context(), r, "root", time.Now()); err == nil || len(g.standing.ledger.Facts) > 0 {
		t.Errorf("%v, with %+v", err, g.standing.ledger)
	}
	g.issue = good
	for _, person := range []string{"", "n abe", "a/b", strings.Repeat("x", 200)} {
		r.Person = person
		if _, err := g.do(t.Context(), r, "root", time.Now()); code(err) != "break_glass.person" {
			t.Errorf("person %q: %v", person, err)
		}
	}
	r.Person = "n.abe"
	if _, err := g.do(t.Context(), r, "root", time.Now()); err != nil {
		t.Error(err)
	}
}

// What is an alarm is told with whom it is about; what is none is not.
func TestAlarms(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{Gateway: config.Gateway{Name: "east", State: dir}, Alarms: config.Alarms{Syslog: "unix:///nowhere/log"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody delivers
	parts := &Assembly{Config: c, logger: slog.New(slog.DiscardHandler), broken: make(chan error, 1), raised: newRaised()}
	if err := parts.openAlarms(ctx); err != nil {
		t.Fatal(err)
	}
	s := openStanding(c, func(audit.Entry) error { return nil }, nil, parts.logger)
	s.alarm = parts.alarm
	for _, r := range []*AccessRequest{grantRequest(time.Now(), 0, time.Hour), quarantineRequest(time.Now(), time.Hour), {Do: "release", Device: "ct-2", Reason: "clean"}} {
		if _, err := s.do(r, "dana", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	parts.unwritable(errors.New("no space left on device"))
	parts.unwritable(errors.New("again"))
	following, stop := context.WithCancel(t.Context())
	parts.running.Go(func() { parts.followLog(following) })
	var files []string
	if !eventually(func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, AlarmDir, "syslog", "*.json"))
		return len(files) == 3
	}) {
		t.Fatalf("%q wait", files)
	}
	stop()
	parts.running.Wait()
	for i, want := range []string{`"name":"quarantine"`, `"name":"release"`, `"name":"log-unwritable"`} {
		if text, err := os.ReadFile(files[i]); err != nil || !strings.Contains(string(text), want) || i < 2 && !strings.Contains(string(text), `"device":"ct-2"`) {
			t.Errorf("got %s, %v, want %s", text, err, want)
		}
	}
	file := filepath.Join(dir, "cordon.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\nalarms: { syslog: /dev/log }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AlarmChannels(wrong); err == nil || exit.Errors(err)[0].Line != 4 {
		t.Errorf("an address that is none: %v", err)
	}
}
