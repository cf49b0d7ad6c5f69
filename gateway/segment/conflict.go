package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An address that a device keeps is to be answered by the gateway alone. If somebody else does
// it too, most often the device itself, whose cable is still on the clients' side, clients reach
// it without the gateway. It is asked for as who wants to use it would, by ARP and by ND; that
// somebody has it is told, and not fought: the gateway sends nothing to defend the address by
// itself.

// probeTime is how long an answer to a probe is waited for: a machine on the same wire takes
// some milliseconds. RFC 5227 section 1.1 and RFC 4862 section 5.4 wait longer, for machines that
// are starting.
const probeTime = 200 * time.Millisecond

// claimants asks who else has addresses on an interface. It takes probeTime, and CAP_NET_RAW.
func claimants(l netlink.Link, addrs []netip.Addr) (map[netip.Addr]MAC, error) {
	if len(addrs) == 0 || len(l.Attrs().HardwareAddr) != len(MAC{}) {
		return nil, nil
	}
	own := MAC(l.Attrs().HardwareAddr)
	var ears []unix.PollFd
	defer func() {
		for _, e := range ears {
			unix.Close(int(e.Fd))
		}
	}()
	for _, ask := range []struct {
		is       func(netip.Addr) bool
		protocol uint16
		filter   []unix.SockFilter
		probe    func(MAC, netip.Addr) []byte
	}{{netip.Addr.Is4, unix.ETH_P_ARP, nil, addressProbe}, {netip.Addr.Is6, unix.ETH_P_IPV6, neighboursOnly, duplicateProbe}} {
		if !slices.ContainsFunc(addrs, ask.is) {
			continue
		}
		fd, err := hear(l, ask.protocol, ask.filter)
		if err != nil {
			return nil, err
		}
		ears = append(ears, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		for _, a := range addrs {
			if !ask.is(a) {
				continue
			}
			if err := unix.Send(fd, ask.probe(own, a), unix.MSG_DONTWAIT); err != nil {
				return nil, os.NewSyscallError("send", err)
			}
		}
	}
	found := map[netip.Addr]MAC{}
	b := make([]byte, 128)
	for end := time.Now().Add(probeTime); ; {
		left := time.Until(end).Milliseconds()
		if left <= 0 {
			return found, nil
		}
		if _, err := unix.Poll(ears, int(left)); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("poll", err)
		}
		for _, e := range ears {
			n, _, err := unix.Recvfrom(int(e.Fd), b, unix.MSG_DONTWAIT)
			if err != nil {
				continue
			}
			if a, who, ok := claim(b[:n]); ok && who != own && slices.Contains(addrs, a) {
				found[a] = who
			}
		}
	}
}

// hear opens a packet socket for frames of one protocol that a filter lets in.
func hear(l netlink.Link, protocol uint16, filter []unix.SockFilter) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // hears nothing before it is bound
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if len(filter) > 0 {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
	}
	if err == nil {
		wire := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire, Ifindex: l.Attrs().Index}))
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// neighboursOnly lets neighbour solicitations and advertisements in. A device's images, on the
// same wire, would fill the socket.
var neighboursOnly = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 20}, // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_ICMPV6, Jf: 4},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 54}, // type
	{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 135, Jf: 2},
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 136, Jt: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// addressProbe is that of RFC 5227 section 2.1.1: from no address, so that nobody learns anything.
func addressProbe(mac MAC, a netip.Addr) []byte {
	b := gratuitousARP(mac, a)
	clear(b[28:32])
	return b
}

// duplicateProbe is the solicitation of duplicate address detection (RFC 4862 section 5.4.2): from
// no address, to the group of those whose address ends alike, who answer to everybody.
func duplicateProbe(mac MAC, a netip.Addr) []byte {
	group, ip := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff}, a.As16() // RFC 4291 section 2.7.1
	copy(group[13:], ip[13:])
	return neighbourDiscovery(mac, netip.IPv6Unspecified(), netip.AddrFrom16(group), append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip[:]...))
}

// claim reads a frame in which a machine says that an address is its own, or (RFC 4862 section
// 5.4.3) is about to be. Anybody on the wire can write one.
func claim(b []byte) (a netip.Addr, who MAC, ok bool) {
	const arp, ip6, target = 42, 54, 62
	if len(b) < arp {
		return a, who, false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		if bytes.Equal(b[14:20], []byte{0, 1, 8, 0, 6, 4}) {
			return netip.AddrFrom4([4]byte(b[28:32])), MAC(b[22:28]), true
		}
	case unix.ETH_P_IPV6:
		if len(b) < target+16 || b[20] != unix.IPPROTO_ICMPV6 || b[21] != 255 || b[ip6+1] != 0 {
			return a, who, false
		}
		from, at := netip.AddrFrom16([16]byte(b[22:38])), netip.AddrFrom16([16]byte(b[target:target+16]))
		who = MAC(b[6:12])
		switch option := b[target+16:]; {
		case b[ip6] == 136 && len(option) >= 8 && option[0] == 2 && option[1] == 1:
			return at, MAC(option[2:8]), true
		case b[ip6] == 136, b[ip6] == 135 && from.IsUnspecified():
			return at, who, true
		}
	}
	return a, who, false
}

// conflicts looks for others on the clients' side that have devices' addresses.
func (x *examination) conflicts() error {
	if x.plan.Inline == "" {
		return nil
	}
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := find(h, x.plan.Inline)
	if err != nil || l == nil {
		return err // that it is missing is found where its addresses are
	}
	found, err := claimants(l, x.plan.shared())
	if err != nil {
		return fmt.Errorf("ask by ARP and ND on %s: %w", x.plan.Inline, err)
	}
	for _, a := range x.plan.shared() {
		who, taken := found[a]
		if !taken {
			continue
		}
		evidence := fmt.Sprintf("%v answers for %v on %s as well: clients may reach it instead of the gateway", who, a, x.plan.Inline)
		if d := x.plan.device(a); d != nil && d.MAC == who {
			evidence = fmt.Sprintf("%s itself, %v, answers for %v on %s: it is reached without the gateway", d.ID, who, a, x.plan.Inline)
		}
		x.find("high", "conflict", evidence, "unplug it there: a device that keeps its address is connected to the segment only")
	}
	return nil
}
