package segment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var clientAddr6 = addr("fd01::2")

// newTransparentWorld is one whose device sees clients' own addresses. It has a router, as
// devices have, and that is the gateway's address.
func newTransparentWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.plan.Devices[0].Transparent = true
	w.in(w.device, func() error {
		return join(ip("route add default via 10.9.0.1"), ip("-6 route add default via fd09::1"))
	})
	return w
}

// tellPeer serves at a port of the device by telling each peer its address.
func (w *world) tellPeer(network string, at netip.AddrPort) {
	w.t.Helper()
	var l net.Listener
	w.in(w.device, func() (err error) {
		l, err = net.Listen(network, at.String())
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
			c.Close()
		}
	}()
	w.t.Cleanup(func() { l.Close(); <-done })
}

// seen is what the device takes for its peer when the gateway dials it for a client.
func (w *world) seen(to, client netip.Addr, wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	c, err := New(w.local, w.plan).DialFor(ctx, ap(to, servicePort), client)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(wait))
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestTransparent(t *testing.T) {
	w := newTransparentWorld(t)
	w.setup()
	w.tellPeer("tcp4", ap(deviceAddr, servicePort))
	w.tellPeer("tcp6", ap(deviceAddr6, servicePort))
	for _, c := range []struct{ to, client, want netip.Addr }{
		{deviceAddr, clientAddr, clientAddr},
		{deviceAddr, netip.AddrFrom16(clientAddr.As16()), clientAddr}, // as an IPv6 listener tells it
		{deviceAddr, addr("203.0.113.9"), addr("203.0.113.9")},
		{deviceAddr, ownAddr, ownAddr},
		{deviceAddr, netip.Addr{}, ownAddr},
		{deviceAddr6, clientAddr6, clientAddr6},
		{deviceAddr6, netip.Addr{}, ownAddr6},
	} {
		if got, err := w.seen(c.to, c.client, busyTime); err != nil || got != c.want.String() {
			t.Errorf("for %v, %v sees %q, %v; want %v", c.client, c.to, got, err, c.want)
		}
	}
	if f := w.findings(); len(f) > 0 {
		t.Error(f)
	}
	for _, c := range []struct {
		client netip.Addr
		why    string
	}{
		{clientAddr6, "one is IPv4"}, {deviceAddr, "a device in the segment has it"}, {addr("224.0.0.1"), "no address that the device could answer"},
		{addr("127.0.0.1"), "no address that"}, {addr("0.0.0.0"), "no address that"}, {addr("255.255.255.255"), "no address that"},
	} {
		if _, err := w.seen(deviceAddr, c.client, busyTime); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("for %v: %v, want %q", c.client, err, c.why)
		}
	}
	if _, err := w.seen(deviceAddr6, addr("fe80::2%eth0"), busyTime); err == nil {
		t.Error("a link-local client is shown")
	}
	// Without the segment's say, the gateway's own address it is.
	w.plan.Devices[0].Transparent = false
	w.setup()
	if got, err := w.seen(deviceAddr, clientAddr, busyTime); err != nil || got != ownAddr.String() {
		t.Errorf("not transparent: sees %q, %v", got, err)
	}
	if f := w.findings(); len(f) > 0 {
		t.Error("not transparent any more:", f)
	}
}

