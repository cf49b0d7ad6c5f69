package guest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// station is a machine on a wire that tries what it can: its own addresses, those of the guest's
// card there, and of a machine on the other wire that it must not reach.
type station struct {
	mac, card, far     net.HardwareAddr
	ip4, gateway4, to4 netip.Addr
	ip6, gateway6, to6 netip.Addr
	payload            []byte // in every frame that has room for it: where it is seen, a frame has crossed
}

// frames are those that a machine which starts is sent: what asks it for an answer, what
// invites it to configure itself, what it would pass on if it were a router.
func (s station) frames() [][]byte {
	everyone := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	groups := net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	none := net.HardwareAddr{0, 0, 0, 0, 0, 0}
	broadcast, all6 := netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("ff02::1")
	linkLocal := netip.MustParseAddr("fe80::bad")
	own := option(1, s.mac)

	var list [][]byte
	add := func(to net.HardwareAddr, kind uint16, body []byte) {
		list = append(list, ethernet(to, s.mac, kind, body))
	}
	add(everyone, 0x0806, arp(1, s.mac, s.ip4, none, s.gateway4))
	add(everyone, 0x0806, arp(1, s.mac, s.ip4, none, s.to4))
	add(everyone, 0x0806, arp(1, s.mac, s.gateway4, none, s.gateway4)) // its address is taken
	add(everyone, 0x0806, arp(2, s.mac, s.to4, everyone, s.to4))
	for _, hardware := range []net.HardwareAddr{s.card, s.far, everyone} {
		for _, to := range []netip.Addr{s.to4, s.gateway4, broadcast} {
			add(hardware, 0x0800, ip4(s.ip4, to, 1, icmp(8, 0, s.echo(), netip.Addr{}, netip.Addr{})))
			add(hardware, 0x0800, ip4(s.ip4, to, 17, udp(s.ip4, to, 40000, 2575, s.payload)))
			add(hardware, 0x0800, ip4(s.ip4, to, 6, syn(s.ip4, to, 40000, 2575, s.payload)))
		}
	}
	add(everyone, 0x0800, ip4(netip.MustParseAddr("0.0.0.0"), broadcast, 17, udp(s.ip4, broadcast, 68, 67, s.payload)))
	add(everyone, 0x0800, ip4(s.ip4, netip.MustParseAddr("224.0.0.252"), 17, udp(s.ip4, broadcast, 40000, 5355, s.payload)))
	for _, hardware := range []net.HardwareAddr{s.card, s.far} {
		for _, to := range []netip.Addr{s.to6, s.gateway6} {
			add(hardware, 0x86dd, ip6(s.ip6, to, 58, icmp(128, 0, s.echo(), s.ip6, to)))
			add(hardware, 0x86dd, ip6(s.ip6, to, 17, udp(s.ip6, to, 40000, 2575, s.payload)))
			add(hardware, 0x86dd, ip6(s.ip6, to, 6, syn(s.ip6, to, 40000, 2575, s.payload)))
		}
	}
	add(groups, 0x86dd, ip6(linkLocal, all6, 58, icmp(128, 0, s.echo(), linkLocal, all6)))
	// A router that offers itself and a prefix (RFC 4861 section 4.2).
	prefix := append([]byte{3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8:bad::").AsSlice()...)
	offer := append([]byte{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, append(prefix, own...)...)
	add(groups, 0x86dd, ip6(linkLocal, all6, 58, icmp(134, 0, offer, linkLocal, all6)))
	add(groups, 0x86dd, ip6(linkLocal, all6, 58, icmp(130, 0, make([]byte, 24), linkLocal, all6))) // who listens to groups?
	for _, asked := range []netip.Addr{s.gateway6, s.to6} {
		b := asked.As16()
		group := netip.AddrFrom16([16]byte{0xff, 2, 10: 0, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
		add(net.HardwareAddr{0x33, 0x33, 0xff, b[13], b[14], b[15]}, 0x86dd,
			ip6(s.ip6, group, 58, icmp(135, 0, append(append(make([]byte, 4), b[:]...), own...), s.ip6, group)))
	}
	for _, f := range list[:len(list):len(list)] { // and all of it in a VLAN
		list = append(list, append(append(bytes.Clone(f[:12]), 0x81, 0, 0, 20), f[12:]...))
	}
	return list
}

func ethernet(to, from net.HardwareAddr, kind uint16, body []byte) []byte {
	b := append(append(bytes.Clone(to), from...), byte(kind>>8), byte(kind))
	b = append(b, body...)
	return append(b, make([]byte, max(0, 60-len(b)))...)
}

// arp is RFC 826.
func arp(op byte, mac net.HardwareAddr, ip netip.Addr, toMAC net.HardwareAddr, to netip.Addr) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, mac...)
	b = append(append(b, ip.AsSlice()...), toMAC...)
	return append(b, to.AsSlice()...)
}

// option is a link-layer address option of ND (RFC 4861 section 4.6.1).
func option(kind byte, mac net.HardwareAddr) []byte { return append([]byte{kind, 1}, mac...) }

func ip4(from, to netip.Addr, protocol byte, body []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(body)))
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, body...)
}

func ip6(from, to netip.Addr, protocol byte, body []byte) []byte {
	hops := byte(64)
	if protocol == 58 {
		hops = 255 // ND wants it (RFC 4861 section 7.1.1)
	}
	b := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), protocol, hops}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	return append(b, body...)
}

func (s station) echo() []byte { return append([]byte{0, 1, 0, 1}, s.payload...) }

// icmp is of version 6 if there are addresses, which its checksum covers.
func icmp(kind, code byte, body []byte, from, to netip.Addr) []byte {
	b := append([]byte{kind, code, 0, 0}, body...)
	over := b
	if from.IsValid() {
		over = pseudo(from, to, 58, b)
	}
	binary.BigEndian.PutUint16(b[2:], checksum(over))
	return b
}

func udp(from, to netip.Addr, source, port uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, source), port)
	b = append(b, byte((8+len(payload))>>8), byte(8+len(payload)), 0, 0)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[6:], checksum(pseudo(from, to, 17, b)))
	return b
}

func syn(from, to netip.Addr, source, port uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, source), port)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo(from, to, 6, b)))
	return b
}

// pseudo puts the pseudo header before a body (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudo(from, to netip.Addr, protocol byte, body []byte) []byte {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(append(b, 0, 0, 0, protocol), body...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
