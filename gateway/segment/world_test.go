package segment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every test runs in a network and mount namespace of its own: the test program starts itself
// once more there, with a user namespace if it is not root. Its network is "the host"; tests
// add the client's and the device's around it.
//
//	 namespace client        │        the host        │   segment (made by Setup)   │   namespace device
//	                         │                        │                             │
//	 cli0 10.1.0.2 ──────────┼── gw0 10.1.0.1   seg0 ─┼─► seg0 10.9.0.1 ────────────┼── dev0 10.9.0.7
//	      fd01::2            │       fd01::1          │        fd09::1              │        fd09::7
//	  sniffer                │                        │                             │    sniffer

func TestMain(m *testing.M) {
	const inside = "CORDON_TEST_IN_NAMESPACE"
	if plan := os.Getenv(forever); plan != "" {
		setUpForever(plan, os.Getenv(forever+"_DIR"))
	}
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Env = append(os.Environ(), inside+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err := c.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED, nothing was tested: no namespaces can be made here:", err)
		if os.Getenv("CORDON_PEERS") == "required" {
			os.Exit(1)
		}
	}
}

const forever = "CORDON_TEST_SET_UP_FOREVER"

// setUpForever is a process to be killed at any moment.
func setUpForever(plan, dir string) {
	var p Plan
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		panic(err)
	}
	for l := (Local{Dir: dir}); ; {
		for _, do := range []func(context.Context, Plan) error{l.Setup, l.Setup, l.Teardown} {
			if err := do(context.Background(), p); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}

// busyTime bounds every wait for what has to happen; a machine may be busy. Where nothing is to
// happen, a test waits for a moment.
const (
	busyTime = time.Minute
	moment   = 1500 * time.Millisecond // a SYN is sent again after one second
)

// world is the picture above.
type world struct {
	t              testing.TB
	local          Local
	plan           Plan
	client, device *os.File // namespaces
	deviceMAC      MAC
	gatewayMAC     MAC // of seg0
}

var (
	clientAddr  = netip.MustParseAddr("10.1.0.2")
	deviceAddr  = netip.MustParseAddr("10.9.0.7")
	deviceAddr6 = netip.MustParseAddr("fd09::7")
	ownAddr     = netip.MustParseAddr("10.9.0.1")
	ownAddr6    = netip.MustParseAddr("fd09::1")
)

const (
	servicePort = 2575 // of the device, declared
	callPort    = 104  // of the gateway, declared
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, local: Local{Dir: filepath.Join(t.TempDir(), "netns")}}
	w.client, w.device = w.namespace("client"), w.namespace("device")
	h := w.routing()
	defer h.Close()

	w.deviceMAC, w.gatewayMAC = MAC{2, 0, 0, 0, 9, 7}, MAC{2, 0, 0, 0, 9, 1}
	w.pair(h, "gw0", MAC{2, 0, 0, 0, 1, 1}, "cli0", MAC{2, 0, 0, 0, 1, 2}, w.client)
	w.pair(h, "seg0", w.gatewayMAC, "dev0", w.deviceMAC, w.device)
	t.Cleanup(w.clean)

	w.configure(nil, "gw0", "10.1.0.1/24", "fd01::1/64")
	w.configure(w.client, "cli0", "10.1.0.2/24", "fd01::2/64")
	w.configure(w.device, "dev0", "10.9.0.7/24", "fd09::7/64")
	// The client tries hard: it has a route to the device by way of the gateway.
	w.in(w.client, func() error {
		h, err := routing()
		if err != nil {
			return err
		}
		defer h.Close()
		for _, r := range [][2]string{{"10.9.0.0/24", "10.1.0.1"}, {"fd09::/64", "fd01::1"}} {
			_, dst, _ := net.ParseCIDR(r[0])
			if err := h.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(r[1])}); err != nil {
				return err
			}
		}
		return nil
	})

	w.plan = Plan{
		Name:      "icu",
		Interface: Interface{Kind: NIC, Name: "seg0"},
		Addresses: []netip.Addr{ownAddr, ownAddr6},
		Devices: []Device{{ID: "mon-7", MAC: w.deviceMAC, Addresses: []netip.Addr{deviceAddr, deviceAddr6},
			Ports: []uint16{servicePort}, Calls: []uint16{callPort}}},
	}
	return w
}

// clean takes the host's side of the world away.
func (w *world) clean() {
	w.local.Teardown(context.Background(), w.plan)
	w.local.Release(context.Background(), w.plan)
	h := w.routing()
	defer h.Close()
	for _, name := range []string{"gw0", "seg0"} {
		if l, _ := find(h, name); l != nil {
			h.LinkDel(l)
		}
	}
}

func (w *world) routing() *netlink.Handle {
	w.t.Helper()
	h, err := routing()
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) namespace(name string) *os.File {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := newNamespace(path); err != nil {
		w.t.Fatal(err)
	}
	f, err := openNamespace(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close(); removeNamespace(path) })
	return f
}

// in runs f in a namespace; nil is the host.
func (w *world) in(ns *os.File, f func() error) {
	w.t.Helper()
	err := error(nil)
	if ns == nil {
		err = f()
	} else {
		err = inside(ns, f)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pair(h *netlink.Handle, a string, aMAC MAC, b string, bMAC MAC, there *os.File) {
	w.t.Helper()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a, HardwareAddr: aMAC[:]}, PeerName: b, PeerHardwareAddr: bMAC[:],
		PeerNamespace: netlink.NsFd(there.Fd())}
	if err := h.LinkAdd(v); err != nil {
		w.t.Fatal(err)
	}
}

// configure makes an end that says nothing by itself: what a sniffer sees was caused.
func (w *world) configure(ns *os.File, name string, addrs ...string) {
	w.t.Helper()
	w.in(ns, func() error {
		for key, want := range map[string]string{"addr_gen_mode": "1", "router_solicitations": "0", "dad_transmits": "0", "accept_ra": "0"} {
			if err := (sysctl{key: "ipv6/conf/" + name + "/" + key, want: want}).write(); err != nil {
				return err
			}
		}
		h, err := routing()
		if err != nil {
			return err
		}
		defer h.Close()
		l, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		for _, s := range addrs {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				return err
			}
			a.Flags = unix.IFA_F_NODAD
			if err := h.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return h.LinkSetUp(l)
	})
}

func (w *world) setup() {
	w.t.Helper()
	if err := w.local.Setup(context.Background(), w.plan); err != nil {
		w.t.Fatal(err)
	}
	w.carry()
}

// carry waits until the device's wire carries frames: the kernel takes up to a second for that
// after the other end was taken up. Without it, a suite could pass because nothing was sent.
func (w *world) carry() {
	w.t.Helper()
	for end := time.Now().Add(busyTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		up := false
		w.in(w.device, func() error {
			h, err := routing()
			if err != nil {
				return err
			}
			defer h.Close()
			l, err := h.LinkByName("dev0")
			up = err == nil && l.Attrs().OperState == netlink.OperUp
			return err
		})
		if up {
			return
		}
	}
	w.t.Fatal("the device's wire carries nothing")
}

// nft returns the rule set of a namespace as people read it, for a failing test's log.
func (w *world) nft(ns *os.File) string {
	var out []byte
	w.in(ns, func() error {
		out, _ = exec.Command("nft", "list", "ruleset").CombinedOutput()
		return nil
	})
	return string(out)
}

func addressOf(s string) *netlink.Addr {
	a, err := netlink.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

func addr(s string) netip.Addr                    { return netip.MustParseAddr(s) }
func first(a, _ view) view                        { return a }
func second(_, b view) view                       { return b }
func ap(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
