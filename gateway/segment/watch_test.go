package segment

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.setup()
	s := New(w.local, w.plan)
	device := w.tap(w.device, "dev0")
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan Event, 100), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(e Event) {
			if e.Kind != Chatter { // the device's own MLD, at a time of its own
				events <- e
			}
		})
	}()
	next := func() Event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case err := <-done:
			t.Fatal(err)
		case <-time.After(busyTime):
			t.Fatal("no event")
		}
		return Event{}
	}
	// The watcher is there as soon as it tells something of the beacon.
	beacon := ether(w.gatewayMAC, w.deviceMAC, 0x0800, ip4Packet(deviceAddr, addr("202.114.4.119"), 64, 17, nil, udpDatagram(deviceAddr, addr("202.114.4.119"), 515, 515, []byte("HB"))))
	for end := time.Now().Add(busyTime); len(events) == 0 && time.Now().Before(end); {
		device.send(beacon)
		device.seen()
	}
	e := next()
	if e.Kind != Undeclared || e.Device != "mon-7" || e.To != netip.MustParseAddrPort("202.114.4.119:515") || e.Protocol != "udp" || e.Count != 1 {
		t.Errorf("a beacon: %v", e)
	}

	device.send(ether(everyone, stranger, 0x0806, arpPacket(1, stranger, addr("10.9.0.66"), MAC{}, ownAddr)))
	for e = next(); e.Kind == Undeclared; e = next() { // a longer burst of the beacon
	}
	if e.Kind != Stranger || e.MAC != stranger || e.From != addr("10.9.0.66") || e.Protocol != "arp" {
		t.Errorf("a stranger: %v", e)
	}
	device.send(ether(w.gatewayMAC, stranger, 0x86dd, ip6Packet(deviceAddr6, ownAddr6, 64, 6, tcpSegment(deviceAddr6, ownAddr6, 5000, callPort, 2))))
	if e = next(); e.Kind != Moved || e.Device != "mon-7" || e.MAC != stranger {
		t.Errorf("a moved address: %v", e)
	}

	discover := ether(everyone, w.deviceMAC, 0x0800, ip4Packet(netip.IPv4Unspecified(), addr("255.255.255.255"), 64, 17, nil,
		udpDatagram(netip.IPv4Unspecified(), addr("255.255.255.255"), 68, 67, make([]byte, 244))))
	solicit := ether(MAC{0x33, 0x33, 0, 1, 0, 2}, w.deviceMAC, 0x86dd, ip6Packet(addr("fe80::7"), addr("ff02::1:2"), 1, 17, udpDatagram(addr("fe80::7"), addr("ff02::1:2"), 546, 547, []byte{1, 1, 2, 3})))
	for name, b := range map[string][]byte{"DHCP": discover, "DHCPv6": solicit} {
		for range 3 { // one burst
			device.send(b)
		}
		if e = next(); e.Kind != Undeclared || e.Device != "mon-7" || e.Protocol != dhcp || e.Count != 1 ||
			!strings.Contains(e.String(), "02:00:00:00:09:07 (mon-7) asks for an address by DHCP, which a segment does not give: give it a fixed one") {
			t.Errorf("%s: %v", name, e)
		}
	}

	if err := s.Watch(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "somebody watches it already") {
		t.Errorf("a second watcher: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A flood is bounded by the kernel and told a few times.
func TestWatchFlood(t *testing.T) {
	w := newWorld(t)
	w.setup()
	device := w.tap(w.device, "dev0")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []Event, 1)
	go func() {
		var list []Event
		New(w.local, w.plan).Watch(ctx, func(e Event) { list = append(list, e) })
		done <- list
	}()
	beacon := ether(w.gatewayMAC, w.deviceMAC, 0x88cc, []byte{0, 0})
	for range 20_000 {
		device.send(beacon)
	}
	device.seen()
	cancel()
	if list := <-done; len(list) > 5 {
		t.Errorf("%d events of one burst: %v", len(list), list)
	}
}

func TestBursts(t *testing.T) {
	b := bursts{seen: map[burst]*Event{}}
	now := time.Unix(1000, 0)
	beacon := Event{Kind: Undeclared, Device: "mon-7", Protocol: "udp", To: netip.MustParseAddrPort("192.0.2.1:515")}
	var told []uint64
	for range 1234 {
		if e, first := b.add(beacon, now); first {
			told = append(told, e.Count)
		}
	}
	if fmt.Sprint(told) != "[1 10 100 1000]" {
		t.Errorf("told at %v", told)
	}
	if e, first := b.add(beacon, now.Add(2*quiet)); !first || e.Count != 1 {
		t.Errorf("after a pause: %v %v", e, first)
	}
	var floods int
	for i := range 3 * maxBursts {
		e, first := b.add(Event{Kind: Stranger, MAC: MAC{2, 1, 1, 1, byte(i >> 8), byte(i)}}, now.Add(2*quiet))
		if first && e.Kind == Flood {
			floods++
		}
	}
	if len(b.seen) > maxBursts+1 || floods == 0 || floods > 4 {
		t.Errorf("%d bursts are kept, %d floods told", len(b.seen), floods)
	}
	b.add(Event{Kind: Stranger, Protocol: "new"}, now.Add(9*quiet))
	if len(b.seen) != 1 {
		t.Errorf("%d bursts are kept after they ended", len(b.seen))
	}
}

// What a device does because IPv6 is switched on is told of once; what it does besides that is told
// as ever.
func TestChatter(t *testing.T) {
	device, mac := addr("fe80::7"), MAC{2, 0, 0, 0, 9, 7}
	frame := func(from MAC, source, to netip.Addr, next byte, payload []byte) (header, packet []byte) {
		b := ether(MAC{0x33, 0x33, 0, 0, 0, 1}, from, 0x86dd, ip6Packet(source, to, 255, next, payload))
		return b[:14], b[14:]
	}
	v4 := Plan{Addresses: []netip.Addr{ownAddr}, Devices: []Device{{ID: "mon-7", MAC: mac, Addresses: []netip.Addr{deviceAddr}}}}
	v6 := Plan{Addresses: []netip.Addr{ownAddr, ownAddr6}, Devices: v4.Devices}
	udp := func(to string, port uint16) []byte { return udpDatagram(device, addr(to), 5353, port, []byte{0}) }
	for name, x := range map[string]struct {
		plan    Plan
		from    MAC
		source  netip.Addr
		to      string
		next    byte
		payload []byte
		want    EventKind
	}{
		"router solicitation":            {v4, mac, device, "ff02::2", 58, []byte{133, 0, 0, 0, 0, 0, 0, 0}, Chatter},
		"duplicate address":              {v4, mac, netip.IPv6Unspecified(), "ff02::1:ff00:7", 58, []byte{135, 0, 0, 0, 0, 0, 0, 0}, Chatter},
		"MLD":                            {v4, mac, device, "ff02::16", 0, []byte{58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0}, Chatter},
		"mDNS":                           {v4, mac, device, "ff02::fb", 17, udp("ff02::fb", 5353), Chatter},
		"DHCPv6":                         {v4, mac, device, "ff02::1:2", 17, udpDatagram(device, addr("ff02::1:2"), 546, 547, []byte{1}), Undeclared},
		"to somebody":                    {v4, mac, device, "2001:db8::1", 17, udp("2001:db8::1", 515), Undeclared},
		"to a wider group":               {v4, mac, device, "ff05::c", 17, udp("ff05::c", 1900), Undeclared},
		"a stranger's":                   {v4, stranger, device, "ff02::2", 58, []byte{133, 0, 0, 0, 0, 0, 0, 0}, Stranger},
		"planned, a router solicitation": {v6, mac, device, "ff02::2", 58, []byte{133, 0, 0, 0, 0, 0, 0, 0}, Chatter},
		"planned, MLD":                   {v6, mac, device, "ff02::16", 0, []byte{58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0}, Chatter},
		"planned, duplicate address":     {v6, mac, netip.IPv6Unspecified(), "ff02::1:ff00:7", 58, []byte{135, 0, 0, 0, 0, 0, 0, 0}, Chatter},
		"planned, another neighbour":     {v6, mac, device, "ff02::1:ff00:8", 58, []byte{135, 0, 0, 0, 0, 0, 0, 0}, Undeclared},
		"planned, mDNS":                  {v6, mac, device, "ff02::fb", 17, udp("ff02::fb", 5353), Undeclared},
		"planned, a stranger's":          {v6, stranger, device, "ff02::2", 58, []byte{133, 0, 0, 0, 0, 0, 0, 0}, Stranger},
	} {
		e := x.plan.event(frame(x.from, x.source, addr(x.to), x.next, x.payload))
		if e.Kind != x.want {
			t.Errorf("%s: %v, want %s", name, e, x.want)
		}
	}
	b := bursts{seen: map[burst]*Event{}}
	now, told := time.Unix(1000, 0), 0
	for i := range 500 {
		to := []string{"ff02::2", "ff02::16", "ff02::fb"}[i%3]
		e := v4.event(frame(mac, device, addr(to), 58, []byte{133, 0, 0, 0}))
		if _, first := b.add(e, now.Add(time.Duration(i)*quiet)); first {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// Foreign bytes: whatever they are, they are described, and a name is a declared device's.
func FuzzEvent(f *testing.F) {
	p := Plan{Devices: []Device{{ID: "mon-7", MAC: MAC{2, 0, 0, 0, 9, 7}, Addresses: []netip.Addr{deviceAddr, deviceAddr6}}}}
	v := view{mac: MAC{2, 0, 0, 0, 9, 7}, gatewayMAC: MAC{2, 0, 0, 0, 9, 1}, farMAC: stranger, ip4: deviceAddr, gateway4: ownAddr, far4: clientAddr,
		ip6: deviceAddr6, gateway6: ownAddr6, far6: addr("fd01::2"), broadcast4: addr("10.9.0.255")}
	kinds := map[string]bool{}
	for _, x := range v.frames() {
		if !kinds[x.kind] {
			f.Add(x.bytes[:14], x.bytes[14:])
		}
		kinds[x.kind] = true
	}
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, header, packet []byte) {
		e := p.event(header, packet)
		if e.Protocol == "" || (e.Kind != Stranger && e.Device != "mon-7") || (e.Kind == Stranger && e.Device != "") {
			t.Errorf("%+v", e)
		}
		_ = e.String()
	})
}
