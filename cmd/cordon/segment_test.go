package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/keeper"

	"golang.org/x/sys/unix"
)

// ward is a device in a segment of its own, and a client elsewhere. The network the test runs
// in is the gateway's; the client has a route to the device by way of it, and so has the device
// to the world. Nothing of the device knows of the gateway.
//
//	namespace client       │       the gateway        │   segment (made by cordon)  │  namespace device
//	                       │                          │                             │
//	cli0 10.1.0.2 ─────────┼── gw0 10.1.0.1    seg0 ──┼─► seg0 10.9.0.1 ────────────┼── dev0 10.9.0.7
//	                       │                          │         10.9.0.9            │      storescp, storescu
type ward struct {
	*site
}

// newWard takes the test's thread to a network and a /run of its own, which end with it.
func newWard(t *testing.T, cordon string) *ward {
	t.Helper()
	peer(t, "ip", "iproute2")
	runtime.LockOSThread() // what is started from here on is there, too; the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		noPeer(t, "a machine that lets these tests make namespaces, as root: "+err.Error())
	}
	for _, m := range []struct {
		what, where, kind string
		flags             uintptr
	}{{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE}, {"tmpfs", "/run", "tmpfs", 0}} {
		if err := unix.Mount(m.what, m.where, m.kind, m.flags, ""); err != nil {
			t.Fatalf("mount %s: %v", m.where, err)
		}
	}
	w := &ward{}
	w.ip(t, "link set lo up", "netns add client", "netns add device",
		"link add gw0 type veth peer name cli0 netns client",
		"link add seg0 type veth peer name dev0 address 02:00:00:00:09:07 netns device",
		"address add 10.1.0.1/24 dev gw0", "link set gw0 up",
		"-n client address add 10.1.0.2/24 dev cli0", "-n client link set cli0 up", "-n client route add default via 10.1.0.1",
		"-n device address add 10.9.0.7/24 dev dev0", "-n device link set dev0 up", "-n device link set lo up", "-n device route add default via 10.9.0.1")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	w.site = emptySite(t, cordon)
	return w
}

// ip runs commands of ip(8).
func (w *ward) ip(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if out := runProgram(t, "/", nil, "ip", strings.Fields(c)...); out.code != 0 {
			t.Fatalf("ip %s: %s", c, out.stderr)
		}
	}
}

// in starts a program in a namespace.
func (w *ward) in(namespace, program string, args ...string) (string, []string) {
	return "ip", append([]string{"netns", "exec", namespace, program}, args...)
}

func (w *ward) runIn(t *testing.T, namespace, program string, args ...string) outcome {
	t.Helper()
	name, all := w.in(namespace, program, args...)
	return runProgram(t, w.dir, nil, name, all...)
}

