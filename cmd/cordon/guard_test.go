package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"

	"golang.org/x/sys/unix"
)

// tellGuard starts a machine whose configuration was broken, or lost, since it worked: the wires of what was declared
// are closed before the network comes up all the same.
func tellGuard(t *testing.T, cordon string) {
	peer(t, "nft", "nftables")
	w := newWard(t, cordon)
	file, memory := w.path("gw/cordon.yaml"), filepath.Join(t.TempDir(), "segments.json")
	nft := func(args ...string) string {
		t.Helper()
		out := runProgram(t, "/", nil, "nft", args...)
		if out.code != 0 {
			t.Fatalf("nft %q: %s", args, out.stderr)
		}
		return out.stdout
	}
	guarded := func(when string, want bool, code int) {
		t.Helper()
		nft("flush", "ruleset") // the machine starts
		if out := w.run(t, "segment", "guard", "-c", file, "--remember", memory); out.code != code {
			t.Errorf("%s, guard exits with %d and says %s%s", when, out.code, out.stdout, out.stderr)
		}
		if tables := nft("list", "tables"); strings.Contains(tables, "inet cordon-guard-seg0") != want || strings.Contains(tables, "inet cordon-inline-imaging") != want {
			t.Errorf("%s, the host has %s", when, tables)
		}
	}
	empty, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("x"), empty...), 0o600); err != nil {
		t.Fatal(err)
	}
	guarded("broken from the start", false, exit.Checks)
	if err := os.WriteFile(file, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	w.edit(t, "cordon.yaml", "devices: {}\n", inlineSegment)
	guarded("as it should be", true, exit.Done)
	if info, err := os.Stat(memory); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what is remembered: %v, %v", info, err)
	}
	w.edit(t, "cordon.yaml", "addresses: [10.9.0.1,", "adresses: [10.9.0.1,")
	guarded("with a slip", true, exit.Checks)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	guarded("without a configuration", true, exit.NotFound)
	if err := os.WriteFile(file, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	guarded("without segments any more", false, exit.Done)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	guarded("without segments and configuration", false, exit.NotFound)
}

// tellPurge removes the package for good: the device can be connected as it was before there was a gateway.
func tellPurge(t *testing.T, cordon string) {
	script, err := filepath.Abs("../../deploy/deb/files/postrm")
	if err != nil {
		t.Fatal(err)
	}
	w := newWard(t, cordon)
	for _, dir := range []string{"/etc/systemd/system", "/var/lib"} { // the machine's own are not to be touched
		if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatalf("mount %s: %v", dir, err)
		}
	}
	w.ip(t, "address add 10.9.0.2/24 dev gw0", "address add 10.77.0.1/32 dev gw0")
	w.edit(t, "cordon.yaml", "devices: {}\n", inlineSegment)
	w.edit(t, "cordon.yaml", "    address: 10.9.0.7\n", "    address: 10.9.0.7\n    further_addresses: [\"fd09::7\"]\n")
	w.edit(t, "cordon.yaml", "addresses: [10.9.0.1,", "addresses: [\"fd09::1\", 10.9.0.1,")
	w.edit(t, "cordon.yaml", "      dicom: { proto: dicom, port: 104, listen: \"10.9.0.7:104\" }\n",
		"      dicom: { proto: dicom, port: 104, listen: \"10.9.0.7:104\" }\n      dicom6: { proto: dicom, port: 104, listen: \"[fd09::7]:104\" }\n")
	w.must(t, "segment", "up", "--dir", w.gw())
	left := func() string {
		return runProgram(t, "/", nil, "nft", "list", "tables").stdout + runProgram(t, "/", nil, "ip", "-o", "address").stdout
	}
	for _, want := range []string{"cordon-inline-imaging", "cordon-guard-seg0", " 10.9.0.7/32 ", " fd09::7/128 "} {
		if !strings.Contains(left(), want) {
			t.Fatalf("set up, the host lacks %q: %s", want, left())
		}
	}
	if out := runProgram(t, "/", nil, "sh", "-eu", script, "purge"); out.code != 0 {
		t.Fatalf("postrm purge exits with %d and says %s", out.code, out.stderr)
	}
	for _, gone := range []string{"cordon", " 10.9.0.7/", " fd09::7/"} {
		if strings.Contains(left(), gone) {
			t.Errorf("after a purge the host still has %q: %s", gone, left())
		}
	}
	if !strings.Contains(left(), "10.77.0.1/32") {
		t.Error("an address of the host's own is gone")
	}
	if !eventually(func() bool {
		return runProgram(t, "/", nil, "ip", "link", "show", "seg0").code == 0 || runProgram(t, "/", nil, "ip", "-n", "device", "link", "show", "dev0").code != 0
	}) {
		t.Error("the segment's interface does not come back")
	}
}
