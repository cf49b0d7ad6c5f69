package plugins

import (
	"fmt"
	"os"
	"os/exec"
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
	root := os.Geteuid() == 0
	if root {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, fmt.Errorf("give %s to the plugin's user: %w", dir, err)
		}
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if namespaces {
		attr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNS
		if !root {
			// An unprivileged process gets them inside a user namespace, where it is
			// nobody and has no capability left after the exec.
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
		}
	}
	user := Measure{Name: "own-user", Applied: root}
	if !root {
		user.Detail = "the gateway does not run as root, so the plugin keeps its user"
	}
	return []Measure{
		{Name: "namespaces", Applied: namespaces},
		user,
		{Name: "parent-death-signal", Applied: true},
		{Name: "empty-environment", Applied: true},
	}, nil
}
