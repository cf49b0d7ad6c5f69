package segment

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The device of these tests keeps its addresses, on the clients' side at gw0. There is a second
// interface beside it, where nobody is to be answered:
//
//	 namespace client        │        the host         │   segment         │  namespace device
//	                         │                         │                   │
//	 cli0 10.1.0.2 ──────────┼── gw0 10.1.0.1   seg0 ──┼─► seg0 10.9.0.1 ──┼── dev0 10.9.0.7
//	      fd01::2            │       10.9.0.7          │                   │        fd09::7
//	                         │       fd09::7           │                   │
//	 off0 10.2.0.2 ──────────┼── gw1 10.2.0.1          │                   │

const inlinePort = 11112 // where clients are answered at the device's address

var (
	doorway, doorway6 = ap(deviceAddr, inlinePort), ap(deviceAddr6, inlinePort)
	gatewaySide       = MAC{2, 0, 0, 0, 1, 1} // of gw0
	clientMAC         = MAC{2, 0, 0, 0, 1, 2}
	officeSide        = MAC{2, 0, 0, 0, 2, 1} // of gw1
	officeMAC         = MAC{2, 0, 0, 0, 2, 2}
)

func newInlineWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	h := w.routing()
	defer h.Close()
	w.pair(h, "gw1", officeSide, "off0", officeMAC, w.client)
	t.Cleanup(func() { ip("link del gw1") })
	w.configure(nil, "gw1", "10.2.0.1/24", "fd02::1/64")
	w.configure(w.client, "off0", "10.2.0.2/24", "fd02::2/64")
	w.plan.Inline = "gw0"
	w.plan.Devices[0].Inline = []netip.AddrPort{doorway, doorway6}
	return w
}

// inlineListeners are the gateway's at both addresses.
func (w *world) inlineListeners() (ls []net.Listener) {
	w.t.Helper()
	for _, at := range []netip.AddrPort{doorway, doorway6} {
		l, err := New(w.local, w.plan).ListenInline(context.Background(), at)
		if err != nil {
			w.t.Fatal(err)
		}
		ls = append(ls, l)
	}
	return ls
}

// reach opens a connection from the client.
func (w *world) reach(to netip.AddrPort, wait time.Duration) error {
	w.t.Helper()
	return inside(w.client, func() error {
		c, err := net.DialTimeout("tcp", to.String(), wait)
		if err != nil {
			return err
		}
		defer c.Close()
		return pingPong(c)
	})
}

// An address that is taken over is told once, and answers where it may.
func TestInline(t *testing.T) {
	w := newInlineWorld(t)
	client := w.tap(w.client, "cli0")
	for _, l := range w.inlineListeners() { // before the host has the addresses
		w.serve(l)
	}
	w.setup()
	told := client.seen()
	arp := ether(everyone, gatewaySide, 0x0806, arpPacket(1, gatewaySide, deviceAddr, MAC{}, deviceAddr))
	option := append([]byte{2, 1}, gatewaySide[:]...)
	na := ether(MAC{0x33, 0x33, 0, 0, 0, 1}, gatewaySide, 0x86dd, icmp6Packet(deviceAddr6, addr("ff02::1"), 255, 136, 0,
		slices.Concat([]byte{0x20, 0, 0, 0}, deviceAddr6.AsSlice(), option)))
	for name, want := range map[string][]byte{"ARP": arp, "ND": na} {
		n := 0
		for _, b := range told {
			if bytes.Equal(b, want) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s tells the address %d times, want once: %x\nnot %x", name, n, told, want)
		}
	}
	for _, at := range []netip.AddrPort{doorway, doorway6} {
		if err := w.reach(at, busyTime); err != nil {
			t.Errorf("%v: %v\n%s", at, err, w.nft(nil))
		}
	}
	if f := w.findings(); len(f) > 0 {
		t.Error(f)
	}
	var open net.Conn
	w.in(w.client, func() (err error) {
		open, err = net.DialTimeout("tcp", doorway.String(), busyTime)
		return err
	})
	defer open.Close()
	client.seen()
	w.setup()
	for _, b := range client.seen() {
		if bytes.Equal(b, arp) || bytes.Equal(b, na) {
			t.Errorf("told again: %x", b)
		}
	}
	if err := pingPong(open); err != nil {
		t.Error("after a second setup:", err)
	}
}

