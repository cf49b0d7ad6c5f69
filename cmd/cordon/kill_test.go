package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killer is the name under which the test program runs another one and kills it before one of its calls
// that change files: killer N CALLS PROGRAM ARGUMENT…. It is a process of its own because who traces has to wait for
// whichever thread stops next.
const killer = "cordon-killer"

// fileCalls change what is on disk, or make it durable; where they have a path, it is the second argument.
var fileCalls = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_LINKAT: "linkat", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHOWNAT: "fchownat",
	unix.SYS_FCHMOD: "fchmod", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_SYNCFS: "syncfs",
}

// killed runs the program, and kills it before its nth such call; n < 0: it is not killed. It returns what
// calls it has made, and whether it came to its end.
func (s *site) killed(t *testing.T, n int, args ...string) (calls []string, ended bool, out outcome) {
	t.Helper()
	list := s.path("calls.json")
	out = runProgram(t, s.dir, nil, killer, append([]string{strconv.Itoa(n), list, s.cordon}, args...)...)
	text, err := os.ReadFile(list)
	if err == nil {
		err = json.Unmarshal(text, &calls)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out.stderr)
	}
	return calls, out.code != 128+int(syscall.SIGKILL), out
}

func killBefore() {
	code, err := traced(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
		os.Exit(99)
	}
	os.Exit(code)
}

func traced(nth, list string, args []string) (code int, err error) {
	n, err := strconv.Atoi(nth)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	c := exec.Command(args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := c.Start(); err != nil {
		return 0, err
	}
	leader := c.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(leader, &status, 0, nil); err != nil { // it has begun
		return 0, err
	}
	const sysGood = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(leader, sysGood); err != nil {
		return 0, err
	}
	calls := []string{}
	code = -1
	for pid, signal := leader, 0; ; {
		if err := syscall.PtraceSyscall(pid, signal); err != nil && err != syscall.ESRCH { // it may just have been killed
			return 0, err
		}
		if pid, err = syscall.Wait4(-1, &status, unix.WALL, nil); err == syscall.ECHILD {
			break
		} else if err != nil {
			return 0, err
		}
		signal = 0
		switch {
		case status.Exited() || status.Signaled():
			if pid == leader {
				if code = status.ExitStatus(); status.Signaled() {
					code = 128 + int(status.Signal())
				}
			}
		case status.StopSignal() == syscall.SIGTRAP|0x80:
			if call := entered(pid); call != "" {
				if calls = append(calls, call); len(calls) == n {
					syscall.Kill(leader, syscall.SIGKILL)
				}
			}
		case status.StopSignal() == syscall.SIGTRAP, status.StopSignal() == syscall.SIGSTOP: // of ptrace's own
		default:
			signal = int(status.StopSignal())
		}
	}
	text, err := json.Marshal(calls)
	if err != nil {
		return 0, err
	}
	return code, os.WriteFile(list, text, 0o600)
}

// entered is the call that a thread is about to make, if it is one of fileCalls.
func entered(tid int) string {
	var info [88]byte // struct ptrace_syscall_info
	_, _, e := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), uintptr(len(info)), uintptr(unsafe.Pointer(&info[0])), 0, 0)
	if e != 0 || info[0] != unix.PTRACE_SYSCALL_INFO_ENTRY {
		return ""
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(info[24+8*i:]) } // the number, then the arguments
	name := fileCalls[word(0)]
	switch {
	case name == "", name == "openat" && word(3)&(unix.O_CREAT|unix.O_TRUNC) == 0:
		return ""
	case !strings.HasSuffix(name, "at") && name != "renameat2":
		return name
	}
	var path [512]byte
	n, _ := syscall.PtracePeekData(tid, uintptr(word(2)), path[:])
	text, _, _ := strings.Cut(string(path[:n]), "\x00")
	if strings.HasPrefix(text, "/dev/") || strings.HasPrefix(filepath.Clean(text), "/proc/") {
		return ""
	}
	return name + " " + text
}
