package segment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tap is a raw socket on one interface: it sends frames and sees those that arrive.
type tap struct {
	t     testing.TB
	fd    int
	index int
}

func (w *world) tap(ns *os.File, name string) *tap {
	w.t.Helper()
	p := &tap{t: w.t}
	w.in(ns, func() (err error) {
		// ETH_P_ALL in network byte order.
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300); err != nil {
			return err
		}
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		p.index = i.Index
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: p.index})
	})
	w.t.Cleanup(func() { unix.Close(p.fd) })
	p.seen()
	return p
}

// send ignores that a wire is cut, which is a state the suite is run in.
func (p *tap) send(b []byte) {
	p.t.Helper()
	err := unix.Sendto(p.fd, b, 0, &unix.SockaddrLinklayer{Ifindex: p.index, Halen: 6})
	switch {
	case err == nil, errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EINVAL) && len(b) < 15:
	default:
		p.t.Fatalf("send %d bytes: %v", len(b), err)
	}
}

// seen returns what has arrived, until nothing has for a moment.
func (p *tap) seen() [][]byte {
	p.t.Helper()
	var list [][]byte
	b := make([]byte, 2048)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 20)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n == 0 {
			break
		}
		n, from, err := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
		if err != nil {
			continue // the wire was cut meanwhile
		}
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING {
			list = append(list, bytes.Clone(b[:n]))
		}
	}
	s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || s.Drops > 0 {
		p.t.Fatalf("the sniffer missed frames: %+v, %v", s, err)
	}
	return list
}

func (w *world) views() (fromDevice, fromClient view) {
	a6, b6 := deviceAddr6, ownAddr6
	return view{mac: w.deviceMAC, gatewayMAC: w.gatewayMAC, farMAC: MAC{2, 0, 0, 0, 1, 2}, ip4: deviceAddr, gateway4: ownAddr, far4: clientAddr,
			ip6: a6, gateway6: b6, far6: addr("fd01::2"), broadcast4: addr("10.9.0.255")},
		view{mac: MAC{2, 0, 0, 0, 1, 2}, gatewayMAC: MAC{2, 0, 0, 0, 1, 1}, farMAC: w.deviceMAC, ip4: clientAddr, gateway4: ownAddr, far4: deviceAddr,
			ip6: addr("fd01::2"), gateway6: b6, far6: a6, broadcast4: addr("10.1.0.255")}
}

// declared reports whether a frame from the segment is what it may say: here is my address.
func (w *world) declared(b []byte) bool {
	reply := ether(w.deviceMAC, w.gatewayMAC, 0x0806, arpPacket(2, w.gatewayMAC, ownAddr, w.deviceMAC, deviceAddr))
	if bytes.HasPrefix(b, reply) {
		return true
	}
	return bytes.HasPrefix(b, ether(w.deviceMAC, w.gatewayMAC, 0x86dd, nil)) && len(b) >= 78 && b[20] == 58 && b[54] == 136 &&
		bytes.Equal(b[22:38], ownAddr6.AsSlice()) && bytes.Equal(b[38:54], deviceAddr6.AsSlice()) && bytes.Equal(b[62:78], ownAddr6.AsSlice())
}

// attack sends the suite from both sides. It returns what came through or was answered.
func (w *world) attack(device, client *tap) (leaks []string) {
	w.t.Helper()
	fromDevice, fromClient := w.views()
	device.seen()
	client.seen()
	for _, f := range fromDevice.frames() {
		device.send(f.bytes)
	}
	for _, b := range device.seen() {
		if !w.declared(b) {
			leaks = append(leaks, fmt.Sprintf("answer to the device: %x", b))
		}
	}
	for _, b := range client.seen() {
		if !ofHost(b, fromClient.gatewayMAC) {
			leaks = append(leaks, fmt.Sprintf("from the device to the client: %x", b))
		}
	}
	for _, f := range fromClient.frames() {
		client.send(f.bytes)
	}
	for _, b := range device.seen() {
		leaks = append(leaks, fmt.Sprintf("from the client to the device: %x", b))
	}
	client.seen()
	return leaks
}

// ofHost reports whether the client sees what the host says there by itself, which it does at
// times of its own: that it listens to groups (MLD, from no address), and an ARP request for
// an address that the client made up in an earlier run.
func ofHost(b []byte, host MAC) bool {
	asks := ether(everyone, host, 0x0806, arpPacket(1, host, addr("10.1.0.1"), MAC{}, addr("10.1.0.66")))
	groups := ether(MAC{0x33, 0x33, 0, 0, 0, 0x16}, host, 0x86dd, nil)
	return bytes.Equal(b, asks) || bytes.HasPrefix(b, groups) && len(b) > 62 && addr("::") == netip.AddrFrom16([16]byte(b[22:38])) && b[62] == 143
}

func (w *world) none(state string, leaks []string) {
	w.t.Helper()
	if len(leaks) > 0 {
		w.t.Errorf("%s: %d frames, the first:\n%s", state, len(leaks), leaks[0])
	}
}

