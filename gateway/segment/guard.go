package segment

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// The guard is what the host's own namespace has to say about a segment's interface: nothing
// may be said to it or heard from it. It is named after the interface and works before that
// exists, while it waits to be moved, and after it came back. For a VLAN or macvlan, which
// need the parent, it lets exactly their frames through, and to them only: the host's own
// protocols still hear nothing.
func (p Plan) guard(present bool) []table {
	held := p.Interface.held()
	name := "cordon-guard-" + held

	tables := []table{
		{family: nftables.TableFamilyINet, name: name, shared: true, chains: []chain{
			{name: "prerouting", hook: nftables.ChainHookPrerouting, order: beforeAll, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"the host does not hear this interface", all(comesFrom(held), count(), drop())}}},
			{name: "postrouting", hook: nftables.ChainHookPostrouting, order: beforeAll, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"the host does not speak to it", all(goesTo(held), count(), drop())}}},
		}},
		{family: nftables.TableFamilyARP, name: name, shared: true, chains: []chain{
			{name: "input", hook: arpIn, order: beforeAll, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"the host does not hear this interface", all(comesFrom(held), count(), drop())}}},
			{name: "output", hook: arpOut, order: beforeAll, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"the host does not speak to it", all(goesTo(held), count(), drop())}}},
		}},
	}
	if !present {
		return tables // before Linux 6.16, a chain is bound to an interface that exists
	}
	vlans := &set{name: "vlans", kind: []nftables.SetDatatype{nftables.TypeInetService}}
	macs := &set{name: "macs", kind: []nftables.SetDatatype{nftables.TypeEtherAddr}}
	switch p.Interface.Kind {
	case VLAN:
		vlans.add(port(p.Interface.VLAN))
	case MACVLAN:
		mac := p.address()
		macs.add(mac[:])
		for _, own := range p.Addresses {
			if own.Is4() {
				macs.add([]byte{255, 255, 255, 255, 255, 255}) // ARP asks everyone
			} else {
				b := own.As16()
				macs.add([]byte{0x33, 0x33, 0xff, b[13], b[14], b[15]}) // ND asks these (RFC 4291 section 2.7.1)
			}
		}
	}
	tagged := all(ethertype(unix.ETH_P_8021Q), vlanIn("vlans"), accept())
	ingress := []rule{{"VLANs of segments", tagged}}
	egress := []rule{{"VLANs of segments", tagged}}
	for _, t := range []uint16{unix.ETH_P_ARP, unix.ETH_P_IP, unix.ETH_P_IPV6} {
		ingress = append(ingress, rule{"MAC addresses of segments", all(ethertype(t), in("macs", etherTo), accept())})
		egress = append(egress, rule{"MAC addresses of segments", all(ethertype(t), in("macs", etherFrom), accept())})
	}
	rest := rule{"everything else", all(count(), drop())}
	return append(tables, table{family: nftables.TableFamilyNetdev, name: name, shared: true, sets: []*set{vlans, macs}, chains: []chain{
		{name: "ingress", hook: nftables.ChainHookIngress, order: beforeAll, device: held, rules: append(ingress, rest)},
		{name: "egress", hook: nftables.ChainHookEgress, order: beforeAll, device: held, rules: append(egress, rest)},
	}})
}

// beforeAll is before connection tracking, raw tables and what an administrator would write.
const beforeAll nftables.ChainPriority = -500
