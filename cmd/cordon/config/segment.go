package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

var (
	segmentName   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,15}$`)
)

func (d *decoder) segments(n *node) []Segment {
	var out []Segment
	for _, e := range d.named(n, "segment") {
		if identifier.MatchString(e.key.text) && !segmentName.MatchString(e.key.text) {
			d.bad(e.key, fmt.Sprintf("%q cannot be a segment's name", e.key.text), "use 1 to 15 lower-case letters, digits and hyphens, the first a letter")
		}
		s := Segment{Name: e.key.text}
		d.object(e, fields{
			"interface": func(n *node) { s.Interface = d.networkInterface(n) },
			"addresses": func(n *node) { s.Addresses = each(d, n, d.address) },
			"inline":    func(n *node) { s.Inline, _ = parsed(d, n, parseInterface, "eth0") },
		}, "interface", "addresses")
		out = append(out, s)
	}
	return out
}

func (d *decoder) networkInterface(n *node) Interface {
	var i Interface
	name := func(n *node) string {
		s, _ := parsed(d, n, parseInterface, "eth1")
		return s
	}
	d.object(n, fields{
		"kind":   func(n *node) { i.Kind = d.choice(n, "nic", "vlan", "macvlan") },
		"name":   func(n *node) { i.Name = name(n) },
		"parent": func(n *node) { i.Parent = name(n) },
		"vlan":   func(n *node) { i.VLAN = d.integer(n, 1, 4094) },
	}, "kind", "name")
	return i
}

func parseInterface(s string) (string, error) {
	if !interfaceName.MatchString(s) {
		return "", errors.New("expected the name of an interface, as ip link prints it")
	}
	return s, nil
}

func (d *decoder) mac(n *node) string {
	a, _ := parsed(d, n, parseMAC, `"00:1b:44:11:3a:b7"`)
	return a
}

func parseMAC(s string) (string, error) {
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != 6 {
		return "", errors.New("expected a MAC address of six bytes in hexadecimal")
	}
	return a.String(), nil
}

func (d *decoder) callOuts(n *node) []CallOut {
	var out []CallOut
	for _, e := range d.named(n, "call_out") {
		out = append(out, d.callOut(e))
	}
	if n.kind == mapping && len(n.entries) == 0 {
		d.bad(n, n.path+" is empty", "results: { proto: hl7, catch: 10.20.0.9:2575, to: lis.hospital.example:2575 }")
	}
	return out
}

func (d *decoder) callOut(n *node) CallOut {
	o := CallOut{Name: n.key.text}
	own, settings := d.divide(n, fields{
		"proto":        func(n *node) { o.Proto = d.word(n, protocol, "a protocol such as hl7 or dicom") },
		"catch":        func(n *node) { o.Catch, _ = parsed(d, n, parseCatch, "10.20.0.9:2575") },
		"to":           func(n *node) { o.To, _ = parsed(d, n, parseDestination, "lis.hospital.example:2575") },
		"server_name":  func(n *node) { o.ServerName = d.hostName(n) },
		"sessions":     func(n *node) { o.Sessions = d.integer(n, 1, 1_000_000) },
		"idle_timeout": func(n *node) { o.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"allow_unknown": func(n *node) {
			o.AllowUnknown = each(d, n, func(n *node) string { return d.text(n, 128) })
		},
	})
	own("proto", "catch", "to")
	if o.ServerName == "" && o.To != "" {
		o.ServerName, _, _ = net.SplitHostPort(o.To)
	}
	o.Settings = d.settings(settings)
	return o
}

// parseCatch reads the address and port that a device calls.
func parseCatch(s string) (netip.AddrPort, error) {
	l, err := ParseListen(s)
	if err == nil && (!l.Addr.IsValid() || l.Addr.IsUnspecified()) {
		err = errors.New("expected the address of one machine before the port")
	}
	return netip.AddrPortFrom(l.Addr, l.Port), err
}

// parseDestination reads host:port. A name is welcome here: the certificate behind it is
// verified.
func parseDestination(s string) (string, error) {
	host, _, err := splitPort(s)
	if err != nil {
		return "", err
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() || usable(a) != nil || a.Is6() != strings.HasPrefix(s, "[") {
			return "", errors.New("expected the address of one machine, an IPv6 address in brackets")
		}
	} else if !hostName.MatchString(host) || len(host) > 253 {
		return "", errors.New("expected a DNS name or an IP address before the port")
	}
	return s, nil
}

// checkSegments finds what only shows between segments and devices. What only a segment's plan
// knows, such as the families of its addresses, is for whoever makes one.
func (s *source) checkSegments(c *Config) {
	segments, devices := c.root.get("segments"), c.root.get("devices")
	known := map[string]bool{}
	var names []string
	held := interfaces{}
	taken := addresses{}
	for _, g := range c.Segments {
		n := segments.get(g.Name)
		known[g.Name], names = true, append(names, g.Name)
		held.take(s, g, n.get("interface"))
		for i, a := range g.Addresses {
			taken.take(s, a, "segment "+g.Name, g.Name, n.get("addresses").entries[i])
		}
	}
	for i := range c.Devices {
		dev := &c.Devices[i]
		n := devices.get(dev.ID)
		if dev.Segment == "" {
			for _, key := range []string{"mac", "further_addresses", "source", "source_addresses", "call_out"} {
				if only := n.get(key); only != nil && n.get("segment") == nil {
					s.fault(only.key, "config.segment.missing", fmt.Sprintf("%s means something only in a segment", only.path), "add segment: with the name of one of segments")
				}
			}
			continue
		}
		if !known[dev.Segment] {
			try := "add it under segments"
			if near := Nearest(dev.Segment, names); near != "" {
				try = "did you mean " + near + "?"
			}
			s.fault(n.get("segment"), "config.segment.unknown", fmt.Sprintf("%s is %q, which is not one of segments", n.get("segment").path, dev.Segment), try)
		}
		if n.get("mac") == nil {
			s.fault(n.key, "config.key.missing", n.path+" has no mac", "add mac: "+examples["mac"]+", as ip neighbour or the device's label tells it")
		}
		taken.take(s, dev.Address, "device "+dev.ID, dev.Segment, n.get("address"))
		for i, a := range dev.FurtherAddresses {
			if !a.IsLinkLocalUnicast() { // which other segments may have as well
				taken.take(s, a, "device "+dev.ID, dev.Segment, n.get("further_addresses").entries[i])
			}
		}
	}
	s.checkInline(c, taken)
	callers := map[string]string{}
	for i := range c.Devices { // last, when it is known which addresses are machines'
		dev := &c.Devices[i]
		for _, o := range dev.CallOut {
			at := devices.get(dev.ID).get("call_out").get(o.Name).get("catch")
			if at == nil || !o.Catch.IsValid() {
				continue // missing or faulty, and reported
			}
			if have, ok := taken[o.Catch.Addr()]; ok && have.segment != dev.Segment || ok && strings.HasPrefix(have.who, "device ") {
				s.note(at, "config.segment.address", fmt.Sprintf("%s is %s, which belongs to %s", at.path, o.Catch, have.who),
					fmt.Sprintf("there at line %d", have.line), "write the address the device was configured with; the gateway takes it over in the segment")
			}
			key := dev.ID + " " + o.Catch.String() // what several devices call, their addresses tell apart
			if other, ok := callers[key]; ok {
				s.fault(at, "config.segment.call", fmt.Sprintf("%s is %s, where %s is taken already", at.path, o.Catch, other), "configure the device with another port or address for one of the two")
			}
			callers[key] = strings.TrimSuffix(at.path, ".catch")
		}
	}
}

// addresses are those of segments and their devices. An address is in one place only: who reads
// the log must know which machine is meant.
type addresses map[netip.Addr]struct {
	who, segment string
	line         int
}

func (t addresses) take(s *source, a netip.Addr, who, segment string, n *node) {
	if !a.IsValid() || n == nil {
		return // faulty, and reported
	}
	have, ok := t[a]
	if ok && have.who != who {
		s.note(n, "config.segment.address", fmt.Sprintf("%s is %v, already the address of %s", n.path, a, have.who),
			fmt.Sprintf("first used at line %d", have.line), "give each machine an address of its own")
		return
	}
	have.who, have.segment, have.line = who, segment, n.line
	t[a] = have
}

// interfaces are those that segments take from the host.
type interfaces map[string]struct {
	segment string
	kind    string
	line    int
}

func (t interfaces) take(s *source, g Segment, n *node) {
	i := g.Interface
	if i.Kind == "" || n == nil {
		return // faulty, and reported
	}
	// Two segments may share a trunk, each with its VLAN, or the interface below two macvlans.
	device, part := i.Name, ""
	switch i.Kind {
	case "vlan":
		device, part = i.Parent, fmt.Sprintf("%s VLAN %d", i.Parent, i.VLAN)
	case "macvlan":
		device = i.Parent
	}
	for key, have := range t {
		if key != device && key != part && have.segment != g.Name {
			continue
		}
		if key == part && part != "" || key == device && (have.kind != i.Kind || i.Kind == "nic") {
			s.note(n, "config.segment.interface", fmt.Sprintf("%s: segment %q has %s already", n.path, have.segment, key),
				fmt.Sprintf("first used at line %d", have.line), "give each segment an interface or a VLAN of its own")
			return
		}
	}
	for _, key := range []string{device, part} {
		if have, ok := t[key]; key != "" && !ok {
			have.segment, have.kind, have.line = g.Name, i.Kind, n.line
			t[key] = have
		}
	}
}
