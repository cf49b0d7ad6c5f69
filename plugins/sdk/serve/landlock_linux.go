package serve

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"cordon/plugins/control"
)

// landlock is the lock behind the seccomp filter, and does not depend on what that lets through:
// a domain (landlock(7)) that handles what the kernel knows to refuse, and has no rule that
// permits any of it. No file can be read, written, made, removed or executed; from ABI 4 on no TCP
// port bound or connected to; from ABI 6 on no abstract socket reached outside, nor a process
// outside signalled. It leaves a file's metadata, other protocols (multipath TCP among them) and
// sockets that have a path: those are for the filter and the namespaces.
//
// A kernel without it is a measure that was not applied; one that has it and refuses is an error.
//
// Without rules this is three system calls, and not worth a library. go-landlock, besides, takes
// the threads of a program with cgo from /proc, which is of another PID namespace here: it waits
// for ever.
func landlock() (*control.Measure, error) {
	m := &control.Measure{Name: "landlock"}
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS:
		m.Detail = "the kernel has no Landlock"
		return m, nil
	case unix.EOPNOTSUPP:
		m.Detail = "the kernel did not enable Landlock when it started: name it in lsm= on its command line"
		return m, nil
	default: // EPERM, if whoever started the gateway filters its system calls
		m.Detail = fmt.Sprintf("ask the kernel for its Landlock ABI: %v: let the gateway call landlock_create_ruleset and landlock_restrict_self", errno)
		return m, nil
	}
	// It takes either this or CAP_SYS_ADMIN. Like a domain, it is each thread's own.
	if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); errors.Is(err, unix.ENOTSUP) {
		m.Detail = "this program was built with cgo, which may have threads that Go does not know: build it with CGO_ENABLED=0"
		return m, nil
	} else if err != nil {
		return nil, fmt.Errorf("set no_new_privs on every thread: %w", err)
	}
	// Kernels that do not know of errata answer EINVAL.
	errata, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	if errno != 0 {
		errata = 0
	}
	domain := refused(int(abi), int(errata))
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&domain)), unsafe.Sizeof(domain), 0)
	if errno != 0 {
		return nil, fmt.Errorf("create a ruleset of Landlock ABI %d: %w", abi, errno)
	}
	defer unix.Close(int(ruleset))
	if err := allThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0); errors.Is(err, unix.E2BIG) {
		return nil, errors.New("restrict the process by Landlock: it is in 16 domains already, and the kernel allows no more: start the gateway in fewer")
	} else if err != nil {
		return nil, fmt.Errorf("restrict the process by Landlock ABI %d: %w: let the gateway call landlock_restrict_self", abi, err)
	}
	m.Applied, m.Detail = true, fmt.Sprintf("ABI %d refuses %s", abi, describe(domain))
	return m, nil
}

// allThreads makes a system call on every thread. Those that come later inherit what it did. In a
// program with cgo it does nothing and returns ENOTSUP.
func allThreads(call, a, b uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(call, a, b, 0); errno != 0 {
		return errno
	}
	return nil
}

// refused is all that a kernel can refuse, up to ABI 7 (Linux 6.15): later rights are not among
// the constants of x/sys yet.
func refused(abi, errata int) unix.LandlockRulesetAttr {
	all := unix.LandlockRulesetAttr{Access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1} // it is the last one of ABI 1
	if abi >= 2 {
		all.Access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		all.Access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		all.Access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		all.Access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		all.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		// Each thread has a domain of its own. Until erratum 2 was corrected, those of one process
		// could not signal each other then, which is how Go interrupts them.
		if errata&(1<<(2-1)) != 0 {
			all.Scoped |= unix.LANDLOCK_SCOPE_SIGNAL
		}
	}
	return all
}

func describe(domain unix.LandlockRulesetAttr) string {
	words := []string{"files"}
	if domain.Access_net != 0 {
		words = append(words, "TCP")
	}
	if domain.Scoped&unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET != 0 {
		words = append(words, "abstract sockets")
	}
	if domain.Scoped&unix.LANDLOCK_SCOPE_SIGNAL != 0 {
		words = append(words, "signals")
	}
	return strings.Join(words, ", ")
}
