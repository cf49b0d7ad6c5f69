package segment

import (
	"fmt"
	"net/netip"
	"strings"
)

// What the steps say of themselves.

func (p Plan) except() string {
	switch p.Interface.Kind {
	case VLAN:
		return fmt.Sprintf(", except VLAN %d", p.Interface.VLAN)
	case MACVLAN:
		return ", except those of " + p.address().String()
	}
	return ""
}

func (p Plan) downFirst() string {
	if p.Interface.Kind == NIC {
		return " and take it down"
	}
	return " and take it up"
}

func (p Plan) reservation() string {
	if p.Inline == "" {
		return ""
	}
	return fmt.Sprintf("drop in the host what is for %s, except TCP to %s on %s where a socket of the gateway takes it", listed(p.shared()), listed(p.listeners()), p.Inline)
}

func (p Plan) handover() string {
	if len(p.seeing()) == 0 {
		return ""
	}
	return "hand to the gateway's sockets what comes for clients from " + listed(p.seeing())
}

func (p Plan) takeover() string {
	if p.Inline == "" {
		return ""
	}
	return fmt.Sprintf("give %s in the host %s, and tell it there once by ARP and ND", p.Inline, listed(p.shared()))
}

func (p Plan) arrival() string {
	switch i := p.Interface; i.Kind {
	case VLAN:
		return fmt.Sprintf("make %s there, VLAN %d of %s", i.Name, i.VLAN, i.Parent)
	case MACVLAN:
		return fmt.Sprintf("make %s there, a private macvlan %v on %s", i.Name, p.address(), i.Parent)
	default:
		return "move " + i.Name + " there"
	}
}

func (p Plan) connections() []string {
	var list []string
	for _, d := range p.Devices {
		for _, a := range d.Addresses {
			for _, n := range d.Ports {
				list = append(list, "to "+netip.AddrPortFrom(a, n).String())
			}
			for _, n := range d.Calls {
				list = append(list, fmt.Sprintf("from %v to port %d", a, n))
			}
		}
	}
	return list
}

func (p Plan) neighbours() []string {
	var list []string
	for _, d := range p.Devices {
		for _, a := range d.Addresses {
			list = append(list, fmt.Sprintf("%v at %v", a, d.MAC))
		}
	}
	return list
}

func listed[T any](list []T) string {
	if len(list) == 0 {
		return "nothing"
	}
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(words, ", ")
}
