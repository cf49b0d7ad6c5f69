package gateway

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
	"cordon/plugins/wire"
	"cordon/policy"
)

// A prisoner tries what the client tells it to, "name argument\n", and tells with a
// refusal what came of it, "ok" or the name of an error number.

// prisoners are the plugins of this file: one locked in by the sdk's runtime as every
// inspector is, and one that the gateway has shut in from outside only.
func prisoners() []hostile {
	return []hostile{
		served("prisoner", func() sdk.Inspector { return &prisoner{} }, hostile{}),
		(&puppet{act: outsider(), lend: stealWindow}).named("outsider", hostile{}),
	}
}

type prisoner struct{ result string }

func (p *prisoner) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if dir == sdk.Reverse || len(data) == 0 || data[len(data)-1] != '\n' {
		return
	}
	p.result = try(string(data[:len(data)-1]), data)
	out.Span(out.Invalid(policy.Operation{Name: "hostile:escape", Class: policy.ClassAdmin}, "an attempt"), int64(len(data)))
}

func (p *prisoner) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	out.Refusal(op, []byte(p.result+"\n"))
}

// outsider does the same without the sdk's runtime.
func outsider() func(*puppet, any) bool {
	var latest sdk.OpID
	var read int64
	var result string
	return func(p *puppet, f any) bool {
		switch f := f.(type) {
		case wire.Notice:
			if f.Dir == sdk.Forward && f.Arrived > read {
				stolen.look(f.Window)
				data := stolen.memory[read:f.Arrived] // the test says less than a window
				result = try(string(data[:len(data)-1]), data)
				latest++
				p.say(f, invalid(latest, "escape"), span(latest, f.Arrived-read))
				read = f.Arrived
				return true
			}
		case wire.Refuse:
			p.say(f, refusal(f.Op, f.After, result+"\n"))
			return true
		}
		return false
	}
}

// stolen are the windows of an outsider that kept their descriptors: both directions of
// its session may have one. memory and fd are of the one it was shown last.
var stolen loot

type loot struct {
	memory []byte
	fd     int

	mu  sync.Mutex
	fds map[uint32]int // by window
}

func (l *loot) keep(window uint32, fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fds == nil {
		l.fds = map[uint32]int{}
	}
	l.fds[window] = fd
}

// look maps window, which has no bytes where it is not mapped.
func (l *loot) look(window uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd, known := l.fds[window]
	if known && (l.memory == nil || l.fd != fd) {
		l.fd = fd
		l.memory, _ = unix.Mmap(fd, 0, sdk.WindowSize, unix.PROT_READ, unix.MAP_SHARED)
	}
}

