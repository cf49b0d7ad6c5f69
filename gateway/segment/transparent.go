package segment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Source transparency: a device that checks its peer's address, or writes it down, sees the
// client's. There are two ways, for what the device has to know:
//
// Clients that are named are addresses of the gateway in the segment like any other. ARP and ND
// are answered for them, so they may be in the device's own network.
//
// Where the device is Transparent, the gateway takes the address of whichever client it serves.
// A routing rule hands what the device sends, whoever it is for, to the sockets of the
// namespace, where the filters let it in if it answers a connection of a declared service.
// Nobody answers ARP or ND for such a client: the device has to send by way of a router, which
// is an address of the gateway in the segment. The filters let no other device do so.
//
// Ports are the gateway's choice: the kernel picks one that is free for that client, that device
// and that service together. A device that calls the same client at an address the gateway
// catches is not disturbed: a listener's port is not picked.

const (
	clientsTable = 100 // of routes; the kernel's own are 253 to 255
	clientsRule  = 100 // its place among routing rules: behind the segment's own addresses
)

// seeing are the addresses of devices that see every client's own address.
func (p Plan) seeing() (all []netip.Addr) {
	for _, d := range p.Devices {
		if d.Transparent {
			all = append(all, d.Addresses...)
		}
	}
	return all
}

// sees returns the address that a device sees when the gateway dials it for a client, or the
// zero Addr: that of the gateway. An address that cannot be a client's there is an error.
func (p Plan) sees(d *Device, at, client netip.Addr) (netip.Addr, error) {
	client = client.Unmap()
	switch {
	case slices.Contains(d.Clients, client) && client.Is4() == at.Is4():
		return client, nil
	case !d.Transparent || !client.IsValid():
		return netip.Addr{}, nil
	case client.Is4() != at.Is4():
		return netip.Addr{}, fmt.Errorf("show %v as the client to a device at %v: one is IPv4, the other IPv6", client, at)
	case !usable(client) || client.IsLinkLocalUnicast():
		return netip.Addr{}, fmt.Errorf("show %v as the client: it is no address that the device could answer", client)
	case p.device(client) != nil:
		return netip.Addr{}, fmt.Errorf("show %v as the client: a device in the segment has it", client)
	}
	return client, nil
}

// bindTo makes a socket one that speaks from an address, whoever has it. The port is left to
// connect, which knows who is spoken to.
func bindTo(fd int, a netip.Addr) error {
	if err := setTransparent(fd, a); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, socketAddress(netip.AddrPortFrom(a, 0))))
}

// setTransparent lets a socket have an address that is not the machine's. It takes CAP_NET_ADMIN.
func setTransparent(fd int, like netip.Addr) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if like.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, 1))
}

// clients makes rules and routes what the plan's transparent devices need.
func (w *work) clients() error {
	return w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		seeing := w.plan.seeing()
		rules, err := h.RuleList(unix.AF_UNSPEC)
		if err != nil {
			return fmt.Errorf("list routing rules: %w", err)
		}
		for _, r := range rules {
			if r.Table != clientsTable {
				continue // a stranger's; it is a finding
			}
			if a, ok := w.plan.handsOver(r); ok && slices.Contains(seeing, a) {
				seeing = slices.DeleteFunc(seeing, func(s netip.Addr) bool { return s == a })
				continue
			}
			if err := h.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove routing rule %v: %w", r, err)
			}
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			if r := w.plan.handedOver(family, l.Attrs().Index); r != nil {
				if err := h.RouteReplace(r); err != nil {
					return fmt.Errorf("take answers to clients: %w", err)
				}
			}
		}
		for _, a := range seeing {
			r := netlink.NewRule()
			r.Priority, r.Table, r.Src, r.IifName = clientsRule, clientsTable, host(a), w.plan.Interface.Name
			if a.Is6() {
				r.Family = unix.AF_INET6
			}
			if err := h.RuleAdd(r); err != nil {
				return fmt.Errorf("take what %v answers to clients: %w", a, err)
			}
		}
		return nil
	})
}

// handsOver returns the device's address of a routing rule of clients.
func (p Plan) handsOver(r netlink.Rule) (netip.Addr, bool) {
	if r.Priority != clientsRule || r.Table != clientsTable || r.IifName != p.Interface.Name || r.Src == nil || !isHost(r.Src) ||
		r.Dst != nil || r.Mark != 0 || r.OifName != "" || r.Invert || r.Goto > 0 {
		return netip.Addr{}, false
	}
	a, ok := netip.AddrFromSlice(r.Src.IP)
	return a.Unmap(), ok
}

// handedOver is the route of clientsTable in a family, or nil if the plan has no use for one.
func (p Plan) handedOver(family, index int) *netlink.Route {
	is, any := netip.Addr.Is4, netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		is, any = netip.Addr.Is6, netip.IPv6Unspecified()
	}
	if !slices.ContainsFunc(p.seeing(), is) {
		return nil
	}
	return &netlink.Route{LinkIndex: index, Dst: &net.IPNet{IP: any.AsSlice(), Mask: net.CIDRMask(0, any.BitLen())}, Table: clientsTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		Protocol: unix.RTPROT_STATIC, Family: family}
}

// takesAnswers reports whether a route is one of handedOver.
func (p Plan) takesAnswers(r netlink.Route, index int) bool {
	want := p.handedOver(r.Family, index)
	if want == nil || r.Table != want.Table || r.Type != want.Type || r.LinkIndex != index || r.Gw != nil || len(r.MultiPath) > 0 || r.Via != nil || r.Encap != nil {
		return false
	}
	return r.Dst == nil || r.Dst.String() == want.Dst.String()
}
