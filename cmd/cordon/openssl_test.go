package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tellOpenSSL shows with "openssl s_client" who gets through the handshake. Who does not
// is told by an alert (RFC 8446, section 6), and the device sees neither a byte nor a
// connection.
func tellOpenSSL(t *testing.T, cordon string) {
	openssl := peer(t, "openssl", "openssl")
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "rsa", "--service", "mirth", "--role", "interface-engine", "--key", "rsa")
	s.issue(t, "late", "--service", "oie", "--role", "interface-engine", "--ttl", "5s")
	elsewhere := newSite(t, cordon)
	elsewhere.issueStaff(t)
	d := s.serve(t)

	badge := func(s *site, name string, more ...string) []string {
		return append([]string{"-cert", s.path(name + ".pem"), "-key", s.path(name + ".key"), "-cert_chain", s.path(name + ".pem")}, more...)
	}
	leafAlone := []string{"-cert", s.path("engine.pem"), "-key", s.path("engine.key")}
	s.waitEnded(t, "late")
	result := message("ORU^R01", "R1", "2.5.1")

	for _, refused := range []struct {
		name  string
		args  []string
		alert string // its number
	}{
		{"no certificate", nil, "116"},
		{"an expired certificate", badge(s, "late"), "42|45"},
		{"a certificate of another CA", badge(elsewhere, "engine"), "42|48"},
		{"TLS 1.2", badge(s, "engine", "-tls1_2"), "70"},
		{"a group that is not offered", badge(s, "engine", "-groups", "X448"), "40"},
	} {
		answer, said := s.converse(t, openssl, framed(result), refused.args...)
		if answer != "" || !regexp.MustCompile(`SSL alert number (`+refused.alert+`)\b`).MatchString(said) {
			t.Errorf("%s: answered %q, and s_client says %s, want alert %s", refused.name, answer, said, refused.alert)
		}
	}
	s.sendPlain(t, framed(result))
	s.device.want(t, 0, "")
	var denied int
	for line := range strings.Lines(s.must(t, "audit", "tail", "-n", "100", "--dir", s.gw())) {
		if strings.Contains(line, "DENY") {
			denied++
		}
	}
	if denied != 6 {
		t.Errorf("the log holds %d refusals, want one for each of 6:\n%s", denied, s.must(t, "audit", "tail", "-n", "100", "--dir", s.gw()))
	}

	var want []string
	for _, allowed := range []struct {
		name string
		args []string
		says string // by s_client of the connection
	}{
		{"the leaf and its chain", badge(s, "engine"), `Protocol version: TLSv1\.3`},
		{"the leaf alone", leafAlone, `Verification: OK`},
		{"an RSA key", badge(s, "rsa"), `Verification: OK`},
		{"X25519 only", badge(s, "engine", "-groups", "X25519"), `Temp Key: X25519|group: X25519`},
		{"a client that verifies ECDSA", badge(s, "engine", "-sigalgs", "ECDSA+SHA256"), `(?i)signature type: ecdsa`},
		{"a client that verifies RSA", badge(s, "rsa", "-sigalgs", "RSA-PSS+SHA256"), `(?i)signature type: rsa`},
	} {
		answer, said := s.converse(t, openssl, framed(result), allowed.args...)
		if !strings.Contains(answer, "\rMSA|AA|R1\r") || !regexp.MustCompile(allowed.says).MatchString(said) {
			t.Errorf("%s: answered %q, and s_client says %s, want %s", allowed.name, answer, said, allowed.says)
		}
		want = append(want, result)
	}
	d.stop(t)
	s.device.want(t, len(want), framed(want...))
}

// converse sends one frame by s_client, which checks the gateway's certificate, and
// returns the frame that answers and what s_client says on its standard error.
func (s *site) converse(t *testing.T, openssl, frame string, args ...string) (answer, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-connect", s.listen, "-brief", "-ign_eof",
		"-CAfile", s.path("ca.pem"), "-verify_return_error", "-verify_ip", "127.0.0.1"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Dir = &stderr, s.dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, frame) // it may be gone already
	answer, _ = bufio.NewReader(stdout).ReadString(0x1C)
	stdin.Close()
	if answer != "" {
		cmd.Process.Kill() // -ign_eof: it would wait for the gateway to hang up
	}
	cmd.Wait()
	if ctx.Err() != nil {
		t.Fatalf("s_client got neither an answer nor an alert: %s", stderr.Bytes())
	}
	return answer, stderr.String()
}

// sendPlain sends a frame to the gateway without TLS and waits until it hangs up.
func (s *site) sendPlain(t *testing.T, frame string) {
	t.Helper()
	c, err := net.Dial("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, frame)
	if got, err := io.ReadAll(c); strings.Contains(string(got), "MSA") {
		t.Errorf("plain HL7 was answered with %q (%v)", got, err)
	}
}
