package config

import (
	"fmt"
	"strings"
)

// checkInline finds what is wrong with addresses that devices keep, and with whose they see.
func (s *source) checkInline(c *Config, taken addresses) {
	segments, devices := c.root.get("segments"), c.root.get("devices")
	inline := map[string]bool{}
	for _, g := range c.Segments {
		inline[g.Name] = g.Inline != ""
		n := segments.get(g.Name).get("inline")
		for _, h := range c.Segments {
			if g.Inline == "" || g.Inline != h.Interface.Name && g.Inline != h.Interface.Parent {
				continue
			}
			s.note(n, "config.segment.inline", fmt.Sprintf("%s is %s, which segment %q takes for its devices", n.path, g.Inline, h.Name),
				fmt.Sprintf("there at line %d", segments.get(h.Name).get("interface").line), "name the interface that clients are on; devices are on another")
			break
		}
	}
	for i := range c.Devices {
		d := &c.Devices[i]
		n := devices.get(d.ID)
		for j := range d.Services {
			listen := n.get("services").get(d.Services[j].Name).get("listen")
			l := d.Services[j].Listen
			if listen == nil || !l.Addr.IsValid() {
				continue // missing or faulty, and reported, or at every address
			}
			have, used := taken[l.Addr]
			switch {
			case d.Inline(l) && !inline[d.Segment] && segments.get(d.Segment) != nil:
				s.fault(listen, "config.segment.inline", fmt.Sprintf("%s is %s, the device's own address, and nothing says where clients are to find it", listen.path, l),
					fmt.Sprintf("add inline: eth0 to segments.%s, with the interface that clients are on, or listen at an address of the gateway", d.Segment))
			case used && !d.Inline(l):
				s.note(listen, "config.segment.inline", fmt.Sprintf("%s is %s, the address of %s", listen.path, l, have.who),
					fmt.Sprintf("there at line %d", have.line), "listen at the device's own address, or at one that clients know the gateway by")
			}
		}
		s.checkSource(d, n, taken)
	}
}

// checkSource is about whose address a device sees.
func (s *source) checkSource(d *Device, n *node, taken addresses) {
	list := n.get("source_addresses")
	if list == nil {
		return
	}
	if d.Source != SourceClient {
		s.fault(list.key, "config.segment.source", fmt.Sprintf("%s means something only with source: client", list.path), "add source: client")
	}
	for i, a := range d.SourceAddresses {
		if have, ok := taken[a]; ok && strings.HasPrefix(have.who, "device ") {
			s.note(list.entries[i], "config.segment.source", fmt.Sprintf("%s is %v, the address of %s, which does not call by way of the gateway", list.path, a, have.who),
				fmt.Sprintf("there at line %d", have.line), "name clients")
		}
	}
}
