package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
	"cordon/deploy/demo"
	"cordon/deploy/dimse"
	"cordon/deploy/poct"
)

// attack is one virtual patch over the wire: what its flaw needs, refused in the protocol's
// own words, and the ordinary traffic beside it, which reaches the device.
type attack struct {
	patch, profile, protocol string   // no patch: the inspector itself refuses it
	settings                 []string // flags of "device add"
	refused, passes          func(c net.Conn) (answer string, err error)
	says                     string // in the answer to what is refused
}

var attacks = []attack{
	{"aestiva-commands", "ge-aestiva", "command",
		[]string{"--set", `commands=[{"name":"measured_values","class":"read","exact":"<ESC>VTD"},{"name":"set_protocol_version","class":"admin","prefix":"<ESC>VTv"}]`,
			"--set", `refusal={"answer":"ERR <CODE>"}`},
		saying("\x1bVTv1.0\r", '\n'), saying("\x1bVTD\r", '\n'), "ERR "},
	{"spacecom-configuration", "bbraun-spacecom", "http", nil, requesting("POST", "/config"), requesting("GET", "/status"), "403"},
	{"", "bbraun-spacecom", "http", nil, requesting("GET", "/log/%25s%25n"), requesting("GET", "/log/1"), "400"},
	{"alaris-gateway-upload", "bd-alaris-gateway", "http", nil, requesting("PUT", "/firmware"), requesting("GET", "/"), "403"},
	// dcmtk-file-names is a second lock: the inspector takes no such name for an AE title.
	{"", "dcmtk-scp", "dicom", nil, calling("..RAY"), calling("RAY"), "rejected"},
	{"", "dcmtk-scp", "dicom", nil, calling("../RAY"), calling("RAY"), "rejected"},
	{"intellivue-results-only", "philips-intellivue", "hl7", nil, sending(message("RGV^O15", "P1", "2.5.1")), sending(message("QRY^A19", "P2", "2.5.1")), "MSA|AR|P1"},
	{"infinity-delta-strict", "draeger-infinity-delta", "hl7", nil,
		sending(strings.ReplaceAll(message("ORU^R01", "P3", "2.5.1"), "\r", "\n")), sending(message("ORU^R01", "P4", "2.5.1") + "\r"), "MSA|AR|P3"},
	{"roche-poc-directives", "roche-poc-handheld", "poct1a", nil, directing("ACME_RUN"), directing("START_CONTINUOUS"), "AE"},
}

func saying(command string, end byte) func(net.Conn) (string, error) {
	return func(c net.Conn) (string, error) {
		if _, err := io.WriteString(c, command); err != nil {
			return "", err
		}
		return bufio.NewReader(c).ReadString(end)
	}
}

func sending(message string) func(net.Conn) (string, error) {
	return saying(framed(message), 0x1c)
}

func requesting(method, path string) func(net.Conn) (string, error) {
	return func(c net.Conn) (string, error) {
		if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: device\r\nContent-Length: 0\r\n\r\n", method, path); err != nil {
			return "", err
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "", err
		}
		return answer.Status, answer.Body.Close()
	}
}

func calling(title string) func(net.Conn) (string, error) {
	return func(c net.Conn) (string, error) {
		a, err := dimse.Associate(c, dimse.Request{CalledAE: "ANY", CallingAE: title, SOPClasses: []string{dimse.Verification}})
		if _, rejected := errors.AsType[*dimse.Rejection](err); rejected {
			return "rejected", nil
		}
		if err != nil {
			return "", err
		}
		if _, err := a.Echo(); err != nil {
			return "", err
		}
		return "echoed", a.Release()
	}
}

func directing(command string) func(net.Conn) (string, error) {
	return func(c net.Conn) (string, error) {
		manager := poct.NewConn(c, 4000)
		if _, err := manager.Greeted(); err != nil {
			return "", err
		}
		answer, err := manager.Direct(command)
		return answer.Code, err
	}
}

// patched makes a gateway whose policy permits biomedical engineering everything, so that what
// is refused is refused by a patch.
func patched(t *testing.T, cordon string) *site {
	t.Helper()
	s := emptySite(t, cordon)
	file := filepath.Join(s.gw(), "policy", "data.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		"  biomed:\n    \"*\": [read, query]\n": "  biomed:\n    \"*\": [read, query, write, control, admin, notify]\n",
		"\nae_titles: {}\n":                     "\nae_titles: {user/tech.ray: [\"*\"]}\n",
	} {
		if !strings.Contains(string(text), old) {
			t.Fatalf("data.yaml does not contain %q", old)
		}
		text = []byte(strings.Replace(string(text), old, new, 1))
	}
	s.write(t, "gw/policy/data.yaml", string(text))
	s.untested(t)
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	return s
}

