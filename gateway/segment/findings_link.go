package segment

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What rtnetlink says of the segment.

func (x *examination) interfaces() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var ours netlink.Link
	for _, l := range links {
		switch name := l.Attrs().Name; {
		case name == x.plan.Interface.Name:
			ours = l
		case name == "lo" || l.Attrs().Flags&net.FlagUp == 0 && tunnelFallback(l.Type()):
		default:
			x.find("high", "interface", fmt.Sprintf("%s (%s) is in the segment", name, l.Type()), "remove it: a segment has one interface")
		}
	}
	if ours == nil {
		x.find("high", "interface", x.plan.Interface.Name+" is not in the segment", "plug it in and run the setup of the segment again")
		return nil
	}
	x.link(ours)
	for _, q := range []func(*netlink.Handle, netlink.Link) error{x.redirections, x.addresses, x.routes, x.neighbours} {
		if err := q(h, ours); err != nil {
			return err
		}
	}
	return nil
}

// tunnelFallback names interfaces that some kernels put, down, into every new namespace
// (net.core.fb_tunnels_only_for_init_net).
func tunnelFallback(kind string) bool {
	return slices.Contains([]string{"ipip", "sit", "gre", "gretap", "erspan", "ip6tnl", "ip6gre", "ip6gretap", "ip6erspan", "vti", "vti6"}, kind)
}

func (x *examination) link(l netlink.Link) {
	a := l.Attrs()
	if !x.plan.fits(l, x.held) {
		x.find("high", "interface", fmt.Sprintf("%s is another %s than planned, or not on %s", a.Name, l.Type(), x.plan.Interface.held()), "run the setup of the segment again")
	}
	if a.Flags&net.FlagUp == 0 {
		x.find("medium", "interface-down", a.Name+" is down: no device can be reached", "run the setup of the segment again")
	}
	if a.MasterIndex != 0 {
		x.find("high", "bridge", fmt.Sprintf("%s is a port of interface %d", a.Name, a.MasterIndex), "take it out of the bridge or bond")
	}
	if l.Type() == "veth" {
		x.find("low", "laboratory", a.Name+" is one end of a veth: the other is on this machine", "use an interface with a wire")
	}
}

// redirections looks for what could send frames elsewhere before a filter sees them.
func (x *examination) redirections(h *netlink.Handle, l netlink.Link) error {
	if a := l.Attrs(); a.Xdp != nil && a.Xdp.Attached {
		x.find("high", "redirection", fmt.Sprintf("an XDP program is attached to %s; it sees frames before the filter", a.Name), "detach it")
	}
	list, err := h.QdiscList(l)
	if err != nil {
		return fmt.Errorf("list queueing disciplines: %w", err)
	}
	for _, q := range list {
		if q.Type() == "ingress" || q.Type() == "clsact" {
			x.find("high", "redirection", fmt.Sprintf("%s has a %s qdisc; its filters could redirect frames", l.Attrs().Name, q.Type()), "remove it")
		}
	}
	return nil
}

func (x *examination) addresses(h *netlink.Handle, l netlink.Link) error {
	list, err := h.AddrList(l, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	missing := slices.Clone(x.plan.Addresses)
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		if i := slices.Index(missing, ip.Unmap()); i >= 0 && isHost(a.IPNet) {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		x.find("high", "address", fmt.Sprintf("%s has %v", l.Attrs().Name, a.IPNet), again)
	}
	for _, a := range missing {
		x.find("medium", "address", fmt.Sprintf("%s lacks %v", l.Attrs().Name, a), again)
	}
	return nil
}

func (x *examination) routes(h *netlink.Handle, l netlink.Link) error {
	list, err := routesOf(h)
	if err != nil {
		return err
	}
	led, taken := map[netip.Addr]bool{}, map[int]bool{}
	for _, r := range list {
		if why := x.plan.stray(r, l.Attrs().Index); why != "" {
			x.find("high", "route", fmt.Sprintf("route %v: %s", r, why), again)
		} else if x.plan.takesAnswers(r, l.Attrs().Index) {
			taken[r.Family] = true
		} else if to, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			led[to.Unmap()] = true
		}
	}
	for _, d := range x.plan.Devices {
		for _, a := range d.Addresses {
			if !led[a] {
				x.find("medium", "route", fmt.Sprintf("no route leads to %v of %s", a, d.ID), again)
			}
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if x.plan.handedOver(family, 0) != nil && !taken[family] {
			x.find("medium", "route", "no route takes what devices answer to clients' addresses", again)
		}
	}
	return x.rules(h)
}

func (x *examination) rules(h *netlink.Handle) error {
	list, err := h.RuleList(unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	missing := x.plan.seeing()
	for _, r := range list {
		if a, ok := x.plan.handsOver(r); ok && slices.Contains(missing, a) {
			missing = slices.DeleteFunc(missing, func(m netip.Addr) bool { return m == a })
			continue
		}
		if !slices.Contains([]int{0, 32766, 32767}, r.Priority) || r.Mark != 0 || r.Src != nil || r.Dst != nil {
			x.find("high", "rule", fmt.Sprintf("routing rule %v", r), "remove it")
		}
	}
	for _, a := range missing {
		x.find("medium", "rule", fmt.Sprintf("no routing rule takes what %v answers to clients' addresses", a), again)
	}
	return nil
}

func (x *examination) neighbours(h *netlink.Handle, l netlink.Link) error {
	list, err := h.NeighList(l.Attrs().Index, 0)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	fixed := map[netip.Addr]bool{}
	for _, n := range list {
		ip, _ := netip.AddrFromSlice(n.IP)
		ip = ip.Unmap()
		d := x.plan.device(ip)
		switch {
		case n.State&unix.NUD_NOARP != 0: // multicast
		case d == nil:
			x.find("medium", "neighbour", fmt.Sprintf("%v at %v is no declared device", ip, n.HardwareAddr), again)
		case n.State != unix.NUD_PERMANENT || n.HardwareAddr.String() != d.MAC.String():
			x.find("high", "neighbour", fmt.Sprintf("%v of %s is at %v and can change, not fixed at %v", ip, d.ID, n.HardwareAddr, d.MAC), again)
		default:
			fixed[ip] = true
		}
	}
	for _, d := range x.plan.Devices {
		for _, a := range d.Addresses {
			if !fixed[a] {
				x.find("medium", "neighbour", fmt.Sprintf("%v of %s is not fixed at %v", a, d.ID, d.MAC), again)
			}
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		proxies, err := h.NeighProxyList(0, family)
		if err != nil {
			return fmt.Errorf("list proxy neighbours: %w", err)
		}
		for _, n := range proxies {
			x.find("high", "proxy", fmt.Sprintf("the kernel answers for %v", n.IP), "remove it: the gateway answers for itself only")
		}
	}
	return nil
}
