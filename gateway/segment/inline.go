package segment

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Inline: a device keeps its address. The device has it in the segment, the host has it on the
// interface that clients are on; those are two networks, so the two do not meet.
//
//	client ──── eth0 10.9.0.7 gateway │ 10.9.0.1 eth1 ──── 10.9.0.7 device
//
// Nothing answers at such an address but TCP at the declared ports, and there only a socket
// that was made for it: one with IP_TRANSPARENT, which takes CAP_NET_ADMIN. A server of the host
// that listens at every address is not reached by it, and while the gateway is down, nobody
// answers. Packets are then dropped, not refused: a client sends its SYN again for a while and
// so does not notice a restart, and who looks for machines learns nothing. Echo requests are
// dropped as well: an answer would say that the device lives, which the gateway does not know.

// listeners are where the gateway answers clients in place of devices.
func (p Plan) listeners() (all []netip.AddrPort) {
	for _, d := range p.Devices {
		all = append(all, d.Inline...)
	}
	return all
}

// shared are the addresses of listeners, which the host and a device have.
func (p Plan) shared() (all []netip.Addr) {
	for _, at := range p.listeners() {
		if !slices.Contains(all, at.Addr()) {
			all = append(all, at.Addr())
		}
	}
	return all
}

// inline filters the host's side of devices that keep their address. It names the clients'
// interface but does not need it to be there.
func (p Plan) inline() []table {
	if p.Inline == "" {
		return nil
	}
	name := inlineTable(p.Name)
	inline4 := &set{name: "inline4", kind: []nftables.SetDatatype{nftables.TypeIPAddr}}
	inline6 := &set{name: "inline6", kind: []nftables.SetDatatype{nftables.TypeIP6Addr}}
	listen4 := &set{name: "listen4", kind: []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeInetService}}
	listen6 := &set{name: "listen6", kind: []nftables.SetDatatype{nftables.TypeIP6Addr, nftables.TypeInetService}}
	for _, at := range p.listeners() {
		addrs, ports := inline4, listen4
		if at.Addr().Is6() {
			addrs, ports = inline6, listen6
		}
		addrs.add(address(at.Addr()))
		ports.add(address(at.Addr()), port(at.Port()))
	}

	ip4, ip6 := metaIs(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4}), metaIs(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV6})
	tcp4 := all(ip4, at(network, 0, 0x45), masked(network, 6, []byte{0xbf, 0xff}, []byte{0, 0}), at(network, 9, unix.IPPROTO_TCP))
	tcp6 := all(ip6, at(network, 6, unix.IPPROTO_TCP))
	nd := func(kind byte) match {
		return all(ip6, at(network, 6, unix.IPPROTO_ICMPV6, 255), at(network, 40, kind, 0))
	}
	begins := func(flags uint32) match { return masked(network, flags, []byte{0x12}, []byte{0x02}) } // SYN without ACK (RFC 9293 section 3.1)
	here, there := all(comesFrom(p.Inline), packetIs(unix.PACKET_HOST)), goesTo(p.Inline)

	arriving := []rule{
		{"clients reach the gateway in place of a device", all(tcp4, here, in("listen4", to4, toPort4), transparentSocket(), accept())},
		{"clients reach the gateway in place of a device, IPv6", all(tcp6, here, in("listen6", to6, toPort6), transparentSocket(), accept())},
		{"clients ask for the address once more, IPv6", all(nd(135), here, in("inline6", to6), in("inline6", ndTarget), accept())},
		{"clients tell theirs, IPv6", all(nd(136), here, in("inline6", to6), accept())},
		// The one ICMP that TCP needs, about a connection there is (RFC 1191, RFC 8201).
		{"path MTU", all(ip4, here, at(network, 0, 0x45), at(network, 9, unix.IPPROTO_ICMP), at(network, 20, 3, 4),
			in("inline4", to4), transparentSocket(), accept())},
		{"path MTU, IPv6", all(ip6, here, at(network, 6, unix.IPPROTO_ICMPV6), at(network, 40, 2, 0),
			in("inline6", to6), transparentSocket(), accept())},
		{"everything else", all(ip4, in("inline4", to4), count(), drop())},
		{"everything else, IPv6", all(ip6, in("inline6", to6), count(), drop())},
	}
	leaving := []rule{
		// Whoever has an inline listener could make it call somebody, who would take it for the device.
		{"the gateway calls nobody", all(tcp4, in("listen4", from4, fromPort4), begins(33), count(), drop())},
		{"the gateway calls nobody, IPv6", all(tcp6, in("listen6", from6, fromPort6), begins(53), count(), drop())},
		{"the gateway answers clients", all(tcp4, there, in("listen4", from4, fromPort4), accept())},
		{"the gateway answers clients, IPv6", all(tcp6, there, in("listen6", from6, fromPort6), accept())},
		{"the gateway asks for a client's address, IPv6", all(nd(135), there, in("inline6", from6), accept())},
		{"the gateway tells the address, IPv6", all(nd(136), there, in("inline6", from6), in("inline6", ndTarget), accept())},
		{"everything else", all(ip4, in("inline4", from4), count(), drop())},
		{"everything else, IPv6", all(ip6, in("inline6", from6), count(), drop())},
	}
	return []table{
		{family: nftables.TableFamilyINet, name: name, sets: []*set{inline4, inline6, listen4, listen6}, chains: []chain{
			{name: "prerouting", hook: nftables.ChainHookPrerouting, order: beforeAll, policy: nftables.ChainPolicyAccept, rules: arriving},
			{name: "postrouting", hook: nftables.ChainHookPostrouting, order: beforeAll, policy: nftables.ChainPolicyAccept, rules: leaving},
		}},
		// Linux answers ARP for an address of the host on every interface. (For IPv6 it does not.)
		{family: nftables.TableFamilyARP, name: name, sets: []*set{inline4}, chains: []chain{
			{name: "input", hook: arpIn, order: beforeAll, policy: nftables.ChainPolicyAccept, rules: []rule{
				{"the address is asked for where clients are, and nowhere else", all(comesNotFrom(p.Inline), in("inline4", arpTarget), count(), drop())}}},
			{name: "output", hook: arpOut, order: beforeAll, policy: nftables.ChainPolicyAccept, rules: []rule{
				{"the address is told where clients are, and nowhere else", all(goesNotTo(p.Inline), in("inline4", arpSender), count(), drop())}}},
		}},
	}
}

