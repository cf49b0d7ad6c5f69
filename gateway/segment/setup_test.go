package segment

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Teardown may be called in any state and twice, and gives the interface back, down.
func TestTeardown(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for range 2 {
		if err := w.local.Teardown(ctx, w.plan); err != nil {
			t.Fatal(err)
		}
	}
	w.setup()
	if err := w.local.Release(ctx, w.plan); err == nil || !strings.Contains(err.Error(), "tear it down first") {
		t.Errorf("released while it is set up: %v", err)
	}
	for range 2 {
		if err := w.local.Teardown(ctx, w.plan); err != nil {
			t.Fatal(err)
		}
	}
	i, err := net.InterfaceByName("seg0")
	if err != nil || i.Flags&net.FlagUp != 0 {
		t.Errorf("the interface after teardown: %+v, %v", i, err)
	}
	if text := w.nft(nil); !strings.Contains(text, `hook ingress device "seg0"`) {
		t.Errorf("no guard is left:\n%s", text)
	}
	if err := w.local.Release(ctx, w.plan); err != nil {
		t.Fatal(err)
	}
	if text := w.nft(nil); strings.Contains(text, "cordon") {
		t.Errorf("a guard is left:\n%s", text)
	}
}

func TestSetupRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	plan := func(change func(*Plan)) Plan {
		p := w.plan
		change(&p)
		return p
	}
	for want, p := range map[string]Plan{
		"name:":                        plan(func(p *Plan) { p.Name = "" }),
		"has address 10.1.0.1/24":      plan(func(p *Plan) { p.Interface.Name = "gw0" }),
		"is it plugged in?":            plan(func(p *Plan) { p.Interface.Name = "eth77" }),
		"neither in the host nor in":   plan(func(p *Plan) { p.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "eth77"} }),
		"gw0 has address 10.1.0.1/24 ": plan(func(p *Plan) { p.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "gw0"} }),
	} {
		if err := w.local.Setup(ctx, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		w.local.Teardown(ctx, p)
		w.local.Release(ctx, p)
	}
	w.in(nil, func() error { return join(ip("link add br9 type bridge"), ip("link set seg0 master br9")) })
	if err := w.local.Setup(ctx, w.plan); err == nil || !strings.Contains(err.Error(), "port of a bridge") {
		t.Errorf("a port of a bridge: %v", err)
	}
	if err := w.local.Setup(ctx, plan(func(p *Plan) { p.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "br9"} })); err == nil || !strings.Contains(err.Error(), "br9 is a bridge") {
		t.Errorf("a bridge: %v", err)
	}
	w.in(nil, func() error { return ip("link del br9") })

	// As a trunk that the host is reached by, in a VLAN of its own.
	w.in(nil, func() error {
		return join(ip("link add link seg0 name office type macvlan"), ip("addr add 10.2.0.5/24 dev office"))
	})
	if err := w.local.Setup(ctx, plan(func(p *Plan) { p.Interface = Interface{Kind: VLAN, Name: "v20", Parent: "seg0", VLAN: 20} })); err == nil || !strings.Contains(err.Error(), "seg0 carries office, which has address 10.2.0.5/24") {
		t.Errorf("a trunk that the host is reached by: %v", err)
	}
	if text := w.nft(nil); strings.Contains(text, "cordon-guard-seg0") {
		t.Error("and the host is cut off")
	}
	w.in(nil, func() error { return ip("link del office") })

	unlock, err := w.local.lock(w.plan.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.local.Setup(ctx, w.plan); err == nil || !strings.Contains(err.Error(), "another process is at work") {
		t.Errorf("two at once: %v", err)
	}
	unlock()
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.local.Setup(done, w.plan); err == nil {
		t.Error("set up after its time")
	}
}

// What is wrong with one segment opens no other at boot.
func TestGuardAll(t *testing.T) {
	w := newInlineWorld(t)
	used, bad := w.plan, w.plan
	used.Name, used.Interface.Name, used.Inline, used.Devices = "used", "gw0", "", nil
	bad.Name, bad.Addresses = "bad", nil
	taken := w.plan // its address is in the host, its interface is to be guarded all the same
	taken.Name, taken.Interface.Name, taken.Devices = "taken", "eth77", []Device{{ID: "ct-1", MAC: MAC{2, 0, 0, 0, 9, 1}, Addresses: []netip.Addr{addr("10.2.0.1")}, Inline: []netip.AddrPort{ap(addr("10.2.0.1"), 104)}}}
	t.Cleanup(func() { unload(append(taken.guard(false), inlineNames("taken")...)...) })
	err := w.local.Guard(t.Context(), used, bad, taken, w.plan)
	for _, want := range []string{"gw0 has address 10.1.0.1/24", "addresses: 0: expected", "gw1 has 10.2.0.1/24"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	text := w.nft(nil)
	for _, want := range []string{"inet cordon-guard-eth77", "inet cordon-guard-seg0", "inet cordon-inline-icu"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing:\n%s", want, text)
		}
	}
}