// A client that is named may be in the device's own network: somebody answers ARP and ND for it.
func TestTransparentNamed(t *testing.T) {
	w := newWorld(t)
	near, near6 := addr("10.9.0.50"), addr("fd09::50")
	w.plan.Addresses = append(w.plan.Addresses, near, near6)
	w.plan.Devices[0].Clients = []netip.Addr{near, near6}
	w.setup()
	w.tellPeer("tcp4", ap(deviceAddr, servicePort))
	w.tellPeer("tcp6", ap(deviceAddr6, servicePort))
	for _, c := range []struct{ to, client, want netip.Addr }{
		{deviceAddr, near, near}, {deviceAddr6, near6, near6},
		{deviceAddr, clientAddr, ownAddr}, {deviceAddr6, clientAddr6, ownAddr6}, {deviceAddr, near6, ownAddr},
	} {
		if got, err := w.seen(c.to, c.client, busyTime); err != nil || got != c.want.String() {
			t.Errorf("for %v, %v sees %q, %v; want %v", c.client, c.to, got, err, c.want)
		}
	}
	if f := w.findings(); len(f) > 0 {
		t.Error(f)
	}
	// The client calls a server that it sees as the same address: neither disturbs the other.
	l, err := New(w.local, w.plan).Listen(context.Background(), ap(near, callPort))
	if err != nil {
		t.Fatal(err)
	}
	w.serve(l)
	w.in(w.device, func() error {
		c, err := net.DialTimeout("tcp", ap(near, callPort).String(), busyTime)
		if err != nil {
			return err
		}
		defer c.Close()
		return pingPong(c)
	})
	if got, err := w.seen(deviceAddr, near, busyTime); err != nil || got != near.String() {
		t.Errorf("beside a call: sees %q, %v", got, err)
	}
}

// Who has a socket that speaks as a client can bind it anew, but speaks as no device.
func TestTransparentBoundAnew(t *testing.T) {
	w := newTransparentWorld(t)
	other, other6 := addr("10.9.0.8"), addr("fd09::8")
	w.plan.Devices = append(w.plan.Devices, Device{ID: "mon-8", MAC: MAC{2, 0, 0, 0, 9, 8}, Addresses: []netip.Addr{other, other6}, Ports: []uint16{servicePort}})
	w.setup()
	device := w.tap(w.device, "dev0")
	heard := func(to, client, as netip.Addr) bool {
		f, err := w.local.Dialer(context.Background(), w.plan, ap(to, servicePort), client)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Bind(int(f.Fd()), socketAddress(ap(as, 0))); err != nil {
			t.Fatal(err)
		}
		unix.SetNonblock(int(f.Fd()), true)
		unix.Connect(int(f.Fd()), socketAddress(ap(to, servicePort)))
		return slices.ContainsFunc(device.seen(), func(b []byte) bool { return bytes.Contains(b, as.AsSlice()) })
	}
	for _, c := range []struct {
		to, client, as netip.Addr
		heard          bool
	}{
		{deviceAddr, clientAddr, addr("203.0.113.9"), true}, {deviceAddr, clientAddr, other, false}, {deviceAddr, clientAddr, deviceAddr, false},
		{deviceAddr6, clientAddr6, addr("2001:db8::9"), true}, {deviceAddr6, clientAddr6, other6, false}, {deviceAddr6, clientAddr6, deviceAddr6, false},
	} {
		if got := heard(c.to, c.client, c.as); got != c.heard {
			t.Errorf("%v is spoken to as %v: %v", c.to, c.as, got)
		}
	}
}

// More connections for one client than there are ports, were they the client's alone; each
// address of the device and each client has its own.
func TestTransparentPorts(t *testing.T) {
	w := newTransparentWorld(t)
	w.plan.Devices[0].Ports = append(w.plan.Devices[0].Ports, servicePort+1)
	w.setup()
	w.in(w.open(), func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40001"), 0)
	})
	for _, n := range []uint16{servicePort, servicePort + 1} {
		w.echo(w.device, "tcp4", ap(deviceAddr, n).String())
	}
	s := New(w.local, w.plan)
	dial := func(n uint16, client netip.Addr) error {
		c, err := s.DialFor(within(t, busyTime), ap(deviceAddr, n), client)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			err = pingPong(c)
		}
		return err
	}
	for _, client := range []netip.Addr{clientAddr, addr("10.1.0.3")} {
		for _, n := range []uint16{servicePort, servicePort + 1} {
			for range 2 {
				if err := dial(n, client); err != nil {
					t.Errorf("port %d for %v: %v", n, client, err)
				}
			}
		}
	}
	if err := dial(servicePort, clientAddr); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("one more than there are ports: %v", err)
	}
}