func stealWindow(p *puppet) error {
	msg, oob := make([]byte, 4), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := p.windows.ReadMsgUnix(msg, oob)
	if err != nil {
		return err
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return err
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil {
		return err
	}
	stolen.keep(binary.LittleEndian.Uint32(msg), fds[0])
	_, err = p.windows.Write(msg)
	return err
}

// try makes one attempt. window is memory shared with the gateway.
func try(line string, window []byte) string {
	name, argument, _ := strings.Cut(line, ":")
	number, _ := strconv.Atoi(argument)
	page := uintptr(unsafe.Pointer(unsafe.SliceData(window))) &^ uintptr(os.Getpagesize()-1)
	path := func(s string) uintptr { b, _ := unix.BytePtrFromString(s); return uintptr(unsafe.Pointer(b)) }
	call := func(nr uintptr, args ...uintptr) error {
		args = append(args, make([]uintptr, 6)...)
		if r, _, e := syscall.RawSyscall6(nr, args[0], args[1], args[2], args[3], args[4], args[5]); e != 0 {
			return e
		} else if r == 0 && (nr == unix.SYS_FORK || nr == unix.SYS_CLONE) {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // the child
		}
		return nil
	}
	const none = ^uintptr(0)
	var err error
	switch name {
	// Sockets. The argument is an address family.
	case "socket":
		_, err = unix.Socket(number, unix.SOCK_DGRAM, 0)
	case "socketpair":
		_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	case "connect", "bind":
		address := unix.SockaddrUnix{Name: "@nowhere"}
		if name == "bind" {
			err = unix.Bind(control.WindowFD+1, &address)
		} else {
			err = unix.Connect(control.WindowFD+1, &address)
		}
	case "listen":
		err = unix.Listen(control.WindowFD+1, 1)
	case "tcp":
		err = dialTCP(number)
	case "abstract":
		err = dialAbstract(argument)

	// Files.
	case "read":
		_, err = unix.Open(argument, unix.O_RDONLY, 0)
	case "write":
		_, err = unix.Open(argument, unix.O_RDWR|unix.O_CREAT, 0o600)
	case "openat2":
		_, err = unix.Openat2(unix.AT_FDCWD, argument, &unix.OpenHow{Flags: unix.O_PATH})
	case "stat":
		err = unix.Stat(argument, new(unix.Stat_t))
	case "unlink":
		err = unix.Unlink(argument)
	case "chdir":
		err = unix.Chdir(argument)
	case "memfd":
		_, err = unix.MemfdCreate("hidden", 0)
	case "inotify":
		_, err = unix.InotifyInit1(0)
	case "dup":
		_, err = unix.Dup(0)
	case "ioctl":
		_, err = unix.IoctlGetInt(0, unix.TIOCINQ)

	// Programs and processes. The argument is a process.
	case "execve":
		err = call(unix.SYS_EXECVE, path("/bin/true"), 0, 0)
	case "execveat":
		err = call(unix.SYS_EXECVEAT, 0, path(""), 0, 0, unix.AT_EMPTY_PATH)
	case "fork":
		err = call(unix.SYS_FORK)
	case "clone":
		err = call(unix.SYS_CLONE, uintptr(unix.SIGCHLD))
	case "clone3":
		err = call(unix.SYS_CLONE3)
	case "ptrace":
		err = call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(number))
	case "kill":
		err = unix.Kill(number, 0)
	case "tkill":
		err = call(unix.SYS_TKILL, uintptr(number), 0)
	case "tgkill":
		err = call(unix.SYS_TGKILL, uintptr(number), uintptr(number), 0)
	case "sigqueue":
		err = call(unix.SYS_RT_SIGQUEUEINFO, uintptr(number), uintptr(unix.SIGTERM))
	case "pidfd":
		_, err = unix.PidfdOpen(number, 0)
	case "own":
		// A process that owns a descriptor is sent a signal of one's choice when something arrives.
		_, err = unix.FcntlInt(0, unix.F_SETOWN, number)
	case "signal":
		_, err = unix.FcntlInt(0, unix.F_SETSIG, int(unix.SIGKILL))
	case "peek", "poke":
		local := unix.Iovec{Base: &window[0]}
		local.SetLen(1)
		remote := []unix.RemoteIovec{{Base: page, Len: 1}}
		if name == "peek" {
			_, err = unix.ProcessVMReadv(number, []unix.Iovec{local}, remote, 0)
		} else {
			_, err = unix.ProcessVMWritev(number, []unix.Iovec{local}, remote, 0)
		}
	case "parent":
		return strconv.Itoa(os.Getppid())
	case "user":
		return strconv.Itoa(os.Getuid()) + " " + strconv.Itoa(os.Getgid())

	// Memory.
	case "mprotect":
		err = call(unix.SYS_MPROTECT, page, 1, unix.PROT_READ|unix.PROT_WRITE)
	case "mprotect-executable":
		err = call(unix.SYS_MPROTECT, page, 1, unix.PROT_READ|unix.PROT_EXEC)
	case "mmap-executable":
		_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	case "mremap":
		err = call(unix.SYS_MREMAP, page, 4096, 8192, 1)
	case "punch-memory":
		err = call(unix.SYS_MADVISE, page, 4096, unix.MADV_REMOVE)
	case "pkey":
		err = call(unix.SYS_PKEY_ALLOC)

	// The window's descriptor, of an outsider.
	case "window-map":
		_, err = unix.Mmap(stolen.fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	case "window-protect":
		err = unix.Mprotect(stolen.memory, unix.PROT_READ|unix.PROT_WRITE)
	case "window-write":
		_, err = unix.Pwrite(stolen.fd, []byte("EVIL"), 0)
	case "window-grow":
		err = unix.Ftruncate(stolen.fd, 2*sdk.WindowSize)
	case "window-shrink":
		err = unix.Ftruncate(stolen.fd, 0)
	case "window-punch":
		err = unix.Fallocate(stolen.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
	case "window-seal":
		_, err = unix.FcntlInt(uintptr(stolen.fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	case "window-reopen":
		var fd int
		if fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", stolen.fd), unix.O_RDWR, 0); err == nil {
			if _, err = unix.Pwrite(fd, []byte("EVIL"), 0); err != nil {
				break
			}
		}
	case "window-file":
		// Through a file that a helper in the kernel writes to.
		_, err = unix.Splice(0, nil, stolen.fd, nil, 1, 0)

	// The system.
	case "mount":
		err = unix.Mount("none", "/tmp", "tmpfs", 0, "")
	case "umount":
		err = unix.Unmount("/proc", unix.MNT_DETACH)
	case "chroot":
		err = unix.Chroot("/")
	case "unshare":
		err = unix.Unshare(number)
	case "setns":
		err = unix.Setns(0, 0)
	case "bpf":
		err = call(unix.SYS_BPF, 0, 0, 0)
	case "keyctl":
		_, err = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	case "add_key":
		_, err = unix.AddKey("user", "hidden", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
	case "userfaultfd":
		err = call(unix.SYS_USERFAULTFD, 0)
	case "io_uring":
		err = call(unix.SYS_IO_URING_SETUP, 1, 0)
	case "perf":
		err = call(unix.SYS_PERF_EVENT_OPEN, none, 0, none, none, 0)
	case "dumpable":
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	case "seccomp":
		err = call(unix.SYS_SECCOMP, 0, 0, 0)
	case "personality":
		err = call(unix.SYS_PERSONALITY, 0xffffffff)
	case "setuid":
		err = call(unix.SYS_SETUID, uintptr(number))
	case "rlimit":
		err = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	case "shm":
		_, err = unix.SysvShmGet(0, 4096, 0o600|unix.IPC_CREAT)
	case "hostname":
		err = unix.Sethostname([]byte("x"))
	case "clock":
		err = unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{})
	case "x32":
		err = call(0x40000000 | unix.SYS_GETPID)
	case "sweep":
		return sweep()

	// What it was given.
	case "environment":
		return environment()
	case "descriptors":
		return descriptors()
	default:
		return "no such attempt"
	}
	if err == nil {
		return "ok"
	}
	e, ok := err.(syscall.Errno)
	if !ok {
		return err.Error()
	}
	return unix.ErrnoName(e)
}

func dialTCP(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

func dialAbstract(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: name})
}

// sweep makes every system call with arguments that mean nothing, and returns the numbers
// of those that were not refused by EPERM.
func sweep() string {
	var through []string
	const none = ^uintptr(0)
	for nr := uintptr(0); nr < 512; nr++ {
		switch nr {
		case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN, unix.SYS_RSEQ, unix.SYS_RESTART_SYSCALL:
			continue // allowed, and would end or hold the process
		case unix.SYS_FORK, unix.SYS_VFORK:
			continue // would double it
		case 335, 336:
			continue // the kernel's own probes, which no filter sees and which end who calls them
		}
		if _, _, e := syscall.RawSyscall6(nr, none, none, none, none, none, none); e != syscall.EPERM {
			through = append(through, strconv.Itoa(int(nr)))
		}
	}
	return strings.Join(through, " ")
}

// environment is what the process was given besides what go-plugin needs.
func environment() string {
	list := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "PLUGIN_") || strings.HasPrefix(s, control.Handshake.MagicCookieKey+"=")
	})
	return strings.Join(list, " ")
}