// hostSpeaks lists what of some frames the host says in the name of the device, but for where it
// is. The suite sends nothing to the declared port.
func hostSpeaks(frames [][]byte, from MAC) (leaks []string) {
	for _, b := range frames {
		if len(b) < 14 || MAC(b[6:12]) != from {
			continue
		}
		packet := b[14:]
		switch says := false; [2]byte(b[12:14]) {
		case [2]byte{8, 6}:
			says = len(packet) < 28 || bytes.Equal(packet[14:18], deviceAddr.AsSlice())
			if says && from != officeSide && bytes.HasPrefix(packet, []byte{0, 1, 8, 0, 6, 4, 0, 2}) {
				continue // that it is here
			}
			if says {
				leaks = append(leaks, fmt.Sprintf("ARP: %x", b))
			}
		case [2]byte{8, 0}:
			if len(packet) >= 20 && bytes.Equal(packet[12:16], deviceAddr.AsSlice()) {
				leaks = append(leaks, fmt.Sprintf("IPv4: %x", b))
			}
		case [2]byte{0x86, 0xdd}:
			if len(packet) < 40 || !bytes.Equal(packet[8:24], deviceAddr6.AsSlice()) {
				continue
			}
			if from != officeSide && packet[6] == 58 && len(packet) > 40 && packet[40] == 136 {
				continue // that it is here
			}
			leaks = append(leaks, fmt.Sprintf("IPv6: %x", b))
		}
	}
	return leaks
}

// attackInline sends the suite to the address from both interfaces of the clients' side, and
// what is for the declared port besides: alive if somebody may answer that.
func (w *world) attackInline(client, office *tap, alive bool) (leaks []string) {
	w.t.Helper()
	_, v := w.views()
	for _, side := range []struct {
		tap  *tap
		mac  MAC // the client's
		gate MAC
	}{{client, clientMAC, gatewaySide}, {office, officeMAC, officeSide}} {
		v.mac, v.gatewayMAC = side.mac, side.gate
		client.seen()
		office.seen()
		for _, f := range v.frames() {
			side.tap.send(f.bytes)
		}
		leaks = append(leaks, hostSpeaks(client.seen(), gatewaySide)...)
		leaks = append(leaks, hostSpeaks(office.seen(), officeSide)...)
	}
	return append(leaks, w.poke(client, office, alive)...)
}

// poke is the part of attackInline that knows the rules.
func (w *world) poke(client, office *tap, alive bool) (leaks []string) {
	w.t.Helper()
	client.seen()
	office.seen()
	for _, side := range []struct {
		tap       *tap
		mac, gate MAC
	}{{client, clientMAC, gatewaySide}, {office, officeMAC, officeSide}} {
		for _, to := range []MAC{side.gate, everyone} {
			if alive && to == gatewaySide {
				continue
			}
			for _, flags := range []byte{0x02, 0x10, 0x04, 0x12, 0x01} {
				side.tap.send(ether(to, side.mac, 0x0800, ip4Packet(clientAddr, deviceAddr, 64, 6, nil, tcpSegment(clientAddr, deviceAddr, 5000, inlinePort, flags))))
				side.tap.send(ether(to, side.mac, 0x86dd, ip6Packet(addr("fd01::2"), deviceAddr6, 64, 6, tcpSegment(addr("fd01::2"), deviceAddr6, 5000, inlinePort, flags))))
			}
		}
		side.tap.send(ether(everyone, side.mac, 0x0806, arpPacket(1, side.mac, addr("10.2.0.2"), MAC{}, deviceAddr)))
	}
	// A program of the host that takes the address for its own.
	for _, s := range [][3]string{{"udp4", "10.9.0.7:53", "10.1.0.2:53"}, {"udp4", "10.9.0.7:53", "10.2.0.66:53"}, {"udp6", "[fd09::7]:53", "[fd01::2]:53"}} {
		from, err := net.ResolveUDPAddr(s[0], s[1])
		if err != nil {
			w.t.Fatal(err)
		}
		d := net.Dialer{LocalAddr: from}
		if c, err := d.Dial(s[0], s[2]); err == nil {
			c.Write([]byte("hello"))
			c.Close()
		}
	}
	for _, call := range [][2]netip.AddrPort{{doorway, ap(clientAddr, 5000)}, {doorway6, ap(clientAddr6, 5000)}} {
		w.callAs(call[0], call[1])
	}
	leaks = append(leaks, hostSpeaks(client.seen(), gatewaySide)...)
	return append(leaks, hostSpeaks(office.seen(), officeSide)...)
}

