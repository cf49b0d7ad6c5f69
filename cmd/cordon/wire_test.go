package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a device on a wire, in a namespace of its own that has its name.
type machine struct {
	name    string
	address string
	mac     net.HardwareAddr
}

// wire puts machines on a network of their own, which ends at an interface of the host. What is
// between them is a switch that keeps nobody from anybody, in a namespace of its own too.
//
//	the gateway     │     namespace wire-NIC     │  a namespace each
//	                │                            │
//	        NIC ────┼── trunk               p0 ───┼── eth0   machines[0]
//	                │        bridge        p1 ───┼── eth0   machines[1]
func (w *ward) wire(t *testing.T, nic, router string, machines ...machine) {
	t.Helper()
	on := "wire-" + nic
	w.ip(t, "netns add "+on, "netns exec "+on+" sysctl -qw net.ipv6.conf.default.disable_ipv6=1", "-n "+on+" link add br0 type bridge", "-n "+on+" link set br0 up",
		"link add "+nic+" type veth peer name trunk netns "+on, "-n "+on+" link set trunk master br0 up")
	for i, m := range machines {
		port := fmt.Sprintf("p%d", i)
		w.ip(t, "netns add "+m.name, fmt.Sprintf("-n %s link add %s type veth peer name eth0 address %s netns %s", on, port, m.mac, m.name),
			"-n "+on+" link set "+port+" master br0 up",
			"-n "+m.name+" address add "+m.address+"/24 dev eth0", "-n "+m.name+" link set lo up", "-n "+m.name+" link set eth0 up",
			"-n "+m.name+" route add default via "+router)
	}
}

// inside calls f in a namespace; sockets that it makes stay there. The ward holds the test to one
// thread.
func (w *ward) inside(t *testing.T, namespace string, f func() error) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // nothing of this test is where it should be
	}
	if err != nil {
		t.Fatalf("in namespace %s: %v", namespace, err)
	}
}

// listenIn listens in a namespace.
func (w *ward) listenIn(t *testing.T, namespace, address string) (l net.Listener) {
	t.Helper()
	w.inside(t, namespace, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l
}

// sniffer keeps what arrives at a machine's interface, and what it sends.
type sniffer struct {
	file   *os.File
	done   chan struct{}
	mu     sync.Mutex
	frames [][]byte
}

const mostFrames = 100_000 // that a sniffer keeps

func (w *ward) sniff(t *testing.T, namespace, nic string) *sniffer {
	t.Helper()
	s := &sniffer{done: make(chan struct{})}
	w.inside(t, namespace, func() error {
		const everything = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00 // in the network's order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, everything)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), "sniffer")
		i, err := net.InterfaceByName(nic)
		if err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: i.Index})
	})
	go func() {
		defer close(s.done)
		b := make([]byte, 64<<10)
		for {
			n, err := s.file.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			if len(s.frames) < mostFrames {
				s.frames = append(s.frames, slices.Clone(b[:n]))
			}
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { s.file.Close(); <-s.done })
	return s
}

// sent are the frames that came from a MAC address.
func (s *sniffer) sent(from net.HardwareAddr) (list [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if len(f) >= 14 && bytes.Equal(f[6:12], from) {
			list = append(list, f)
		}
	}
	return list
}

// told says what a frame gives away of a machine, or "".
func (m machine) told(frame []byte) string {
	for what, b := range map[string][]byte{"address": net.ParseIP(m.address).To4(), "address in letters": []byte(m.address), "MAC address": m.mac, "name": []byte(m.name)} {
		if bytes.Contains(frame, b) {
			return what
		}
	}
	return ""
}

// exchange opens a connection in a namespace, says something and returns the answer, up to an end
// block or the end.
func (w *ward) exchange(t *testing.T, namespace string, dial func() (net.Conn, error), text string) (answer string, err error) {
	t.Helper()
	var c net.Conn
	w.inside(t, namespace, func() error {
		c, err = dial()
		return nil
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	var got []byte
	for one := make([]byte, 1); !bytes.HasSuffix(got, []byte("\x1c\r")); {
		if _, err := c.Read(one); err != nil {
			return string(got), err
		}
		got = append(got, one[0])
	}
	return string(got), nil
}
