package segment

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// findings leaves out those that every laboratory has: a wire that is none, and nothing that listens.
func (w *world) findings() []Finding {
	w.t.Helper()
	list, err := w.local.Findings(context.Background(), w.plan)
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(f Finding) bool { return f.Code == "laboratory" || f.Code == "call" })
}

func (w *world) open() *os.File {
	w.t.Helper()
	ns, err := openNamespace(w.local.path(w.plan.Name))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ns.Close() })
	return ns
}

// ip runs ip(8).
func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %v: %s", args, err, out)
	}
	return nil
}

// Each way to break the isolation is found, and the next setup repairs what is its to repair.
func TestFindings(t *testing.T) {
	w := newWorld(t)
	if f := w.findings(); len(f) == 0 || !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "namespace" }) {
		t.Errorf("before setup: %v", f)
	}
	w.setup()
	if f := w.findings(); len(f) > 0 {
		t.Fatalf("after setup: %v", f)
	}
	ns := w.open()
	for _, broken := range []struct {
		name, code   string
		in           *os.File
		break_, mend func() error // mend is nil where setup does it
	}{
		{"a second address", "address", ns, func() error { return ip("addr add 10.9.0.3/24 dev seg0") }, nil},
		{"an address less", "address", ns, func() error { return ip("addr del 10.9.0.1/32 dev seg0") }, nil},
		{"a default route", "route", ns, func() error { return ip("route add default via 10.9.0.7 dev seg0") }, nil},
		{"a default route, IPv6", "route", ns, func() error { return ip("-6 route add default via fd09::7 dev seg0") }, nil},
		{"a route to the whole network", "route", ns, func() error { return ip("route add 10.9.0.0/24 dev seg0") }, nil},
		{"a route in another table", "route", ns, func() error { return ip("route add 10.1.0.0/24 dev seg0 table 77") }, nil},
		{"a route less", "route", ns, func() error { return ip("route del 10.9.0.7 dev seg0") }, nil},
		{"a routing rule", "rule", ns, func() error { return ip("rule add pref 100 lookup 77") }, func() error { return ip("rule del pref 100") }},
		{"a neighbour that can change", "neighbour", ns, func() error { return ip("neigh replace 10.9.0.7 lladdr 02:00:00:00:09:07 nud reachable dev seg0") }, nil},
		{"a moved neighbour", "neighbour", ns, func() error { return ip("neigh replace 10.9.0.7 lladdr 02:00:00:00:66:66 nud permanent dev seg0") }, nil},
		{"a strange neighbour", "neighbour", ns, func() error { return ip("neigh add 10.9.0.66 lladdr 02:00:00:00:66:66 nud permanent dev seg0") }, nil},
		{"a neighbour less", "neighbour", ns, func() error { return ip("neigh del fd09::7 dev seg0") }, nil},
		{"a proxy neighbour", "proxy", ns, func() error { return ip("neigh add proxy 10.9.0.9 dev seg0") }, func() error { return ip("neigh del proxy 10.9.0.9 dev seg0") }},
		{"the interface is down", "interface-down", ns, func() error { return ip("link set seg0 down") }, nil},
		{"a second interface", "interface", ns, func() error { return ip("link add link seg0 name more type macvlan") }, func() error { return ip("link del more") }},
		{"a bridge", "bridge", ns, func() error { return join(ip("link add br0 type bridge"), ip("link set seg0 master br0")) },
			func() error { return join(ip("link set seg0 nomaster"), ip("link del br0")) }},
		{"a traffic filter", "redirection", ns, func() error { return tc("qdisc add dev seg0 clsact") }, func() error { return tc("qdisc del dev seg0 clsact") }},
		{"a strange table", "filter", ns, func() error { return nft("add table ip nat") }, func() error { return nft("delete table ip nat") }},
		{"a table less", "filter", ns, func() error { return nft("delete table inet cordon") }, nil},
		{"a set with more", "filter", ns, func() error { return nft("add element netdev cordon own4 { 10.9.0.99 }") }, nil},
		{"a set with less", "filter", ns, func() error { return nft("delete element netdev cordon services4 { 10.9.0.7 . 2575 }") }, nil},
		{"a guard less", "host-guard", nil, func() error { return nft("delete table inet cordon-guard-seg0") }, nil},
		{"a second guard less", "host-guard", nil, func() error { return nft("delete table arp cordon-guard-seg0") }, nil},
	} {
		w.in(broken.in, broken.break_)
		if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == broken.code }) {
			t.Errorf("%s: %v", broken.name, f)
		}
		if broken.mend != nil {
			w.in(broken.in, broken.mend)
		}
		w.setup()
		if f := w.findings(); len(f) > 0 {
			t.Errorf("%s is not repaired: %v", broken.name, f)
		}
	}
}

