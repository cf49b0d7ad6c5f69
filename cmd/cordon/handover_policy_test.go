package main

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// rolloutHandedOver hands over while a revision is at a canary. It stays there, in the new process and for sessions that
// stayed in the old one; each next step reaches both; and what the old process decides by is on disk, whatever is
// removed there meanwhile.
func rolloutHandedOver(t *testing.T, cordon string) {
	s := &hospital{site: emptySite(t, cordon), listen: map[string]string{}}
	s.device = newRecorder(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	for _, id := range []string{"mon-7", "mon-8"} {
		s.site.listen = freeAddress(t)
		s.listen[id] = s.site.listen
		s.add(t, id, "monitor/bedside", "hl7", port)
	}
	s.configure(t, "policy:\n", "policy:\n  approval: { authors: [security], approvers: [security-lead] }\n")
	s.issueStaff(t)
	s.issue(t, "kim", "--user", "kim", "--role", "security")
	s.issue(t, "ada", "--user", "ada", "--role", "security-lead")
	s.daemon = s.serve(t)
	s.inTables(t, "monitor/*: [read, query, notify]", "monitor/*: [read, query, notify, write]")
	s.edit(t, "policy/cordon_test.rego", `"nurse monitor/bedside": {"session", "read", "query", "notify"}`, `"nurse monitor/bedside": {"session", "read", "query", "notify", "write"}`)
	s.dropTests(t, s.path("gw/policy/cordon_test.rego"))
	s.must(t, "policy", "submit", "--cert", "kim.pem", "-m", "nurses enter results", "--dir", s.gw())
	s.must(t, "policy", "approve", "2", "--cert", "ada.pem", "--yes", "--dir", s.gw())
	s.policy(t, "rollout", "2", "--stage", "canary", "--devices", "mon-7", "--yes")
	seven, eight := s.to(t, "mon-7", "nurse"), s.to(t, "mon-8", "nurse")
	s.writes(t, seven, "AA")
	s.writes(t, eight, "AR")

	s.handOver(t, "--handover")
	is := s.policy(t, "rollout", "status")
	if is.Current.Number != 1 || is.Candidate == nil || is.Candidate.Number != 2 || is.Candidate.Stage != "canary" || !slices.Equal(is.Candidate.Devices, []string{"mon-7"}) || is.Comparison == nil {
		t.Errorf("after a hand-over it is %+v", is)
	}
	s.writes(t, seven, "AA") // both stayed
	s.writes(t, eight, "AR")
	s.writes(t, s.to(t, "mon-7", "nurse"), "AA")
	s.writes(t, s.to(t, "mon-8", "nurse"), "AR")

	s.policy(t, "rollout", "2", "--stage", "all", "--yes")
	s.writes(t, eight, "AA")
	s.writes(t, s.to(t, "mon-8", "nurse"), "AA")
	s.handOver(t, "--handover")
	if done := s.policy(t, "rollback"); done.Current.Number != 1 {
		t.Errorf("rolled back, it is %+v", done)
	}
	s.writes(t, seven, "AR") // three processes back
	s.writes(t, s.to(t, "mon-7", "nurse"), "AR")
	if code := s.daemon.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// bundleHandedOver hands over under a bundle, beside a folder that says otherwise and a source that is gone. Its
// revision stays, a newer one reaches sessions that stayed, and an older one is refused by the new process as by the old.
func bundleHandedOver(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	p := newPublisher(t)
	s.useBundles(t, p, "bundles", "24h")
	older := p.publish(t, s.policyFiles(t), 6)
	s.offer(t, p.publish(t, s.policyFiles(t), 7))
	d := s.serve(t)
	says := func(c *tls.Conn, want string) {
		t.Helper()
		if answer := send(t, c, framed(message("ORU^R01", "N1", "2.5.1"))); !strings.Contains(answer, "MSA|"+want+"|") {
			t.Errorf("the answer is %q, want %s", answer, want)
		}
	}
	stays := s.dial(t, "nurse")
	says(stays, "AR")

	s.inTables(t, "monitor/*: [read, query, notify]", "monitor/*: [read, query, notify, write]")
	s.edit(t, "policy/cordon_test.rego", `"nurse monitor/bedside": {"session", "read", "query", "notify"}`, `"nurse monitor/bedside": {"session", "read", "query", "notify", "write"}`)
	(&hospital{site: s}).dropTests(t, s.path("gw/policy/cordon_test.rego"))
	for _, name := range []string{"gw/bundles/b.tar.gz", "gw/bundles/b.tar.gz.sig"} {
		if err := os.Remove(s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	s.handOver(t, "--handover")
	if is := s.bundleStatus(t); is.InForce == nil || is.InForce.Revision != 7 {
		t.Errorf("after a hand-over the bundle is %+v", is.InForce)
	}
	says(stays, "AR")
	says(s.dial(t, "nurse"), "AR")

	s.offer(t, older)
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stderr, "bundle.older") {
		t.Errorf("with an older bundle reload exits with %d and says %s", out.code, out.stderr)
	}
	s.offer(t, p.publish(t, s.policyFiles(t), 8))
	s.must(t, "reload", "--dir", s.gw())
	says(stays, "AA")
	says(s.dial(t, "nurse"), "AA")
	d.stop(t)
	s.must(t, "audit", "verify", "--dir", s.gw())
}