func inlineTable(segment string) string { return "cordon-inline-" + segment }

// inlineNames are the tables of inline without what is in them.
func inlineNames(segment string) []table {
	name := inlineTable(segment)
	return []table{{family: nftables.TableFamilyINet, name: name}, {family: nftables.TableFamilyARP, name: name}}
}

// reserve closes the addresses before the host has them. Those that were another plan's are
// taken from the host first.
func (w *work) reserve() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	before, err := w.plan.reserved()
	if err != nil {
		return err
	}
	shared := w.plan.shared()
	if err := eachShared(h, append(before, shared...), func(l netlink.Link, a netlink.Addr, ip netip.Addr) error {
		switch {
		case slices.Contains(shared, ip) && l.Attrs().Name == w.plan.Inline && isHost(a.IPNet):
			return nil
		case !slices.Contains(before, ip) || !isHost(a.IPNet):
			return fmt.Errorf("%s has %v in this host; a device is to keep that address: remove it there", l.Attrs().Name, a.IPNet)
		}
		return giveUp(h, l, a)
	}); err != nil {
		return err
	}
	if w.plan.Inline == "" {
		return unload(inlineNames(w.plan.Name)...)
	}
	return load(w.plan.inline()...)
}

// answer gives the host the addresses, and tells clients and switches once of each that is new.
func (w *work) answer() error {
	if w.plan.Inline == "" {
		return nil
	}
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := find(h, w.plan.Inline)
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("interface %s, where clients are, is not in the host; is it plugged in?", w.plan.Inline)
	}
	missing := w.plan.shared()
	if err := eachShared(h, w.plan.shared(), func(_ netlink.Link, _ netlink.Addr, ip netip.Addr) error {
		missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == ip })
		return nil
	}); err != nil {
		return err
	}
	for _, ip := range missing {
		// Alone in its network. The host never speaks from it by itself: IPv4 prefers any other
		// for its scope, IPv6 because it is deprecated. No
		// duplicate is looked for, which would take a second in which clients are not answered.
		a := &netlink.Addr{IPNet: host(ip), Scope: unix.RT_SCOPE_LINK, Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE}
		if ip.Is6() {
			a.Scope, a.ValidLft = unix.RT_SCOPE_UNIVERSE, math.MaxUint32
		}
		if err := h.AddrReplace(l, a); err != nil {
			return fmt.Errorf("add %v to %s: %w", ip, w.plan.Inline, err)
		}
		if err := announce(l, ip); err != nil {
			return fmt.Errorf("tell that %v is at %s: %w", ip, w.plan.Inline, err)
		}
	}
	return nil
}