func join(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func nft(args string) error { return tool("nft", args) }
func tc(args string) error  { return tool("tc", args) }

func tool(name, args string) error {
	if out, err := exec.Command(name, strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %v: %s", name, args, err, out)
	}
	return nil
}

// Every setting, one after the other, is found when it is another.
func TestFindingsSysctl(t *testing.T) {
	w := newWorld(t)
	w.setup()
	ns := w.open()
	list := append(slices.Clone(wide), append(w.plan.sysctls("all"), w.plan.sysctls("seg0")...)...)
	tried := 0
	for _, s := range list {
		known := false
		w.in(ns, func() error {
			_, err := s.read()
			if known = err == nil; !known {
				return nil
			}
			tried++
			other := map[string]string{"0": "1", "1": "0", "2": "0", "-1": "0"}[s.want]
			return os.WriteFile("/proc/sys/net/"+s.key, []byte(other), 0)
		})
		if !known {
			t.Logf("this kernel has no net/%s", s.key)
			continue
		}
		if f := w.findings(); len(f) == 0 {
			t.Errorf("net/%s: nothing found", s.key)
		}
		w.in(ns, func() error { return os.WriteFile("/proc/sys/net/"+s.key, []byte(s.want), 0) })
	}
	w.setup() // "all" set others, and IPv6 off took addresses away
	if f := w.findings(); len(f) > 0 {
		t.Errorf("not repaired: %v", f)
	}
	t.Logf("%d settings", tried)
}

// Every rule, one after the other, is found when it is gone or is another.
func TestFindingsRules(t *testing.T) {
	w := newWorld(t)
	w.setup()
	ns := w.open()
	tried := 0
	for _, tab := range append(w.plan.closed(), w.plan.wire()) {
		for _, ch := range tab.chains {
			for i := range ch.rules {
				for _, how := range []string{"removed", "replaced"} {
					w.in(ns, func() error {
						c, err := nftables.New()
						if err != nil {
							return err
						}
						kt := &nftables.Table{Family: tab.family, Name: tab.name}
						rules, err := c.GetRules(kt, &nftables.Chain{Name: ch.name})
						if err != nil {
							return err
						}
						if how == "removed" {
							err = c.DelRule(&nftables.Rule{Table: kt, Chain: &nftables.Chain{Name: ch.name}, Handle: rules[i].Handle})
						} else {
							r := *rules[i]
							r.Table, r.Chain = kt, &nftables.Chain{Name: ch.name}
							r.Exprs = []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
							c.ReplaceRule(&r)
						}
						if err != nil {
							return err
						}
						return c.Flush()
					})
					tried++
					if f := w.findings(); len(f) == 0 {
						t.Errorf("%s %s rule %d (%s) %s: nothing found", familyName(tab.family), ch.name, i, ch.rules[i].why, how)
					}
					w.in(ns, func() error { return load(tab) })
				}
			}
		}
	}
	if f := w.findings(); len(f) > 0 {
		t.Errorf("not repaired: %v", f)
	}
	t.Logf("%d rules", tried)
}

// What the library does not read back is missed all the same where it is gone, is about something
// else, or has come on top.
func TestFindingsRaw(t *testing.T) {
	w := newInlineWorld(t)
	w.setup()
	inline := w.plan.inline()[0]
	arriving := inline.chains[0]
	without := func(m match) match {
		return slices.DeleteFunc(slices.Clone(m), func(e expr.Any) bool { _, is := e.(*expr.Socket); return is })
	}
	other := func(m match) match {
		m = slices.Clone(m)
		for i, e := range m {
			if _, is := e.(*expr.Socket); is {
				m[i] = &expr.Socket{Key: expr.SocketKeyWildcard, Register: 1}
			}
		}
		return m
	}
	more := func(m match) match {
		return append(match{&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1}}, m...)
	}
	tried := 0
	for i, r := range arriving.rules {
		asks := len(without(r.match)) < len(r.match)
		for name, change := range map[string]func(match) match{"without its socket": without, "about another property": other, "with a socket more": more} {
			if !asks && name != "with a socket more" {
				continue
			}
			tried++
			w.in(nil, func() error {
				c, err := nftables.New()
				if err != nil {
					return err
				}
				kt, kc := &nftables.Table{Family: inline.family, Name: inline.name}, &nftables.Chain{Name: arriving.name}
				rules, err := c.GetRules(kt, kc)
				if err != nil {
					return err
				}
				c.ReplaceRule(&nftables.Rule{Table: kt, Chain: kc, Handle: rules[i].Handle, Exprs: change(r.match)})
				return c.Flush()
			})
			if f := w.findings(); len(f) != 1 || f[0].Code != "inline" || !strings.Contains(f[0].Evidence, r.why) {
				t.Errorf("rule %d (%s) %s: %v", i+1, r.why, name, f)
			}
			w.setup()
		}
	}
	if f := w.findings(); len(f) > 0 || tried < 12 {
		t.Errorf("after %d rules were changed and mended: %v", tried, f)
	}
}