// A plan that changes while a session is on: what it keeps goes on, what it drops ends.
func TestSetupChanges(t *testing.T) {
	w := newWorld(t)
	w.plan.Devices[0].Ports = []uint16{servicePort, 4001}
	w.setup()
	s := New(w.local, w.plan)
	var conns []net.Conn
	for _, n := range w.plan.Devices[0].Ports {
		w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", n))
		c, err := s.Dial(within(t, busyTime), ap(deviceAddr, n))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	w.plan.Devices = slices.Clone(w.plan.Devices)
	w.plan.Devices[0].Ports = []uint16{servicePort}
	w.plan.Devices = append(w.plan.Devices, Device{ID: "new", MAC: MAC{2, 0, 0, 0, 9, 9}, Addresses: slices.Clone(w.plan.Addresses[:0:0])})
	w.plan.Devices[1].Addresses = append(w.plan.Devices[1].Addresses, addr("10.9.0.9"))
	w.setup()
	// The socket whose service is gone is told of, until it is closed; nothing else is.
	if f := w.findings(); len(f) != 1 || f[0].Code != "socket" || f[0].Severity != "low" {
		t.Error(f)
	}
	if err := pingPong(conns[0]); err != nil {
		t.Error("the session that stays:", err)
	}
	conns[1].SetDeadline(time.Now().Add(300 * time.Millisecond))
	conns[1].Write([]byte("x"))
	if n, err := conns[1].Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("the session whose service is gone goes on")
	}
}

// An interface that was made on another parent, which has the name no more, is not taken for the plan's.
func TestParentReplaced(t *testing.T) {
	w := newWorld(t)
	w.plan.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "seg0"}
	w.setup()
	w.in(nil, func() error {
		return join(ip("link set seg0 down"), ip("link set seg0 name was0"), ip("link add seg0 type veth peer name far0"))
	})
	t.Cleanup(func() { ip("link del was0") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "interface" }) {
		t.Errorf("on another parent: %v", f)
	}
	if err := w.local.Setup(t.Context(), w.plan); err != nil {
		t.Fatal(err)
	}
	if f := w.findings(); len(f) > 0 {
		t.Errorf("not repaired: %v", f)
	}
	w.in(nil, func() error { return ip("link set seg0 name is0") })
	t.Cleanup(func() { ip("link del is0") })
	if err := w.local.Setup(t.Context(), w.plan); err == nil || !strings.Contains(err.Error(), "plugged in") {
		t.Errorf("without a parent: %v", err)
	}
	if err := w.local.Up(t.Context(), w.plan); err == nil {
		t.Error("without a parent, it is up")
	}
}

// The address of a server that a device was configured with is the gateway's in this segment.
func TestCallToServer(t *testing.T) {
	w := newWorld(t)
	server := addr("10.5.5.5")
	w.plan.Addresses = append(w.plan.Addresses, server)
	w.setup()
	l, err := New(w.local, w.plan).Listen(context.Background(), ap(server, callPort))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, way := range []string{"10.5.5.5/32 dev dev0", "10.5.5.5/32 via 10.9.0.1"} { // it looks for it on its wire, or asks its router
		w.in(w.device, func() error {
			if err := ip("route replace " + way); err != nil {
				return err
			}
			c, err := net.DialTimeout("tcp", ap(server, callPort).String(), busyTime)
			if err == nil {
				c.Close()
			}
			return err
		})
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
	}
	if f := w.findings(); len(f) > 0 {
		t.Error(f)
	}
}

// A device asks for the gateway from its link-local address, if that is declared.
func TestLinkLocal(t *testing.T) {
	w := newWorld(t)
	local := addr("fe80::7")
	ask := ether(w.gatewayMAC, w.deviceMAC, 0x86dd, icmp6Packet(local, ownAddr6, 255, 135, 0, append(make([]byte, 4), ownAddr6.AsSlice()...)))
	device := w.tap(w.device, "dev0")
	w.setup()
	device.send(ask)
	if got := device.seen(); len(got) > 0 {
		t.Errorf("an undeclared address was answered: %x", got)
	}
	w.plan.Devices[0].Addresses = append(w.plan.Devices[0].Addresses, local)
	w.setup()
	told := func(b []byte) bool { return len(b) >= 78 && b[54] == 136 && bytes.Equal(b[38:54], local.AsSlice()) }
	var got [][]byte
	for end := time.Now().Add(busyTime); !slices.ContainsFunc(got, told) && time.Now().Before(end); got = append(got, device.seen()...) {
		device.send(ask)
	}
	if !slices.ContainsFunc(got, told) {
		t.Errorf("a declared address got %x", got)
	}
	if f := w.findings(); len(f) > 0 {
		t.Error(f)
	}
}

