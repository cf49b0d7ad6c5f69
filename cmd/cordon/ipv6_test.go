package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"

	"golang.org/x/sys/unix"
)

// newWard6 is a ward in which a monitor and its clients know nothing but IPv6. The monitor has a
// link-local address as well, as every system with IPv6 does, made of its MAC address. The
// destination of what it sends is at the client's end.
//
//	namespace client       │       the gateway        │   segment       │  namespace device
//	                       │                          │                 │
//	cli0 fd01::2 ──────────┼── gw0 fd01::1      seg0 ─┼─► fd09::1, ::9 ─┼── dev0 fd09::7, fe80::ff:fe00:907
func newWard6(t *testing.T, cordon, segment, monitor string) *ward {
	t.Helper()
	peer(t, "openssl", "openssl")
	w := newWard(t, cordon)
	w.ip(t, "address flush dev gw0", "-n client address flush dev cli0", "-n device address flush dev dev0",
		"address add fd01::1/64 dev gw0 nodad", "-n client address add fd01::2/64 dev cli0 nodad", "-n client route add default via fd01::1",
		"-n device address add fd09::7/64 dev dev0 nodad", "-n device address add fe80::ff:fe00:907/64 dev dev0 nodad", "-n device route add default via fd09::1")
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	own := w.path("peer")
	if out := runProgram(t, w.dir, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=peer", "-addext", "subjectAltName=DNS:peer.hospital.example", "-keyout", own+".key", "-out", own+".pem"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	w.edit(t, "cordon.yaml", "    # trust_file: hospital.pem # believe these roots too\n", "    trust_file: "+own+".pem\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", fmt.Sprintf(`segments:
  icu:
    interface: %s
    addresses: ["fd09::1"]
devices:
  mon-7:
    address: "fd09::7"
    further_addresses: ["fe80::ff:fe00:907"]
    segment: icu
    mac: 02:00:00:00:09:07
    class: monitor/bedside
    call_out:
      results: { proto: hl7, catch: "[fd09::9]:2575", to: "[fd01::2]:2576", server_name: peer.hospital.example }
%s`, segment, monitor))
	w.issueStaff(t)
	return w
}

// destination is where the monitor's own results go.
func (w *ward) destination(t *testing.T) *recorder {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(w.path("peer.pem"), w.path("peer.key"))
	if err != nil {
		t.Fatal(err)
	}
	return record(t, tls.NewListener(w.listenIn(t, "client", "[fd01::2]:2576"), &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}))
}

// says has a client, with a certificate, or a device, without one, say a message.
func (w *ward) says(t *testing.T, when, namespace, to, badge, trigger, want string) {
	t.Helper()
	got, err := w.exchange(t, namespace, func() (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp6", to)
		if err == nil && badge != "" {
			c = tls.Client(c, w.badge(t, badge))
		}
		return c, err
	}, framed(message(trigger, "R1", "2.5.1")))
	if !strings.Contains(got, want) {
		t.Errorf("%s: %s to %s is answered with %q, %v, want %q", when, trigger, to, got, err, want)
	}
}

// neighbour is who a machine believes to be at an address, "" if nobody has answered it.
func (w *ward) neighbour(t *testing.T, namespace, address string) string {
	t.Helper()
	out := w.runIn(t, namespace, "ip", "-6", "neighbour", "show", address).stdout
	if _, mac, ok := strings.Cut(out, " lladdr "); ok {
		return strings.Fields(mac)[0]
	}
	return ""
}

// tellIPv6 puts a monitor with IPv6 alone into a segment whose interface is a macvlan. Clients
// reach it at the gateway, and it reaches the destination of its results by way of the gateway.
func tellIPv6(t *testing.T, cordon string) {
	w := newWard6(t, cordon, "{ kind: macvlan, name: mv0, parent: seg0 }", `    services:
      hl7: { proto: hl7, port: 2575, listen: "[fd01::1]:12575" }
`)
	monitor, results := record(t, w.listenIn(t, "device", "[fd09::7]:2575")), w.destination(t)
	// Without a segment the host would pass everything on: nothing crosses for a reason below.
	w.ip(t, "address add fd09::1/64 dev seg0 nodad", "link set seg0 up")
	if !eventually(func() bool { return len(w.reach(t, "client", "[fd09::7]:2575")) > 0 }) {
		t.Fatal("the client does not reach the device although nothing keeps it from that")
	}
	w.ip(t, "address flush dev seg0", "link set seg0 down")

	d := w.serve(t)
	w.withoutNetAdmin(t, d)
	examined := func(when string) {
		t.Helper()
		if out := w.run(t, "segment", "findings", "--dir", w.gw()); out.code != exit.Done {
			t.Errorf("%s, segment findings exits with %d and says %s%s", when, out.code, out.stdout, out.stderr)
		}
	}
	examined("with the gateway up")
	heard := w.sniff(t, "device", "dev0")
	if out := w.runIn(t, "client", "openssl", "s_client", "-6", "-connect", "[fd01::1]:12575", "-verify_ip", "127.0.0.1", "-verify_return_error",
		"-cert", w.path("engine.pem"), "-key", w.path("engine.key"), "-CAfile", w.path("ca.pem")); !strings.Contains(out.stdout, "Verification: OK") {
		t.Errorf("openssl says %s%s", out.stdout, out.stderr)
	}
	through := func(when string) {
		t.Helper()
		w.says(t, when, "client", "[fd01::1]:12575", "engine", "ORU^R01", "MSA|AA|R1")
		w.says(t, when, "client", "[fd01::1]:12575", "nurse", "ORU^R01", "MSA|AR|R1")
		w.says(t, when, "device", "[fd09::9]:2575", "", "ORU^R01", "MSA|AA|R1")
		w.says(t, when, "device", "[fd09::9]:2575", "", "QBP^Q22", "MSA|AR|R1")
		if all := monitor.all(); !strings.HasPrefix(all[len(all)-1].conn.RemoteAddr().String(), "[fd09::1]:") {
			t.Errorf("%s: the monitor has seen %v, not the gateway", when, all[len(all)-1].conn.RemoteAddr())
		}
		if all := results.all(); len(all) == 0 || !strings.HasPrefix(all[len(all)-1].conn.RemoteAddr().String(), "[fd01::1]:") {
			t.Errorf("%s: the destination has seen %d connections, the last not from the gateway", when, len(all))
		}
	}
	closed := func(when string) {
		t.Helper()
		if open := w.reach(t, "client", "[fd09::7]:2575", "[fd09::7]:22", "[fd09::1]:12575", "[fd09::9]:2575"); len(open) > 0 {
			t.Errorf("%s, the client reaches %q directly", when, open)
		}
		if open := w.reach(t, "device", "[fd01::2]:2576", "[fd01::1]:12575", "[fd09::1]:12575", "[fd09::9]:22"); len(open) > 0 {
			t.Errorf("%s, the device reaches %q", when, open)
		}
	}
	through("with the gateway up")
	closed("with the gateway up")
	w.reach(t, "device", "[2001:db8::119]:515")
	beacon := regexp.MustCompile(`icu: undeclared: tcp from fd09::7 at 02:00:00:00:09:07 \(mon-7\) to \[2001:db8::119\]:515`)
	if !eventually(func() bool { return beacon.MatchString(strings.Join(w.segmentEntries(t), "")) }) {
		t.Errorf("what nobody declared has no entry:\n%s", strings.Join(w.segmentEntries(t), ""))
	}

	// The host keeps the macvlan's parent, and is deaf and dumb there.
	host, err := net.InterfaceByName("seg0")
	if err != nil {
		t.Fatal(err)
	}
	if frames := heard.sent(host.HardwareAddr); len(frames) > 0 {
		t.Errorf("the host itself has said %d frames to the device, the first %x", len(frames), frames[0])
	}
	gateway, err := net.ParseMAC(w.neighbour(t, "device", "fd09::9"))
	if err != nil {
		t.Fatalf("the device knows nobody at the address it calls: %v", err)
	}
	frames := heard.sent(gateway)
	if len(frames) == 0 {
		t.Error("the sniffer has heard nothing of the gateway")
	}
	for _, f := range frames { // TCP, and neighbour advertisements of its own addresses
		tcp := len(f) > 20 && f[12] == 0x86 && f[13] == 0xdd && f[20] == unix.IPPROTO_TCP
		tells := len(f) > 78 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 136 && (bytes.Equal(f[62:78], net.ParseIP("fd09::9")) || bytes.Equal(f[62:78], net.ParseIP("fd09::1")))
		if !tcp && !tells {
			t.Errorf("the device hears %x", f)
		}
	}

	d.kill()
	closed("with the gateway killed")
	d = w.serve(t)
	through("after the restart")
	examined("after the restart")
	if got := strings.Count(monitor.received(), "ORU^R01"); got != 2 {
		t.Errorf("the monitor has received %d messages, want 2", got)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// tellIPv6Inline lets the monitor keep its address. On the clients' side the gateway answers for
// it, for no other address, and nowhere else; the monitor sees its clients' own.
func tellIPv6Inline(t *testing.T, cordon string) {
	w := newWard6(t, cordon, "{ kind: nic, name: seg0 }\n    inline: gw0", `    source: client
    source_addresses: ["fd09::50", "fd01::2"]
    services:
      hl7: { proto: hl7, port: 2575, listen: "[fd09::7]:2575" }
`)
	// The host is in the device's network as well, and in another, in which nobody is to be answered.
	w.ip(t, "address add fd09::2/64 dev gw0 nodad", "netns add office", "link add gw1 type veth peer name off0 netns office", "address add fd02::1/64 dev gw1 nodad", "link set gw1 up",
		"-n office address add fd09::60/64 dev off0 nodad", "-n office link set off0 up")
	monitor, results := record(t, w.listenIn(t, "device", "[fd09::7]:2575")), w.destination(t)
	d := w.serve(t)
	w.withoutNetAdmin(t, d)
	w.isolated(t, "icu")
	through := func(when, client string) {
		t.Helper()
		w.says(t, when, "client", "[fd09::7]:2575", "engine", "ORU^R01", "MSA|AA|R1")
		w.says(t, when, "client", "[fd09::7]:2575", "nurse", "ORU^R01", "MSA|AR|R1")
		if all := monitor.all(); len(all) == 0 || !strings.HasPrefix(all[len(all)-1].conn.RemoteAddr().String(), "["+client+"]:") {
			t.Errorf("%s: the monitor has seen %d connections, the last not from %s", when, len(all), client)
		}
	}
	silent := func(when string, addresses ...string) {
		t.Helper()
		for _, a := range addresses {
			w.silent(t, when, a)
		}
	}
	through("from another network", "fd01::2")
	silent("from another network", "[fd09::7]:22", "[fd09::7]:2576")
	w.says(t, "calling out", "device", "[fd09::9]:2575", "", "ORU^R01", "MSA|AA|R1")
	if n := len(results.all()); n != 1 {
		t.Errorf("the destination has seen %d connections", n)
	}

	// In the device's own network, ND is answered for the device, and for nobody else of it.
	w.ip(t, "-n client address add fd09::50/64 dev cli0 nodad")
	through("from the device's own network", "fd09::50")
	w.reach(t, "client", "[fd09::1]:2575", "[fd09::8]:2575", "[fd09::9]:2575")
	w.reach(t, "office", "[fd09::7]:2575")
	gw0, err := net.InterfaceByName("gw0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ namespace, address, want string }{
		{"client", "fd09::7", gw0.HardwareAddr.String()}, {"client", "fd09::1", ""}, {"client", "fd09::8", ""}, {"client", "fd09::9", ""}, {"office", "fd09::7", ""},
	} {
		if got := w.neighbour(t, c.namespace, c.address); got != c.want {
			t.Errorf("who is at %s is told to the %s: %q, want %q", c.address, c.namespace, got, c.want)
		}
	}
	w.isolated(t, "icu")

	// Somebody has plugged the monitor in on the clients' side as well.
	w.ip(t, "-n client address add fd09::7/64 dev cli0 nodad")
	if out := w.run(t, "segment", "findings", "--dir", w.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, "answers for fd09::7 on gw0") {
		t.Errorf("with another machine at the device's address, segment findings exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	w.ip(t, "-n client address del fd09::7/64 dev cli0", "-n client address del fd09::50/64 dev cli0")

	for _, line := range w.segmentEntries(t) {
		if strings.Contains(line, "ff02::") {
			t.Errorf("what every system with IPv6 does is in the log: %s", line)
		}
	}

	d.kill()
	silent("with the gateway killed", "[fd09::7]:2575", "[fd09::7]:22")
	d = w.serve(t)
	through("after the restart", "fd01::2")
	w.isolated(t, "icu")
	if out := w.runIn(t, "client", "openssl", "s_client", "-6", "-connect", "[fd09::7]:2575", "-verify_ip", "fd09::7", "-verify_return_error",
		"-cert", w.path("engine.pem"), "-key", w.path("engine.key"), "-CAfile", w.path("ca.pem")); !strings.Contains(out.stdout, "Verification: OK") {
		t.Errorf("the gateway's certificate is not for the device's address: %s%s", out.stdout, out.stderr)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	w.must(t, "segment", "down", "icu", "--yes", "--release", "--dir", w.gw())
	if left := runProgram(t, "/", nil, "ip", "-o", "address").stdout; strings.Contains(left, "fd09::7") {
		t.Errorf("released, and the host still has %s", left)
	}
}
