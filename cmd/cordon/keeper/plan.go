package keeper

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/gateway/segment"
)

// Plans are the segments of the configuration with the devices in them, in the order of the
// file. What is wrong with a plan is told where the file says it.
func Plans(c *config.Config) ([]segment.Plan, error) {
	var all []segment.Plan
	var faults config.Faults
	for _, s := range c.Segments {
		p := segment.Plan{
			Name:      s.Name,
			Interface: segment.Interface{Kind: segment.Kind(s.Interface.Kind), Name: s.Interface.Name, Parent: s.Interface.Parent, VLAN: uint16(s.Interface.VLAN)},
			Addresses: slices.Clone(s.Addresses),
		}
		for i := range c.Devices {
			if d := &c.Devices[i]; d.Segment == s.Name {
				declare(&p, d)
			}
		}
		if slices.ContainsFunc(p.Devices, func(d segment.Device) bool { return len(d.Inline) > 0 }) {
			p.Inline = s.Inline
		}
		for _, err := range unjoined(p.Validate()) {
			faults = append(faults, planFault(c, p, err))
		}
		all = append(all, p)
	}
	if faults != nil {
		return nil, faults
	}
	return all, nil
}

// declare puts a device into a plan, and the addresses that it calls.
func declare(p *segment.Plan, d *config.Device) {
	mac, _ := segment.ParseMAC(d.MAC) // the configuration has read it
	in := segment.Device{ID: d.ID, MAC: mac, Addresses: append([]netip.Addr{d.Address}, d.FurtherAddresses...)}
	for _, s := range d.Services {
		if d.Inline(s.Listen) {
			in.Inline = append(in.Inline, netip.AddrPortFrom(s.Listen.Addr, s.Listen.Port))
		}
		if !slices.Contains(in.Ports, s.Port) { // two services may share one, as listeners differ
			in.Ports = append(in.Ports, s.Port)
		}
	}
	for _, o := range d.CallOut {
		if !slices.Contains(in.Calls, o.Catch.Port()) {
			in.Calls = append(in.Calls, o.Catch.Port())
		}
		if !slices.Contains(p.Addresses, o.Catch.Addr()) {
			p.Addresses = append(p.Addresses, o.Catch.Addr())
		}
	}
	if d.Source == config.SourceClient {
		in.Transparent = len(d.SourceAddresses) == 0
		in.Clients = d.SourceAddresses
	}
	for _, c := range in.Clients { // somebody has to answer ARP and ND for them
		if !slices.Contains(p.Addresses, c) {
			p.Addresses = append(p.Addresses, c)
		}
	}
	p.Devices = append(p.Devices, in)
}

func unjoined(err error) []error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// planFault points at what a plan's fault, "devices[2].mac: …", is about.
func planFault(c *config.Config, p segment.Plan, err error) config.Fault {
	key, message, _ := strings.Cut(err.Error(), ": ")
	path := append([]string{"segments", p.Name}, strings.Split(key, ".")...)
	var n int
	var field string
	if _, bad := fmt.Sscanf(key, "devices[%d].%s", &n, &field); bad == nil && n < len(p.Devices) {
		names := map[string]string{"addresses": "address", "ports": "services", "calls": "call_out", "inline": "services", "clients": "source_addresses"}
		if other := names[field]; other != "" {
			field = other
		}
		path = []string{"devices", p.Devices[n].ID, field}
	} else if strings.HasPrefix(key, "addresses") {
		path = []string{"segments", p.Name, "addresses"}
	}
	return c.Fault("config.segment.plan", strings.Join(path, ".")+": "+message, "correct it, then cordon segment show says what the segment is made of", path...)
}
