package serve

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"

	"cordon/plugins/control"
)

// The test's program is the prisoner, too: what it does to itself cannot be undone.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "prisoner" {
		p := prisoner{}
		if err := json.Unmarshal([]byte(os.Args[2]), &p.orders); err != nil {
			panic(err)
		}
		p.obey()
		if err := json.NewEncoder(os.Stdout).Encode(p.Account); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// orders are what a prisoner does.
type orders struct {
	Filtered syscall.Errno // if not 0, what the first of Landlock's system calls is made to return
	Layers   int           // of domains that it has before
	Lock     string        // landlock: that alone; confine: as a plugin does
	Try      bool          // then tries what there is to try

	Dir      string // it may write there
	TCP      int    // a port on 127.0.0.1 that is listened on
	Abstract string // an abstract socket that is listened on
	PID      int    // a process that is not its own
}

// Account is what became of it.
type Account struct {
	Measures []*control.Measure
	Error    string
	Attempts map[string]string // ok, or the name of an error number
}

type prisoner struct {
	orders
	Account
}

func (p *prisoner) obey() {
	if p.Filtered != 0 {
		landlockCalls := seccomp.SyscallGroup{Names: []string{"landlock_create_ruleset"}, Action: seccomp.ActionErrno | seccomp.Action(p.Filtered)}
		if err := seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
			Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{landlockCalls}}}); err != nil {
			panic(err)
		}
	}
	for range p.Layers {
		if _, err := landlock(); err != nil {
			panic(err)
		}
	}
	// Threads that there are before, one of them in a system call.
	threads, begin, results := 4, make(chan bool), make(chan error)
	var there sync.WaitGroup
	for range threads {
		there.Add(1)
		go func() {
			runtime.LockOSThread()
			there.Done()
			<-begin
			results <- open(filepath.Join(p.Dir, "there"), unix.O_RDONLY)
		}()
	}
	there.Wait()
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	go unix.Read(int(r.Fd()), make([]byte, 1)) // Fd makes it block
	defer w.Close()

	switch p.Lock {
	case "landlock":
		var m *control.Measure
		if m, err = landlock(); err == nil {
			p.Measures = []*control.Measure{m}
		}
	case "confine":
		p.Measures, err = confine()
	}
	if err != nil {
		p.Error = err.Error()
	}
	if !p.Try {
		return
	}
	p.Attempts = map[string]string{}
	for name, attempt := range p.attempts() {
		p.Attempts[name] = number(attempt())
	}
	for range threads {
		begin <- true
		p.Attempts["open on each thread"] += number(<-results) + " "
	}
	// Go interrupts its threads by signals from one to the other: this never ends without.
	var busy, stop atomic.Bool
	go func() {
		for busy.Store(true); !stop.Load(); {
		}
	}()
	for !busy.Load() {
		runtime.Gosched()
	}
	runtime.GC()
	stop.Store(true)
}

// attempts are what Landlock is to refuse.
func (p *prisoner) attempts() map[string]func() error {
	in := func(name string) string { return filepath.Join(p.Dir, name) }
	tcp := func(call func(int, unix.Sockaddr) error, family, protocol, port int) error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if family == unix.AF_INET6 {
			return call(fd, &unix.SockaddrInet6{Port: port, Addr: [16]byte(net.IPv6loopback)})
		}
		return call(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	local := func(call func(int, unix.Sockaddr) error, name string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return call(fd, &unix.SockaddrUnix{Name: name})
	}
	return map[string]func() error{
		"open":        func() error { return open(in("there"), unix.O_RDONLY) },
		"write":       func() error { return open(in("there"), unix.O_WRONLY) },
		"create":      func() error { return open(in("new"), unix.O_WRONLY|unix.O_CREAT) },
		"list":        func() error { return open(in("full"), unix.O_RDONLY|unix.O_DIRECTORY) },
		"environment": func() error { return open("/proc/self/environ", unix.O_RDONLY) },
		"device":      func() error { return open("/dev/null", unix.O_RDWR) },
		"mkdir":       func() error { return unix.Mkdir(in("newdir"), 0o700) },
		"symlink":     func() error { return unix.Symlink("there", in("newlink")) },
		"pipe":        func() error { return unix.Mkfifo(in("newpipe"), 0o600) },
		"socket":      func() error { return local(unix.Bind, in("newsocket")) },
		"unlink":      func() error { return unix.Unlink(in("gone")) },
		"rmdir":       func() error { return unix.Rmdir(in("gonedir")) },
		"rename":      func() error { return unix.Rename(in("old"), in("renamed")) },
		"truncate":    func() error { return unix.Truncate(in("long"), 1) },
		"execute": func() error {
			pid, err := syscall.ForkExec(p.program(), []string{"prisoner", "prisoner", "{}"}, &syscall.ProcAttr{})
			if err == nil {
				_, err = unix.Wait4(pid, nil, 0, nil)
			}
			return err
		},
		"connect":   func() error { return tcp(unix.Connect, unix.AF_INET, 0, p.TCP) },
		"bind":      func() error { return tcp(unix.Bind, unix.AF_INET, 0, 0) },
		"bind IPv6": func() error { return tcp(unix.Bind, unix.AF_INET6, 0, 0) },
		"abstract":  func() error { return local(unix.Connect, p.Abstract) },
		"signal":    func() error { return unix.Kill(p.PID, 0) },
	}
}

// program is a file to execute, where it may be executed from.
func (p *prisoner) program() string { return filepath.Join(p.Dir, "program") }

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// number is the name of an error number, or ok.
func number(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(e)
	}
	return err.Error()
}