// Two segments beside each other, three times the same suite: none learns of the other.
//
//	dev0 10.9.0.7 ── seg0 │ icu │        host        │ lab │ seg1 ── dev1 10.9.0.8
func TestBypassTwoSegments(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	other := w.namespace("device1")
	h := w.routing()
	defer h.Close()
	otherMAC := MAC{2, 0, 0, 0, 9, 8}
	w.pair(h, "seg1", MAC{2, 0, 0, 0, 9, 2}, "dev1", otherMAC, other)
	w.configure(other, "dev1", "10.9.0.8/24", "fd09::8/64")
	lab := Plan{Name: "lab", Interface: Interface{Kind: NIC, Name: "seg1"}, Addresses: w.plan.Addresses,
		Devices: []Device{{ID: "mon-8", MAC: otherMAC, Addresses: w.plan.Addresses[:0:0], Ports: []uint16{servicePort}}}}
	lab.Devices[0].Addresses = append(lab.Devices[0].Addresses, addr("10.9.0.8"), addr("fd09::8"))
	w.setup()
	if err := w.local.Setup(context.Background(), lab); err != nil {
		t.Fatal(err)
	}
	defer func() {
		w.local.Teardown(context.Background(), lab)
		w.local.Release(context.Background(), lab)
		ip("link del seg1")
	}()
	device, second := w.tap(w.device, "dev0"), w.tap(other, "dev1")
	v, _ := w.views()
	v.far4, v.far6, v.farMAC = addr("10.9.0.8"), addr("fd09::8"), otherMAC
	for _, f := range v.frames() {
		device.send(f.bytes)
	}
	for _, b := range device.seen() {
		if !w.declared(b) {
			t.Errorf("answered: %x", b)
		}
	}
	for _, b := range second.seen() {
		t.Errorf("from one segment to the other: %x", b)
	}
	w.alive(device)
}

// One VLAN of a trunk, where the kernel has them.
//
//	dev0.20 10.9.0.7 ── dev0 ──(802.1Q)── seg0 in the host ── icu20 10.9.0.1 in the segment
func TestVLAN(t *testing.T) {
	w := newWorld(t)
	w.in(w.device, func() error { return join(ip("addr flush dev dev0"), ip("link set dev0 up")) })
	var missing error
	w.in(w.device, func() error {
		missing = ip("link add link dev0 name dev0.20 type vlan id 20")
		return nil
	})
	if missing != nil && !strings.Contains(missing.Error(), "Unknown device type") {
		t.Fatal(missing)
	}
	if missing != nil { // a module of the kernel, which nothing can install into another's
		t.Skip("this kernel makes no 802.1Q interfaces: ", missing)
	}
	w.configure(w.device, "dev0.20", "10.9.0.7/24", "fd09::7/64")
	w.hostile()
	w.plan.Interface = Interface{Kind: VLAN, Name: "icu20", Parent: "seg0", VLAN: 20}
	w.setup()
	if f := w.findings(); len(f) > 0 {
		t.Errorf("after setup: %v", f)
	}
	w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", servicePort))
	w.echo(w.device, "tcp6", fmt.Sprintf("[fd09::7]:%d", servicePort))
	for _, a := range w.plan.Devices[0].Addresses {
		c, err := New(w.local, w.plan).Dial(within(t, busyTime), ap(a, servicePort))
		if err != nil {
			t.Fatalf("%v\n%s", err, w.nft(nil))
		}
		if err := pingPong(c); err != nil {
			t.Error(err)
		}
		c.Close()
	}

	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	v, _ := w.views()
	for _, f := range v.frames() {
		device.send(f.bytes)
		device.send(tagged(f.bytes, 0x8100, 20))
		device.send(tagged(f.bytes, 0x8100, 21))
	}
	for _, b := range device.seen() {
		if !w.declared(b) {
			t.Errorf("answered: %x", b)
		}
	}
	for _, b := range client.seen() {
		if !ofHost(b, MAC{2, 0, 0, 0, 1, 1}) {
			t.Errorf("from the device to the client: %x", b)
		}
	}
	w.none("a trunk", w.attack(device, client))
}