// receive starts dcmtk's receiver in the device, as its maker configured it. It returns where it
// puts what it gets.
func (w *ward) receive(t *testing.T) (storescp *background, dir string) {
	t.Helper()
	dir = t.TempDir()
	name, args := w.in("device", peer(t, "storescp", "dcmtk"), "-d", "-dhl", "+B", "-od", dir, "-aet", "CT1", "104")
	storescp = start(t, dir, name, args...)
	storescp.waitFor(t, "listening", func() bool {
		return strings.Contains(w.runIn(t, "device", "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout, ":0068 ")
	})
	return storescp, dir
}

// send is a client that stores an image by mutual TLS.
func (w *ward) send(t *testing.T, file string) outcome {
	t.Helper()
	return w.sendTo(t, "11112", file)
}

func (w *ward) sendTo(t *testing.T, port, file string) outcome {
	t.Helper()
	return w.runIn(t, "client", "storescu", "-v", "-xe", "-aet", "KIM", "-aec", "CT1",
		"+tls", w.path("kim.key"), w.path("kim.pem"), "+cf", w.path("ca.pem"), "10.1.0.1", port, file)
}

// reach tries to open TCP connections to addresses, all at once, says something over each, and
// returns those it could open.
func (w *ward) reach(t *testing.T, namespace string, addresses ...string) []string {
	t.Helper()
	const script = `for a; do h=${a%:*}; h=${h#[}; (timeout 1 bash -c "exec 3<>/dev/tcp/${h%]}/${a##*:} && echo hello >&3" && echo $a) & done 2>/dev/null; wait`
	return strings.Fields(w.runIn(t, namespace, "bash", append([]string{"-c", script, "reach"}, addresses...)...).stdout)
}

// segmentEntries are the lines of the log about what was dropped.
func (w *ward) segmentEntries(t *testing.T) (lines []string) {
	t.Helper()
	for line := range strings.Lines(w.must(t, "audit", "tail", "-n", "100", "--dir", w.gw())) {
		if strings.Contains(line, " SEGMENT ") {
			lines = append(lines, line)
		}
	}
	return lines
}

const wardSegment = `segments:
  imaging:
    interface: { kind: nic, name: seg0 }
    addresses: [10.9.0.1]
devices:
  ct-1:
    address: 10.9.0.7
    segment: imaging
    mac: 02:00:00:00:09:07
    class: imaging/ct
    services:
      dicom: { proto: dicom, port: 104, listen: 10.1.0.1:11112 }
`

// tellSegment puts a CT that knows no protection into a segment. By way of the gateway it is
// reached, and by no other; what it does that nobody declared is dropped, recorded and shown,
// and a gateway that is killed leaves nothing open.
func tellSegment(t *testing.T, cordon string) {
	peer(t, "storescu", "dcmtk")
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	w.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  user/dr.kim: [KIM]\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", wardSegment)

	storescp, got := w.receive(t)
	w.unprotected(t)
	if out := w.run(t, "segment", "up", "--dry-run", "--dir", w.gw()); out.code != exit.Done || !strings.Contains(out.stdout, "to 10.9.0.7:104") {
		t.Errorf("segment up --dry-run exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	if out := w.run(t, "segment", "findings", "--dir", w.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, "namespace") {
		t.Errorf("segment findings before the segment exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}

	d := w.serve(t)
	if line := d.readyLine(); !strings.Contains(line, `"segments":[{"name":"imaging","up":true}]`) {
		t.Errorf("the gateway is ready with %s", line)
	}
	w.withoutNetAdmin(t, d)
	w.isolated(t)

	through := func(n int) {
		t.Helper()
		if out := w.send(t, file); out.code != 0 {
			t.Fatalf("storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
		}
		files := stored(t, got)
		if len(files) != 1 { // the same image again has the same name
			t.Fatalf("the device holds %q, want one image", files)
		}
		sameDataSet(t, files[0], file)
		if seen := strings.Count(storescp.said(), "Association Received: 10.9.0.1\n"); seen != n {
			t.Errorf("the device has seen %d associations from the gateway, want %d", seen, n)
		}
	}
	closed := func(when string) {
		t.Helper()
		if open := w.reach(t, "client", "10.9.0.7:104", "10.9.0.7:22", "10.9.0.1:11112"); len(open) > 0 {
			t.Errorf("%s, the client reaches %q directly", when, open)
		}
		if open := w.reach(t, "device", "10.1.0.2:2762", "10.1.0.1:11112", "10.9.0.1:11112", "10.9.0.1:22"); len(open) > 0 {
			t.Errorf("%s, the device reaches %q", when, open)
		}
	}
	through(1)
	closed("with the gateway up")

	// The Contec CMS8000's beacon: an address in its firmware (CISA, ICSMA-25-030-01).
	for range 3 {
		w.reach(t, "device", "202.114.4.119:515")
	}
	beacon := regexp.MustCompile(`imaging: undeclared: tcp from 10\.9\.0\.7 at 02:00:00:00:09:07 \(ct-1\) to 202\.114\.4\.119:515`)
	recorded := func() (n int) {
		for _, line := range w.segmentEntries(t) {
			if beacon.MatchString(line) {
				n++
			}
		}
		return n
	}
	if !eventually(func() bool { return recorded() > 0 }) || recorded() != 1 {
		t.Errorf("the beacon has %d entries, want 1:\n%s", recorded(), strings.Join(w.segmentEntries(t), ""))
	}

	// The helper dies: what holds its place starts another.
	helper := w.segmentHelper(t, d)
	if err := unix.Kill(helper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	through(2)
	if !strings.Contains(d.logged(), "segment helper ended, started again") {
		t.Error("the log does not say that the helper died")
	}
	w.isolated(t)

	// A power failure, as far as the gateway goes.
	helpers := append(children(t, d.cmd.Process.Pid), w.segmentHelper(t, d))
	d.kill()
	for _, pid := range helpers {
		if !eventually(func() bool { return !alive(pid) }) {
			t.Errorf("process %d outlived its gateway", pid)
		}
	}
	closed("with the gateway killed")
	w.isolated(t)
	d = w.serve(t)
	through(3)
	closed("after the restart")

	if out := w.run(t, "segment", "down", "imaging", "--dir", w.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, "cuts off ct-1") {
		t.Errorf("segment down without --yes exits with %d and says %s", out.code, out.stderr)
	}
	w.must(t, "segment", "down", "imaging", "--yes", "--dir", w.gw())
	if out := w.send(t, file); out.code == 0 {
		t.Error("the device is reached although its segment is down")
	}
	closed("with the segment down")
	w.must(t, "segment", "up", "--dir", w.gw())
	through(4)
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// unprotected shows that without a segment the gateway's host routes between both sides: a test
// in which nothing could have got across would prove nothing.
func (w *ward) unprotected(t *testing.T) {
	t.Helper()
	w.ip(t, "address add 10.9.0.1/24 dev seg0", "link set seg0 up")
	if !eventually(func() bool { return len(w.reach(t, "client", "10.9.0.7:104")) > 0 }) {
		t.Fatal("the client does not reach the device although nothing keeps it from that")
	}
	w.ip(t, "address flush dev seg0", "link set seg0 down")
}

// tellSegmentHelper runs the gateway as systemd does: without any privilege, beside a helper that
// has them. Each may be ended and started again without the other.
func tellSegmentHelper(t *testing.T, cordon string) {
	setpriv := peer(t, "setpriv", "util-linux")
	twoUsers(t)
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	w.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  user/dr.kim: [KIM]\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", wardSegment)
	w.receive(t)

	const nobody = "65534"
	passable(t, w.dir)
	passable(t, filepath.Dir(cordon))
	if out := runProgram(t, "/", nil, "chown", "-R", nobody+":"+nobody, w.dir); out.code != 0 {
		t.Fatal(out.stderr)
	}
	w.cordon = w.write(t, "unprivileged", "#!/bin/sh\nexec "+setpriv+" --reuid="+nobody+" --regid="+nobody+" --clear-groups --bounding-set=-all --no-new-privs "+cordon+" \"$@\"\n")
	if err := os.Chmod(w.cordon, 0o755); err != nil {
		t.Fatal(err)
	}
	if out := w.run(t, "segment", "up", "--dir", w.gw()); out.code != exit.Failed || !strings.Contains(out.stderr, "segment.privilege") {
		t.Errorf("segment up without privileges exits with %d and says %s", out.code, out.stderr)
	}

	if out := w.run(t, "run", "--dir", w.gw()); out.code != exit.Unreachable || !strings.Contains(out.stderr, "segment.helper") {
		t.Errorf("run without a helper exits with %d and says %s", out.code, out.stderr)
	}
	socket := w.helperSocket(t)
	h := w.helper(t, cordon, socket)
	d := w.serve(t)
	w.withoutNetAdmin(t, d)
	w.isolated(t)
	allowed := func(when string) {
		t.Helper()
		if out := w.send(t, file); out.code != 0 {
			t.Errorf("%s, storescu exits with %d and says %s%s", when, out.code, out.stdout, out.stderr)
		}
	}
	allowed("with both up")
	h.cmd.Process.Kill()
	<-h.exited
	w.helper(t, cordon, socket)
	allowed("after the helper was killed")
	d.kill()
	w.serve(t)
	allowed("after the gateway was killed")

	// Who speaks to the helper has what the configuration declares, and nothing else.
	for _, request := range []string{
		`{"do":"dial","segment":"imaging","address":"10.9.0.7:22"}`,
		`{"do":"dial","segment":"imaging","address":"10.1.0.2:104"}`,
		`{"do":"listen","segment":"imaging","address":"10.9.0.1:104"}`,
		`{"do":"dial","segment":"../../proc/1/ns/net","address":"10.9.0.7:104"}`,
		`{"do":"teardown","segment":"imaging"}`,
	} {
		if answer := w.request(t, request); !strings.HasPrefix(answer, `{"error":`) {
			t.Errorf("the helper answers %s with %s", request, answer)
		}
	}
	if answer := w.request(t, "no request"); answer != "" {
		t.Errorf("the helper answers what is no request with %s", answer)
	}
	allowed("after requests that were refused")

	// What is declared while both run is there after a reload.
	w.edit(t, "cordon.yaml", "listen: 10.1.0.1:11112 }\n", "listen: 10.1.0.1:11112 }\n      more: { proto: dicom, port: 105, listen: 10.1.0.1:11113 }\n")
	w.handOver(t)
	name, args := w.in("device", "storescp", "-dhl", "+B", "-od", t.TempDir(), "-aet", "CT1", "105")
	start(t, w.dir, name, args...).waitFor(t, "listening", func() bool {
		return strings.Contains(w.runIn(t, "device", "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout, ":0069 ")
	})
	if out := w.sendTo(t, "11113", file); out.code != 0 {
		t.Errorf("to a service that was added storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	allowed("beside a service that was added")
	w.isolated(t)
}

// helperSocket listens as cordon-segment.socket does.
func (w *ward) helperSocket(t *testing.T) *os.File {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(keeper.DefaultSocket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: keeper.DefaultSocket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := os.Chmod(keeper.DefaultSocket, 0o666); err != nil {
		t.Fatal(err)
	}
	return f
}

func (w *ward) helper(t *testing.T, cordon string, socket *os.File) *background {
	t.Helper()
	h := &background{cmd: exec.Command(cordon, "segment-helper", "--dir", w.gw()), exited: make(chan struct{})}
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.ExtraFiles = h, h, []*os.File{socket}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(h.exited)
		h.cmd.Wait()
	}()
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		<-h.exited
		if t.Failed() {
			t.Logf("the helper said:\n%s", h.said())
		}
	})
	return h
}

// request asks the helper without the gateway.
func (w *ward) request(t *testing.T, text string) (answer string) {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: keeper.DefaultSocket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 4096)
	n := 0
	if _, err = c.Write([]byte(text)); err == nil {
		n, _ = c.Read(b)
	}
	return string(b[:n])
}

// isolated fails if there is a finding about the segment, besides that its wire is a veth.
func (w *ward) isolated(t *testing.T, segments ...string) {
	t.Helper()
	if len(segments) == 0 {
		segments = []string{"imaging"}
	}
	out := w.run(t, "segment", "findings", "-q", "--dir", w.gw())
	rest := out.stdout
	for _, s := range segments {
		line, more, _ := strings.Cut(rest, "\n")
		if !strings.HasPrefix(line, "low\tsegment "+s+"\tlaboratory: ") {
			t.Errorf("of segment %s, segment findings says %s", s, line)
		}
		rest = more
	}
	if rest != "" {
		t.Errorf("segment findings exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
}

// segmentHelper is the process that sets segments up for a daemon that was started as root.
func (w *ward) segmentHelper(t *testing.T, d *running) (pid int) {
	t.Helper()
	if !eventually(func() bool {
		for _, child := range children(t, d.cmd.Process.Pid) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
			if !strings.Contains(string(line), "\x00segment-helper\x00") {
				continue
			}
			if helpers := children(t, child); len(helpers) == 1 {
				pid = helpers[0]
				return true
			}
		}
		return false
	}) {
		t.Fatal("no process helps with segments")
	}
	return pid
}

// withoutNetAdmin fails if the daemon has CAP_NET_ADMIN or could get it (capabilities(7)).
func (w *ward) withoutNetAdmin(t *testing.T, d *running) {
	t.Helper()
	for _, set := range []string{"CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), set+":")
		bits, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if bits>>unix.CAP_NET_ADMIN&1 != 0 {
			t.Errorf("the daemon has CAP_NET_ADMIN in %s", set)
		}
	}
}
