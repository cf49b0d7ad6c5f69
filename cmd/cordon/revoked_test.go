package main

import (
	"crypto/tls"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"cordon/certs"
	"cordon/cmd/cordon/exit"
)

const hospitalConfig = `[ca]
default_ca = this
[this]
database = index.txt
crlnumber = crlnumber
rand_serial = yes
new_certs_dir = .
certificate = hospital.pem
private_key = hospital.key
default_md = sha256
default_days = 2
default_crl_days = 14
policy = anything
copy_extensions = copy
crl_extensions = list
[anything]
commonName = supplied
[list]
authorityKeyIdentifier = keyid
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
` + certs.ClaimsOID + ` = ASN1:UTF8String:{\"roles\":[\"interface-engine\"],\"groups\":[],\"mfa\":false}
`

// tellRevocationLists has a hospital's own authority, which is openssl, take back the badge of a client that is
// connected. Then its list ends, and is replaced.
func tellRevocationLists(t *testing.T, cordon string) {
	program := peer(t, "openssl", "openssl")
	s := newSite(t, cordon)
	s.issueStaff(t)
	for name, text := range map[string]string{"hospital.cnf": hospitalConfig, "index.txt": "", "crlnumber": "01\n"} {
		s.write(t, name, text)
	}
	openssl := func(args ...string) {
		t.Helper()
		if out := runProgram(t, s.dir, nil, program, args...); out.code != 0 {
			t.Fatalf("openssl %s: %s", strings.Join(args, " "), out.stderr)
		}
	}
	request := []string{"req", "-config", "hospital.cnf", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	openssl(append(request, "-x509", "-days", "3", "-extensions", "authority", "-subj", "/CN=St Elsewhere", "-keyout", "hospital.key", "-out", "hospital.pem")...)
	for _, id := range []string{"pacs", "lab"} {
		openssl(append(request, "-subj", "/CN="+id, "-addext", "subjectAltName=URI:spiffe://cordon.internal/service/"+id, "-keyout", id+".key", "-out", id+".csr")...)
		openssl("ca", "-config", "hospital.cnf", "-batch", "-notext", "-extensions", "client", "-in", id+".csr", "-out", id+".pem")
	}
	list := func(args ...string) { // as a whole: nobody reads half of it
		t.Helper()
		openssl(append([]string{"ca", "-config", "hospital.cnf", "-gencrl", "-out", "next.crl"}, args...)...)
		if err := os.Rename(s.path("next.crl"), s.path("gw/hospital.crl")); err != nil {
			t.Fatal(err)
		}
	}
	list()
	s.configure(t, "# trust_file: hospital.pem", "trust_file: ../hospital.pem")
	s.configure(t, "# crl_file: hospital.crl", "crl_file: hospital.crl")
	s.must(t, "check", "-c", s.path("gw/cordon.yaml"))
	m := s.monitored(t)
	d := s.serve(t)
	enters := func(when, badge string, whether bool) *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", s.listen, s.badge(t, badge))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, framed(message("ORU^R01", "L1", "2.3"))) // refused, it may be gone
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if answered := strings.Contains(string(b[:n]), "MSA|AA|L1"); answered != whether {
			t.Errorf("%s, %s is answered %q, %v", when, badge, b[:n], err)
		}
		return c
	}
	goesOn := func(when string, c *tls.Conn) {
		t.Helper()
		if answer := send(t, c, framed(message("ORU^R01", "L2", "2.3"))); !strings.Contains(answer, "MSA|AA|L2") {
			t.Errorf("%s, a session of another is answered %q", when, answer)
		}
	}
	stolen, other, own := enters("at first", "pacs", true), enters("at first", "lab", true), enters("at first", "engine", true)
	const source = `source="revocation-lists"`
	m.shows(t, map[string]float64{"cordon_reload_last_successful{" + source + "}": 1})
	if ends := m.scrape(t)[`cordon_certificate_not_after_timestamp_seconds{certificate="revocation-list"}`]; ends < float64(time.Now().Unix()) {
		t.Errorf("the metrics have the list end at %v", ends)
	}

	openssl("ca", "-config", "hospital.cnf", "-revoke", "pacs.pem", "-crl_reason", "keyCompromise")
	list()
	began := time.Now()
	if n, err := stolen.Read(make([]byte, 1)); n > 0 || err == nil || !time.Now().Before(began.Add(patience)) {
		t.Errorf("revoked, a live session reads %d bytes, %v", n, err)
	}
	t.Logf("a revoked session ended after %v", time.Since(began).Round(time.Millisecond))
	enters("revoked", "pacs", false)
	goesOn("after the revocation", other)
	goesOn("after the revocation", own)
	s.explained(t, s.lastRefusal(t), "client certificate revoked: serial ")

	good := s.read(t, "gw/hospital.crl")
	s.write(t, "gw/hospital.crl", good[:len(good)/2])
	if out := s.reloads(t); out.code != exit.Findings || !strings.Contains(out.stderr, "read revocation lists") {
		t.Errorf("with half a list, the reload exits with %d: %s", out.code, out.stderr)
	}
	if out := s.run(t, "doctor", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, "whole PEM blocks of 1") {
		t.Errorf("with half a list, doctor exits with %d: %s", out.code, out.stdout)
	}
	if out := s.run(t, "check", "-c", s.path("gw/cordon.yaml")); out.code == exit.Done || !strings.Contains(out.stderr, "whole PEM blocks of 1") {
		t.Errorf("with half a list, check exits with %d: %s", out.code, out.stderr)
	}
	enters("with half a list", "pacs", false)
	enters("with half a list", "lab", true)

	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("060102150405Z") }
	list("-crl_nextupdate", in(time.Second))
	if !eventually(func() bool { return s.mentioned(t, `list of "St Elsewhere" was over`) == 1 }) {
		t.Error("that a list is over has no entry")
	}
	m.shows(t, map[string]float64{"cordon_reload_last_successful{" + source + "}": 0})
	if n := m.scrape(t)[`cordon_alarms_raised_total{name="certificates"}`]; n < 2 {
		t.Errorf("%v alarms", n)
	}
	if out := s.run(t, "doctor", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, `the revocation list of "St Elsewhere" was over`) {
		t.Errorf("when the list is over, doctor exits with %d: %s", out.code, out.stdout)
	}
	if out := s.run(t, "check", "-c", s.path("gw/cordon.yaml")); out.code != exit.Done || !strings.Contains(out.stderr, "was over") {
		t.Errorf("when the list is over, check exits with %d: %s", out.code, out.stderr)
	}
	if n, err := other.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("when the list is over, a live session reads %d bytes, %v", n, err)
	}
	enters("when the list is over", "lab", false)
	s.explained(t, s.lastRefusal(t), `revocation of the client certificate unknown: the list of "St Elsewhere" was over`)
	goesOn("when the list is over", own)

	list()
	if !eventually(func() bool { return s.mentioned(t, "revocation-lists: all is well again") == 1 }) {
		t.Error("that there is another list has no entry")
	}
	enters("with the next list", "lab", true)
	enters("with the next list", "pacs", false)
	d.stop(t)
}
