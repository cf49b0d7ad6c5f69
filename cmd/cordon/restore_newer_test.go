package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// restoredBundles: whichever bundle decided, none before the newest that is known comes back.
func restoredBundles(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	p := newPublisher(t)
	s.useBundles(t, p, "bundles", "24h")
	files := s.policyFiles(t)
	decides := func(when string, revision uint64) {
		t.Helper()
		if is := s.bundleStatus(t); is.InForce == nil || is.InForce.Revision != revision {
			t.Errorf("%s, in force is %+v, want %d", when, is.InForce, revision)
		}
	}
	offered := func(revision int64, code string) {
		t.Helper()
		s.offer(t, p.publish(t, files.with("data.yaml", files["data.yaml"]+"\n# the next one\n"), revision))
		out := s.reloads(t)
		if code == "" && out.code != exit.Done || code != "" && !strings.Contains(out.stderr, "code: "+code+"\n") {
			t.Errorf("offered revision %d, it exits with %d: %s", revision, out.code, out.stderr)
		}
	}
	s.offer(t, p.publish(t, files, 11))
	d := s.serve(t)
	offered(12, "")
	offered(14, "")
	s.must(t, "policy", "bundle", "load", "--rollback-to", "12", "--yes", "--dir", s.gw())
	decides("rolled back", 12)
	s.backUp(t, "ward.backup")
	d.kill()
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}

	// Elsewhere, without the server.
	s.restore(t, "ward.backup", s.gw())
	if err := os.MkdirAll(s.path("gw/bundles"), 0o700); err != nil {
		t.Fatal(err)
	}
	d = s.serve(t)
	decides("restored", 12)
	if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "B1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|B1") {
		t.Errorf("the answer is %q", answer)
	}
	offered(11, "bundle.older")
	offered(13, "bundle.older")
	decides("offered older ones", 12)
	s.must(t, "policy", "bundle", "load", "--rollback-to", "11", "--yes", "--dir", s.gw()) // by name, from what is kept
	decides("rolled back by name", 11)

	// Over the gateway, which has had newer ones meanwhile.
	offered(16, "")
	newest := s.read(t, "gw/bundles/b.tar.gz")
	signature := s.read(t, "gw/bundles/b.tar.gz.sig")
	d.stop(t)
	out := s.run(t, "restore", "ward.backup", "--dir", s.gw(), "--identity", "ward.key", "--yes")
	if out.code != exit.Done || !strings.Contains(out.stderr, "no bundle older than revision 16") {
		t.Errorf("it exits with %d: %s", out.code, out.stderr)
	}
	if err := os.RemoveAll(s.path("gw/bundles")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.path("gw/bundles"), 0o700); err != nil {
		t.Fatal(err)
	}
	d = s.serve(t)
	decides("restored over", 12)
	offered(15, "bundle.older")
	offered(16, "bundle.revision.reused") // another one
	decides("offered older ones", 12)
	s.write(t, "gw/bundles/b.tar.gz", newest)
	s.write(t, "gw/bundles/b.tar.gz.sig", signature)
	if out := s.reloads(t); out.code != exit.Done {
		t.Errorf("offered the newest again, it exits with %d: %s", out.code, out.stderr)
	}
	decides("offered the newest again", 16)
	d.stop(t)
}

// revokedUnknown: what was issued after the backup is believed, and can be taken back.
func revokedUnknown(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	s.backUp(t, "ward.backup")
	s.issue(t, "later", "--service", "later", "--role", "interface-engine")
	serial := ""
	var list struct {
		Certificates []struct{ ID, Serial string }
	}
	s.decode(t, &list, "cert", "list", "--json", "--dir", s.gw())
	for _, c := range list.Certificates {
		if c.ID == "later" {
			serial = c.Serial
		}
	}
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}
	s.restore(t, "ward.backup", s.gw())
	d := s.serve(t)
	live := s.dial(t, "later")
	if answer := send(t, live, framed(message("ORU^R01", "U1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|U1") {
		t.Errorf("the answer is %q", answer)
	}
	if out := s.run(t, "cert", "revoke", serial, "--yes", "--dir", s.gw()); out.code == exit.Done || !strings.Contains(out.stderr, "--unknown") {
		t.Errorf("what it does not know it revokes with %d: %s", out.code, out.stderr)
	}
	s.must(t, "cert", "revoke", serial, "--unknown", "--yes", "--dir", s.gw())
	ends(t, "the session of what was revoked", live)
	if !s.refused(t, "later") {
		t.Error("what was revoked is taken")
	}
	d.stop(t)
}

// restoredLists: a list of another authority is never older than the one that is there, and where none is, who restores
// is told to fetch it.
func restoredLists(t *testing.T, cordon string) {
	s := newHospitalCA(t, cordon)
	s.keys(t)
	openssl := func(args ...string) {
		t.Helper()
		s.openssl(t, args...)
	}
	if err := os.Mkdir(s.path("fetched"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"gw/hospital.crl", "fetched/hospital.crl"} { // with the configuration, and elsewhere
		openssl("ca", "-config", "hospital.cnf", "-gencrl", "-crl_lastupdate", time.Now().Add(-time.Hour).UTC().Format("060102150405Z"), "-out", place)
		if place != "gw/hospital.crl" {
			s.configure(t, "crl_file: hospital.crl", "crl_file: "+s.path(place))
			if err := os.Remove(s.path("gw/hospital.crl")); err != nil {
				t.Fatal(err)
			}
		}
		old := s.read(t, place)
		file := filepath.Base(filepath.Dir(place)) + ".backup"
		s.backUp(t, file)
		openssl("ca", "-config", "hospital.cnf", "-revoke", map[bool]string{true: "pacs.pem", false: "lab.pem"}[place == "gw/hospital.crl"])
		openssl("ca", "-config", "hospital.cnf", "-gencrl", "-out", place)
		newer := s.read(t, place)

		s.restore(t, file, s.gw(), "--yes")
		if s.read(t, place) != newer {
			t.Errorf("%s is the older one again", place)
		}
		d := s.serve(t)
		if !s.refused(t, "pacs") || place != "gw/hospital.crl" && !s.refused(t, "lab") {
			t.Errorf("%s: who was revoked since is taken", place)
		}
		d.stop(t)

		// Lost, and older than that of the backup.
		for what, text := range map[string]string{"": old, "no list": "no list"} {
			if place != "gw/hospital.crl" && text != old {
				continue // it is the hospital's, and stays
			}
			s.write(t, place, text)
			s.restore(t, file, s.gw(), "--yes")
			if s.read(t, place) != old {
				t.Errorf("%s, %s: it is not that of the backup", place, what)
			}
		}
		if err := os.Remove(s.path(place)); err != nil {
			t.Fatal(err)
		}
		out := s.run(t, "restore", file, "--dir", s.gw(), "--identity", "ward.key", "--yes", "--outside")
		if out.code != exit.Done || !strings.Contains(out.stderr, "fetch "+s.path(place)+" anew") || s.read(t, place) != old {
			t.Errorf("%s: lost, the restore exits with %d and says %s", place, out.code, out.stderr)
		}
	}
}
