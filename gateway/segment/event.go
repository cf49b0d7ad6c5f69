package segment

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// EventKind is what a dropped packet means.
type EventKind string

const (
	Stranger   EventKind = "stranger"   // its MAC address is no declared device's
	Moved      EventKind = "moved"      // it has a declared address, but not that device's MAC
	Undeclared EventKind = "undeclared" // a declared device sent what the plan does not name
	Flood      EventKind = "flood"      // more different ones than are kept apart
	Chatter    EventKind = "chatter"    // a declared device does what every system with IPv6 does by itself; told once
)

// dhcp is the protocol of a machine that asks to be configured. It is refused and never relayed:
// who answers would say which address a device has, and where its router is.
const dhcp = "dhcp"

// AsksForAddress is what the String of such an Event says of it.
const AsksForAddress = "asks for an address by DHCP"

// Event is a burst of packets that were dropped. What it tells comes from the packets: an
// address or MAC in it may be forged.
type Event struct {
	Time     time.Time // of the last packet
	Kind     EventKind
	Device   string         // that has the MAC, or for Moved, the address
	MAC      MAC            // the frame's source
	From     netip.Addr     // the packet's source; zero if it has none
	To       netip.AddrPort // its destination; port 0 if it has none
	Protocol string         // "tcp", "udp", "dhcp", "icmp", "arp", "ethertype 0x88cc", …
	Count    uint64         // packets of it that the kernel showed; it shows some 20 a second
}

// String is one line for a person.
func (e Event) String() string {
	if e.Kind == Flood {
		return fmt.Sprintf("flood: %d packets of more kinds than are kept apart", e.Count)
	}
	who := e.MAC.String()
	if e.Device != "" {
		who = fmt.Sprintf("%s (%s)", who, e.Device)
	}
	if e.Kind == Chatter {
		return fmt.Sprintf("%s: %s looks for IPv6 routers and neighbours by itself, of which this segment has none but those declared: dropped, and not told again", e.Kind, who)
	}
	if e.Protocol == dhcp {
		return fmt.Sprintf("%s: %s %s, which a segment does not give: give it a fixed one; %d times", e.Kind, who, AsksForAddress, e.Count)
	}
	return fmt.Sprintf("%s: %s from %v at %s to %v, %d times", e.Kind, e.Protocol, e.From, who, e.To, e.Count)
}

// event says what a dropped packet means. Its bytes are foreign: as many of them are
// understood as are there.
func (p Plan) event(header, packet []byte) Event {
	var e Event
	ethertype := uint16(0)
	if len(header) >= 14 {
		e.MAC = MAC(header[6:12])
		ethertype = binary.BigEndian.Uint16(header[12:])
	}
	e.read(ethertype, packet)
	e.Kind = Stranger
	for _, d := range p.Devices {
		if d.MAC == e.MAC {
			e.Kind, e.Device = Undeclared, d.ID
		}
	}
	if d := p.device(e.From); d != nil && d.MAC != e.MAC {
		e.Kind, e.Device = Moved, d.ID
	}
	if e.Kind == Undeclared && e.chatters(p.uses(netip.Addr.Is6)) {
		e.Kind, e.Protocol, e.From, e.To = Chatter, "ipv6", netip.Addr{}, netip.AddrPort{}
	}
	return e
}

var allRouters, listenerReports = netip.MustParseAddr("ff02::2"), netip.MustParseAddr("ff02::16")

// chatters reports whether every system with IPv6 switched on does that. Where the plan has IPv6,
// that is only to look for a router (RFC 4861), to say which groups it listens to (RFC 3810), and
// to see whether an address is free (RFC 4862); elsewhere also RFC 6762 and its like.
func (e *Event) chatters(planned bool) bool {
	to := e.To.Addr()
	if !to.Is6() || !to.IsLinkLocalMulticast() || e.Protocol == dhcp {
		return false
	}
	return !planned || to == allRouters || to == listenerReports || e.Protocol == "icmp" && e.From.IsUnspecified()
}

func (e *Event) read(ethertype uint16, packet []byte) {
	transport, next := []byte(nil), byte(0)
	switch {
	case ethertype == 0x0806 && len(packet) >= 28:
		e.Protocol = "arp"
		e.From, e.To = netip.AddrFrom4([4]byte(packet[14:])), netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[24:])), 0)
		if d := MAC(packet[8:14]); d != e.MAC && d != (MAC{}) {
			e.MAC = d // who it speaks for is of interest, not who carries it
		}
		return
	case ethertype == 0x0800 && len(packet) >= 20:
		e.From, e.To = netip.AddrFrom4([4]byte(packet[12:])), netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[16:])), 0)
		next = packet[9]
		if n := int(packet[0]&15) * 4; n >= 20 && n <= len(packet) && binary.BigEndian.Uint16(packet[6:])&0x1fff == 0 {
			transport = packet[n:]
		}
	case ethertype == 0x86dd && len(packet) >= 40:
		e.From, e.To = netip.AddrFrom16([16]byte(packet[8:])), netip.AddrPortFrom(netip.AddrFrom16([16]byte(packet[24:])), 0)
		next, transport = packet[6], packet[40:]
	default:
		e.Protocol = fmt.Sprintf("ethertype 0x%04x", ethertype)
		return
	}
	switch next {
	case 6, 17:
		e.Protocol = map[byte]string{6: "tcp", 17: "udp"}[next]
		if len(transport) >= 4 {
			from, to := binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
			e.To = netip.AddrPortFrom(e.To.Addr(), to)
			// RFC 2131 section 4.1 and RFC 8415 section 7.2: of a client, to a server.
			if next == 17 && (from == 68 && to == 67 || from == 546 && to == 547) {
				e.Protocol = dhcp
			}
		}
	case 1, 58:
		e.Protocol = "icmp"
	default:
		e.Protocol = fmt.Sprintf("ip protocol %d", next)
	}
}
