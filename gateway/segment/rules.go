package segment

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// table, chain and rule are nftables as data, so that what is wanted can be loaded and later
// be compared with what the kernel says it has.
type table struct {
	family nftables.TableFamily
	name   string
	shared bool // other segments have elements in its sets
	sets   []*set
	chains []chain
}

type chain struct {
	name   string
	hook   *nftables.ChainHook
	order  nftables.ChainPriority
	device string // for netdev: the interface it is bound to
	policy nftables.ChainPolicy
	rules  []rule
}

type rule struct {
	why   string // its comment
	match match
}

const (
	segmentTable = "cordon"
	logGroup     = 1  // NFLOG group in the segment's namespace; see watch.go
	logBytes     = 96 // of a dropped packet that are shown, from its network header on
	logRate      = 20 // packets a second, of each chain
)

// Hooks of the arp family (linux/netfilter_arp.h).
var arpIn, arpOut = nftables.ChainHookRef(0), nftables.ChainHookRef(1)

// Where fields lie: Ethernet (IEEE 802.3), ARP (RFC 826), IPv4 (RFC 791) without options,
// IPv6 (RFC 8200) without extension headers, ND (RFC 4861), TCP (RFC 9293).
var (
	etherTo   = field{link, 0, 6}
	etherFrom = field{link, 6, 6}

	arpSenderMAC = field{network, 8, 6}
	arpSender    = field{network, 14, 4}
	arpTargetMAC = field{network, 18, 6}
	arpTarget    = field{network, 24, 4}

	from4, to4         = field{network, 12, 4}, field{network, 16, 4}
	fromPort4, toPort4 = field{network, 20, 2}, field{network, 22, 2}

	from6, to6         = field{network, 8, 16}, field{network, 24, 16}
	fromPort6, toPort6 = field{network, 40, 2}, field{network, 42, 2}
	ndTarget           = field{network, 48, 16}

	fromPort, toPort = field{transport, 0, 2}, field{transport, 2, 2}
)

// Kinds of packet that a segment knows; everything else is dropped.
var (
	arpRequest = all(ethertype(unix.ETH_P_ARP), at(network, 0, 0, 1, 8, 0, 6, 4, 0, 1))
	arpReply   = all(ethertype(unix.ETH_P_ARP), at(network, 0, 0, 1, 8, 0, 6, 4, 0, 2))
	// Version 4, no options (so no source routing), no fragment, TCP.
	tcp4 = all(ethertype(unix.ETH_P_IP), at(network, 0, 0x45), masked(network, 6, []byte{0xbf, 0xff}, []byte{0, 0}), at(network, 9, unix.IPPROTO_TCP))
	// Version 6, TCP directly behind the header: no extension header, no fragment.
	tcp6 = all(ethertype(unix.ETH_P_IPV6), masked(network, 0, []byte{0xf0}, []byte{0x60}), at(network, 6, unix.IPPROTO_TCP))
	// Hop limit 255: it comes from this wire (RFC 4861 section 7.1).
	icmp6         = all(ethertype(unix.ETH_P_IPV6), masked(network, 0, []byte{0xf0}, []byte{0x60}), at(network, 6, unix.IPPROTO_ICMPV6, 255))
	solicitation  = all(icmp6, at(network, 40, 135, 0))
	advertisement = all(icmp6, at(network, 40, 136, 0))
)

