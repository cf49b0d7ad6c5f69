package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tellSegmentHandover hands over a gateway that started its segment helper itself. The new
// process has no more privileges than the old one, and the same helper.
func tellSegmentHandover(t *testing.T, cordon string) {
	peer(t, "storescu", "dcmtk")
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	w.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  user/dr.kim: [KIM]\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", wardSegment)
	storescp, _ := w.receive(t)
	d := w.serve(t)
	helper := 0
	for _, pid := range children(t, d.cmd.Process.Pid) {
		if line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err == nil && strings.Contains(string(line), "segment-helper") {
			helper = pid
		}
	}
	if helper == 0 {
		t.Fatal("the gateway has started no helper")
	}
	seen := func() int { return strings.Count(storescp.said(), "Association Received: 10.9.0.1\n") }
	for n := range 3 {
		if n > 0 {
			w.handOver(t, "--handover")
			if !eventually(func() bool { return !alive(d.processes()[n-1]) }) {
				t.Errorf("process %d has no sessions, and goes on", d.processes()[n-1])
			}
		}
		if out := w.send(t, file); out.code != 0 || seen() != n+1 {
			t.Fatalf("after %d hand-overs storescu exits with %d, %d associations, and says %s%s", n, out.code, seen(), out.stdout, out.stderr)
		}
		if !alive(helper) {
			t.Fatalf("after %d hand-overs the helper has ended", n)
		}
		w.isolated(t)
	}
	w.reach(t, "device", "202.114.4.119:515")
	if !eventually(func() bool { return len(w.segmentEntries(t)) > 0 }) {
		t.Error("nobody watches the segment any more")
	}
	d.kill()
	if !eventually(func() bool { return !alive(helper) }) {
		t.Error("the helper outlived every process of its gateway")
	}
	w.isolated(t)
	if slices.Contains(w.reach(t, "client", "10.9.0.7:104"), "10.9.0.7:104") {
		t.Error("the client reaches the device directly")
	}
}