// descriptors lists the domains of the process's sockets, and how many other
// descriptors it has.
func descriptors() string {
	others := 0
	domains := map[int]int{}
	for fd := range 256 {
		switch domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err {
		case nil:
			domains[domain]++
		case unix.ENOTSOCK:
			others++
		}
	}
	return fmt.Sprintf("%v and %d others", domains, others)
}

// attempt is a line for a prisoner, and what must come of it.
type attempt struct{ line, want string }

func (a attempt) make(c *peer) string {
	c.send(a.line + "\n")
	return c.line()
}

func imprison(t *testing.T, name string) (*ward, *peer) {
	t.Setenv("CORDON_TEST_SECRET", "must not be inherited")
	w := newWard(t, wardConfig{})
	g := w.admit(t, name, patience)
	for _, m := range g.plugin.Status().Measures {
		// A kernel may be without Landlock, and a program with cgo cannot use it.
		excused := m.Name == "landlock" && (strings.Contains(m.Detail, "kernel") || strings.Contains(m.Detail, "cgo"))
		if !m.Applied && !excused && os.Geteuid() == 0 {
			t.Errorf("measure %s is not applied: %s", m.Name, m.Detail)
		}
	}
	return g, g.dial()
}

// An inspector reaches nothing but its descriptors, its memory and its threads.
func TestPrisoner(t *testing.T) {
	g, c := imprison(t, "prisoner")
	pid := strconv.Itoa(os.Getpid())
	for _, a := range []attempt{
		{"socket:" + strconv.Itoa(unix.AF_INET), "EPERM"}, {"socket:" + strconv.Itoa(unix.AF_INET6), "EPERM"},
		{"socket:" + strconv.Itoa(unix.AF_UNIX), "EPERM"}, {"socket:" + strconv.Itoa(unix.AF_NETLINK), "EPERM"},
		{"socket:" + strconv.Itoa(unix.AF_PACKET), "EPERM"}, {"socket:" + strconv.Itoa(unix.AF_VSOCK), "EPERM"},
		{"socket:" + strconv.Itoa(unix.AF_ALG), "EPERM"}, {"socketpair", "EPERM"},
		{"connect", "EPERM"}, {"bind", "EPERM"}, {"listen", "EPERM"},

		{"read:/etc/passwd", "EPERM"}, {"read:/proc/self/environ", "EPERM"}, {"read:/proc/1/environ", "EPERM"},
		{"read:/proc/" + pid + "/mem", "EPERM"}, {"read:" + g.logDir, "EPERM"}, {"write:/tmp/escaped", "EPERM"},
		{"write:/proc/self/mem", "EPERM"}, {"write:/proc/self/fd/3", "EPERM"}, {"write:/dev/null", "EPERM"},
		{"openat2:/", "EPERM"}, {"stat:/", "EPERM"}, {"unlink:/tmp/escaped", "EPERM"}, {"chdir:/", "EPERM"},
		{"memfd", "EPERM"}, {"inotify", "EPERM"}, {"dup", "EPERM"}, {"ioctl", "EPERM"},

		{"execve", "EPERM"}, {"execveat", "EPERM"}, {"fork", "EPERM"}, {"clone", "EPERM"}, {"clone3", "ENOSYS"},
		{"ptrace:" + pid, "EPERM"}, {"ptrace:1", "EPERM"}, {"kill:" + pid, "EPERM"}, {"kill:-1", "EPERM"}, {"kill:0", "EPERM"},
		{"kill:1", "EPERM"}, {"tkill:" + pid, "EPERM"}, {"tgkill:" + pid, "EPERM"}, {"tgkill:-1", "EPERM"},
		{"sigqueue:" + pid, "EPERM"}, {"pidfd:" + pid, "EPERM"}, {"own:" + pid, "EPERM"}, {"own:-1", "EPERM"}, {"signal", "EPERM"},
		{"peek:" + pid, "EPERM"}, {"poke:" + pid, "EPERM"}, {"peek:1", "EPERM"},

		{"mprotect", "EACCES"}, {"mprotect-executable", "EPERM"}, {"mmap-executable", "EPERM"}, {"mremap", "EPERM"},
		{"punch-memory", "EACCES"}, {"pkey", "EPERM"},

		{"mount", "EPERM"}, {"umount", "EPERM"}, {"chroot", "EPERM"}, {"setns", "EPERM"},
		{"unshare:" + strconv.Itoa(unix.CLONE_NEWUSER), "EPERM"}, {"unshare:" + strconv.Itoa(unix.CLONE_NEWNET), "EPERM"},
		{"bpf", "EPERM"}, {"keyctl", "EPERM"}, {"add_key", "EPERM"}, {"userfaultfd", "EPERM"}, {"io_uring", "EPERM"},
		{"perf", "EPERM"}, {"dumpable", "EPERM"}, {"seccomp", "EPERM"}, {"personality", "EPERM"}, {"setuid:0", "EPERM"},
		{"rlimit", "EPERM"}, {"shm", "EPERM"}, {"hostname", "EPERM"}, {"clock", "EPERM"}, {"x32", "ENOSYS"},

		{"environment", "GODEBUG=updatemaxprocs=0"},
	} {
		if got := a.make(c); got != a.want {
			t.Errorf("%s: %s, want %s", a.line, got, a.want)
		}
	}
	if got := (attempt{line: "descriptors"}).make(c); !strings.HasPrefix(got, "map[1:") || strings.Count(got, ":") != 1 {
		t.Errorf("its sockets, by address family: %s; want those of family 1 (unix) alone", got)
	}
	if got := g.device.all(); got != "" {
		t.Errorf("the device received %q", got)
	}
}