func TestBypassTransparent(t *testing.T) {
	w := newTransparentWorld(t)
	w.hostile()
	w.plan.Inline, w.plan.Devices[0].Inline = "gw0", []netip.AddrPort{doorway, doorway6}
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	for n := 1; n <= len(steps); n++ {
		if err := w.local.Teardown(context.Background(), w.plan); err != nil {
			t.Fatal(err)
		}
		if err := w.local.Release(context.Background(), w.plan); err != nil {
			t.Fatal(err)
		}
		if err := w.local.setup(context.Background(), w.plan, n); err != nil {
			t.Fatal(err)
		}
		w.none("killed after "+steps[n-1].name, w.attack(device, client))
	}
	w.setup()
	w.alive(device)
	w.tellPeer("tcp4", ap(deviceAddr, servicePort))
	if got, err := w.seen(deviceAddr, clientAddr, busyTime); err != nil || got != clientAddr.String() {
		t.Errorf("after all that, the device sees %q, %v", got, err)
	}
	w.none("up and used", w.attack(device, client))
}

// Every rule, route and routing rule of transparency, one after the other, is missed and found
// when it is gone.
func TestTransparentRules(t *testing.T) {
	w := newTransparentWorld(t)
	w.setup()
	w.tellPeer("tcp4", ap(deviceAddr, servicePort))
	w.tellPeer("tcp6", ap(deviceAddr6, servicePort))
	missed := func(wait time.Duration) bool {
		for _, a := range [][2]netip.Addr{{deviceAddr, clientAddr}, {deviceAddr6, clientAddr6}} {
			if got, err := w.seen(a[0], a[1], wait); err != nil || got != a[1].String() {
				return true
			}
		}
		return false
	}
	w.seen(deviceAddr6, clientAddr6, busyTime) // the device's own network takes a moment
	type part struct {
		name, code string
		remove     func() error
	}
	parts := []part{
		{"routing rule", "rule", func() error { return ip("rule del pref 100") }},
		{"routing rule, IPv6", "rule", func() error { return ip("-6 rule del pref 100") }},
		{"route", "route", func() error { return ip("route del local default table 100") }},
		{"route, IPv6", "route", func() error { return ip("-6 route del local default table 100") }},
	}
	tab := w.plan.wire()
	for _, ch := range tab.chains {
		for i, r := range ch.rules {
			if strings.Contains(r.why, "address it sees") || strings.Contains(r.why, "as its client") {
				parts = append(parts, part{ch.name + ": " + r.why, "filter", func() error { return removeRule(tab, ch, i) }})
			}
		}
	}
	if len(parts) != 8 {
		t.Fatalf("%d parts", len(parts))
	}
	for _, p := range parts {
		if missed(busyTime) {
			t.Fatalf("before %s was removed, something is missed", p.name)
		}
		w.in(w.open(), p.remove)
		if !missed(500 * time.Millisecond) {
			t.Errorf("%s: not missed", p.name)
		}
		if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == p.code }) {
			t.Errorf("%s: %v", p.name, f)
		}
		w.setup()
	}
	// What is like them but wider is found, too, and goes.
	for _, wider := range []string{"rule add iif seg0 lookup 100 pref 101", "rule add from 10.9.0.0/24 iif seg0 lookup 100 pref 100",
		"rule add from 10.9.0.7 lookup 100 pref 99", "rule add from 10.9.0.8 iif seg0 lookup 100 pref 100", "route add local 192.0.2.1 dev seg0 table 100",
		"rule add from 10.9.0.7 iif seg0 lookup 77 pref 100"} {
		w.in(w.open(), func() error { return ip(wider) })
		if f := w.findings(); len(f) == 0 {
			t.Errorf("%s: nothing found", wider)
		}
		w.setup()
		if f := w.findings(); len(f) > 0 && !strings.Contains(wider, "77") {
			t.Errorf("%s is not repaired: %v", wider, f)
		}
	}
}
