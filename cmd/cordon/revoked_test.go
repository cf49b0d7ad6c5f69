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
certificate = gw/hospital.pem
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

// hospitalCA is a site whose clients also come from an authority of the hospital's own, which is openssl.
type hospitalCA struct {
	*site
	program string
}

func newHospitalCA(t *testing.T, cordon string) *hospitalCA {
	h := &hospitalCA{newSite(t, cordon), peer(t, "openssl", "openssl")}
	h.issueStaff(t)
	for name, text := range map[string]string{"hospital.cnf": hospitalConfig, "index.txt": "", "crlnumber": "01\n"} {
		h.write(t, name, text)
	}
	request := []string{"req", "-config", "hospital.cnf", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	h.openssl(t, append(request, "-x509", "-days", "3", "-extensions", "authority", "-subj", "/CN=St Elsewhere", "-keyout", "hospital.key", "-out", "gw/hospital.pem")...)
	for _, id := range []string{"pacs", "lab"} {
		h.openssl(t, append(request, "-subj", "/CN="+id, "-addext", "subjectAltName=URI:spiffe://cordon.internal/service/"+id, "-keyout", id+".key", "-out", id+".csr")...)
		h.openssl(t, "ca", "-config", "hospital.cnf", "-batch", "-notext", "-extensions", "client", "-in", id+".csr", "-out", id+".pem")
	}
	h.configure(t, "# trust_file: hospital.pem", "trust_file: hospital.pem")
	h.configure(t, "# crl_file: hospital.crl", "crl_file: hospital.crl")
	return h
}

func (h *hospitalCA) openssl(t *testing.T, args ...string) {
	t.Helper()
	if out := runProgram(t, h.dir, nil, h.program, args...); out.code != 0 {
		t.Fatalf("openssl %s: %s", strings.Join(args, " "), out.stderr)
	}
}

// revokes takes a badge back; the next list says so.
func (h *hospitalCA) revokes(t *testing.T, badge string) {
	t.Helper()
	h.openssl(t, "ca", "-config", "hospital.cnf", "-revoke", badge+".pem", "-crl_reason", "keyCompromise")
}

// list brings in the next list, as a whole: nobody reads half of it.
func (h *hospitalCA) list(t *testing.T, args ...string) {
	t.Helper()
	h.openssl(t, append([]string{"ca", "-config", "hospital.cnf", "-gencrl", "-out", "next.crl"}, args...)...)
	if err := os.Rename(h.path("next.crl"), h.path("gw/hospital.crl")); err != nil {
		t.Fatal(err)
	}
}

// enters has a client send a result, and wants it to be answered or not.
func (h *hospitalCA) enters(t *testing.T, when, badge string, whether bool) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", h.listen, h.badge(t, badge))
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

func tellRevocationLists(t *testing.T, cordon string) {
	t.Run("while connected", func(t *testing.T) { revokedWhileConnected(t, cordon) })
	t.Run("restarts", func(t *testing.T) { restartedWithoutLists(t, cordon) })
}

// revokedWhileConnected has the hospital take back the badge of a client that is connected. Then its list ends, and is
// replaced.
func revokedWhileConnected(t *testing.T, cordon string) {
	s := newHospitalCA(t, cordon)
	s.list(t)
	s.must(t, "check", "-c", s.path("gw/cordon.yaml"))
	m := s.monitored(t)
	d := s.serve(t)
	goesOn := func(when string, c *tls.Conn) {
		t.Helper()
		if answer := send(t, c, framed(message("ORU^R01", "L2", "2.3"))); !strings.Contains(answer, "MSA|AA|L2") {
			t.Errorf("%s, a session of another is answered %q", when, answer)
		}
	}
	stolen, other, own := s.enters(t, "at first", "pacs", true), s.enters(t, "at first", "lab", true), s.enters(t, "at first", "engine", true)
	const source = `source="revocation-lists"`
	m.shows(t, map[string]float64{"cordon_reload_last_successful{" + source + "}": 1})
	if ends := m.scrape(t)[`cordon_certificate_not_after_timestamp_seconds{certificate="revocation-list"}`]; ends < float64(time.Now().Unix()) {
		t.Errorf("the metrics have the list end at %v", ends)
	}

	s.revokes(t, "pacs")
	s.list(t)
	began := time.Now()
	if n, err := stolen.Read(make([]byte, 1)); n > 0 || err == nil || !time.Now().Before(began.Add(patience)) {
		t.Errorf("revoked, a live session reads %d bytes, %v", n, err)
	}
	t.Logf("a revoked session ended after %v", time.Since(began).Round(time.Millisecond))
	s.enters(t, "revoked", "pacs", false)
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
	if out := s.run(t, "check", "-c", s.path("gw/cordon.yaml")); out.code != exit.Findings || !strings.Contains(out.stdout, "ok: 1 device") || !strings.Contains(out.stderr, "whole PEM blocks of 1") {
		t.Errorf("with half a list, check exits with %d: %s", out.code, out.stderr)
	}
	s.enters(t, "with half a list", "pacs", false)
	s.enters(t, "with half a list", "lab", true)

	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("060102150405Z") }
	s.list(t, "-crl_nextupdate", in(time.Second))
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
	s.enters(t, "when the list is over", "lab", false)
	s.explained(t, s.lastRefusal(t), `revocation of the client certificate unknown: the list of "St Elsewhere" was over`)
	goesOn("when the list is over", own)

	s.list(t)
	m.shows(t, map[string]float64{"cordon_reload_last_successful{" + source + "}": 1})
	if !eventually(func() bool { return s.mentioned(t, "revocation-lists: all is well again") > 0 }) {
		t.Error("that there is another list has no entry")
	}
	s.enters(t, "with the next list", "lab", true)
	s.enters(t, "with the next list", "pacs", false)
	d.stop(t)
}
