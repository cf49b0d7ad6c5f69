package segment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The steps that say who is reached where. Each looks at what there is, removes what the plan
// does not have and adds what is missing.

func (w *work) addresses() error {
	return w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		have, err := h.AddrList(l, unix.AF_UNSPEC)
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range have {
			if ip, ok := netip.AddrFromSlice(a.IP); !ok || !w.plan.has(ip.Unmap()) || !isHost(a.IPNet) {
				if err := h.AddrDel(l, &a); err != nil {
					return fmt.Errorf("remove address %v: %w", a.IPNet, err)
				}
			}
		}
		for _, a := range w.plan.Addresses {
			// Alone in its network: no broadcast address, no route to neighbours that are not declared.
			if err := h.AddrReplace(l, &netlink.Addr{IPNet: host(a), Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE}); err != nil {
				return fmt.Errorf("add address %v: %w", a, err)
			}
		}
		return nil
	})
}

// neighbours are permanent: no ARP or ND is asked for them and none changes them.
func (w *work) neighbours() error {
	return w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		index := l.Attrs().Index
		have, err := h.NeighList(index, 0)
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range have {
			ip, _ := netip.AddrFromSlice(n.IP)
			if n.State&unix.NUD_NOARP == 0 && w.plan.device(ip.Unmap()) == nil {
				if err := h.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
					return fmt.Errorf("remove neighbour %v: %w", n.IP, err)
				}
			}
		}
		for _, d := range w.plan.Devices {
			for _, a := range d.Addresses {
				n := &netlink.Neigh{LinkIndex: index, State: unix.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: d.MAC[:]}
				if err := h.NeighSet(n); err != nil {
					return fmt.Errorf("fix %v at %v: %w", a, d.MAC, err)
				}
			}
		}
		return nil
	})
}

func (w *work) routes() error {
	return w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		list, err := routesOf(h)
		if err != nil {
			return err
		}
		for _, r := range list {
			if w.plan.stray(r, l.Attrs().Index) != "" {
				if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("remove route %v: %w", r, err)
				}
			}
		}
		for _, d := range w.plan.Devices {
			for _, a := range d.Addresses {
				r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: host(a), Scope: netlink.SCOPE_LINK,
					Src: w.plan.own(a).AsSlice(), Protocol: unix.RTPROT_STATIC}
				if err := h.RouteReplace(r); err != nil {
					return fmt.Errorf("lead to %v: %w", a, err)
				}
			}
		}
		return nil
	})
}

// routesOf lists the routes of every table, without what the kernel remembers by itself.
func routesOf(h *netlink.Handle) ([]netlink.Route, error) {
	var all []netlink.Route
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// stray says why a route is not the plan's, or "". The kernel's own are those to the
// segment's addresses and to the interface's multicast groups; see transparent.go for another.
func (p Plan) stray(r netlink.Route, index int) string {
	switch {
	case p.takesAnswers(r, index):
		return ""
	case r.LinkIndex != index:
		return "it leads elsewhere"
	case r.Gw != nil || len(r.MultiPath) > 0 || r.Via != nil || r.Encap != nil:
		return "it leads through another machine"
	case r.Type == unix.RTN_MULTICAST && r.Table == unix.RT_TABLE_LOCAL && r.Dst != nil && r.Dst.String() == "ff00::/8":
		return ""
	case r.Dst == nil || !isHost(r.Dst):
		return "it leads to more than one machine"
	}
	to, _ := netip.AddrFromSlice(r.Dst.IP)
	to = to.Unmap()
	switch {
	case r.Type == unix.RTN_LOCAL && p.has(to):
		return ""
	case r.Type == unix.RTN_UNICAST && r.Table == unix.RT_TABLE_MAIN && p.device(to) != nil:
		return ""
	}
	return "the plan has no such machine"
}

// host is the network of one address.
func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func isHost(n *net.IPNet) bool {
	ones, bits := n.Mask.Size()
	return ones == bits && bits > 0
}
