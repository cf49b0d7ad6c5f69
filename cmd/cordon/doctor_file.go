package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"cordon/cmd/cordon/control"
)

// lookAtFile says who but root can change the configuration's file: the segment helper, which is root, does what it says. Where
// it belongs to the gateway's user, a gateway in wrong hands can have any interface, and reach any port of a device.
func (x *examination) lookAtFile(file string) {
	if len(x.config.Segments) == 0 {
		return // it says nothing to anybody but its own user
	}
	if path, err := filepath.EvalSymlinks(file); err == nil {
		file = path
	}
	for _, path := range []string{file, filepath.Dir(file)} {
		info, err := os.Stat(path)
		if err != nil {
			x.find("high", "configuration", err.Error(), "run this as root")
			continue
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if mode := info.Mode(); ok && (s.Uid != 0 || mode.Perm()&0o022 != 0 && mode&os.ModeSticky == 0) {
			x.find("high", "configuration", fmt.Sprintf("%s, of %s with mode %04o, can be changed by others than root, and so what the segment helper does", path, control.UserName(int(s.Uid)), mode.Perm()),
				fmt.Sprintf("chown root %s && chmod go-w %[1]s", path))
		}
	}
}
