package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// children returns the living processes that a process started.
func children(t *testing.T, parent int) []int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, path := range processes {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if alive, itsParent := look(pid); alive && itsParent == parent {
			found = append(found, pid)
		}
	}
	return found
}

// alive reports whether a process runs. One that ended and nobody waited for does not.
func alive(pid int) bool {
	alive, _ := look(pid)
	return alive
}

// look reads a process's state and parent (proc_pid_stat(5), fields 3 and 4).
func look(pid int) (alive bool, parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the program's name
	f := strings.Fields(rest)
	if err != nil || len(f) < 2 || f[0] == "Z" || f[0] == "X" {
		return false, 0
	}
	parent, _ = strconv.Atoi(f[1])
	return true, parent
}

// memory returns what the kernel accounts a gateway and its plugin, in bytes: VmRSS now,
// or VmHWM, its highest value ever (proc_pid_status(5)).
func memory(t *testing.T, gateway int, which string) map[string]int64 {
	t.Helper()
	plugins := children(t, gateway)
	if len(plugins) != 1 {
		t.Fatalf("the gateway has started %d processes, want 1 plugin", len(plugins))
	}
	return map[string]int64{"the gateway": status(t, gateway, which), "the plugin": status(t, plugins[0], which)}
}

func status(t *testing.T, pid int, which string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), which+":")
	number, _, _ := strings.Cut(rest, "kB")
	kibibytes, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil {
		t.Fatalf("%s of %d: %v", which, pid, err)
	}
	return kibibytes << 10
}
