package segment

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Limits of a plan. They keep what is sent to the kernel and to the helper small.
const (
	MaxDevices   = 256
	MaxAddresses = 32 // of the gateway in one segment, and of one device
	MaxPorts     = 64 // of one device, in each direction
)

// Validate returns every fault of the plan, each beginning with the key it is about, or nil.
func (p Plan) Validate() error {
	v := faults{}
	v.check(isName(p.Name), "name", "%.40q: expected 1 to 15 of a-z, 0-9 and -, beginning with a letter", p.Name)
	v.interfaces(p.Interface)
	v.addresses(p)
	v.check(len(p.Devices) <= MaxDevices, "devices", "%d: expected at most %d", len(p.Devices), MaxDevices)
	v.devices(p)
	v.inline(p)
	return errors.Join(v.list...)
}

type faults struct{ list []error }

func (v *faults) check(ok bool, key, format string, args ...any) {
	if !ok {
		v.list = append(v.list, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
}

func (v *faults) interfaces(i Interface) {
	v.check(isInterface(i.Name), "interface.name", "%.40q: expected the name of an interface, 1 to 15 letters, digits, - _ or .", i.Name)
	switch i.Kind {
	case NIC:
		v.check(i.Parent == "" && i.VLAN == 0, "interface.parent", "a nic has neither parent nor vlan")
	case VLAN:
		v.check(isInterface(i.Parent), "interface.parent", "%.40q: expected the name of the trunk's interface", i.Parent)
		v.check(i.VLAN >= 1 && i.VLAN <= 4094, "interface.vlan", "%d: expected 1 to 4094", i.VLAN)
	case MACVLAN:
		v.check(isInterface(i.Parent), "interface.parent", "%.40q: expected the name of the interface below", i.Parent)
		v.check(i.VLAN == 0, "interface.vlan", "a macvlan has none")
	default:
		v.check(false, "interface.kind", "%.40q: expected nic, vlan or macvlan", i.Kind)
	}
	v.check(i.Name != "lo" && i.Parent != "lo", "interface.name", "lo cannot be a segment's")
}

func (v *faults) addresses(p Plan) {
	v.check(len(p.Addresses) >= 1 && len(p.Addresses) <= MaxAddresses, "addresses", "%d: expected 1 to %d", len(p.Addresses), MaxAddresses)
	for i, a := range p.Addresses {
		key := fmt.Sprintf("addresses[%d]", i)
		v.check(usable(a), key, "%v: expected the address of one machine, without zone", a)
		v.check(!a.Is6() || !a.IsLinkLocalUnicast(), key, "%v: a link-local address cannot be dialled without a zone; use one of fd00::/8", a)
		v.check(!slices.Contains(p.Addresses[:i], a), key, "%v: it is there already", a)
	}
}

func (v *faults) devices(p Plan) {
	ids, macs, taken := map[string]bool{}, map[MAC]string{}, map[netip.Addr]string{}
	for _, a := range p.Addresses {
		taken[a] = "the gateway"
	}
	for i, d := range p.Devices {
		key := func(k string) string { return fmt.Sprintf("devices[%d].%s", i, k) }
		v.check(d.ID != "" && len(d.ID) <= 64 && !ids[d.ID], key("id"), "%.80q: expected 1 to 64 bytes that no other device has", d.ID)
		ids[d.ID] = true

		other, known := macs[d.MAC]
		v.check(d.MAC != MAC{} && d.MAC[0]&1 == 0, key("mac"), "%v: expected the address of one machine", d.MAC)
		v.check(!known, key("mac"), "%v: device %q has it", d.MAC, other)
		v.check(p.Interface.Kind != MACVLAN || d.MAC != p.address(), key("mac"), "%v: the segment's interface has it", d.MAC)
		macs[d.MAC] = d.ID

		v.check(len(d.Addresses) >= 1 && len(d.Addresses) <= MaxAddresses, key("addresses"), "%d: expected 1 to %d", len(d.Addresses), MaxAddresses)
		for _, a := range d.Addresses {
			v.check(usable(a), key("addresses"), "%v: expected the address of one machine, without zone", a)
			v.check(p.own(a).IsValid(), key("addresses"), "%v: the gateway has no address of that family in the segment", a)
			who, used := taken[a]
			v.check(!used, key("addresses"), "%v: %s has it", a, who)
			taken[a] = d.ID
		}
		v.sources(key("clients"), p, d)
		v.ports(key("ports"), d.Ports)
		v.ports(key("calls"), d.Calls)
	}
}

// sources are whose addresses a device sees.
func (v *faults) sources(key string, p Plan, d Device) {
	v.check(!d.Transparent || len(d.Clients) == 0, key, "it sees all clients' addresses already")
	v.check(len(d.Clients) <= MaxAddresses, key, "%d: expected at most %d", len(d.Clients), MaxAddresses)
	for i, c := range d.Clients {
		v.check(p.has(c), key, "%v: expected an address of the gateway in the segment", c)
		v.check(!slices.Contains(d.Clients[:i], c), key, "%v: it is there already", c)
		v.check(p.own(c) != c, key, "%v: the gateway has no address of that family in the segment to dial from by itself", c)
	}
}

// inline is the clients' side.
func (v *faults) inline(p Plan) {
	answered := false
	for i, d := range p.Devices {
		key := fmt.Sprintf("devices[%d].inline", i)
		v.check(len(d.Inline) <= MaxPorts, key, "%d: expected at most %d", len(d.Inline), MaxPorts)
		for j, at := range d.Inline {
			answered = true
			v.check(slices.Contains(d.Addresses, at.Addr()), key, "%v: expected an address of the device", at)
			v.check(!at.Addr().IsLinkLocalUnicast(), key, "%v: a link-local address is nobody's but the device's", at)
			v.check(at.Port() != 0, key, "%v: expected a port from 1 to 65535", at)
			v.check(!slices.Contains(d.Inline[:j], at), key, "%v: it is there already", at)
		}
	}
	if !answered {
		v.check(p.Inline == "", "inline", "%.40q: no device is answered for there", p.Inline)
		return
	}
	v.check(isInterface(p.Inline) && p.Inline != "lo", "inline", "%.40q: expected the name of the interface that clients are on", p.Inline)
	v.check(p.Inline != p.Interface.held() && p.Inline != p.Interface.Name, "inline", "%s: the segment has it; clients are on another", p.Inline)
}

func (v *faults) ports(key string, ports []uint16) {
	v.check(len(ports) <= MaxPorts, key, "%d: expected at most %d", len(ports), MaxPorts)
	v.check(!slices.Contains(ports, 0), key, "0: expected 1 to 65535")
	sorted := slices.Sorted(slices.Values(ports))
	v.check(len(slices.Compact(sorted)) == len(ports), key, "one is there twice")
}

// usable reports whether a can be the address of one machine on a wire.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func isName(s string) bool {
	if s == "" || len(s) > 15 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isInterface is narrower than the kernel, because names become parts of paths under
// /proc/sys and of nftables tables.
func isInterface(s string) bool {
	if s == "" || len(s) > 15 || s == "." || s == ".." || s == "all" || s == "default" {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