// callAs begins a connection from where the gateway answers in place of a device, as who has an inline listener can,
// once it has made that an unconnected socket again.
func (w *world) callAs(from, to netip.AddrPort) {
	w.t.Helper()
	f, err := newSocket("call", familyOf(from.Addr()), unix.SOCK_STREAM, unix.IPPROTO_TCP, func(fd int) error {
		return join(setTransparent(fd, from.Addr()), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, socketAddress(from)))
	})
	if err != nil {
		return // a listener is there
	}
	defer f.Close()
	unix.Connect(int(f.Fd()), socketAddress(to))
}

// lacking lists what a client does not get that it should within wait: the address, connections.
func (w *world) lacking(client *tap, wait time.Duration) (lacks []string) {
	w.t.Helper()
	ask := func(name string, frame []byte, want func([]byte) bool) {
		client.seen()
		for end := time.Now().Add(wait / 3); time.Now().Before(end); {
			client.send(frame)
			if slices.ContainsFunc(client.seen(), want) {
				return
			}
		}
		lacks = append(lacks, name)
	}
	ask("ARP", ether(everyone, clientMAC, 0x0806, arpPacket(1, clientMAC, clientAddr, MAC{}, deviceAddr)),
		func(b []byte) bool {
			return bytes.HasPrefix(b, ether(clientMAC, gatewaySide, 0x0806, arpPacket(2, gatewaySide, deviceAddr, clientMAC, clientAddr)))
		})
	advertised := func(b []byte) bool {
		return bytes.HasPrefix(b, ether(clientMAC, gatewaySide, 0x86dd, nil)) && len(b) >= 78 && b[20] == 58 && b[54] == 136 && bytes.Equal(b[62:78], deviceAddr6.AsSlice())
	}
	solicit := append(append(make([]byte, 4), deviceAddr6.AsSlice()...), append([]byte{1, 1}, clientMAC[:]...)...)
	group := addr("ff02::1:ff00:7")
	ask("ND", ether(MAC{0x33, 0x33, 0xff, 0, 0, 7}, clientMAC, 0x86dd, icmp6Packet(addr("fd01::2"), group, 255, 135, 0, solicit)), advertised)
	ask("ND once more", ether(gatewaySide, clientMAC, 0x86dd, icmp6Packet(addr("fd01::2"), deviceAddr6, 255, 135, 0, solicit)), advertised)

	for _, at := range []netip.AddrPort{doorway, doorway6} {
		// Neither has asked for the other's address yet, and the host asks for the client's as the device.
		w.in(nil, func() error { return join(ip("neigh flush dev gw0"), ip("-6 neigh flush dev gw0")) })
		w.in(w.client, func() error {
			return join(ip("neigh replace 10.1.0.1 lladdr "+gatewaySide.String()+" dev cli0"), ip("neigh replace fd01::1 lladdr "+gatewaySide.String()+" dev cli0"))
		})
		err := w.reach(at, wait)
		if err != nil {
			lacks = append(lacks, "connection: "+err.Error())
		}
	}
	return lacks
}

// narrow tells the gateway's end of a connection a path MTU, and returns what that then believes,
// or believes after wait.
func (w *world) narrow(l net.Listener, wait time.Duration) (mtu uint32) {
	w.t.Helper()
	at := netip.MustParseAddrPort(l.Addr().String())
	w.in(nil, func() error { return join(ip("route flush cache"), ip("-6 route flush cache")) }) // where it is kept
	var out net.Conn
	if err := inside(w.client, func() (err error) {
		out, err = net.DialTimeout("tcp", at.String(), wait)
		return err
	}); err != nil {
		return 0
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	from, to := netip.MustParseAddrPort(in.LocalAddr().String()), netip.MustParseAddrPort(in.RemoteAddr().String())
	client := w.tap(w.client, "cli0")
	// What the gateway sent last is not acknowledged while the client is cut off from it.
	w.in(w.client, func() error {
		return nft("-f " + w.file("table inet cut { chain in { type filter hook input priority 0; tcp sport 11112 drop; }; }"))
	})
	defer w.in(w.client, func() error { return nft("delete table inet cut") })
	if _, err := in.Write([]byte("hello")); err != nil {
		w.t.Fatal(err)
	}
	for _, b := range client.seen() {
		if len(b) < 60 || MAC(b[6:12]) != gatewaySide || b[12] == 8 && b[13] == 6 {
			continue
		}
		quoted := b[14:]
		packet := icmp4Packet(to.Addr(), from.Addr(), 3, 4, append([]byte{0, 0, 5, 0}, quoted[:min(len(quoted), 60)]...))
		ethertype := uint16(0x0800)
		if at.Addr().Is6() {
			ethertype, packet = 0x86dd, icmp6Packet(to.Addr(), from.Addr(), 64, 2, 0, append([]byte{0, 0, 5, 0}, quoted...))
		}
		client.send(ether(gatewaySide, clientMAC, ethertype, packet))
	}
	raw, err := in.(*net.TCPConn).SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				mtu = info.Pmtu
			}
		})
		if mtu == 1280 {
			return mtu
		}
	}
	return mtu
}

