package config

import (
	"fmt"
	"net/netip"
)

// place is one service and where it stands in the file.
type place struct {
	device  *Device
	service *Service
	node    *node // of the service
}

// checkListeners finds listeners that cannot both be bound, and those that a device's
// address leads back to.
func (s *source) checkListeners(c *Config) {
	var all []place
	devices := c.root.get("devices")
	for i := range c.Devices {
		d := &c.Devices[i]
		services := devices.get(d.ID).get("services")
		for j := range d.Services {
			all = append(all, place{d, &d.Services[j], services.get(d.Services[j].Name)})
		}
	}
	byPort := map[uint16][]place{}
	for _, p := range all {
		l := p.service.Listen
		if l.Port == 0 {
			continue // faulty, and reported
		}
		for _, q := range byPort[l.Port] {
			if l.overlaps(q.service.Listen) {
				s.note(p.node.get("listen"), "config.listener.conflict",
					fmt.Sprintf("device %q listens on %s, already used by %q", p.device.ID, l, q.device.ID),
					fmt.Sprintf("first used at line %d", q.node.get("listen").line), freePort(l, all))
				break
			}
		}
		byPort[l.Port] = append(byPort[l.Port], p)
	}
	for _, p := range all {
		for _, q := range byPort[p.service.Port] {
			if p.device.Segment == "" && q.service.Listen.leadsBack(p.device.Address) {
				s.note(p.node.get("port"), "config.listener.loop",
					fmt.Sprintf("device %q is dialled at %s, where the gateway itself listens for %q", p.device.ID, netip.AddrPortFrom(p.device.Address, p.service.Port), q.device.ID),
					fmt.Sprintf("listener at line %d", q.node.get("listen").line), "give the device's own address and port, or listen on another port")
				break
			}
		}
	}
}

// freePort names the next listener nobody uses.
func freePort(l Listen, all []place) string {
	taken := map[uint16]bool{}
	for _, p := range all {
		taken[p.service.Listen.Port] = true
	}
	for l.Port < 65535 && taken[l.Port] {
		l.Port++
	}
	return "write listen: " + l.String()
}

// overlaps reports whether two listeners of one port exclude each other: an empty
// address takes both families, 0.0.0.0 all of IPv4.
func (l Listen) overlaps(m Listen) bool {
	switch {
	case !l.Addr.IsValid() || !m.Addr.IsValid():
		return true
	case l.Addr.Is4() != m.Addr.Is4():
		return false
	}
	return l.Addr == m.Addr || l.Addr.IsUnspecified() || m.Addr.IsUnspecified()
}

// leadsBack reports whether dialling a at l's port certainly reaches l. Beyond the
// loopback network, which of its addresses are the machine's own is not in the file.
func (l Listen) leadsBack(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	every := !l.Addr.IsValid() || l.Addr.IsUnspecified() && a.Is4()
	return l.Addr == a || every && a.IsLoopback()
}
