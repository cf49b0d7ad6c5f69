package segment

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Plan says what one segment is. It is plain data: it can be compared, stored and sent.
//
// The gateway dials from the first address of each family. Further ones are those that devices
// were configured with: a server they call, or their router. Only this segment knows of them.
type Plan struct {
	Name      string       `json:"name"` // 1 to 15 of a-z, 0-9 and -, beginning with a letter
	Interface Interface    `json:"interface"`
	Addresses []netip.Addr `json:"addresses"` // the gateway's own in the segment
	Devices   []Device     `json:"devices"`

	// Inline is the host's interface that clients are on, where the gateway answers at devices'
	// own addresses; empty if no device has any to be answered at.
	Inline string `json:"inline,omitempty"`
}

// Kind is how a segment comes by its interface.
type Kind string

const (
	NIC     Kind = "nic"     // an interface that the segment takes over whole; in a laboratory, one end of a veth
	VLAN    Kind = "vlan"    // one 802.1Q VLAN of a trunk
	MACVLAN Kind = "macvlan" // a further MAC address on an interface
)

// Interface is the device side of a segment. The host keeps the parent of a VLAN or macvlan,
// but every frame on it that is not for a segment is dropped: it is no interface to be
// reached at.
type Interface struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`             // in the segment; for a NIC, also in the host
	Parent string `json:"parent,omitempty"` // of a VLAN or macvlan, in the host
	VLAN   uint16 `json:"vlan,omitempty"`   // 1 to 4094
}

// Device is one machine that is expected in the segment. What is not declared here is dropped.
// A device with an IPv6 address has a link-local one too, from which it may ask for the
// gateway's (RFC 4861 section 7.2.2): declare both.
type Device struct {
	ID        string       `json:"id"`
	MAC       MAC          `json:"mac"`
	Addresses []netip.Addr `json:"addresses"`       // each belongs to one device
	Ports     []uint16     `json:"ports,omitempty"` // its TCP ports that the gateway may dial
	Calls     []uint16     `json:"calls,omitempty"` // the gateway's TCP ports that it may open

	// Inline are addresses of the device, each with a TCP port, at which the gateway answers in
	// its place on the clients' side.
	Inline []netip.AddrPort `json:"inline,omitempty"`

	// Transparent: the device sees each client's own address instead of the gateway's, and has
	// a route to it by way of an address of the gateway. See transparent.go.
	Transparent bool `json:"transparent,omitempty"`
	// Clients are those whose own address it sees, if not all: addresses of the gateway in the
	// segment, so that ARP and ND are answered for them.
	Clients []netip.Addr `json:"clients,omitempty"`
}

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads six bytes in hexadecimal, with colons or hyphens between them.
func ParseMAC(s string) (MAC, error) {
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != len(MAC{}) {
		return MAC{}, fmt.Errorf("read MAC address %.40q: expected six bytes such as 00:1b:44:11:3a:b7", s)
	}
	return MAC(a), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText writes the form that ParseMAC reads.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMAC.
func (m *MAC) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMAC(string(text))
	return err
}

// held is the name of the interface that the host has and must not use.
func (i Interface) held() string {
	if i.Kind == NIC {
		return i.Name
	}
	return i.Parent
}

// address is the MAC address of a macvlan: always the same for the same segment, because
// devices and switches remember it. It is locally administered (IEEE 802-2014 clause 8.4).
func (p Plan) address() MAC {
	sum := sha256.Sum256([]byte("cordon segment " + p.Name + " on " + p.Interface.Parent))
	m := MAC(sum[:6])
	m[0] = m[0]&^1 | 2
	return m
}

// uses reports whether the segment speaks the family of a.
func (p Plan) uses(is func(netip.Addr) bool) bool {
	for _, a := range p.Addresses {
		if is(a) {
			return true
		}
	}
	return false
}

// own returns the address of the family of a that the gateway dials from, or the zero Addr.
func (p Plan) own(a netip.Addr) netip.Addr {
	for _, o := range p.Addresses {
		if o.Is4() == a.Is4() {
			return o
		}
	}
	return netip.Addr{}
}

// has reports whether an address is one of the gateway's own in the segment.
func (p Plan) has(a netip.Addr) bool { return slices.Contains(p.Addresses, a) }

// device returns who has an address, or nil.
func (p Plan) device(a netip.Addr) *Device {
	for i := range p.Devices {
		for _, b := range p.Devices[i].Addresses {
			if a == b {
				return &p.Devices[i]
			}
		}
	}
	return nil
}

// String lists what Setup will do, one line each, in its order.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "segment %s\n", p.Name)
	for _, s := range steps {
		if says := s.says(p); says != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", s.name, says)
		}
	}
	return b.String()
}