func (w *world) file(text string) string {
	w.t.Helper()
	f, err := os.CreateTemp(w.t.TempDir(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
	return f.Name()
}

// servers listen at every address of the host, the one that a device keeps included.
func (w *world) servers() {
	w.t.Helper()
	for _, n := range []int{22, 80, inlinePort, servicePort} {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", n))
		if err != nil {
			w.t.Fatal(err)
		}
		w.serve(l)
	}
}

func TestBypassInline(t *testing.T) {
	w := newInlineWorld(t)
	w.hostile()
	device, client, office := w.tap(w.device, "dev0"), w.tap(w.client, "cli0"), w.tap(w.client, "off0")
	ls := w.inlineListeners()
	w.setup()
	for _, l := range ls {
		if mtu := w.narrow(l, busyTime); mtu != 1280 {
			t.Errorf("%v: path MTU %d after an ICMP error said 1280", l.Addr(), mtu)
		}
		w.serve(l)
	}
	w.none("up, from the segment", w.attack(device, client))
	w.none("up", w.attackInline(client, office, true))
	if lacks := w.lacking(client, busyTime); len(lacks) > 0 {
		t.Errorf("up: lacking %q\n%s", lacks, w.nft(nil))
	}
	for _, l := range ls {
		l.Close()
	}
	w.none("the gateway gone", w.attackInline(client, office, false))
	w.servers()
	w.none("other servers in its place", w.attackInline(client, office, false))
	if err := w.local.Teardown(context.Background(), w.plan); err != nil {
		t.Fatal(err)
	}
	w.none("torn down", w.attackInline(client, office, false))
	if err := w.reach(doorway, 300*time.Millisecond); err == nil {
		t.Error("torn down, and somebody answers")
	}
}

// Every rule, one after the other, is missed when it is gone.
func TestInlineRules(t *testing.T) {
	w := newInlineWorld(t)
	w.hostile()
	w.setup()
	client, office := w.tap(w.client, "cli0"), w.tap(w.client, "off0")
	missed := func(wait time.Duration) (list []string) {
		ls := w.inlineListeners()
		for _, l := range ls {
			defer l.Close()
			if mtu := w.narrow(l, wait); mtu != 1280 {
				return []string{fmt.Sprintf("path MTU %d at %v", mtu, l.Addr())}
			}
		}
		for _, l := range ls {
			w.serve(l)
		}
		if list = w.lacking(client, wait); len(list) > 0 {
			return list
		}
		for _, l := range ls {
			l.Close()
		}
		return w.poke(client, office, false)
	}
	missed(moment) // the client has not joined its multicast groups yet
	if list := missed(busyTime); len(list) > 0 {
		t.Fatalf("with every rule: %q", list)
	}
	tables := w.plan.inline()
	for _, tab := range tables {
		for _, ch := range tab.chains {
			for i, r := range ch.rules {
				w.in(nil, func() error { return removeRule(tab, ch, i) })
				if tab.family == nftables.TableFamilyARP && ch.name == "input" { // each does without the other
					w.in(nil, func() error { return removeRule(tab, tab.chains[1], 0) })
				} else if tab.family == nftables.TableFamilyARP {
					w.in(nil, func() error { return removeRule(tab, tab.chains[0], 0) })
				}
				if list := missed(moment); len(list) == 0 {
					t.Errorf("%s %s without rule %d (%s): nothing is missed", familyName(tab.family), ch.name, i+1, r.why)
				}
				if f := w.findings(); len(f) == 0 {
					t.Errorf("%s %s without rule %d (%s): nothing found", familyName(tab.family), ch.name, i+1, r.why)
				}
				w.setup()
			}
		}
	}
	if list := missed(busyTime); len(list) > 0 {
		t.Errorf("not repaired: %q", list)
	}
}

func removeRule(tab table, ch chain, i int) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	kt, kc := &nftables.Table{Family: tab.family, Name: tab.name}, &nftables.Chain{Name: ch.name}
	rules, err := c.GetRules(kt, kc)
	if err != nil {
		return err
	}
	if err := c.DelRule(&nftables.Rule{Table: kt, Chain: kc, Handle: rules[i].Handle}); err != nil {
		return err
	}
	return c.Flush()
}

// The host has what the plan says, whatever the plan was before, and nothing of its own is taken.
func TestInlineAddresses(t *testing.T) {
	w := newInlineWorld(t)
	ctx := context.Background()
	hosts := func() (list []string) {
		h := w.routing()
		defer h.Close()
		if err := eachShared(h, []netip.Addr{deviceAddr, deviceAddr6}, func(l netlink.Link, a netlink.Addr, _ netip.Addr) error {
			list = append(list, l.Attrs().Name+" "+a.IPNet.String())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	holds := func(when string, want ...string) {
		t.Helper()
		if got := hosts(); !slices.Equal(got, want) {
			t.Errorf("%s: the host has %q, want %q", when, got, want)
		}
		if f := w.findings(); len(f) > 0 && !strings.HasSuffix(when, "down") {
			t.Errorf("%s: %v", when, f)
		}
	}
	w.setup()
	holds("set up", "gw0 10.9.0.7/32", "gw0 fd09::7/128")
	w.plan.Inline = "gw1"
	w.setup()
	holds("with clients elsewhere", "gw1 10.9.0.7/32", "gw1 fd09::7/128")
	w.plan.Devices[0].Inline = w.plan.Devices[0].Inline[:1]
	w.setup()
	holds("without IPv6", "gw1 10.9.0.7/32")
	w.in(nil, func() error { return ip("addr del 10.9.0.7/32 dev gw1") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "inline" }) {
		t.Errorf("an address less: %v", f)
	}
	w.in(nil, func() error { return ip("addr add 10.9.0.7/32 dev gw0") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "inline" && f.Severity == "high" }) {
		t.Errorf("an address elsewhere: %v", f)
	}
	w.setup()
	holds("repaired", "gw1 10.9.0.7/32")
	w.plan.Inline, w.plan.Devices[0].Inline = "", nil
	w.setup()
	holds("not inline any more")
	if text := w.nft(nil); strings.Contains(text, "cordon-inline") {
		t.Errorf("not inline any more, and a filter is left:\n%s", text)
	}

	w.plan.Inline, w.plan.Devices[0].Inline = "gw0", []netip.AddrPort{doorway}
	w.setup()
	if err := w.local.Teardown(ctx, w.plan); err != nil {
		t.Fatal(err)
	}
	holds("torn down")
	if text := w.nft(nil); !strings.Contains(text, "table inet cordon-inline-icu") {
		t.Errorf("no filter is left:\n%s", text)
	}
	if err := w.local.Release(ctx, w.plan); err != nil {
		t.Fatal(err)
	}
	if text := w.nft(nil); strings.Contains(text, "cordon") {
		t.Errorf("a filter is left:\n%s", text)
	}

	w.in(nil, func() error { return ip("addr add 10.9.0.7/24 dev gw1") })
	if err := w.local.Setup(ctx, w.plan); err == nil || !strings.Contains(err.Error(), "gw1 has 10.9.0.7/24 in this host") {
		t.Errorf("an address that the host has for itself: %v", err)
	}
	w.in(nil, func() error { return ip("addr del 10.9.0.7/24 dev gw1") })
	w.plan.Inline = "gw9"
	if err := w.local.Setup(ctx, w.plan); err == nil || !strings.Contains(err.Error(), "interface gw9, where clients are, is not in the host") {
		t.Errorf("an interface that is not there: %v", err)
	}
}

// Nobody can have the helper listen in the host but where the plan says.
func TestInlineListenerRefuses(t *testing.T) {
	w := newInlineWorld(t)
	s := New(w.local, w.plan)
	for _, at := range []netip.AddrPort{ap(deviceAddr, inlinePort+1), ap(ownAddr, inlinePort), ap(addr("10.1.0.1"), inlinePort), ap(addr("0.0.0.0"), inlinePort)} {
		if _, err := s.ListenInline(context.Background(), at); err == nil || !strings.Contains(err.Error(), "no device declares it") {
			t.Errorf("listens at %v: %v", at, err)
		}
	}
}

// Somebody else on the clients' side who has an address is found, the device itself above all, and
// hears nothing of it but the question.
func TestInlineConflict(t *testing.T) {
	w := newInlineWorld(t)
	w.setup()
	client := w.tap(w.client, "cli0")
	for _, c := range []struct {
		who     string
		mac     MAC
		address string
	}{
		{"a stranger", clientMAC, "10.9.0.7/24"}, {"the device", w.deviceMAC, "10.9.0.7/24"},
		{"a stranger", clientMAC, "fd09::7/64"}, {"the device", w.deviceMAC, "fd09::7/64"},
	} {
		w.in(w.client, func() error {
			nodad := ""
			if strings.Contains(c.address, ":") {
				nodad = " nodad"
			}
			return join(ip("link set cli0 address "+c.mac.String()), ip("addr add "+c.address+" dev cli0"+nodad))
		})
		client.seen()
		f := w.findings()
		if len(f) != 1 || f[0].Code != "conflict" || !strings.Contains(f[0].Evidence, c.mac.String()) ||
			!strings.Contains(f[0].Evidence, strings.TrimRight(c.address, "/0123456789")) || strings.Contains(f[0].Evidence, "mon-7 itself") != (c.mac == w.deviceMAC) {
			t.Errorf("%s at %s: %v", c.who, c.address, f)
		}
		for _, b := range client.seen() {
			a, mac, ok := claim(b)
			if probe := ok && a.Is6() && b[54] == 135 || ok && a == netip.IPv4Unspecified(); ok && mac == gatewaySide && !probe {
				t.Errorf("%s at %s: the gateway fights for it: %x", c.who, c.address, b)
			}
		}
		w.in(w.client, func() error { return ip("addr del " + c.address + " dev cli0") })
		if f := w.findings(); len(f) > 0 {
			t.Errorf("%s at %s gone: %v", c.who, c.address, f)
		}
	}
}

// What a machine says of an address, in each form, and what only looks like it.
func TestClaim(t *testing.T) {
	a, mac, other := deviceAddr6, clientMAC, officeMAC
	solicit := duplicateProbe(mac, a)
	advertise := unsolicitedAdvertisement(mac, a)
	change := func(b []byte, at int, to ...byte) []byte {
		b = slices.Clone(b)
		copy(b[at:], to)
		return b
	}
	for name, c := range map[string]struct {
		frame []byte
		a     netip.Addr
		who   MAC
	}{
		"announcement":             {gratuitousARP(mac, deviceAddr), deviceAddr, mac},
		"advertisement":            {advertise, a, mac},
		"its option is another's":  {change(advertise, 80, other[:]...), a, other},
		"without the option":       {advertise[:78], a, mac},
		"with another option":      {change(advertise, 78, 1), a, mac},
		"who wants it":             {solicit, a, mac},
		"who asks for it":          {change(solicit, 22, ownAddr6.AsSlice()...), netip.Addr{}, MAC{}},
		"from beyond a router":     {change(advertise, 21, 254), netip.Addr{}, MAC{}},
		"another code":             {change(advertise, 55, 1), netip.Addr{}, MAC{}},
		"a router's advertisement": {change(advertise, 54, 134), netip.Addr{}, MAC{}},
		"no ICMP":                  {change(advertise, 20, 17), netip.Addr{}, MAC{}},
		"cut in its target":        {advertise[:77], netip.Addr{}, MAC{}},
		"ARP of another kind":      {change(gratuitousARP(mac, deviceAddr), 15, 6), netip.Addr{}, MAC{}},
		"ARP that is cut":          {gratuitousARP(mac, deviceAddr)[:41], netip.Addr{}, MAC{}},
		"nothing":                  {nil, netip.Addr{}, MAC{}},
	} {
		got, who, ok := claim(c.frame)
		if ok != c.a.IsValid() || ok && (got != c.a || who != c.who) {
			t.Errorf("%s: %v at %v, %v", name, got, who, ok)
		}
	}
}

func FuzzClaim(f *testing.F) {
	for _, b := range [][]byte{nil, gratuitousARP(clientMAC, deviceAddr), addressProbe(clientMAC, deviceAddr), unsolicitedAdvertisement(clientMAC, deviceAddr6), duplicateProbe(clientMAC, deviceAddr6)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, who, ok := claim(b)
		if ok && (!bytes.Contains(b, a.AsSlice()) || !bytes.Contains(b, who[:])) {
			t.Errorf("%v at %v is not in %x", a, who, b)
		}
	})
}
