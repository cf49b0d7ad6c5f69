package guest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var all = flag.Bool("all", false, "try everything: some fifteen minutes rather than some three")

// TestGuest tells what happens to one machine, from its first start to the removal of Cordon.
// Each part stands on those before it.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a machine is emulated for some minutes")
	}
	g := newGuest(t)
	g.start(t)
	for _, part := range []struct {
		name string
		tell func(t *testing.T, g *machine)
	}{
		{"installation", tellInstallation},
		{"confinement", tellConfinement},
		{"segments", tellSegments},
		{"trunk", tellTrunk},
		{"bad network", tellBadNetwork},
		{"boot order", tellBootOrder},
		{"power cut", tellPowerCut},
		{"upgrade and removal", tellRemoval},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.tell(t, g) }) {
			t.Fatalf("the guest's console:\n%s", g.Console())
		}
	}
}

// patience bounds every wait. It is generous: emulation is slow, and a machine may be busy.
const patience = 5 * time.Minute

// machine is a guest with its disk and its wires, and what was built for it.
//
//	client wire                    ┌───────── guest ─────────┐                    device wire
//	      ┌──────────────── enp0s2 │ gateway                 │ enp0s3 ────────────────┐
//	 host │ sees and sends         │         segment icu ────│        sees and sends  │ host
//	      └──────────────── enp0s4 │ namespaces client,      │ enp0s5 ────────────────┘
//	                               │ device                  │
type machine struct {
	*Machine
	hardware Hardware
	dir      string
	disk     *Disk
	client   *Wire // to the gateway's card enp0s2, where clients are
	device   *Wire // to enp0s3, where the device is
}

const (
	clientCard, deviceCard = "02:00:00:00:01:01", "02:00:00:00:09:01"
	clientMAC, deviceMAC   = "02:00:00:00:01:02", "02:00:00:00:09:07"
)

// newGuest builds what goes into the guest.
func newGuest(t *testing.T) *machine {
	t.Helper()
	for name, debianPackage := range map[string]string{"qemu-system-x86_64": "qemu-system-x86", "apt-get": "apt", "dpkg-deb": "dpkg", "tar": "tar", "mkfs.ext4": "e2fsprogs"} {
		if _, err := exec.LookPath(name); err != nil && !sbin(name) {
			noPeer(t, fmt.Sprintf("%s (Debian: %s)", name, debianPackage))
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	root, err := MakeRoot(ctx, filepath.Join(cache, "cordon-guest"))
	if err != nil {
		noPeer(t, err.Error())
	}
	// A unix socket's path has 107 bytes, and t.TempDir() is long.
	dir, err := os.MkdirTemp("", "cordon-guest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &machine{dir: dir}
	t.Cleanup(func() {
		if g.Machine != nil {
			g.Kill()
		}
	})
	files := map[string]string{"inside": "inside", "segment.test": "segment.test", "serve.test": "serve.test", "old.deb": "old.deb", "new.deb": "new.deb"}
	for name := range files {
		files[name] = filepath.Join(dir, name)
	}
	g.build(t, ".", "go", "build", "-ldflags=-s -w", "-o", files["inside"], "./inside")
	g.build(t, "../../gateway/segment", "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", files["segment.test"], ".")
	g.build(t, "../../plugins/sdk/serve", "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", files["serve.test"], ".")
	g.build(t, "../deb", "go", "run", ".", "-o", files["old.deb"])
	g.build(t, "../deb", "go", "run", ".", "-o", files["new.deb"], "-version", "0.1.1")

	wire := func(name, mac string) *Wire {
		w, err := NewWire(dir, name, mac)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return w
	}
	g.client, g.device = wire("enp0s2", clientCard), wire("enp0s3", deviceCard)
	clients, devices := wire("enp0s4", clientMAC), wire("enp0s5", deviceMAC)
	Join(g.client, clients)
	Join(g.device, devices)
	socket := filepath.Join(dir, "disk")
	if g.disk, err = NewDisk(root.Image, socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.disk.Close() })
	g.hardware = Hardware{Dir: dir, Root: root, Disk: socket, Wires: []*Wire{g.client, g.device, clients, devices}, Files: files, Memory: 1024}
	return g
}

func sbin(name string) bool {
	_, err := os.Stat("/usr/sbin/" + name)
	return err == nil
}

func noPeer(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CORDON_PEERS") == "required" {
		t.Fatal("nothing was tried, it needs ", why)
	}
	t.Skip("nothing was tried, it needs ", why)
}

func (g *machine) build(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	if name == "go" && args[0] != "run" {
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// start gives it power.
func (g *machine) start(t *testing.T) {
	t.Helper()
	m, err := Run(g.hardware)
	if err != nil {
		t.Fatal(err)
	}
	g.Machine = m // newGuest sees to its end
	g.up(t)
}

// up waits until systemd has started all it should.
func (g *machine) up(t *testing.T) {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Booted(ctx); err != nil {
		t.Fatalf("%v\n%s", err, g.Console())
	}
	g.until(t, `s=$(systemctl is-system-running); [ "$s" = running ] || [ "$s" = degraded ]`)
	if failed := g.sh(t, "systemctl --failed --no-legend"); failed != "" {
		t.Errorf("units failed:\n%s\n%s", failed, g.sh(t, "journalctl -b -p warning --no-pager -n 50"))
	}
	t.Logf("up after %.0f s", time.Since(begun).Seconds())
}

// run runs a program in the guest.
func (g *machine) run(t *testing.T, args ...string) Outcome {
	t.Helper()
	return g.do(t, Request{Run: args, Seconds: int(patience.Seconds())}, nil)
}

func (g *machine) do(t *testing.T, r Request, line func(string)) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.Seconds)*time.Second+patience/3)
	defer cancel()
	o, err := g.Do(ctx, r, line)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sh runs a script that has to work, and returns what it writes.
func (g *machine) sh(t *testing.T, script string) string {
	t.Helper()
	o := g.run(t, "bash", "-euc", script)
	if o.Code != 0 {
		t.Fatalf("in the guest, %s: exit code %d\n%s%s", script, o.Code, o.Stdout, o.Stderr)
	}
	return o.Stdout
}

// until runs a script again and again until it succeeds. The host does the waiting: while a guest starts, neither its clock
// nor what runs in it is to be relied upon.
func (g *machine) until(t *testing.T, script string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) {
		o := g.run(t, "bash", "-euc", script)
		if o.Code == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in the guest, %s: exit code %d\n%s%s", script, o.Code, o.Stdout, o.Stderr)
		}
	}
}

// write writes a file in the guest.
func (g *machine) write(t *testing.T, path, text string) {
	t.Helper()
	if o := g.do(t, Request{Run: []string{"tee", path}, Stdin: text, Seconds: 60}, nil); o.Code != 0 {
		t.Fatalf("write %s in the guest: %s", path, o.Stderr)
	}
}
