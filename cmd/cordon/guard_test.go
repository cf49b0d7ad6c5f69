package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
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
