package segment

import (
	"encoding/binary"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// announce tells everybody on an interface once that it has an address now, so that clients and
// switches do not send on to where it was. It needs CAP_NET_RAW.
func announce(l netlink.Link, a netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // of no protocol: it hears nothing
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if len(l.Attrs().HardwareAddr) != len(MAC{}) {
		return nil // a wire without addresses has nothing to learn
	}
	mac := MAC(l.Attrs().HardwareAddr)
	b := gratuitousARP(mac, a)
	if a.Is6() {
		b = unsolicitedAdvertisement(mac, a)
	}
	return os.NewSyscallError("sendto", unix.Sendto(fd, b, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: uint8(len(mac))}))
}

// gratuitousARP is an announcement of RFC 5227 section 2.3: a request for one's own address.
func gratuitousARP(mac MAC, a netip.Addr) []byte {
	b := []byte{255, 255, 255, 255, 255, 255}
	b = append(append(b, mac[:]...), 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, mac[:]...), a.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), a.AsSlice()...)
}

// unsolicitedAdvertisement is that of RFC 4861 section 7.2.6, to all nodes, with the override
// flag and the option that has the link-layer address.
func unsolicitedAdvertisement(mac MAC, a netip.Addr) []byte {
	message := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, a.AsSlice()...)
	message = append(append(message, 2, 1), mac[:]...)
	return neighbourDiscovery(mac, a, netip.IPv6LinkLocalAllNodes(), message)
}

// neighbourDiscovery is a frame with a message of an even length, whose checksum is filled in, to
// a group. Its hop limit says that no router has passed it on (RFC 4861 section 7.1).
func neighbourDiscovery(mac MAC, from, group netip.Addr, message []byte) []byte {
	// The checksum is over the pseudo-header as well (RFC 8200 section 8.1).
	pseudo := append(append(from.AsSlice(), group.AsSlice()...), 0, 0, 0, byte(len(message)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	var sum uint32
	for _, part := range [][]byte{pseudo, message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum))

	g := group.As16()
	b := append([]byte{0x33, 0x33}, g[12:]...) // RFC 2464 section 7
	b = append(append(b, mac[:]...), 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255)
	b = append(append(b, from.AsSlice()...), g[:]...)
	return append(b, message...)
}