// Sockets and processes in the segment that are not the gateway's.
func TestFindingsSockets(t *testing.T) {
	w := newWorld(t)
	w.setup()
	ns := w.open()
	for _, s := range []struct {
		name string
		open func() (interface{ Close() error }, error)
	}{
		{"udp", func() (interface{ Close() error }, error) { return net.ListenPacket("udp4", "10.9.0.1:53") }},
		{"udp6", func() (interface{ Close() error }, error) { return net.ListenPacket("udp6", "[fd09::1]:53") }},
		{"raw", func() (interface{ Close() error }, error) { return net.ListenPacket("ip4:89", "10.9.0.1") }},
		{"tcp", func() (interface{ Close() error }, error) { return net.Listen("tcp4", "10.9.0.1:22") }},
		{"tcp6", func() (interface{ Close() error }, error) { return net.Listen("tcp6", "[fd09::1]:22") }},
		{"packet", func() (interface{ Close() error }, error) {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return os.NewFile(uintptr(fd), "packet"), err
		}},
	} {
		var c interface{ Close() error }
		w.in(ns, func() (err error) { c, err = s.open(); return err })
		if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "socket" }) {
			t.Errorf("%s: %v", s.name, f)
		}
		c.Close()
	}

	l, err := New(w.local, w.plan).Listen(context.Background(), ap(ownAddr, callPort))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", servicePort))
	c, err := New(w.local, w.plan).Dial(context.Background(), ap(deviceAddr, servicePort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if f := w.findings(); len(f) > 0 {
		t.Errorf("the gateway's own sockets: %v", f)
	}

	sleep := exec.Command("sleep", "60")
	w.in(ns, sleep.Start)
	defer func() { sleep.Process.Kill(); sleep.Wait() }()
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "process" }) {
		t.Errorf("a process: %v", f)
	}
}

// What the host does with the interface that it gave away.
func TestFindingsHost(t *testing.T) {
	w := newWorld(t)
	w.plan.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "seg0"}
	w.setup()
	if f := w.findings(); len(f) > 0 {
		t.Fatalf("after setup: %v", f)
	}
	w.in(nil, func() error { return ip("link add link seg0 name sibling type macvlan") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "host-sibling" }) {
		t.Errorf("a sibling: %v", f)
	}
	w.in(nil, func() error { return join(ip("link del sibling"), ip("addr add 10.9.0.99/24 dev seg0")) })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "host-address" }) {
		t.Errorf("an address: %v", f)
	}
	if err := w.local.Setup(context.Background(), w.plan); err == nil || !strings.Contains(err.Error(), "10.9.0.99") {
		t.Errorf("set up on an interface that the host uses: %v", err)
	}
	w.in(nil, func() error { return ip("addr del 10.9.0.99/24 dev seg0") })
	w.in(nil, func() error { return tc("qdisc add dev seg0 clsact") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "redirection" }) {
		t.Errorf("a traffic filter below: %v", f)
	}
	w.in(nil, func() error { return tc("qdisc del dev seg0 clsact") })
	w.in(nil, func() error { return nft("flush chain netdev cordon-guard-seg0 ingress") })
	if f := w.findings(); !slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "host-guard" }) {
		t.Errorf("a guard less: %v", f)
	}
}

// An XDP program sees frames before any filter, on the segment's interface or on the one that it is made of.
func TestFindingsXDP(t *testing.T) {
	program := passing(t)
	attach := func(name string, fd int) func() error {
		return func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.LinkSetXdpFdWithFlags(l, fd, nl.XDP_FLAGS_SKB_MODE)
		}
	}
	found := func(f []Finding) bool {
		return slices.ContainsFunc(f, func(f Finding) bool { return f.Code == "redirection" && strings.Contains(f.Evidence, "XDP") })
	}
	t.Run("in the segment", func(t *testing.T) {
		w := newWorld(t)
		w.setup()
		ns := w.open()
		w.in(ns, attach("seg0", program))
		if f := w.findings(); !found(f) {
			t.Errorf("attached: %v", f)
		}
		w.in(ns, attach("seg0", -1))
		if f := w.findings(); len(f) > 0 {
			t.Errorf("detached: %v", f)
		}
	})
	t.Run("below it", func(t *testing.T) {
		w := newWorld(t)
		w.plan.Interface = Interface{Kind: MACVLAN, Name: "mv0", Parent: "seg0"}
		w.setup()
		w.in(nil, attach("seg0", program))
		if f := w.findings(); !found(f) {
			t.Errorf("attached: %v", f)
		}
	})
}

// passing loads an XDP program that passes every frame on (bpf(2), BPF_PROG_LOAD).
func passing(t *testing.T) (fd int) {
	t.Helper()
	const load, xdp, pass = 5, 6, 2
	code := []struct {
		op, registers uint8
		offset        int16
		value         int32
	}{{op: 0xb7, value: pass}, {op: 0x95}} // r0 = XDP_PASS; exit
	license := []byte("GPL\x00")
	attributes := struct {
		kind, count       uint32
		code, license     uint64
		_                 [4]uint32
		version, flags    uint32
		name              [16]byte
		device, attaching uint32
	}{kind: xdp, count: uint32(len(code)), code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	n, _, errno := unix.Syscall(unix.SYS_BPF, load, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		t.Skipf("a kernel that loads an XDP program: %v", errno)
	}
	t.Cleanup(func() { unix.Close(int(n)) })
	return int(n)
}
