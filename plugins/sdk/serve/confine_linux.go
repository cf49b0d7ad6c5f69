package serve

import (
	"os"
	"runtime"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"cordon/plugins/control"
)

// confine locks the process in, for good, and says of each measure whether it took
// hold. The gateway adds namespaces, an own user and a parent-death signal from outside.
// All of it can be had without privileges.
func confine() ([]*control.Measure, error) {
	runtime.LockOSThread() // prctl and seccomp act on the calling thread; the filter is then given to all
	defer runtime.UnlockOSThread()
	measures := []*control.Measure{
		// A process that is not dumpable cannot be traced, nor its memory read through
		// /proc, by another process of its user.
		measure("not-dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
		measure("no-core-file", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		measure("no-new-privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
	}
	domain, err := landlock() // before the filter, which does not let it through
	if err != nil {
		return nil, err
	}
	return append(measures, domain, measure("seccomp", seccomp.LoadFilter(filter()))), nil
}

func measure(name string, err error) *control.Measure {
	m := &control.Measure{Name: name, Applied: err == nil}
	if err != nil {
		m.Detail = err.Error()
	}
	return m
}

// filter allows what a Go program needs to compute, to talk over descriptors it has and to
// map a window it is handed. Everything else is refused with EPERM: opening a socket or a
// file, starting a program or a process, tracing, signalling others, executable memory.
func filter() seccomp.Filter {
	const executable = unix.PROT_EXEC
	when := func(name string, arg uint32, op seccomp.Operation, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: arg, Operation: op, Value: value}}}
	}
	return seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{{
				Action: seccomp.ActionAllow,
				Names: []string{
					// Descriptors it has. Not fcntl: F_SETOWN and F_SETSIG make the kernel signal
					// any process of this user.
					"read", "write", "close", "recvmsg", "sendmsg", "accept4",
					"getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
					"epoll_pwait", "epoll_ctl",
					// memory
					"munmap", "madvise", "brk",
					// threads, time, signals to itself
					"futex", "sched_yield", "sched_getaffinity", "nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday",
					"rt_sigprocmask", "rt_sigreturn", "rt_sigaction", "sigaltstack", "rseq", "set_robust_list",
					"timer_create", "timer_settime", "timer_delete", "setitimer",
					"gettid", "getpid", "getrandom", "restart_syscall", "exit", "exit_group",
				},
				// After a condition that does not hold, the assembler compares that argument
				// instead of the call's number with the calls that follow. Only in this order can
				// no argument be chosen to pass there (but a clone of process 234, as tgkill).
				NamesWithCondtions: []seccomp.NameWithConditions{
					when("mmap", 2, seccomp.BitsNotSet, executable),
					when("mprotect", 2, seccomp.BitsNotSet, executable),
					when("clone", 0, seccomp.BitsSet, unix.CLONE_THREAD), // threads, not processes
					when("tgkill", 0, seccomp.Equal, uint64(os.Getpid())),
				},
			}, {
				// Its flags are in memory a filter cannot read. "Not known here" makes a C
				// library fall back to clone; EPERM would end the process.
				Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS),
				Names:  []string{"clone3"},
			}},
		},
	}
}