// newQueriedDevice answers each command of a serial line.
func newQueriedDevice(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				for r := bufio.NewReader(c); ; {
					if _, err := r.ReadString('\r'); err != nil {
						return
					}
					io.WriteString(c, "D 071 016 2.1\r\n")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String()
}

// tellPatches plays the attack that each virtual patch is against.
func tellPatches(t *testing.T, cordon string) {
	s := patched(t, cordon)
	ctx, stop := context.WithCancel(context.Background())
	devices := map[string]string{}
	simulated, wait, err := demo.Serve(ctx, []demo.Device{{ID: "hl7", Protocol: "hl7"}, {ID: "http", Protocol: "http"}, {ID: "dicom", Protocol: "dicom"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); wait() })
	for protocol, address := range simulated {
		devices[protocol] = address
	}
	meter := poct.Analyser{Serial: "S1"}
	devices["poct1a"] = converse(t, func(c *poct.Conn) []string { told, _ := meter.Serve(c); return told }).listener.Addr().String()
	devices["command"] = newQueriedDevice(t)

	listens, taps := map[string]string{}, map[string]*tap{}
	for _, a := range attacks {
		if listens[a.profile] != "" {
			continue
		}
		listens[a.profile], taps[a.profile] = freeAddress(t), newTap(t, devices[a.protocol])
		s.must(t, append([]string{"device", "add", a.profile + "-1", "--dir", s.gw(), "--profile", a.profile, "--protocol", a.protocol,
			"--address", "127.0.0.1", "--port", taps[a.profile].port(), "--listen", listens[a.profile]}, a.settings...)...)
	}
	s.configure(t, "proto: poct1a,", `proto: poct1a, allow_unknown: ["poct1a:DTV.R01"],`)
	d := s.serve(t)
	for _, a := range attacks {
		name := a.patch + " of " + a.profile
		through := func(do func(net.Conn) (string, error)) (answer, sent string) {
			c, err := tls.Dial("tcp", listens[a.profile], s.badge(t, "biomed"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if answer, err = do(c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return answer, taps[a.profile].take()
		}
		answer, sent := through(a.refused)
		if !strings.Contains(answer, a.says) {
			t.Errorf("%s: what is refused is answered %q, want %q", name, answer, a.says)
		}
		for _, secret := range []string{"VTv", "/config", "/log", "/firmware", "..RAY", "RGV", "P3", "ACME_RUN"} {
			if strings.Contains(sent, secret) {
				t.Errorf("%s: the device was sent %q", name, sent)
			}
		}
		because := "virtual patch " + a.patch
		if a.patch == "" {
			because = "by the protocol's inspector, before any policy was asked"
		}
		s.explained(t, s.lastRefusal(t), "DENY "+a.protocol+":", because)
		if answer, sent = through(a.passes); strings.Contains(answer, a.says) || sent == "" {
			t.Errorf("%s: what passes is answered %q, and the device received %q", name, answer, sent)
		}
	}
	d.stop(t)
	closedPorts(t, s)
}

// closedPorts are those of Telnet and FTP: no service of such a device may use them, nor be one
// that nobody reads.
func closedPorts(t *testing.T, s *site) {
	for _, profile := range []string{"baxter-spectrum-wbm", "hospira-lifecare-pca", "fujifilm-fcr-capsula"} {
		protocol := map[bool]string{true: "dicom", false: "http"}[profile == "fujifilm-fcr-capsula"]
		add := func(protocol, port string) outcome {
			return s.run(t, "device", "add", profile, "--dir", s.gw(), "--profile", profile, "--protocol", protocol, "--address", "127.0.0.1", "--port", port, "--listen", freeAddress(t))
		}
		for _, port := range []string{"20", "21", "23"} {
			if out := add(protocol, port); out.code == exit.Done || !strings.Contains(out.stderr, "profile.port") {
				t.Errorf("%s on port %s: %d %s", profile, port, out.code, out.stderr)
			}
		}
		for _, unread := range []string{"stream", "command"} {
			if out := add(unread, "4000"); out.code == exit.Done || !strings.Contains(out.stderr, "profile.protocol") {
				t.Errorf("%s over %s: %d %s", profile, unread, out.code, out.stderr)
			}
		}
		if out := add(protocol, "4000"); out.code != exit.Done {
			t.Errorf("%s over %s: %d %s", profile, protocol, out.code, out.stderr)
		}
	}
}

// tellContec: the monitor that calls a stranger and falls to a datagram. What it says without
// being asked ends the session and stands in the log, and no datagram reaches it.
func tellContec(t *testing.T, cordon string) {
	s := patched(t, cordon)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unasked := framed(message("ORU^R01", "CALLHOME", "2.5.1"))
	served := make(chan struct{})
	go func() {
		defer close(served)
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			if got, err := bufio.NewReader(c).ReadString(0x1c); err == nil {
				c.Write(acknowledge([]byte(got)))
			}
			io.WriteString(c, unasked)
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-served })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	s.must(t, "device", "add", "mon-7", "--dir", s.gw(), "--profile", "contec-cms8000", "--protocol", "hl7", "--address", "127.0.0.1", "--port", port, "--listen", s.listen)
	d := s.serve(t)

	c := s.dial(t, "biomed")
	if answer := send(t, c, framed(message("ORU^R01", "R1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R1") {
		t.Errorf("a result is answered %q", answer)
	}
	io.Copy(io.Discard, c) // replies are observed: the session ends right behind what is none
	s.explained(t, s.lastRefusal(t), "DENY hl7:ORU^R01", "by the protocol's inspector")

	flood, err := net.Dial("udp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	for size := range 64 {
		flood.Write(make([]byte, size*20)) // refused by ICMP, or by nobody
	}
	datagrams.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if n, from, err := datagrams.ReadFrom(make([]byte, 2048)); err == nil {
		t.Errorf("a datagram of %d bytes from %v reached the device", n, from)
	}
	again := s.dial(t, "biomed")
	if answer := send(t, again, framed(message("ORU^R01", "R2", "2.5.1"))); !strings.Contains(answer, "MSA|AA|R2") {
		t.Errorf("after the flood, a result is answered %q", answer)
	}
	d.stop(t)
}
