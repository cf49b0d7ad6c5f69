package main

import (
	"os"
	"testing"

	"cordon/cmd/cordon/exit"
)

// tellSuccessor replaces the authority, as deploy/README.md says: what clients hold stays good,
// and whoever was given both roots notices nothing.
func tellSuccessor(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	if _, got := s.answered(t, "engine", "ORU^R01", "S1"); got != "AA" {
		t.Errorf("under the first authority, a result is answered %s", got)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exits with %d", code)
	}

	s.must(t, "init", s.path("next"))
	both := s.read(t, "ca.pem") + s.read(t, "next/ca.pem")
	for _, move := range [][2]string{{"gw/state/ca", "gw/state/ca.before"}, {"next/state/ca", "gw/state/ca"}} {
		if err := os.Rename(s.path(move[0]), s.path(move[1])); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "gw/before.pem", s.read(t, "gw/state/ca.before/root.pem")+s.read(t, "gw/state/ca.before/intermediate.pem"))
	s.configure(t, "# trust_file: hospital.pem", "trust_file: before.pem")

	s.write(t, "ca.pem", s.read(t, "next/ca.pem"))
	s.issue(t, "fresh", "--service", "oie-2", "--role", "interface-engine")
	s.write(t, "ca.pem", both) // as clients were given it
	d = s.serve(t)
	for badge, want := range map[string]string{"engine": "AA", "fresh": "AA", "nurse": "AR"} {
		if _, got := s.answered(t, badge, "ORU^R01", "S2"); got != want {
			t.Errorf("under the second authority, a result of %s is answered %s, want %s", badge, got, want)
		}
	}
	d.stop(t)
}