// alive asks for the gateway's address as a device may, and wants its answer: else the suite
// would prove nothing.
func (w *world) alive(device *tap) {
	w.t.Helper()
	ask := ether(everyone, w.deviceMAC, 0x0806, arpPacket(1, w.deviceMAC, deviceAddr, MAC{}, ownAddr))
	ask6 := icmp6Packet(deviceAddr6, ownAddr6, 255, 135, 0, append(make([]byte, 4), ownAddr6.AsSlice()...))
	arp, nd := false, false
	end := time.Now().Add(busyTime)
	for i := 0; time.Now().Before(end); i++ { // on a busy machine it takes a while, and one may be lost
		if i%25 == 0 {
			device.send(ask)
			device.send(ether(w.gatewayMAC, w.deviceMAC, 0x86dd, ask6))
		}
		for _, b := range device.seen() {
			if !w.declared(b) {
				w.t.Errorf("a device that may ask for the gateway's address got %x", b)
			}
			arp, nd = arp || b[12] == 0x08, nd || b[12] == 0x86
		}
		if arp && nd {
			return
		}
	}
	w.t.Errorf("a device that may ask for the gateway's address is told by ARP %v, by ND %v", arp, nd)
}

// hostile makes the host as bad a place as its administrator could by mistake.
func (w *world) hostile() {
	w.t.Helper()
	for key, want := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/gw0/proxy_arp": "1",
		"ipv6/conf/all/proxy_ndp": "1", "ipv4/conf/all/accept_source_route": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/gw0/rp_filter": "0"} {
		if err := (sysctl{key: key, want: want}).write(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// takeUp does what a network daemon might: it takes the interface up wherever it is, and in
// the host leads the devices' network there.
func (w *world) takeUp() {
	w.t.Helper()
	up := func(h *netlink.Handle) error {
		l, err := find(h, "seg0")
		if err != nil || l == nil {
			return err
		}
		return h.LinkSetUp(l)
	}
	if ns, err := openNamespace(w.local.path(w.plan.Name)); err == nil {
		defer ns.Close()
		w.in(ns, func() error {
			h, err := routing()
			if err != nil {
				return err
			}
			defer h.Close()
			return up(h)
		})
	}
	defer w.carry()
	h := w.routing()
	defer h.Close()
	if l, err := find(h, "seg0"); err != nil || l == nil {
		return
	}
	w.in(nil, func() error {
		return join(up(h), ip("route replace 10.9.0.0/24 dev seg0"), ip("neigh replace 10.9.0.7 lladdr "+w.deviceMAC.String()+" nud permanent dev seg0"),
			os.WriteFile("/proc/sys/net/ipv4/conf/seg0/proxy_arp", []byte("1"), 0))
	})
}

func TestSuiteSize(t *testing.T) {
	w := &world{deviceMAC: MAC{2, 0, 0, 0, 9, 7}, gatewayMAC: MAC{2, 0, 0, 0, 9, 1}}
	for _, v := range []view{first(w.views()), second(w.views())} {
		frames := v.frames()
		kinds := map[string]bool{}
		for _, f := range frames {
			kinds[f.kind] = true
		}
		if len(frames) < 300 || len(kinds) < 30 {
			t.Errorf("%d frames of %d kinds", len(frames), len(kinds))
		}
		t.Logf("%d frames of %d kinds", len(frames), len(kinds))
	}
}

func TestBypassUp(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	w.setup()
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	w.alive(device)
	w.none("up", w.attack(device, client))
	w.alive(device)
}

// Killed after each step, and then somebody takes the interface up.
func TestBypassKilled(t *testing.T) {
	w := newWorld(t)
	w.hostile()
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
		w.takeUp()
		w.none("killed after "+steps[n-1].name+", then taken up", w.attack(device, client))
		w.setup()
		if f := w.findings(); len(f) > 0 {
			t.Errorf("killed after %s, then set up: %v", steps[n-1].name, f)
		}
		w.alive(device)
	}
}

// A process that sets up and tears down without end is killed wherever it happens to be.
func TestBypassKilledHard(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	plan, err := json.Marshal(w.plan)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), forever+"="+string(plan), forever+"_DIR="+w.local.Dir)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+17*i) * time.Millisecond) // any moment will do
		w.none("meanwhile", w.attack(device, client))
		c.Process.Kill()
		c.Wait()
		w.none("killed", w.attack(device, client))
		w.takeUp()
		w.none("killed, then taken up", w.attack(device, client))
		w.setup()
		if f := w.findings(); len(f) > 0 {
			t.Errorf("killed, then set up: %v", f)
		}
		w.alive(device)
	}
}

