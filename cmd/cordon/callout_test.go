package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tellCallOut has a CT push images to its PACS as it always did: in plain, to an address it was
// configured with. The gateway takes the call and goes on to the PACS by mutual TLS, as the CT.
func tellCallOut(t *testing.T, cordon string) {
	openssl := peer(t, "openssl", "openssl")
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	pacs := w.path("pacs")
	if out := runProgram(t, w.dir, nil, openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=pacs", "-addext", "subjectAltName=DNS:pacs.hospital.example", "-keyout", pacs+".key", "-out", pacs+".pem"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	w.edit(t, "cordon.yaml", "    # trust_file: hospital.pem # believe these roots too\n", "    trust_file: "+pacs+".pem\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", strings.Replace(wardSegment, "    services:\n", `    call_out:
      images: { proto: dicom, catch: 10.9.0.9:104, to: 10.1.0.2:2762, server_name: pacs.hospital.example }
      archive: { proto: dicom, catch: 10.9.0.9:105, to: 10.1.0.2:2762, server_name: other.hospital.example }
      reports: { proto: dicom, catch: 10.9.0.9:106, to: 10.1.0.2:2762, server_name: pacs.hospital.example }
    services:
`, 1))
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  device/ct-1: [CT1]\n")
	w.write(t, "gw/policy/calls.rego", `package cordon

patched contains "no-images" if {
	input.service.name == "reports"
	input.operation.name == "dicom:C-STORE"
}
`)
	w.issue(t, "spare", "--device", "spare", "--role", "device") // for ca.pem
	w.ip(t, "link set seg0 name seg9")                           // as if its driver were late
	m := newManager(t)
	d := w.serve(t)
	if line := d.readyLine(); !strings.Contains(line, `"segments":[{"name":"imaging","up":false,"why":"interface seg0 is not in the segment`) {
		t.Errorf("ready without the segment's interface, the gateway says %s", line)
	}
	w.ip(t, "link set seg9 name seg0")
	if !eventually(func() bool { return strings.Contains(d.logged(), `"msg":"segment can be reached","name":"imaging"`) }) {
		t.Fatal("the segment does not come up with its interface")
	}
	if !eventually(func() bool { states, _ := m.all(); return len(states) > 1 }) {
		t.Fatal("the service manager was not told that the segment is up")
	}
	if states, _ := m.all(); !strings.Contains(states[0], " READY=1\nSTATUS=segment imaging is not up yet: interface seg0 is not in the segment") || !strings.HasSuffix(states[1], " STATUS=") {
		t.Errorf("the service manager was told %q", states)
	}

	got := t.TempDir()
	name, args := w.in("client", peer(t, "storescp", "dcmtk"), "-v", "-d", "-dhl", "+B", "-od", got, "-aet", "PACS",
		"+tls", pacs+".key", pacs+".pem", "+cf", w.path("ca.pem"), "2762")
	storescp := start(t, got, name, args...)
	storescp.waitFor(t, "listening", func() bool {
		return strings.Contains(w.runIn(t, "client", "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout, ":0ACA ")
	})
	push := func(title, port string, program string, more ...string) outcome {
		t.Helper()
		return w.runIn(t, "device", program, append([]string{"-v", "-aet", title, "-aec", "PACS", "10.9.0.9", port}, more...)...)
	}

	if out := push("CT1", "104", "storescu", file); out.code != 0 {
		t.Fatalf("storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	if files := stored(t, got); len(files) != 1 {
		t.Errorf("the PACS holds %q, want one image", files)
	} else {
		sameDataSet(t, files[0], file)
	}
	said := storescp.said()
	if !strings.Contains(said, "CT1") || strings.Contains(said, "10.9.0.7") {
		t.Error("the PACS was not called by the gateway under the device's title")
	}
	log := w.must(t, "audit", "tail", "-n", "20", "--json", "--dir", w.gw())
	if !regexp.MustCompile(`"allow":true.*"kind":"device".*"direction":"outbound","client":"10\.9\.0\.7".*"name":"dicom:C-STORE"`).MatchString(log) {
		t.Errorf("the log does not say that the device stored an image:\n%s", log)
	}

	// The device is told in its own protocol what it may not do.
	out := push("CT1", "106", "storescu", file)
	if !strings.Contains(out.stdout+out.stderr, "0x124") {
		t.Errorf("storescu of what is refused exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	const seen = "PDU Type: Associate Request"
	before := strings.Count(storescp.said(), seen)
	for what, refused := range map[string][3]string{
		"another title":                 {"CT9", "104", "Calling AE Title Not Recognized"},
		"a destination of another name": {"CT1", "105", "Rejected Transient"},
	} {
		if out := push(refused[0], refused[1], "storescu", file); out.code == 0 || !strings.Contains(out.stdout+out.stderr, refused[2]) {
			t.Errorf("%s: storescu exits with %d and says %s%s, want %s", what, out.code, out.stdout, out.stderr, refused[2])
		}
	}
	if after := strings.Count(storescp.said(), seen); before != 2 || after != before {
		t.Errorf("the PACS has seen %d associations and then %d, want 2", before, after)
	}
	if !strings.Contains(d.logged(), "other.hospital.example") {
		t.Error("the gateway does not log that the destination is not who it should be")
	}
	if !regexp.MustCompile(`"msg":"session".*"service":"images".*"to_destination":\d{4,},"to_device":\d{2,4},`).MatchString(d.logged()) {
		t.Errorf("the session's line does not say what went where:\n%s", d.logged())
	}

	w.must(t, "segment", "down", "imaging", "--yes", "--dir", w.gw())
	w.must(t, "segment", "up", "--dir", w.gw())
	if !eventually(func() bool { return strings.Count(d.logged(), "call-out can be taken") == 3 }) {
		t.Fatalf("the gateway does not take calls in a segment that was made anew:\n%s", d.logged())
	}
	if out := push("CT1", "104", "storescu", file); out.code != 0 {
		t.Errorf("with its segment made anew, storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
}
