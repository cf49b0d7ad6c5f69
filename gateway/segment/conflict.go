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
// it without the gateway. ARP asks; where only IPv6 is spoken, this is not found.

// probeTime is how long an answer to an ARP probe is waited for: a machine on the same wire
// takes some milliseconds. RFC 5227 section 1.1 waits longer, for machines that are starting.
const probeTime = 200 * time.Millisecond

// claimants asks by ARP who else has IPv4 addresses on an interface. It takes probeTime.
func claimants(l netlink.Link, addrs []netip.Addr) (map[netip.Addr]MAC, error) {
	addrs = slices.DeleteFunc(slices.Clone(addrs), netip.Addr.Is6)
	if len(addrs) == 0 || len(l.Attrs().HardwareAddr) != len(MAC{}) {
		return nil, nil
	}
	own := MAC(l.Attrs().HardwareAddr)
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: l.Attrs().Index}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	for _, a := range addrs {
		probe := gratuitousARP(own, a)
		clear(probe[28:32]) // from no address: nobody learns anything of it
		if err := unix.Send(fd, probe, unix.MSG_DONTWAIT); err != nil {
			return nil, os.NewSyscallError("send", err)
		}
	}
	found := map[netip.Addr]MAC{}
	b := make([]byte, 64)
	for end := time.Now().Add(probeTime); ; {
		left := time.Until(end).Milliseconds()
		if left <= 0 {
			return found, nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left))
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("poll", err)
		}
		n, _, err = unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		if err != nil || n < 42 || !bytes.Equal(b[14:20], []byte{0, 1, 8, 0, 6, 4}) {
			continue
		}
		who, a := MAC(b[22:28]), netip.AddrFrom4([4]byte(b[28:32]))
		if who != own && slices.Contains(addrs, a) {
			found[a] = who
		}
	}
}

// conflicts looks for others on the clients' side that have devices' addresses.
func (x *examination) conflicts(h *netlink.Handle) error {
	l, err := find(h, x.plan.Inline)
	if err != nil || l == nil {
		return err // that it is missing is found where its addresses are
	}
	found, err := claimants(l, x.plan.shared())
	if err != nil {
		return fmt.Errorf("ask by ARP on %s: %w", x.plan.Inline, err)
	}
	for a, who := range found {
		evidence := fmt.Sprintf("%v answers for %v on %s as well: clients may reach it instead of the gateway", who, a, x.plan.Inline)
		if d := x.plan.device(a); d != nil && d.MAC == who {
			evidence = fmt.Sprintf("%s itself, %v, answers for %v on %s: it is reached without the gateway", d.ID, who, a, x.plan.Inline)
		}
		x.find("high", "conflict", evidence, "unplug it there: a device that keeps its address is connected to the segment only")
	}
	return nil
}