// answered returns nil if the host has the addresses.
func (p Plan) answered() error {
	if p.Inline == "" {
		return nil
	}
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	missing := p.shared()
	if err := eachShared(h, p.shared(), func(l netlink.Link, _ netlink.Addr, ip netip.Addr) error {
		if l.Attrs().Name == p.Inline {
			missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == ip })
		}
		return nil
	}); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("interface %s, where clients are, lacks %s", p.Inline, listed(missing))
	}
	return nil
}

// withdraw takes the addresses from the host. Their filter stays, see Release.
func (w *work) withdraw() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	before, err := w.plan.reserved()
	if err != nil {
		return err
	}
	return eachShared(h, before, func(l netlink.Link, a netlink.Addr, _ netip.Addr) error {
		if !isHost(a.IPNet) {
			return nil // not ours: ours are alone in their network
		}
		return giveUp(h, l, a)
	})
}

func giveUp(h *netlink.Handle, l netlink.Link, a netlink.Addr) error {
	if err := h.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %v from %s: %w", a.IPNet, l.Attrs().Name, err)
	}
	return nil
}

// eachShared calls f for each of some addresses that an interface of the host has.
func eachShared(h *netlink.Handle, some []netip.Addr, f func(netlink.Link, netlink.Addr, netip.Addr) error) error {
	if len(some) == 0 {
		return nil
	}
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list the host's interfaces: %w", err)
	}
	for _, l := range links {
		list, err := h.AddrList(l, unix.AF_UNSPEC)
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range list {
			ip, _ := netip.AddrFromSlice(a.IP)
			if ip = ip.Unmap(); !slices.Contains(some, ip) {
				continue
			}
			if err := f(l, a, ip); err != nil {
				return err
			}
		}
	}
	return nil
}

// reserved reads back the addresses that the filter in the kernel names: those that this
// segment took over, whatever the plan was then.
func (p Plan) reserved() (all []netip.Addr, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == inlineTable(p.Name) })
	if i < 0 {
		return nil, nil
	}
	for _, name := range []string{"inline4", "inline6"} {
		elements, err := c.GetSetElements(&nftables.Set{Table: tables[i], Name: name})
		if err != nil {
			return nil, fmt.Errorf("list addresses that were taken over: %w", err)
		}
		for _, e := range elements {
			if a, ok := netip.AddrFromSlice(e.Key); ok {
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// inline looks at the host's side of addresses that devices keep.
func (x *examination) inline(h *netlink.Handle) error {
	if x.plan.Inline == "" {
		return nil
	}
	if err := x.compare("inline", x.plan.inline()...); err != nil {
		return err
	}
	missing := x.plan.shared()
	err := eachShared(h, x.plan.shared(), func(l netlink.Link, a netlink.Addr, ip netip.Addr) error {
		if l.Attrs().Name != x.plan.Inline || !isHost(a.IPNet) {
			x.find("high", "inline", fmt.Sprintf("%s has %v in the host, besides what the plan gives to %s", l.Attrs().Name, a.IPNet, x.plan.Inline), "remove it")
			return nil
		}
		missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == ip })
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range missing {
		x.find("medium", "inline", fmt.Sprintf("%s lacks %v in the host: clients do not find the device", x.plan.Inline, a), again)
	}
	return nil
}
