package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLandlock has a plugin's process without its seccomp filter try what Landlock is to refuse.
func TestLandlock(t *testing.T) {
	program := withoutCgo(t)
	abi, errata := kernel()
	t.Logf("the kernel's Landlock: ABI %d, errata %#b", abi, errata)
	free := send(t, program, orders{Try: true})
	for name, got := range free.Attempts {
		if strings.Trim(strings.ReplaceAll(got, "ok", ""), " ") != "" {
			t.Errorf("unrestricted, %s: %s", name, got)
		}
	}
	a := send(t, program, orders{Lock: "landlock", Try: true})
	if a.Error != "" || len(a.Measures) != 1 || a.Measures[0].Name != "landlock" || a.Measures[0].Applied != (abi > 0) || a.Measures[0].Detail == "" {
		t.Fatalf("the measure is %v, %s", a.Measures, a.Error)
	}
	t.Log(a.Measures[0].Detail, a.Attempts)
	want := map[string]string{}
	refuse := func(since int, errno string, names ...string) {
		for _, name := range names {
			if want[name] = "ok"; abi >= since {
				want[name] = errno
			}
		}
	}
	refuse(1, "EACCES", "open", "write", "create", "list", "environment", "device", "mkdir", "symlink", "pipe", "socket", "unlink", "rmdir", "rename", "execute")
	refuse(3, "EACCES", "truncate")
	refuse(4, "EACCES", "connect", "bind", "bind IPv6")
	refuse(6, "EPERM", "abstract", "signal")
	if errata&2 == 0 {
		want["signal"] = "ok"
	}
	want["open on each thread"] = strings.Repeat(want["open"]+" ", 4)
	for name, got := range a.Attempts {
		if got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
	}
	if len(a.Attempts) != len(want) {
		t.Errorf("attempted were %v", slices.Sorted(maps.Keys(a.Attempts)))
	}
}

// TestConfine finds all measures applied in a program that is built as packages are, and knows
// when Landlock cannot be had.
func TestConfine(t *testing.T) {
	program := withoutCgo(t)
	abi, _ := kernel()
	for name, c := range map[string]struct {
		orders
		applied bool
		detail  string
	}{
		"as it is":                 {orders{}, abi > 0, ""},
		"not in the kernel":        {orders{Filtered: unix.ENOSYS}, false, "the kernel has no Landlock"},
		"not enabled":              {orders{Filtered: unix.EOPNOTSUPP}, false, "lsm="},
		"filtered by who began it": {orders{Filtered: unix.EPERM}, false, "operation not permitted"},
	} {
		c.Lock = "confine"
		a := send(t, program, c.orders)
		if a.Error != "" {
			t.Errorf("%s: %s", name, a.Error)
		}
		found := false
		for _, m := range a.Measures {
			want := m.Name != "landlock" || c.applied
			if m.Applied != want || m.Name == "landlock" && !strings.Contains(m.Detail, c.detail) {
				t.Errorf("%s: %s is applied: %v (%s)", name, m.Name, m.Applied, m.Detail)
			}
			found = found || m.Name == "landlock"
		}
		if !found {
			t.Errorf("%s: landlock is not among %v", name, a.Measures)
		}
	}
}

// TestLandlockRefused wants no plugin on a kernel that has Landlock and refuses it: here, because
// 16 domains in each other are the most there may be.
func TestLandlockRefused(t *testing.T) {
	if abi, _ := kernel(); abi == 0 {
		lacking(t, "a kernel with Landlock")
	}
	program := withoutCgo(t)
	if a := send(t, program, orders{Layers: 16, Lock: "confine"}); !strings.Contains(a.Error, "in 16 domains already") || a.Measures != nil {
		t.Errorf("measures %v, error %q", a.Measures, a.Error)
	}
}

// TestCgo wants a program that cgo was built into to say that it is not restricted, and never
// half of it to be.
func TestCgo(t *testing.T) {
	abi, _ := kernel()
	if !cgo() || abi == 0 {
		lacking(t, "a test that is built with cgo, and a kernel with Landlock")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, self, orders{Lock: "landlock", Try: true})
	if a.Error != "" || len(a.Measures) != 1 || a.Measures[0].Applied || !strings.Contains(a.Measures[0].Detail, "CGO_ENABLED=0") {
		t.Errorf("%v, %s", a.Measures, a.Error)
	}
	for name, got := range a.Attempts {
		if strings.Contains(got, "E") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestRefused holds what is asked of a kernel against what each version of Landlock has.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		abi, errata     int
		fs, net, scoped uint64
	}{
		{1, 0, 1<<13 - 1, 0, 0}, {2, 0, 1<<14 - 1, 0, 0}, {3, 0, 1<<15 - 1, 0, 0}, {4, 0, 1<<15 - 1, 3, 0}, {5, 0, 1<<16 - 1, 3, 0},
		{6, 0, 1<<16 - 1, 3, 1}, {6, 1, 1<<16 - 1, 3, 1}, {6, 2, 1<<16 - 1, 3, 3}, {7, 7, 1<<16 - 1, 3, 3}, {12, 7, 1<<16 - 1, 3, 3},
	} {
		if got, want := refused(c.abi, c.errata), (unix.LandlockRulesetAttr{Access_fs: c.fs, Access_net: c.net, Scoped: c.scoped}); got != want {
			t.Errorf("ABI %d, errata %d: %+v, want %+v", c.abi, c.errata, got, want)
		}
	}
}

// kernel is what the kernel says of its Landlock; ABI 0 is none.
func kernel() (abi, errata int) {
	ask := func(what uintptr) int {
		r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, what)
		if errno != 0 {
			return 0
		}
		return int(r)
	}
	return ask(unix.LANDLOCK_CREATE_RULESET_VERSION), ask(unix.LANDLOCK_CREATE_RULESET_ERRATA)
}

func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CORDON_PEERS") == "required" {
		t.Fatal("nothing was tried, it needs ", what)
	}
	t.Skip("nothing was tried, it needs ", what)
}

func cgo() bool {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
	return errno == unix.ENOTSUP
}

// withoutCgo is this test's program, built again if it is not without cgo already.
func withoutCgo(t *testing.T) string {
	t.Helper()
	if !cgo() {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return self
	}
	program := filepath.Join(t.TempDir(), "serve.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the test without cgo: %v\n%s", err, out)
	}
	return program
}

// send starts a prisoner and returns what became of it.
func send(t *testing.T, program string, o orders) Account {
	t.Helper()
	o.Dir, o.PID, o.Abstract = t.TempDir(), os.Getpid(), fmt.Sprintf("@cordon-landlock-%d", os.Getpid())
	for _, name := range []string{"there", "gone", "old", "long"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"full", "gonedir"} {
		if err := os.Mkdir(filepath.Join(o.Dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(o.Dir, "program")); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	o.TCP = tcp.Addr().(*net.TCPAddr).Port
	abstract, err := net.Listen("unix", o.Abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	words, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := exec.CommandContext(t.Context(), program, "prisoner", string(words))
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("a prisoner with %s: %v\n%s", words, err, said.String())
	}
	var a Account
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("a prisoner with %s says %q: %v", words, out, err)
	}
	return a
}