// A macvlan shares its wire with the host, which must not hear it.
func TestBypassMacvlan(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	w.plan.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "seg0"}
	parent := w.gatewayMAC
	w.gatewayMAC = w.plan.address()
	w.setup()
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	for _, state := range []string{"macvlan", "torn down"} {
		w.none(state, w.attack(device, client))
		fromDevice, _ := w.views()
		fromDevice.gatewayMAC = parent
		for _, f := range fromDevice.frames() {
			device.send(f.bytes)
		}
		for _, b := range device.seen() {
			if !w.declared(b) {
				t.Errorf("%s: the host answers: %x", state, b)
			}
		}
		if state == "macvlan" {
			w.alive(device)
			if err := w.local.Teardown(context.Background(), w.plan); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The guard of a trunk lets the segment's VLAN through to its interface, and nothing else.
// (Tags are stripped before nftables sees a frame; it has to look where they are kept.)
func TestGuardVLAN(t *testing.T) {
	w := newWorld(t)
	w.plan.Interface = Interface{Kind: VLAN, Name: "icu20", Parent: "seg0", VLAN: 20}
	if err := w.local.Guard(context.Background(), w.plan); err != nil {
		t.Fatal(err)
	}
	// Everything that the guard lets through is counted here.
	w.in(nil, func() error {
		return join(ip("link set seg0 up"), nft("add table netdev later"),
			nft("add chain netdev later in { type filter hook ingress device seg0 priority 0 ; }"), nft("add rule netdev later in counter"))
	})
	defer nft("delete table netdev later")
	w.carry()
	device := w.tap(w.device, "dev0")
	legal := ether(w.gatewayMAC, w.deviceMAC, 0x0806, arpPacket(1, w.deviceMAC, deviceAddr, MAC{}, ownAddr))
	device.send(legal)
	for _, tag := range []uint16{0, 1, 19, 21, 0xe015, 4094} {
		device.send(tagged(legal, 0x8100, tag))
		device.send(tagged(legal, 0x88a8, tag))
	}
	device.send(tagged(tagged(legal, 0x8100, 20), 0x8100, 21))
	device.seen()
	if text := w.nft(nil); !strings.Contains(text, "\t\tcounter packets 0 bytes 0\n") {
		t.Errorf("other VLANs come through:\n%s", text)
	}
	device.send(tagged(legal, 0x8100, 20))
	device.send(tagged(legal, 0x8100, 0x6014)) // with a priority
	device.seen()
	if text := w.nft(nil); !strings.Contains(text, "\t\tcounter packets 2 ") {
		t.Errorf("the segment's VLAN does not come through:\n%s", text)
	}
}

// Torn down: the interface is the host's again, and taken up there.
func TestBypassStopped(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	w.setup()
	if err := w.local.Teardown(context.Background(), w.plan); err != nil {
		t.Fatal(err)
	}
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	w.none("torn down", w.attack(device, client))
	w.takeUp()
	w.none("torn down, then taken up", w.attack(device, client))
}

// While it is made, made again and torn down, over and over.
func TestBypassMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	w.setup()
	device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if i%3 == 2 {
				if err := w.local.Teardown(context.Background(), w.plan); err != nil {
					done <- err
					return
				}
			}
			if err := w.local.Setup(context.Background(), w.plan); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 3 {
		w.none("meanwhile", w.attack(device, client))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.setup()
	w.alive(device)
}

// The suite itself: where a layer is gone and what is behind it fails too, it must find that.
func TestBypassFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		break_ func(w *world) error
	}{
		{"no filter", func(w *world) error {
			return inside(w.open(), func() error { return unload(append(w.plan.closed(), w.plan.wire())...) })
		}},
		{"no ARP filter", func(w *world) error {
			return inside(w.open(), func() error { return join(nft("delete table netdev cordon"), nft("delete table arp cordon")) })
		}},
		{"an open ingress, input and egress", func(w *world) error {
			return inside(w.open(), func() error {
				return join(nft("insert rule netdev cordon ingress accept"), nft("insert rule inet cordon input accept"),
					nft("insert rule inet cordon output accept"), nft("insert rule netdev cordon egress accept"))
			})
		}},
		{"no guard", func(w *world) error {
			return join(w.local.Teardown(context.Background(), w.plan), w.local.Release(context.Background(), w.plan))
		}},
		{"a guard less the wire's and the sockets'", func(w *world) error {
			return join(w.local.Teardown(context.Background(), w.plan), nft("delete table netdev cordon-guard-seg0"), nft("delete table inet cordon-guard-seg0"))
		}},
	} {
		w := newWorld(t)
		w.hostile()
		w.setup()
		device, client := w.tap(w.device, "dev0"), w.tap(w.client, "cli0")
		if err := c.break_(w); err != nil {
			t.Fatal(err)
		}
		w.takeUp()
		leaks := w.attack(device, client)
		if len(leaks) == 0 {
			t.Errorf("%s: nothing found", c.name)
		}
		t.Logf("%s: %d frames", c.name, len(leaks))
		w.clean()
	}
}

// A segment that comes up says nothing by itself: no MLD, no router or neighbour solicitation,
// no gratuitous ARP.
func TestSilent(t *testing.T) {
	w := newWorld(t)
	w.configure(w.device, "dev0") // up before, so that the first frame is seen
	device := w.tap(w.device, "dev0")
	w.setup()
	deadline := time.Now().Add(3 * time.Second) // MLD and router solicitations are spread over a second or two
	for time.Now().Before(deadline) {
		for _, b := range device.seen() {
			t.Errorf("said by itself: %x", b)
		}
	}
}
