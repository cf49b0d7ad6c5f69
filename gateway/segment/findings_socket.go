package segment

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What /proc says of who is in the segment.

// inhabitants looks for processes that live in the segment. Threads that visit it to make a
// socket are this process's own.
func (x *examination) inhabitants(ns *os.File) error {
	var segment, host unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &segment); err != nil {
		return err
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &host); err != nil {
		return err
	}
	if segment.Ino == host.Ino {
		x.find("high", "namespace", "the segment's namespace is the host's", "tear the segment down and set it up")
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return err
	}
	for _, path := range processes {
		pid := strings.Split(path, "/")[2]
		var s unix.Stat_t
		if unix.Stat(path, &s) == nil && s.Ino == segment.Ino && pid != strconv.Itoa(os.Getpid()) {
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			x.find("high", "process", fmt.Sprintf("process %s (%s) runs in the segment", pid, strings.TrimSpace(string(name))), "end it: nothing lives in a segment")
		}
	}
	return nil
}

// sockets looks for those that the plan has no use for.
func (x *examination) sockets() error {
	for _, kind := range []string{"raw", "raw6", "packet", "udp", "udp6", "udplite", "udplite6", "icmp", "icmp6"} {
		lines, err := procLines(kind)
		if err != nil {
			return err
		}
		if len(lines) > 0 {
			x.find("high", "socket", fmt.Sprintf("%d %s socket(s) in the segment", len(lines), kind), "find its process with ss -p inside the namespace and end it")
		}
	}
	all, err := tcpSockets()
	if err != nil {
		return err
	}
	for _, s := range all {
		d := x.plan.device(s.remote.Addr())
		switch {
		case x.plan.called(s.local): // listens for a device's call, or is one
		case d != nil && slices.Contains(d.Ports, s.remote.Port()):
		case s.state == "0A": // TCP_LISTEN
			x.find("high", "socket", fmt.Sprintf("a TCP socket listens at %v", s.local), "find its process with ss -p inside the namespace and end it")
		default: // the filters let nothing of it through
			x.find("low", "socket", fmt.Sprintf("a TCP connection at %v to %v, which is not declared", s.local, s.remote), "wait for its end: it may be of an earlier plan")
		}
	}
	for _, d := range x.plan.Devices {
		for _, port := range d.Calls {
			if !slices.ContainsFunc(all, func(s tcpSocket) bool { return s.state == "0A" && x.plan.has(s.local.Addr()) && s.local.Port() == port }) {
				x.find("low", "call", fmt.Sprintf("%s calls port %d, and nothing listens for it", d.ID, port), "start the gateway; if it runs, its log says what keeps it from listening")
			}
		}
	}
	return nil
}

// Connection is an established TCP connection between the gateway and a device.
type Connection struct {
	Device string         `json:"device"` // its ID, or "" if none has the address any more
	Peer   netip.AddrPort `json:"peer"`   // the device's end
	Own    netip.AddrPort `json:"own"`
}

// Connections are those that Teardown would cut. A segment that is not set up has none.
func (l Local) Connections(p Plan) ([]Connection, error) {
	ns, err := openNamespace(l.path(p.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for connections in segment %q: %w", p.Name, err)
	}
	defer ns.Close()
	var list []Connection
	err = inside(ns, func() error {
		all, err := tcpSockets()
		for _, s := range all {
			if s.state != "01" { // TCP_ESTABLISHED
				continue
			}
			c := Connection{Peer: s.remote, Own: s.local}
			if d := p.device(s.remote.Addr()); d != nil {
				c.Device = d.ID
			}
			list = append(list, c)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for connections in segment %q: %w", p.Name, err)
	}
	return list, nil
}

// tcpSocket is a line of /proc/net/tcp; its state is a number of net/tcp_states.h.
type tcpSocket struct {
	local, remote netip.AddrPort
	state         string
}

func tcpSockets() (all []tcpSocket, err error) {
	for _, kind := range []string{"tcp", "tcp6"} {
		lines, err := procLines(kind)
		if err != nil {
			return nil, err
		}
		for _, fields := range lines {
			if len(fields) < 4 {
				return nil, fmt.Errorf("read /proc/net/%s: a line of %d fields", kind, len(fields))
			}
			s := tcpSocket{state: fields[3]}
			if s.local, err = procAddress(fields[1]); err != nil {
				return nil, err
			}
			if s.remote, err = procAddress(fields[2]); err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// procLines reads /proc/net/NAME without its heading.
func procLines(name string) ([][]string, error) {
	b, err := os.ReadFile("/proc/thread-self/net/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the kernel has no such sockets
	}
	if err != nil {
		return nil, err
	}
	var lines [][]string
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if i > 0 {
			lines = append(lines, strings.Fields(line))
		}
	}
	return lines, nil
}

// procAddress reads an address of /proc/net/tcp: words of 32 bits in the machine's order.
func procAddress(s string) (netip.AddrPort, error) {
	word, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(word)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("read socket address %q", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("read socket address %q", s)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}
