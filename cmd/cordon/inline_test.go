package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// The CT keeps its address, its port and its router; on the clients' side there is the gateway
// now. One client is in another network, one in the CT's own.
const inlineSegment = `segments:
  imaging:
    interface: { kind: nic, name: seg0 }
    addresses: [10.9.0.1, 10.9.0.50] # the CT's router, and a client in its own network
    inline: gw0
devices:
  ct-1:
    address: 10.9.0.7
    segment: imaging
    mac: 02:00:00:00:09:07
    class: imaging/ct
    source: client
    services:
      dicom: { proto: dicom, port: 104, listen: "10.9.0.7:104" }
`

// store is a client that stores an image at the CT, by its own address and port.
func (w *ward) store(t *testing.T, file string) outcome {
	t.Helper()
	return w.runIn(t, "client", "storescu", "-v", "-xe", "-to", "5", "-aet", "KIM", "-aec", "CT1",
		"+tls", w.path("kim.key"), w.path("kim.pem"), "+cf", w.path("ca.pem"), "10.9.0.7", "104", file)
}

// silent fails if a TCP connection to an address is opened or refused.
func (w *ward) silent(t *testing.T, when, address string) {
	t.Helper()
	const gaveUp = 124 // as timeout(1) exits
	at := netip.MustParseAddrPort(address)
	out := w.runIn(t, "client", "timeout", "1", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%v/%d", at.Addr(), at.Port()))
	if out.code != gaveUp {
		t.Errorf("%s, %s is not silent: exit code %d, %s", when, address, out.code, out.stderr)
	}
}

// tellInline puts the gateway between a CT and its clients, neither of which is told.
func tellInline(t *testing.T, cordon string) {
	peer(t, "storescu", "dcmtk")
	socat := peer(t, "socat", "socat")
	openssl := peer(t, "openssl", "openssl")
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	w.ip(t, "address add 10.9.0.2/24 dev gw0")
	w.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  user/dr.kim: [KIM]\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", inlineSegment)
	storescp, got := w.receive(t)
	start(t, w.dir, socat, "TCP-LISTEN:22,fork,reuseaddr", "PIPE") // the host's own, at every address
	if !eventually(func() bool { return len(w.reach(t, "client", "10.1.0.1:22")) > 0 }) {
		t.Fatal("the host's own server is not reached")
	}
	for _, want := range []string{"reserve    drop in the host what is for 10.9.0.7, except TCP to 10.9.0.7:104 on gw0", "inline     give gw0 in the host 10.9.0.7"} {
		if out := w.must(t, "segment", "show", "--dir", w.gw()); !strings.Contains(out, want) {
			t.Errorf("segment show lacks %q:\n%s", want, out)
		}
	}

	seen := map[string]int{}
	through := func(when, client string) {
		t.Helper()
		if out := w.store(t, file); out.code != 0 {
			t.Fatalf("%s, storescu exits with %d and says %s%s", when, out.code, out.stdout, out.stderr)
		}
		files := stored(t, got)
		if len(files) != 1 {
			t.Fatalf("%s, the device holds %q, want one image", when, files)
		}
		sameDataSet(t, files[0], file)
		seen[client]++
		if n := strings.Count(storescp.said(), "Association Received: "+client+"\n"); n != seen[client] {
			t.Errorf("%s, the device has seen %d associations from %s, want %d:\n%s", when, n, client, seen[client], storescp.said())
		}
	}
	d := w.serve(t)
	w.withoutNetAdmin(t, d)
	w.isolated(t)
	through("from another network", "10.1.0.2")
	w.silent(t, "with the gateway up", "10.9.0.7:22")
	w.silent(t, "with the gateway up", "10.9.0.7:2762")

	// In the device's own network, ARP finds the gateway on one side and the client on the other.
	w.ip(t, "-n client address add 10.9.0.50/24 dev cli0")
	through("from the device's own network", "10.9.0.50")
	w.isolated(t)
	w.silent(t, "in the device's own network", "10.9.0.7:22")
	w.ip(t, "-n client address del 10.9.0.50/24 dev cli0")

	// As whoever loads a rule set of the host's own does, and a manager of networks.
	for _, harm := range [][]string{{"nft", "flush", "ruleset"}, {"ip", "address", "del", "10.9.0.7/32", "dev", "gw0"}} {
		if out := runProgram(t, "/", nil, harm[0], harm[1:]...); out.code != 0 {
			t.Fatalf("%q: %s", harm, out.stderr)
		}
		var found string
		if !eventually(func() bool {
			found = w.run(t, "segment", "findings", "--dir", w.gw()).stdout
			return !strings.Contains(found, "host-guard") && !strings.Contains(found, "inline")
		}) {
			t.Errorf("after %q the segment is not mended: %s", harm, found)
		}
		w.silent(t, "mended", "10.9.0.7:22")
		through("mended", "10.1.0.2")
	}

	d.kill()
	w.silent(t, "with the gateway killed", "10.9.0.7:104")
	w.silent(t, "with the gateway killed", "10.9.0.7:22")
	w.isolated(t)
	// A client that calls meanwhile does not notice: its SYN comes again.
	name, args := w.in("client", "timeout", "20", "bash", "-c", "exec 3<>/dev/tcp/10.9.0.7/104 && echo open")
	waiting := start(t, w.dir, name, args...)
	d = w.serve(t)
	waiting.waitFor(t, "the connection", func() bool { return strings.Contains(waiting.said(), "open") })
	through("after the restart", "10.1.0.2")
	if out := w.runIn(t, "client", openssl, "s_client", "-connect", "10.9.0.7:104", "-verify_ip", "10.9.0.7", "-verify_return_error",
		"-cert", w.path("kim.pem"), "-key", w.path("kim.key"), "-CAfile", w.path("ca.pem")); !strings.Contains(out.stdout, "Verification: OK") {
		t.Errorf("the gateway's certificate is not for the device's address: %s%s", out.stdout, out.stderr)
	}

	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	w.silent(t, "with the gateway stopped", "10.9.0.7:104")
	w.must(t, "segment", "down", "imaging", "--yes", "--dir", w.gw())
	w.silent(t, "with the segment down", "10.9.0.7:104")
	w.must(t, "segment", "down", "imaging", "--yes", "--release", "--dir", w.gw())
	if left := runProgram(t, "/", nil, "nft", "list", "tables").stdout; strings.Contains(left, "cordon") {
		t.Errorf("released, and the host still has %s", left)
	}
	if left := runProgram(t, "/", nil, "ip", "-o", "address").stdout; strings.Contains(left, "10.9.0.7") {
		t.Errorf("released, and the host still has %s", left)
	}
}
