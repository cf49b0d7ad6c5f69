package main

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"
)

// trustTakenBack has a configuration name a hospital's authority no longer, which takes a new process: the sessions of its
// clients that stayed with the old one end as well, and those of others go on there.
func trustTakenBack(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	hospital := s.path("hospital") // another gateway's authority will do
	s.must(t, "init", hospital)
	if err := os.Mkdir(s.path("theirs"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.must(t, "cert", "issue", "--dir", hospital, "--service", "lab", "--role", "interface-engine", "--out", "theirs/lab")
	s.write(t, "hospital.pem", s.read(t, "hospital/state/ca/root.pem"))
	s.issueStaff(t)
	s.configure(t, "# trust_file: hospital.pem", "trust_file: ../hospital.pem #")
	d := s.serve(t)
	enter := func(badge string) *tls.Conn {
		t.Helper()
		c := s.dial(t, badge)
		if answer := send(t, c, framed(message("ORU^R01", "T1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|T1") {
			t.Fatalf("%s is answered %q", badge, answer)
		}
		return c
	}
	theirs, own := enter("theirs/lab"), enter("engine")
	first := d.processes()[0]
	s.configure(t, "trust_file: ../hospital.pem #", "# trust_file: hospital.pem")
	s.handOver(t)
	began := time.Now()
	const soon = patience / 4
	theirs.SetReadDeadline(began.Add(soon))
	if n, err := theirs.Read(make([]byte, 1)); n > 0 || err == nil || !time.Now().Before(began.Add(soon)) {
		t.Errorf("a session of an authority that is trusted no more reads %d bytes, %v", n, err)
	}
	if answer := send(t, own, framed(message("ORU^R01", "T2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|T2") || !alive(first) {
		t.Errorf("a session of our own is answered %q", answer)
	}
	s.explained(t, s.lastRefusal(t), "client certificate not from a trusted authority")
	d.stop(t)
}
