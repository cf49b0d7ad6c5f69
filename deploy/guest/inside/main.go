// Command inside is what runs in a guest besides what is tried there. As the kernel's init it
// mounts the root, leaves an agent behind and becomes systemd; the agent runs the programs that
// the host asks for over the second serial line; device and client are the two ends of a
// conversation through the gateway.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	err := error(nil)
	switch {
	case os.Getpid() == 1:
		err = boot()
		fmt.Println("init:", err) // and the kernel panics, which ends the guest
	case len(os.Args) > 1 && os.Args[1] == "agent":
		err = serve()
	case len(os.Args) > 1 && os.Args[1] == "device":
		err = device(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "client":
		err = client(os.Args[2:])
	default:
		err = fmt.Errorf("inside %s: expected agent, device or client", strings.Join(os.Args[1:], " "))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// boot goes from the initramfs to the root, in the same way as switch_root(8).
func boot() error {
	modules, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	for _, m := range modules { // in their names' order
		if err := load(m); err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	for _, m := range []struct {
		what, where, kind string
		flags             uintptr
	}{
		{"dev", "/dev", "devtmpfs", 0},
		{"/dev/vda", "/root", "ext4", 0},
		{"/guest", "/root/guest", "", unix.MS_BIND},
		{"/dev", "/root/dev", "", unix.MS_MOVE},
	} {
		if err := unix.Mount(m.what, m.where, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.what, m.where, err)
		}
	}
	if err := unix.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	environment := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"}
	agent := exec.Command("/guest/inside", "agent")
	agent.Env = environment
	agent.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := agent.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return unix.Exec("/sbin/init", []string{"/sbin/init"}, environment)
}

// load loads a module that may be compressed, which the kernel can undo.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(path) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), "", flags)
}
