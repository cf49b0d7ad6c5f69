package plugins

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// nobody is the user and group a plugin runs as when the gateway may choose.
const nobody = 65534

// confine sets how cmd is shut in from outside: namespaces of its own (no network
// interface but a dead loopback, no other process to see), its own user if the gateway
// runs as root, and death with the gateway. dir is given to that user.
func confine(cmd *exec.Cmd, dir string, namespaces bool) ([]Measure, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	cmd.SysProcAttr = attr
	own := os.Geteuid() == 0 && knownHere(nobody)
	if own {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, fmt.Errorf("give %s to the plugin's user: %w", dir, err)
		}
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if namespaces {
		attr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNS
		if !own {
			// An unprivileged process, and root of a user namespace that has no nobody, gets them
			// inside a user namespace of its own, where it is nobody and has no capability left
			// after the exec.
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
		}
	}
	user := Measure{Name: "own-user", Applied: own}
	switch {
	case own:
	case os.Geteuid() == 0:
		user.Detail = fmt.Sprintf("the gateway's user namespace has no user %d, so the plugin keeps its user", nobody)
	default:
		user.Detail = "the gateway does not run as root, so the plugin keeps its user"
	}
	return []Measure{
		{Name: "namespaces", Applied: namespaces},
		user,
		{Name: "parent-death-signal", Applied: true},
		{Name: "empty-environment", Applied: true},
	}, nil
}

// knownHere reports whether this process's user namespace has a user and group of that number
// (user_namespaces(7)). A container without root, for one, may have a single user.
func knownHere(id int64) bool {
	for _, path := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		text, err := os.ReadFile(path)
		if err != nil || !mapped(string(text), id) {
			return false
		}
	}
	return true
}

// mapped reads lines of three numbers: the first inside, the first outside, how many.
func mapped(text string, id int64) bool {
	for line := range strings.Lines(text) {
		var inside, outside, n int64
		if read, err := fmt.Sscan(line, &inside, &outside, &n); read == 3 && err == nil && inside <= id && id-inside < n {
			return true
		}
	}
	return false
}
