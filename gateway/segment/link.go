package segment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The steps that move the interface, with rtnetlink.

// routing opens rtnetlink in the namespace that the thread is in. The caller closes it.
func routing() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return h, nil
}

// find returns an interface by name, or nil if there is none.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for interface %s: %w", name, err)
	}
	return l, nil
}

// inSegment runs f with the segment's rtnetlink and its interface.
func (w *work) inSegment(f func(h *netlink.Handle, l netlink.Link) error) error {
	return inside(w.ns, func() error {
		h, err := routing()
		if err != nil {
			return err
		}
		defer h.Close()
		l, err := find(h, w.plan.Interface.Name)
		if err != nil {
			return err
		}
		if l == nil {
			return fmt.Errorf("interface %s is not in the segment: %w", w.plan.Interface.Name, os.ErrNotExist)
		}
		return f(h, l)
	})
}

func (w *work) guard() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := find(h, w.plan.Interface.held())
	if err != nil {
		return err
	}
	if l != nil {
		if err := unused(h, l); err != nil {
			return err
		}
	}
	return load(w.plan.guard(l != nil)...)
}

// unused refuses an interface that this host speaks on: closing it could lock its keeper out; and one that the
// host bridges: frames pass between its ports below every filter of ours.
func unused(h *netlink.Handle, l netlink.Link) error {
	name := l.Attrs().Name
	if slices.Contains([]string{"bridge", "openvswitch"}, l.Type()) {
		return fmt.Errorf("interface %s is a bridge, whose ports reach each other without the gateway; name the port that devices are on, and take it out of there", name)
	}
	if l.Attrs().MasterIndex != 0 {
		return fmt.Errorf("interface %s is a port of a bridge or bond; take it out of there first", name)
	}
	above, err := onTop(h, l)
	if err != nil {
		return err
	}
	for _, l := range append(above, l) {
		addrs, err := h.AddrList(l, unix.AF_UNSPEC)
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range addrs {
			switch {
			case a.IP.IsLinkLocalUnicast():
			case l.Attrs().Name != name:
				return fmt.Errorf("interface %s carries %s, which has address %v in this host; nothing but segments is left of it then: move that, or name another", name, l.Attrs().Name, a.IPNet)
			default:
				return fmt.Errorf("interface %s has address %v in this host; a segment's interface has none: remove it, or name another", name, a.IPNet)
			}
		}
	}
	return nil
}

// onTop are the host's own interfaces that an interface carries: its VLANs, macvlans and their like.
func onTop(h *netlink.Handle, l netlink.Link) ([]netlink.Link, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the host's interfaces: %w", err)
	}
	return slices.DeleteFunc(links, func(x netlink.Link) bool {
		return x.Attrs().ParentIndex != l.Attrs().Index || x.Attrs().NetNsID >= 0 || x.Type() == "veth"
	}), nil
}

// quiet makes the host's own protocols leave the interface alone. A NIC is down while it
// moves; the parent of a VLAN or macvlan has to be up.
func (w *work) quiet() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	held := w.plan.Interface.held()
	l, err := find(h, held)
	if err != nil || l == nil {
		return err // a NIC may be in the segment already
	}
	if err := (sysctl{key: "ipv6/conf/" + held + "/disable_ipv6", want: "1"}).write(); err != nil {
		return err
	}
	if w.plan.Interface.Kind == NIC {
		err = h.LinkSetDown(l)
	} else {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("take %s up or down: %w", held, err)
	}
	return nil
}

// bring moves or makes the interface, unless it is there.
func (w *work) bring() error {
	i := w.plan.Interface
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	held, err := find(h, i.held())
	if err != nil {
		return err
	}
	err = w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		if w.plan.fits(l, held) {
			return nil
		}
		if i.Kind == NIC {
			return fmt.Errorf("interface %s in the segment is a %s; remove it, it is not the one to be moved", i.Name, l.Type())
		}
		if err := h.LinkDel(l); err != nil {
			return fmt.Errorf("remove %s, which is another: %w", i.Name, err)
		}
		return os.ErrNotExist
	})
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}

	if held == nil {
		return fmt.Errorf("interface %s is neither in the host nor in the segment; is it plugged in?", i.held())
	}
	there := netlink.LinkAttrs{Name: i.Name, ParentIndex: held.Attrs().Index, Namespace: netlink.NsFd(w.ns.Fd())}
	switch i.Kind {
	case VLAN:
		err = h.LinkAdd(&netlink.Vlan{LinkAttrs: there, VlanId: int(i.VLAN), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	case MACVLAN:
		mac := w.plan.address()
		there.HardwareAddr = mac[:]
		err = h.LinkAdd(&netlink.Macvlan{LinkAttrs: there, Mode: netlink.MACVLAN_MODE_PRIVATE})
	default:
		err = h.LinkSetNsFd(held, int(w.ns.Fd()))
	}
	if err != nil {
		return fmt.Errorf("bring %s into the segment: %w", i.Name, err)
	}
	return nil
}

// fits reports whether an interface is of the kind that the plan has, on the plan's parent: nil if the host
// has none. By its name alone, one of a trunk that was renamed, or replaced in the plan, would stay.
func (p Plan) fits(l, parent netlink.Link) bool {
	on := parent != nil && l.Attrs().ParentIndex == parent.Attrs().Index
	switch l := l.(type) {
	case *netlink.Vlan:
		return p.Interface.Kind == VLAN && on && l.VlanId == int(p.Interface.VLAN) && l.VlanProtocol == netlink.VLAN_PROTOCOL_8021Q
	case *netlink.Macvlan:
		mac := p.address()
		return p.Interface.Kind == MACVLAN && on && l.Mode == netlink.MACVLAN_MODE_PRIVATE && bytes.Equal(l.HardwareAddr, mac[:])
	default:
		return p.Interface.Kind == NIC
	}
}

// sendBack is the way home of the interface.
func (w *work) sendBack() error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open the host's namespace: %w", err)
	}
	defer home.Close()
	err = w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		if w.plan.Interface.Kind == NIC { // the kernel takes what it moves down
			err = h.LinkSetNsFd(l, int(home.Fd()))
		} else {
			err = h.LinkDel(l)
		}
		if err != nil {
			return fmt.Errorf("take %s out of the segment: %w", l.Attrs().Name, err)
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (w *work) up() error {
	return w.inSegment(func(h *netlink.Handle, l netlink.Link) error {
		if err := h.LinkSetUp(l); err != nil {
			return fmt.Errorf("take %s up: %w", l.Attrs().Name, err)
		}
		return nil
	})
}
