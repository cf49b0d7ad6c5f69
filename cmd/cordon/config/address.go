package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseListen reads address:port, [address]:port or :port. The port is 1 to 65535.
func ParseListen(s string) (Listen, error) {
	host, port, err := splitPort(s)
	if err != nil || host == "" {
		return Listen{Port: port}, err
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	switch {
	case err != nil:
		return Listen{}, errors.New("expected an IP address before the port, or none for every address")
	case addr.Is6() != strings.HasPrefix(host, "["):
		return Listen{}, errors.New("expected an IPv6 address in brackets, an IPv4 address without: [::1]:12575, 127.0.0.1:12575")
	}
	if err := usable(addr); err != nil {
		return Listen{}, err
	}
	if addr.IsUnspecified() && addr.Is6() {
		addr = netip.Addr{} // Go listens on both families there, as without an address
	}
	return Listen{addr, port}, nil
}

func splitPort(s string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", 0, errors.New("expected address:port")
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || n == 0 || s[i+1] == '0' {
		return "", 0, errors.New("expected a port from 1 to 65535 after the colon")
	}
	return s[:i], uint16(n), nil
}

// usable refuses addresses that nothing can be bound to or dialled at as written.
func usable(a netip.Addr) error {
	switch {
	case a.Is4In6():
		return fmt.Errorf("expected an IPv4 address as such: %s", a.Unmap())
	case a.Zone() != "":
		return errors.New("expected an address without zone")
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("expected the address of one machine")
	}
	return nil
}

// ParseDeviceAddress reads the IP address of one device. A host name is refused: who
// answers for a name could send the gateway elsewhere.
func ParseDeviceAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, errors.New("expected an IP address without a name or port")
	}
	if a.IsUnspecified() {
		return netip.Addr{}, errors.New("expected the address of one machine")
	}
	return a, usable(a)
}

func (d *decoder) listen(n *node) Listen {
	l, err := parsed(d, n, ParseListen, "127.0.0.1:12575, or :12575 for every address")
	if err != nil {
		return Listen{}
	}
	return l
}

func (d *decoder) deviceAddress(n *node) netip.Addr {
	a, _ := parsed(d, n, ParseDeviceAddress, "the address itself, such as 10.20.0.12")
	return a
}

func (d *decoder) address(n *node) netip.Addr {
	a, _ := parsed(d, n, ParseDeviceAddress, "10.20.0.5")
	return a
}

func (d *decoder) hostName(n *node) string {
	s := d.text(n, 253)
	if s != "" && !hostName.MatchString(s) {
		d.bad(n, fmt.Sprintf("%s is %q, expected a DNS name", n.path, s), "write gateway.hospital.example; IP addresses belong in gateway.addresses")
	} else if _, err := netip.ParseAddr(s); err == nil {
		d.bad(n, fmt.Sprintf("%s is the IP address %s, expected a DNS name", n.path, s), "move it to gateway.addresses")
	}
	return s
}

func parsed[T any](d *decoder, n *node, parse func(string) (T, error), example string) (v T, err error) {
	if n.kind == number { // quotes would not make an address of 12575
		d.src.fault(n, "config.type", fmt.Sprintf("%s is the number %s, expected an address", n.path, n.text), "write "+example)
		return v, errors.New("no text")
	}
	s := d.text(n, 255)
	if s == "" {
		return v, errors.New("no text")
	}
	if v, err = parse(s); err != nil {
		d.bad(n, fmt.Sprintf("%s is %q, %v", n.path, s, err), "write "+example)
	}
	return v, err
}