// The filter lets nothing through but what it names: each call that a bad argument
// rather than the filter refuses is in this list.
func TestSystemCalls(t *testing.T) {
	_, c := imprison(t, "prisoner")
	want := []int{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_ACCEPT4,
		unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_SHUTDOWN,
		unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL,
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_BRK,
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP,
		unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
		unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK, unix.SYS_SET_ROBUST_LIST,
		unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
		unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETRANDOM,
		unix.SYS_CLONE, unix.SYS_CLONE3, // threads; "not known here"
	}
	slices.Sort(want)
	if got := (attempt{line: "sweep"}).make(c); got != strings.Trim(fmt.Sprint(want), "[]") {
		t.Errorf("let through:\n%s, want\n%v", got, want)
	}
}

// Before it has locked itself in, and if it never does, a plugin is shut in from outside:
// no network, no other process, no file that is not everybody's, and windows nobody
// but the gateway can write to.
func TestOutsider(t *testing.T) {
	g, c := imprison(t, "outsider")
	for _, m := range g.plugin.Status().Measures {
		if !m.Applied {
			t.Skipf("SKIPPED: %s cannot be had here: %s", m.Name, m.Detail)
		}
	}
	_, port, _ := net.SplitHostPort(g.device.address())
	abstract := fmt.Sprintf("@cordon-test-%d", os.Getpid())
	l, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	secret := t.TempDir() + "/key"
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(os.Getpid())
	attempt{line: "parent"}.make(c) // the session is established now
	before := g.device.accepted()
	for _, a := range []attempt{
		{"tcp:" + port, "ENETUNREACH"}, {"abstract:" + abstract, "ECONNREFUSED"},
		{"kill:" + pid, "ESRCH"}, {"tgkill:" + pid, "ESRCH"}, {"ptrace:" + pid, "ESRCH"}, {"pidfd:" + pid, "ESRCH"},
		{"peek:" + pid, "ESRCH"}, {"own:" + pid, "ESRCH"}, {"parent", "0"}, {"user", "65534 65534"},
		{"read:" + secret, "EACCES"}, {"read:/proc/" + pid + "/mem", "EACCES"}, {"read:/proc/" + pid + "/environ", "EACCES"},
		{"setuid:0", "EPERM"}, {"mount", "EPERM"}, {"chroot", "EPERM"}, {"hostname", "EPERM"}, {"clock", "EPERM"},
		{"window-map", "EPERM"}, {"window-protect", "EACCES"}, {"window-write", "EPERM"}, {"window-grow", "EPERM"},
		{"window-shrink", "EPERM"}, {"window-punch", "EPERM"}, {"window-seal", "EPERM"}, {"window-reopen", "EPERM"},
		{"environment", "GODEBUG=updatemaxprocs=0"},
	} {
		if got := a.make(c); got != a.want {
			t.Errorf("%s: %s, want %s", a.line, got, a.want)
		}
	}
	time.Sleep(10 * time.Millisecond)
	if n := g.device.accepted() - before; n != 0 {
		t.Errorf("the device was connected to %d times more", n)
	}
}

// A plugin's memory is not its user's to read: another plugin has the same user.
func TestNotDumpable(t *testing.T) {
	w := newWard(t, wardConfig{})
	if !w.plugin.WaitRunning(t.Context()) {
		t.Fatal("the plugin does not run")
	}
	for _, m := range w.plugin.Status().Measures {
		if m.Name == "own-user" && !m.Applied {
			t.Skip("SKIPPED: not root, so plugins have no user of their own")
		}
	}
	pid := pluginOf(os.Getpid())
	// The kernel gives what is in /proc to root when a process is not dumpable.
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("user %d may read the plugin's memory", uid)
	}
}

func (r *recorder) accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}
