package segment

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// The smallest possible packets, with right checksums, so that nothing is refused for its form.

func ether(to, from MAC, ethertype uint16, payload []byte) []byte {
	b := append(append(append(make([]byte, 0, 64), to[:]...), from[:]...), byte(ethertype>>8), byte(ethertype))
	return append(b, payload...)
}

// llc is a frame of IEEE 802.3, with its length where others have an ethertype.
func llc(to, from MAC, payload []byte) []byte { return ether(to, from, uint16(len(payload)), payload) }

func tagged(frame []byte, protocol, tag uint16) []byte {
	return slices.Insert(slices.Clone(frame), 12, byte(protocol>>8), byte(protocol), byte(tag>>8), byte(tag))
}

func arpPacket(op byte, senderMAC MAC, sender netip.Addr, targetMAC MAC, target netip.Addr) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, senderMAC[:]...)
	b = append(append(b, sender.AsSlice()...), targetMAC[:]...)
	return append(b, target.AsSlice()...)
}

// ip4Packet pads options to four bytes.
func ip4Packet(from, to netip.Addr, ttl, protocol byte, options, payload []byte) []byte {
	options = append(slices.Clone(options), make([]byte, -len(options)&3)...)
	n := 20 + len(options)
	b := []byte{byte(0x40 | n/4), 0, 0, 0, 0, 1, 0, 0, ttl, protocol, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(n+len(payload)))
	b = append(append(append(b, from.AsSlice()...), to.AsSlice()...), options...)
	binary.BigEndian.PutUint16(b[10:], checksum(0, b))
	return append(b, payload...)
}

func fragment(packet []byte, at uint16) []byte {
	b := slices.Clone(packet)
	binary.BigEndian.PutUint16(b[6:], at)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], checksum(0, b[:int(b[0]&15)*4]))
	return b
}

func ip6Packet(from, to netip.Addr, hops, next byte, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, hops}
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), payload...)
}

func udpDatagram(from, to netip.Addr, fromPort, toPort uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, fromPort)
	b = binary.BigEndian.AppendUint16(b, toPort)
	b = append(binary.BigEndian.AppendUint16(b, uint16(8+len(payload))), 0, 0)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[6:], checksum(pseudo(from, to, 17, len(b)), b))
	return b
}

func tcpSegment(from, to netip.Addr, fromPort, toPort uint16, flags byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, fromPort)
	b = binary.BigEndian.AppendUint16(b, toPort)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 16, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo(from, to, 6, len(b)), b))
	return b
}

func icmpEcho(kind byte) []byte {
	b := []byte{kind, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(b[2:], checksum(0, b))
	return b
}

func icmp4Packet(from, to netip.Addr, kind, code byte, body []byte) []byte {
	b := append([]byte{kind, code, 0, 0}, body...)
	binary.BigEndian.PutUint16(b[2:], checksum(0, b))
	return ip4Packet(from, to, 64, 1, nil, b)
}

func icmp6Packet(from, to netip.Addr, hops, kind, code byte, body []byte) []byte {
	b := append([]byte{kind, code, 0, 0}, body...)
	binary.BigEndian.PutUint16(b[2:], checksum(pseudo(from, to, 58, len(b)), b))
	return ip6Packet(from, to, hops, 58, b)
}

func pseudo(from, to netip.Addr, protocol byte, n int) uint32 {
	b := append(from.AsSlice(), to.AsSlice()...)
	return sum(uint32(protocol)+uint32(n), b)
}

func sum(s uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
	}
	return s
}

// checksum is that of the internet (RFC 1071).
func checksum(s uint32, b []byte) uint16 {
	for s = sum(s, b); s > 0xffff; {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
