package segment

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// view is what somebody on one side who wants across knows: their own addresses, the
// gateway's on that side, and those on the far side.
type view struct {
	mac, gatewayMAC, farMAC MAC
	ip4, gateway4, far4     netip.Addr
	ip6, gateway6, far6     netip.Addr
	broadcast4              netip.Addr
}

var (
	everyone = MAC{255, 255, 255, 255, 255, 255}
	stranger = MAC{2, 0, 0, 0, 0x66, 0x66}
)

type frame struct {
	kind  string
	bytes []byte
}

// frames is the suite: none of these may cause anything on the other side, nor an answer on
// the side of the devices.
func (v view) frames() []frame {
	var list []frame
	add := func(kind string, frames ...[]byte) {
		for _, b := range frames {
			list = append(list, frame{kind, b})
		}
	}
	to := []MAC{v.gatewayMAC, everyone, v.farMAC}
	// each sends a packet with every destination MAC address that could help.
	each := func(kind string, ethertype uint16, packets ...[]byte) {
		for _, p := range packets {
			for _, m := range to {
				add(kind, ether(m, v.mac, ethertype, p))
			}
		}
	}
	const arp, ip4, ip6 = 0x0806, 0x0800, 0x86dd
	zero4, zero6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()

	for _, m := range to {
		add("ARP from an unknown MAC", ether(m, stranger, arp, arpPacket(1, stranger, v.ip4, MAC{}, v.gateway4)),
			ether(m, v.mac, arp, arpPacket(1, stranger, v.ip4, MAC{}, v.gateway4)),
			ether(m, stranger, arp, arpPacket(1, v.mac, v.ip4, MAC{}, v.gateway4)))
		strange := netip.MustParseAddr("10.9.0.66")
		add("ARP for a strange address", ether(m, v.mac, arp, arpPacket(1, v.mac, strange, MAC{}, v.gateway4)))
		add("ARP for the far side", ether(m, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, v.far4)),
			ether(m, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, netip.MustParseAddr("10.1.0.1"))),
			ether(m, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, strange)))
		add("gratuitous ARP", ether(m, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, v.ip4)),
			ether(m, v.mac, arp, arpPacket(2, v.mac, v.ip4, v.mac, v.ip4)),
			ether(m, v.mac, arp, arpPacket(1, v.mac, v.gateway4, MAC{}, v.gateway4)),
			ether(m, v.mac, arp, arpPacket(2, v.mac, v.gateway4, everyone, v.gateway4)))
		add("ARP reply that nobody asked", ether(m, v.mac, arp, arpPacket(2, v.mac, v.far4, v.gatewayMAC, v.gateway4)),
			ether(m, stranger, arp, arpPacket(2, stranger, v.ip4, v.gatewayMAC, v.gateway4)))
		add("ARP probe", ether(m, v.mac, arp, arpPacket(1, v.mac, zero4, MAC{}, v.gateway4)))
		add("RARP and inverse ARP", ether(m, v.mac, 0x8035, arpPacket(3, v.mac, zero4, v.mac, zero4)),
			ether(m, v.mac, arp, arpPacket(8, v.mac, v.ip4, v.gatewayMAC, zero4)))
		add("ARP broken", ether(m, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, v.gateway4)[:20]),
			ether(m, v.mac, arp, append([]byte{0, 6}, arpPacket(1, v.mac, v.ip4, MAC{}, v.gateway4)[2:]...)))
	}

	solicit := func(mac MAC, from, to, target netip.Addr, hops byte) []byte {
		return icmp6Packet(from, to, hops, 135, 0, append(append(make([]byte, 4), target.AsSlice()...), 1, 1, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]))
	}
	group := func(a netip.Addr) (netip.Addr, MAC) {
		b := a.As16()
		g := netip.MustParseAddr("ff02::1:ff00:0").As16()
		copy(g[13:], b[13:])
		return netip.AddrFrom16(g), MAC{0x33, 0x33, 0xff, b[13], b[14], b[15]}
	}
	gatewayGroup, gatewayGroupMAC := group(v.gateway6)
	farGroup, farGroupMAC := group(v.far6)
	add("ND from an unknown MAC", ether(gatewayGroupMAC, stranger, ip6, solicit(stranger, v.ip6, gatewayGroup, v.gateway6, 255)),
		ether(v.gatewayMAC, stranger, ip6, solicit(stranger, v.ip6, v.gateway6, v.gateway6, 255)))
	add("ND from afar", ether(gatewayGroupMAC, v.mac, ip6, solicit(v.mac, v.ip6, gatewayGroup, v.gateway6, 64)))
	add("ND for the far side", ether(farGroupMAC, v.mac, ip6, solicit(v.mac, v.ip6, farGroup, v.far6, 255)),
		ether(v.gatewayMAC, v.mac, ip6, solicit(v.mac, v.ip6, v.gateway6, v.far6, 255)))
	add("ND for a strange address", ether(gatewayGroupMAC, v.mac, ip6, solicit(v.mac, netip.MustParseAddr("fd09::66"), gatewayGroup, v.gateway6, 255)))
	add("duplicate address detection", ether(gatewayGroupMAC, v.mac, ip6, icmp6Packet(zero6, gatewayGroup, 255, 135, 0, append(make([]byte, 4), v.gateway6.AsSlice()...))))
	all1 := netip.MustParseAddr("ff02::1")
	allMAC := MAC{0x33, 0x33, 0, 0, 0, 1}
	for _, target := range []netip.Addr{v.ip6, v.gateway6, v.far6} {
		body := append([]byte{0x20, 0, 0, 0}, target.AsSlice()...)
		body = append(body, 2, 1, v.mac[0], v.mac[1], v.mac[2], v.mac[3], v.mac[4], v.mac[5])
		add("ND advertisement", ether(allMAC, v.mac, ip6, icmp6Packet(v.ip6, all1, 255, 136, 0, body)),
			ether(v.gatewayMAC, v.mac, ip6, icmp6Packet(v.ip6, v.gateway6, 255, 136, 0, body)))
	}
	ra := []byte{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 0, 0, 0xfd, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	local6 := netip.MustParseAddr("fe80::66")
	add("router advertisement", ether(allMAC, v.mac, ip6, icmp6Packet(local6, all1, 255, 134, 0, ra)), ether(v.gatewayMAC, v.mac, ip6, icmp6Packet(v.ip6, v.gateway6, 255, 134, 0, ra)))
	add("router solicitation", ether(MAC{0x33, 0x33, 0, 0, 0, 2}, v.mac, ip6, icmp6Packet(v.ip6, netip.MustParseAddr("ff02::2"), 255, 133, 0, make([]byte, 4))))

	inner4 := ip4Packet(v.gateway4, v.far4, 64, 6, nil, tcpSegment(v.gateway4, v.far4, 1234, 80, 2))
	each("redirect", ip4, icmp4Packet(v.ip4, v.gateway4, 5, 1, append(v.ip4.AsSlice(), inner4...)), icmp4Packet(v.ip4, v.far4, 5, 0, append(v.ip4.AsSlice(), inner4...)))
	each("redirect, IPv6", ip6, icmp6Packet(local6, v.gateway6, 255, 137, 0, append(append(make([]byte, 4), v.ip6.AsSlice()...), v.far6.AsSlice()...)))

	udp4 := udpDatagram(v.ip4, v.far4, 5000, 5001, []byte("across"))
	for _, option := range []byte{131, 137} { // LSRR, SSRR
		route := append([]byte{option, 7, 4}, v.far4.AsSlice()...)
		each("source routing", ip4, ip4Packet(v.ip4, v.gateway4, 64, 17, append(route, 0), udp4),
			ip4Packet(v.ip4, v.gateway4, 64, 6, append(route, 0), tcpSegment(v.ip4, v.gateway4, 5000, 80, 2)))
	}
	for _, option := range [][]byte{{7, 7, 4, 0, 0, 0, 0, 0}, {68, 8, 5, 0, 0, 0, 0, 0}, {148, 4, 0, 0}, {130, 4, 0, 0}} {
		each("IPv4 options", ip4, ip4Packet(v.ip4, v.far4, 64, 17, option, udp4), ip4Packet(v.ip4, v.gateway4, 64, 1, option, icmpEcho(8)))
	}
	long := udpDatagram(v.ip4, v.far4, 5000, 5001, make([]byte, 64))
	for _, at := range []uint16{0x2000, 0x2001, 0x0001, 0x0003, 0x1fff, 0x8000} { // more fragments, overlapping, last, beyond the end, the evil bit
		each("fragments", ip4, fragment(ip4Packet(v.ip4, v.far4, 64, 17, nil, long), at), fragment(ip4Packet(v.ip4, v.gateway4, 64, 1, nil, icmpEcho(8)), at))
	}
	udp6 := udpDatagram(v.ip6, v.far6, 5000, 5001, []byte("across"))
	echo6 := func(dst netip.Addr) []byte { return icmp6Packet(v.ip6, dst, 64, 128, 0, []byte{0, 1, 0, 1})[40:] }
	for _, at := range []uint16{0, 1, 0x0009, 0x0010, 0xfff8} {
		header := []byte{17, 0, byte(at >> 8), byte(at), 0, 0, 0, 7}
		each("fragments, IPv6", ip6, ip6Packet(v.ip6, v.far6, 64, 44, append(header, udp6...)),
			ip6Packet(v.ip6, v.gateway6, 64, 44, append(append([]byte{58}, header[1:]...), echo6(v.gateway6)...)))
	}
	for _, h := range []struct {
		next byte
		head []byte
	}{
		{0, []byte{58, 0, 1, 4, 0, 0, 0, 0}}, {60, []byte{58, 0, 1, 4, 0, 0, 0, 0}}, {0, []byte{58, 0, 5, 2, 0, 0, 1, 0}}, // hop by hop, destination, router alert
		{0, []byte{58, 0, 0xc2, 4, 0, 1, 0, 0}}, {60, []byte{58, 0, 0x80, 4, 0, 0, 0, 0}}, // jumbo; an option that asks for an error
	} {
		each("IPv6 extension headers", ip6, ip6Packet(v.ip6, v.gateway6, 64, h.next, append(h.head, echo6(v.gateway6)...)),
			ip6Packet(v.ip6, v.far6, 64, h.next, append(h.head, echo6(v.far6)...)))
	}
	for _, kind := range []byte{0, 2, 3, 4} { // RFC 5095, mobility, RPL, segment routing
		head := append([]byte{58, 2, kind, 1, 0, 0, 0, 0}, v.far6.AsSlice()...)
		each("IPv6 routing headers", ip6, ip6Packet(v.ip6, v.gateway6, 64, 43, append(head, echo6(v.far6)...)))
	}
	each("IPv6 odd next headers", ip6, ip6Packet(v.ip6, v.gateway6, 64, 59, nil), ip6Packet(v.ip6, v.gateway6, 64, 253, []byte{1, 2, 3, 4}),
		ip6Packet(v.ip6, v.gateway6, 64, 135, make([]byte, 8)))

	syn4 := ip4Packet(v.ip4, v.gateway4, 64, 6, nil, tcpSegment(v.ip4, v.gateway4, 5000, 80, 2))
	legal := ether(v.gatewayMAC, v.mac, arp, arpPacket(1, v.mac, v.ip4, MAC{}, v.gateway4))
	for _, tag := range []uint16{0, 1, 20, 0xe000, 0xe014, 4095} {
		add("VLAN tags", tagged(legal, 0x8100, tag), tagged(ether(v.gatewayMAC, v.mac, ip4, syn4), 0x8100, tag),
			tagged(tagged(legal, 0x8100, 20), 0x8100, tag), tagged(tagged(legal, 0x8100, tag), 0x88a8, 1))
	}

	for _, g := range []string{"224.0.0.1", "224.0.0.22", "239.255.255.250", "232.1.1.1"} {
		a := netip.MustParseAddr(g)
		b := a.As4()
		m := MAC{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
		add("multicast", ether(m, v.mac, ip4, ip4Packet(v.ip4, a, 8, 17, nil, udpDatagram(v.ip4, a, 5000, 5001, nil))),
			ether(m, v.mac, ip4, icmp4Packet(v.ip4, a, 8, 0, []byte{0, 1, 0, 1})))
	}
	for _, g := range []string{"ff02::1", "ff02::2", "ff05::1:3", "ff0e::101", "ff02::16"} {
		a := netip.MustParseAddr(g)
		b := a.As16()
		m := MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
		add("multicast, IPv6", ether(m, v.mac, ip6, ip6Packet(v.ip6, a, 8, 17, udpDatagram(v.ip6, a, 5000, 5001, nil))),
			ether(m, v.mac, ip6, icmp6Packet(v.ip6, a, 64, 128, 0, []byte{0, 1, 0, 1})))
	}
	limited := netip.MustParseAddr("255.255.255.255")
	each("broadcast", ip4, ip4Packet(v.ip4, limited, 64, 17, nil, udpDatagram(v.ip4, limited, 5000, 5001, nil)), icmp4Packet(v.ip4, limited, 8, 0, []byte{0, 1, 0, 1}))
	farNet := netip.MustParseAddr("10.1.0.255")
	for _, a := range []netip.Addr{v.broadcast4, farNet, netip.MustParseAddr("10.9.0.0")} {
		each("directed broadcast", ip4, ip4Packet(v.ip4, a, 64, 17, nil, udpDatagram(v.ip4, a, 7, 7, nil)), icmp4Packet(v.ip4, a, 8, 0, []byte{0, 1, 0, 1}))
	}
	for _, s := range []string{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.9.0.66", "10.1.0.66", "192.0.2.1", "169.254.1.1"} {
		a := netip.MustParseAddr(s)
		each("spoofed source", ip4, ip4Packet(a, v.gateway4, 64, 6, nil, tcpSegment(a, v.gateway4, 5000, 80, 2)), icmp4Packet(a, v.far4, 8, 0, []byte{0, 1, 0, 1}))
	}
	for _, a := range []netip.Addr{v.gateway4, v.far4} {
		each("spoofed as the target", ip4, ip4Packet(a, a, 64, 6, nil, tcpSegment(a, a, 80, 80, 2)), ip4Packet(a, v.gateway4, 64, 17, nil, udpDatagram(a, v.gateway4, 53, 53, nil)))
	}
	for _, s := range []string{"::1", "::", "ff02::1", "fe80::66", "fd09::66", "::ffff:10.9.0.1", "2002:a09:7::1"} {
		a := netip.MustParseAddr(s)
		each("spoofed source, IPv6", ip6, icmp6Packet(a, v.gateway6, 64, 128, 0, []byte{0, 1, 0, 1}), ip6Packet(a, v.far6, 64, 17, udpDatagram(a, v.far6, 7, 7, nil)))
	}

	for _, n := range []uint16{7, 53, 67, 69, 123, 161, 514, 520, 1900, 3702, 4789, 24105, 47808, 33434} {
		each("UDP", ip4, ip4Packet(v.ip4, v.gateway4, 64, 17, nil, udpDatagram(v.ip4, v.gateway4, 5000, n, []byte("beacon"))),
			ip4Packet(v.ip4, v.far4, 64, 17, nil, udpDatagram(v.ip4, v.far4, 5000, n, []byte("beacon"))))
		each("UDP, IPv6", ip6, ip6Packet(v.ip6, v.gateway6, 64, 17, udpDatagram(v.ip6, v.gateway6, 5000, n, []byte("beacon"))),
			ip6Packet(v.ip6, v.far6, 64, 17, udpDatagram(v.ip6, v.far6, 5000, n, []byte("beacon"))))
	}
	each("beacon to a fixed address", ip4, ip4Packet(v.ip4, netip.MustParseAddr("202.114.4.119"), 64, 17, nil, udpDatagram(v.ip4, netip.MustParseAddr("202.114.4.119"), 515, 515, []byte("HB"))),
		ip4Packet(v.ip4, netip.MustParseAddr("202.114.4.119"), 64, 6, nil, tcpSegment(v.ip4, netip.MustParseAddr("202.114.4.119"), 515, 515, 2)))
	for _, kind := range []byte{8, 13, 15, 17, 10, 42} {
		each("ICMP questions", ip4, icmp4Packet(v.ip4, v.gateway4, kind, 0, make([]byte, 16)), icmp4Packet(v.ip4, v.far4, kind, 0, make([]byte, 16)))
	}
	for _, kind := range []byte{3, 4, 11, 12} {
		each("ICMP errors", ip4, icmp4Packet(v.ip4, v.gateway4, kind, 4, append(make([]byte, 4), inner4...)), icmp4Packet(v.ip4, v.far4, kind, 4, append(make([]byte, 4), inner4...)))
	}
	for _, kind := range []byte{128, 139, 144, 145, 146, 151, 160} {
		each("ICMPv6 questions", ip6, icmp6Packet(v.ip6, v.gateway6, 255, kind, 0, make([]byte, 20)), icmp6Packet(v.ip6, v.far6, 255, kind, 0, make([]byte, 20)))
	}
	for _, kind := range []byte{1, 2, 3, 4} {
		body := append([]byte{0, 0, 5, 0}, ip6Packet(v.gateway6, v.far6, 64, 17, udp6)...)
		each("ICMPv6 errors", ip6, icmp6Packet(v.ip6, v.gateway6, 64, kind, 0, body), icmp6Packet(v.ip6, v.far6, 64, kind, 0, body))
	}

	ask := func(kind, g4, g6 string, n uint16) {
		a4, a6 := netip.MustParseAddr(g4), netip.MustParseAddr(g6)
		b := a4.As4()
		m := everyone
		if a4.IsMulticast() {
			m = MAC{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
		}
		c := a6.As16()
		add(kind, ether(m, v.mac, ip4, ip4Packet(v.ip4, a4, 255, 17, nil, udpDatagram(v.ip4, a4, n, n, make([]byte, 40)))),
			ether(v.gatewayMAC, v.mac, ip4, ip4Packet(v.ip4, v.gateway4, 255, 17, nil, udpDatagram(v.ip4, v.gateway4, n, n, make([]byte, 40)))),
			ether(MAC{0x33, 0x33, c[12], c[13], c[14], c[15]}, v.mac, ip6, ip6Packet(v.ip6, a6, 255, 17, udpDatagram(v.ip6, a6, n, n, make([]byte, 40)))))
	}
	ask("LLMNR", "224.0.0.252", "ff02::1:3", 5355)
	ask("mDNS", "224.0.0.251", "ff02::fb", 5353)
	ask("NetBIOS names", "10.9.0.255", "ff02::1", 137)
	ask("NetBIOS datagrams", "10.9.0.255", "ff02::1", 138)
	ask("SSDP", "239.255.255.250", "ff02::c", 1900)
	ask("WS-Discovery", "239.255.255.250", "ff02::c", 3702)
	ask("PTP", "224.0.1.129", "ff0e::181", 319)
	for i, ports := range [][2]uint16{{68, 67}, {67, 68}} { // discover, offer
		body := make([]byte, 244)
		body[0], body[1], body[2] = byte(i+1), 1, 6
		copy(body[28:], v.mac[:])
		copy(body[236:], []byte{0x63, 0x82, 0x53, 0x63, 53, 1, byte(i + 1), 255})
		from := []netip.Addr{zero4, v.ip4}[i]
		each("DHCP", ip4, ip4Packet(from, limited, 64, 17, nil, udpDatagram(from, limited, ports[0], ports[1], body)))
	}
	servers := netip.MustParseAddr("ff02::1:2")
	add("DHCPv6", ether(MAC{0x33, 0x33, 0, 1, 0, 2}, v.mac, ip6, ip6Packet(v.ip6, servers, 1, 17, udpDatagram(v.ip6, servers, 546, 547, []byte{1, 1, 2, 3}))),
		ether(v.gatewayMAC, v.mac, ip6, ip6Packet(v.ip6, v.gateway6, 1, 17, udpDatagram(v.ip6, v.gateway6, 547, 546, []byte{7, 1, 2, 3}))))

	add("spanning tree", llc(MAC{1, 0x80, 0xc2, 0, 0, 0}, v.mac, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)), llc(MAC{1, 0, 0x0c, 0xcc, 0xcc, 0xcd}, v.mac, append([]byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 1, 0x0b}, make([]byte, 35)...)))
	add("LLDP", ether(MAC{1, 0x80, 0xc2, 0, 0, 0x0e}, v.mac, 0x88cc, []byte{2, 7, 4, 1, 2, 3, 4, 5, 6, 4, 2, 7, 1, 6, 2, 0, 120, 0, 0}))
	add("CDP", llc(MAC{1, 0, 0x0c, 0xcc, 0xcc, 0xcc}, v.mac, append([]byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0}, make([]byte, 30)...)))
	add("EAPOL", ether(MAC{1, 0x80, 0xc2, 0, 0, 3}, v.mac, 0x888e, []byte{1, 1, 0, 0}), ether(v.gatewayMAC, v.mac, 0x888e, []byte{1, 0, 0, 5, 1, 1, 0, 5, 1}))
	add("LACP and pause", ether(MAC{1, 0x80, 0xc2, 0, 0, 2}, v.mac, 0x8809, append([]byte{1, 1}, make([]byte, 108)...)), ether(MAC{1, 0x80, 0xc2, 0, 0, 1}, v.mac, 0x8808, []byte{0, 1, 255, 255}))
	for _, t := range []uint16{0x8847, 0x8863, 0x8864, 0x8137, 0x809b, 0x22f0, 0x88f7, 0x8892, 0x88a4, 0x0842, 0x9000, 0x6003, 0xffff, 0x88e5} {
		each("other ethertypes", t, append([]byte{0x11, 9, 0, 0, 0, 24}, inner4...))
	}
	add("802.3", llc(v.gatewayMAC, v.mac, []byte{0xf0, 0xf0, 3}), llc(everyone, v.mac, []byte{0xe0, 0xe0, 3, 255, 255}), llc(v.gatewayMAC, v.mac, append([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, syn4...)))
	add("runts", ether(v.gatewayMAC, v.mac, ip4, nil), ether(v.gatewayMAC, v.mac, ip4, syn4[:10]), ether(v.gatewayMAC, v.mac, ip6, syn4[:20]), ether(v.gatewayMAC, v.mac, arp, nil), ether(v.gatewayMAC, v.mac, ip4, syn4[:25]))

	each("tunnels", ip4, ip4Packet(v.ip4, v.gateway4, 64, 47, nil, append([]byte{0, 0, 8, 0}, inner4...)), ip4Packet(v.ip4, v.gateway4, 64, 4, nil, inner4),
		ip4Packet(v.ip4, v.gateway4, 64, 41, nil, ip6Packet(v.ip6, v.far6, 64, 17, udp6)), ip4Packet(v.ip4, v.gateway4, 64, 50, nil, make([]byte, 16)),
		ip4Packet(v.ip4, v.gateway4, 64, 51, nil, make([]byte, 24)), ip4Packet(v.ip4, v.gateway4, 64, 137, nil, inner4), ip4Packet(v.ip4, v.gateway4, 64, 132, nil, make([]byte, 20)),
		ip4Packet(v.ip4, v.far4, 1, 17, nil, udp4), ip4Packet(v.ip4, v.gateway4, 0, 6, nil, tcpSegment(v.ip4, v.gateway4, 5, 80, 2)))
	each("tunnels, IPv6", ip6, ip6Packet(v.ip6, v.gateway6, 64, 47, append([]byte{0, 0, 8, 0}, inner4...)), ip6Packet(v.ip6, v.gateway6, 64, 4, inner4), ip6Packet(v.ip6, v.gateway6, 64, 41, ip6Packet(v.ip6, v.far6, 64, 17, udp6)), ip6Packet(v.ip6, v.far6, 1, 17, udp6))
	for _, kind := range []byte{0x11, 0x12, 0x16, 0x17, 0x22} {
		g := netip.MustParseAddr("224.0.0.1")
		body := []byte{kind, 10, 0, 0, 224, 1, 1, 1}
		binary.BigEndian.PutUint16(body[2:], checksum(0, body))
		add("IGMP", ether(MAC{1, 0, 0x5e, 0, 0, 1}, v.mac, ip4, ip4Packet(v.ip4, g, 1, 2, []byte{148, 4, 0, 0}, body)), ether(v.gatewayMAC, v.mac, ip4, ip4Packet(v.ip4, v.gateway4, 1, 2, nil, body)))
	}
	for _, kind := range []byte{130, 131, 132, 143} {
		message := icmp6Packet(local6, all1, 1, kind, 0, make([]byte, 24))[40:]
		add("MLD", ether(allMAC, v.mac, ip6, ip6Packet(local6, all1, 1, 0, append([]byte{58, 0, 5, 2, 0, 0, 1, 0}, message...))), ether(allMAC, v.mac, ip6, icmp6Packet(local6, all1, 1, kind, 0, make([]byte, 24))))
	}

	for _, flags := range []byte{0x02, 0x10, 0x04, 0x12, 0x01, 0x29, 0x00, 0x14, 0xc2} {
		for _, n := range []uint16{22, 80, 443, servicePort, 65535} {
			each("TCP to other ports", ip4, ip4Packet(v.ip4, v.gateway4, 64, 6, nil, tcpSegment(v.ip4, v.gateway4, 5000, n, flags)),
				ip4Packet(v.ip4, v.far4, 64, 6, nil, tcpSegment(v.ip4, v.far4, 5000, n, flags)))
			each("TCP to other ports, IPv6", ip6, ip6Packet(v.ip6, v.gateway6, 64, 6, tcpSegment(v.ip6, v.gateway6, 5000, n, flags)),
				ip6Packet(v.ip6, v.far6, 64, 6, tcpSegment(v.ip6, v.far6, 5000, n, flags)))
		}
		// As if it were an answer of the declared service.
		for _, a := range []netip.Addr{v.gateway4, v.far4} {
			each("TCP out of nowhere", ip4, ip4Packet(v.ip4, a, 64, 6, nil, tcpSegment(v.ip4, a, servicePort, 5000, flags)))
		}
		for _, a := range []netip.Addr{v.gateway6, v.far6} {
			each("TCP out of nowhere, IPv6", ip6, ip6Packet(v.ip6, a, 64, 6, tcpSegment(v.ip6, a, servicePort, 5000, flags)))
		}
	}
	for _, m := range []MAC{everyone, {1, 0, 0x5e, 0, 0, 1}, {0x33, 0x33, 0, 0, 0, 1}, stranger} {
		// What is declared, but in a frame for everyone, or from somebody else.
		add("call in the wrong frame", ether(m, v.mac, ip4, ip4Packet(v.ip4, v.gateway4, 64, 6, nil, tcpSegment(v.ip4, v.gateway4, 5000, callPort, 2))),
			ether(m, v.mac, ip6, ip6Packet(v.ip6, v.gateway6, 64, 6, tcpSegment(v.ip6, v.gateway6, 5000, callPort, 2))))
		add("call from an unknown MAC", ether(v.gatewayMAC, stranger, ip4, ip4Packet(v.ip4, v.gateway4, 64, 6, nil, tcpSegment(v.ip4, v.gateway4, 5000, callPort, 2))),
			ether(v.gatewayMAC, stranger, ip6, ip6Packet(v.ip6, v.gateway6, 64, 6, tcpSegment(v.ip6, v.gateway6, 5000, callPort, 2))))
	}
	add("wake on LAN", ether(everyone, v.mac, 0x0842, append(slices.Repeat([]byte{255}, 6), slices.Repeat(v.farMAC[:], 16)...)))
	return list
}
