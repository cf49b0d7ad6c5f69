package guest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Machine is a running guest. It ends with the process that started it.
type Machine struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed once it was waited for
	console string        // a file
	booted  chan struct{} // closed when the agent says so

	mu    sync.Mutex
	line  net.Conn // to the agent in the guest
	next  int
	calls map[int]call
}

// Hardware is what a guest is made of.
type Hardware struct {
	Dir    string // of its sockets and its console's text
	Root   *Root
	Disk   string            // the socket of its Disk
	Wires  []*Wire           // its network cards, from PCI slot 2 on
	Files  map[string]string // what it finds in /guest, by name, and where that comes from
	Memory int               // MiB
	Append string            // to the kernel's command line
}

// Run starts a guest. It does not wait until it is up: see Booted.
func Run(h Hardware) (*Machine, error) {
	initrd := filepath.Join(h.Dir, "initrd")
	if err := h.initramfs(initrd); err != nil {
		return nil, fmt.Errorf("write the guest's initramfs: %w", err)
	}
	at := filepath.Join(h.Dir, "agent.socket")
	os.Remove(at)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	m := &Machine{exited: make(chan struct{}), console: filepath.Join(h.Dir, "console"), booted: make(chan struct{}), calls: map[int]call{}}
	args := []string{
		"-M", "q35,accel=tcg", "-cpu", "max,-avx,-avx2,-avx512f,-la57", // emulated, these cost half the speed
		"-smp", "2", "-m", fmt.Sprint(h.Memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", h.Root.Kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on systemd.getty_auto=0 " + h.Append,
		"-serial", "file:" + m.console,
		"-chardev", "socket,id=agent,path=" + at, "-serial", "chardev:agent",
		"-blockdev", "driver=nbd,node-name=root,server.type=unix,server.path=" + h.Disk, "-device", "virtio-blk-pci,drive=root,addr=10,romfile=",
	}
	for i, w := range h.Wires {
		args = append(args, "-netdev", fmt.Sprintf("dgram,id=n%d,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", i, w.guest, w.host),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=n%d,addr=%d,romfile=,mac=%s", i, i+2, w.MAC))
		os.Remove(w.guest)
	}
	m.cmd = exec.Command("qemu-system-x86_64", args...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	m.cmd.Stderr = &said
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.cmd.Wait(); close(m.exited) }()
	l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		m.Kill()
		return nil, fmt.Errorf("start qemu: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	m.line = c
	go m.read(c)
	return m, nil
}

func (h Hardware) initramfs(path string) error {
	files := map[string]string{"init": h.Files["inside"]}
	for _, m := range h.Root.Modules {
		files["modules/"+filepath.Base(m)] = m
	}
	for name, source := range h.Files {
		files["guest/"+name] = source
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(writeArchive(w, files), w.Flush(), f.Close())
}

// Kill ends the guest as a power failure would, and waits for it. What its disk loses is
// decided there.
func (m *Machine) Kill() {
	m.cmd.Process.Kill()
	<-m.exited
	if m.line != nil {
		m.line.Close()
	}
}

// Exited is closed when the guest has ended, also by a restart.
func (m *Machine) Exited() <-chan struct{} { return m.exited }

// Console is what the guest's kernel and systemd wrote so far.
func (m *Machine) Console() string {
	text, _ := os.ReadFile(m.console)
	return strings.ToValidUTF8(string(text), "?")
}

// Booted waits until the guest's kernel has started: its root is mounted and systemd begins.
func (m *Machine) Booted(ctx context.Context) error {
	select {
	case <-m.booted:
		return nil
	case <-m.exited:
		return errors.New("wait for the guest to start: it ended")
	case <-ctx.Done():
		return fmt.Errorf("wait for the guest to start: %w", ctx.Err())
	}
}

// Outcome is what a program in the guest left.
type Outcome struct {
	Code   int    // -1 if it was ended, or did not start
	Stdout string // 1 MiB at most
	Stderr string
}

// Request and Answer are the lines that host and agent exchange, as JSON. An answer without a
// number says that the guest has started.
type (
	Request struct {
		ID      int      `json:"id"`
		Run     []string `json:"run"`
		Stdin   string   `json:"stdin,omitempty"`
		Seconds int      `json:"seconds"`         // after which the program and what it started are killed
		Lines   bool     `json:"lines,omitempty"` // answer each line of standard output at once
	}
	Answer struct {
		ID   int      `json:"id"`
		Line string   `json:"line,omitempty"`
		End  *Outcome `json:"end,omitempty"`
	}
)

type call struct {
	line func(string)
	end  chan Outcome
}

// Do runs a program in the guest and waits for it. An error means that the guest did not answer.
func (m *Machine) Do(ctx context.Context, r Request, line func(string)) (Outcome, error) {
	end := make(chan Outcome, 1)
	m.mu.Lock()
	m.next++
	r.ID, r.Lines = m.next, line != nil
	m.calls[r.ID] = call{line, end}
	text, err := json.Marshal(r)
	if err == nil {
		_, err = m.line.Write(append(text, '\n'))
	}
	m.mu.Unlock()
	if err != nil {
		return Outcome{}, fmt.Errorf("run %q in the guest: %w", r.Run, err)
	}
	select {
	case o := <-end:
		return o, nil
	case <-m.exited:
		return Outcome{}, fmt.Errorf("run %q in the guest: it ended", r.Run)
	case <-ctx.Done():
		return Outcome{}, fmt.Errorf("run %q in the guest: %w", r.Run, ctx.Err())
	}
}

// read takes the agent's lines until the guest ends.
func (m *Machine) read(c io.Reader) {
	var started sync.Once
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var a Answer
		_, text, ok := bytes.Cut(lines.Bytes(), []byte(Mark))
		if !ok || json.Unmarshal(text, &a) != nil {
			continue
		}
		if a.ID == 0 {
			started.Do(func() { close(m.booted) })
			continue
		}
		m.mu.Lock()
		made := m.calls[a.ID]
		if a.End != nil {
			delete(m.calls, a.ID)
		}
		m.mu.Unlock()
		switch {
		case made.end == nil:
		case a.End != nil:
			made.end <- *a.End
		default:
			made.line(a.Line)
		}
	}
}

// Mark begins every line of the agent.
const Mark = "\x02guest "