// sets are the plan's facts as the rules look them up: all of them, or those named.
func (p Plan) sets(only ...string) []*set {
	own4 := &set{name: "own4", kind: []nftables.SetDatatype{nftables.TypeIPAddr}}
	own6 := &set{name: "own6", kind: []nftables.SetDatatype{nftables.TypeIP6Addr}}
	machines4 := &set{name: "machines4", kind: []nftables.SetDatatype{nftables.TypeEtherAddr, nftables.TypeIPAddr}}
	machines6 := &set{name: "machines6", kind: []nftables.SetDatatype{nftables.TypeEtherAddr, nftables.TypeIP6Addr}}
	services4 := &set{name: "services4", kind: []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeInetService}}
	services6 := &set{name: "services6", kind: []nftables.SetDatatype{nftables.TypeIP6Addr, nftables.TypeInetService}}
	calls4 := &set{name: "calls4", kind: services4.kind}
	calls6 := &set{name: "calls6", kind: services6.kind}
	seen4 := &set{name: "seen4", kind: services4.kind} // services that see clients' own addresses
	seen6 := &set{name: "seen6", kind: services6.kind}
	others4 := &set{name: "others4", kind: own4.kind} // devices' own addresses
	others6 := &set{name: "others6", kind: own6.kind}

	pick := func(a netip.Addr, four, six *set) *set {
		if a.Is4() {
			return four
		}
		return six
	}
	for _, a := range p.Addresses {
		pick(a, own4, own6).add(address(a))
	}
	for _, d := range p.Devices {
		for _, a := range d.Addresses {
			pick(a, machines4, machines6).add(d.MAC[:], address(a))
			pick(a, others4, others6).add(address(a))
			for _, n := range d.Ports {
				pick(a, services4, services6).add(address(a), port(n))
				if d.Transparent {
					pick(a, seen4, seen6).add(address(a), port(n))
				}
			}
			for _, n := range d.Calls {
				pick(a, calls4, calls6).add(address(a), port(n))
			}
		}
	}
	list := []*set{own4, own6, machines4, machines6, services4, services6, calls4, calls6, seen4, seen6, others4, others6}
	return slices.DeleteFunc(list, func(s *set) bool { return len(only) > 0 && !slices.Contains(only, s.name) })
}

// closed drops everything in the namespace but the plan's connections at their sockets, and
// asks and answers of ARP. It names the interface but does not need it to be there.
func (p Plan) closed() []table {
	name := p.Interface.Name
	in4 := all(comesFrom(name), protocolIs(unix.NFPROTO_IPV4, unix.IPPROTO_TCP))
	in6 := all(comesFrom(name), protocolIs(unix.NFPROTO_IPV6, unix.IPPROTO_TCP))
	out4 := all(goesTo(name), protocolIs(unix.NFPROTO_IPV4, unix.IPPROTO_TCP))
	out6 := all(goesTo(name), protocolIs(unix.NFPROTO_IPV6, unix.IPPROTO_TCP))
	nd := func(where match, kind byte) match {
		return all(where, protocolIs(unix.NFPROTO_IPV6, unix.IPPROTO_ICMPV6), at(transport, 0, kind, 0), accept())
	}
	known := connection(expr.CtStateBitESTABLISHED)
	begun := connection(expr.CtStateBitNEW | expr.CtStateBitESTABLISHED)

	sockets := table{family: nftables.TableFamilyINet, name: segmentTable, sets: p.sets(), chains: []chain{
		{name: "input", hook: nftables.ChainHookInput, rules: append([]rule{
			{"answers to what the gateway dialled", all(in4, known, in("services4", from4, fromPort), accept())},
			{"answers to what the gateway dialled, IPv6", all(in6, known, in("services6", from6, fromPort), accept())},
			{"a device calls out", all(in4, begun, in("calls4", from4, toPort), accept())},
			{"a device calls out, IPv6", all(in6, begun, in("calls6", from6, toPort), accept())},
			{"a device asks for the gateway's address", nd(comesFrom(name), 135)},
		}, p.rest("input")...)},
		{name: "forward", hook: nftables.ChainHookForward, rules: p.rest("forward")},
		{name: "output", hook: nftables.ChainHookOutput, rules: append([]rule{
			{"the gateway dials a service", all(out4, begun, in("services4", to4, toPort), accept())},
			{"the gateway dials a service, IPv6", all(out6, begun, in("services6", to6, toPort), accept())},
			{"answers to a device's call", all(out4, known, in("calls4", to4, fromPort), accept())},
			{"answers to a device's call, IPv6", all(out6, known, in("calls6", to6, fromPort), accept())},
			{"the gateway tells its address", nd(goesTo(name), 136)},
		}, rule{"everything else", all(count(), drop())})},
	}}
	arp := table{family: nftables.TableFamilyARP, name: segmentTable, sets: p.sets("own4", "machines4"), chains: []chain{
		{name: "input", hook: arpIn, rules: []rule{
			{"a device asks for the gateway's address", all(comesFrom(name), in("machines4", arpSenderMAC, arpSender), in("own4", arpTarget), accept())},
			{"everything else", all(count(), drop())},
		}},
		{name: "output", hook: arpOut, rules: []rule{
			{"the gateway tells its address", all(goesTo(name), in("own4", arpSender), in("machines4", arpTargetMAC, arpTarget), accept())},
			{"everything else", all(count(), drop())},
		}},
	}}
	return []table{sockets, arp}
}

