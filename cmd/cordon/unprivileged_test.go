package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// programEnv names the program to be driven where it has been built already.
const programEnv = "CORDON_TEST_PROGRAM"

// asRoot tells a story that makes networks. Who is not root is it in a user namespace, where the
// test program tells this story once more: of users there is only one there (user_namespaces(7)).
func asRoot(t *testing.T, cordon string, tell func(t *testing.T, cordon string)) {
	if os.Geteuid() == 0 {
		tell(t, cordon)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	var exact []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		exact = append(exact, "^"+part+"$")
	}
	c := exec.CommandContext(ctx, "/proc/self/exe", "-test.v", "-test.run", strings.Join(exact, "/"))
	c.Env = append(os.Environ(), programEnv+"="+cordon)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EINVAL):
		noPeer(t, "root, or a machine that lets its users make namespaces: "+err.Error())
	case err != nil:
		t.Fatalf("in a user namespace: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("in a user namespace:\n%s", out)
	}
}

// twoUsers is for stories in which processes run as different users.
func twoUsers(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(text)); len(fields) == 3 && fields[2] == "1" {
		noPeer(t, "root: in a user namespace there is one user")
	}
}

// passable lets other users through to a directory of the test's own. What is above those is not the test's to change.
func passable(t *testing.T, dir string) {
	t.Helper()
	for ; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