// wire drops at the interface itself what the plan does not name, before any protocol sees a
// frame and after every protocol has spoken.
func (p Plan) wire() table {
	return table{family: nftables.TableFamilyNetdev, name: segmentTable, sets: p.sets(), chains: []chain{
		{name: "ingress", hook: nftables.ChainHookIngress, device: p.Interface.Name, rules: append([]rule{
			{"a device asks for the gateway's address", all(arpRequest,
				in("machines4", etherFrom, arpSender), in("machines4", arpSenderMAC, arpSender), in("own4", arpTarget), accept())},
			{"a device asks for the gateway's address, IPv6", all(solicitation, in("machines6", etherFrom, from6), in("own6", ndTarget), accept())},
			{"a service answers", all(tcp4, packetIs(unix.PACKET_HOST),
				in("machines4", etherFrom, from4), in("own4", to4), in("services4", from4, fromPort4), accept())},
			{"a service answers, IPv6", all(tcp6, packetIs(unix.PACKET_HOST),
				in("machines6", etherFrom, from6), in("own6", to6), in("services6", from6, fromPort6), accept())},
			{"a device calls out", all(tcp4, packetIs(unix.PACKET_HOST),
				in("machines4", etherFrom, from4), in("own4", to4), in("calls4", from4, toPort4), accept())},
			{"a device calls out, IPv6", all(tcp6, packetIs(unix.PACKET_HOST),
				in("machines6", etherFrom, from6), in("own6", to6), in("calls6", from6, toPort6), accept())},
			{"a service answers a client whose address it sees", all(tcp4, packetIs(unix.PACKET_HOST),
				in("machines4", etherFrom, from4), in("seen4", from4, fromPort4), accept())},
			{"a service answers a client whose address it sees, IPv6", all(tcp6, packetIs(unix.PACKET_HOST),
				in("machines6", etherFrom, from6), in("seen6", from6, fromPort6), accept())},
		}, p.rest("ingress")...)},
		{name: "egress", hook: nftables.ChainHookEgress, device: p.Interface.Name, rules: []rule{
			// Who has a socket that speaks from any address can bind it once more: connect chooses its port.
			{"nobody speaks as a device", all(ethertype(unix.ETH_P_IP), in("others4", from4), count(), drop())},
			{"nobody speaks as a device, IPv6", all(ethertype(unix.ETH_P_IPV6), in("others6", from6), count(), drop())},
			{"the gateway tells its address", all(arpReply,
				in("own4", arpSender), in("machines4", etherTo, arpTarget), in("machines4", arpTargetMAC, arpTarget), accept())},
			{"the gateway tells its address, IPv6", all(advertisement, in("own6", from6), in("machines6", etherTo, to6), in("own6", ndTarget), accept())},
			{"the gateway dials a service", all(tcp4, in("own4", from4), in("machines4", etherTo, to4), in("services4", to4, toPort4), accept())},
			{"the gateway dials a service, IPv6", all(tcp6, in("own6", from6), in("machines6", etherTo, to6), in("services6", to6, toPort6), accept())},
			{"answers to a device's call", all(tcp4, in("own4", from4), in("machines4", etherTo, to4), in("calls4", to4, fromPort4), accept())},
			{"answers to a device's call, IPv6", all(tcp6, in("own6", from6), in("machines6", etherTo, to6), in("calls6", to6, fromPort6), accept())},
			{"the gateway dials a service as its client", all(tcp4, in("machines4", etherTo, to4), in("seen4", to4, toPort4), accept())},
			{"the gateway dials a service as its client, IPv6", all(tcp6, in("machines6", etherTo, to6), in("seen6", to6, toPort6), accept())},
			{"everything else", all(count(), drop())},
		}},
	}}
}

// rest drops what no rule before named, and shows some of it to Watch.
func (p Plan) rest(chain string) []rule {
	return []rule{
		{"shown " + strconv.Itoa(logRate) + " times a second at most", match{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: logRate, Unit: expr.LimitTimeSecond, Burst: 2 * logRate},
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_PREFIX,
				Group: logGroup, Snaplen: logBytes, Data: []byte(chain)},
		}},
		{"everything else", all(count(), drop())},
	}
}
