package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// patience bounds every wait in these tests. None takes nearly as long; a machine may be
// busy.
const patience = 2 * time.Minute

// site is one gateway in front of one device, made and driven by the program's command
// line alone.
type site struct {
	cordon string    // the program
	dir    string    // certificates; the gateway's own directory is dir/gw
	listen string    // where clients reach the device
	device *recorder // if it is one
}

// newSite makes a gateway for a monitor that speaks HL7. settings are further flags of
// "device add".
func newSite(t *testing.T, cordon string, settings ...string) *site {
	t.Helper()
	s := emptySite(t, cordon)
	s.device = newRecorder(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	s.add(t, "mon-7", "monitor/bedside", "hl7", port, settings...)
	return s
}

// emptySite makes a gateway without a device.
func emptySite(t *testing.T, cordon string) *site {
	t.Helper()
	s := &site{cordon: cordon, dir: t.TempDir(), listen: freeAddress(t)}
	s.must(t, "init", s.gw())
	return s
}

// add puts the device on a loopback port behind the gateway.
func (s *site) add(t *testing.T, id, class, protocol, port string, settings ...string) {
	t.Helper()
	s.must(t, append([]string{"device", "add", id, "--dir", s.gw(), "--class", class, "--protocol", protocol,
		"--address", "127.0.0.1", "--port", port, "--listen", s.listen}, settings...)...)
}

func (s *site) gw() string { return filepath.Join(s.dir, "gw") }

// lastPort is the last port that freeAddress looked at. The ports are below those that the
// kernel gives to clients, and no two stories get the same.
var lastPort atomic.Int32

// freeAddress returns a loopback address nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	lastPort.CompareAndSwap(0, 10000+int32(os.Getpid()%20)*1000)
	for range 20000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+int(lastPort.Add(1))%20000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port between 10000 and 30000 is free")
	return ""
}

// outcome is what a finished program left.
type outcome struct {
	stdout, stderr string
	code           int
}

// runProgram runs a program to its end, in dir.
func runProgram(t *testing.T, dir string, stdin io.Reader, name string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, stdin, &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited || ctx.Err() != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs one command of the program, in the site's directory.
func (s *site) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return runProgram(t, s.dir, nil, s.cordon, args...)
}

// must is run for what has to work. It returns standard output.
func (s *site) must(t *testing.T, args ...string) string {
	t.Helper()
	out := s.run(t, args...)
	if out.code != exit.Done {
		t.Fatalf("cordon %s exited with %d:\n%s%s", strings.Join(args, " "), out.code, out.stdout, out.stderr)
	}
	return out.stdout
}

// issue issues a certificate to NAME.pem and NAME.key. who are flags of "cert issue".
func (s *site) issue(t *testing.T, name string, who ...string) {
	t.Helper()
	s.must(t, append([]string{"cert", "issue", "--dir", s.gw(), "--out", name}, who...)...)
}

// badge is the TLS configuration of a client with a certificate of the site.
func (s *site) badge(t *testing.T, name string) *tls.Config {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(s.path(name+".pem"), s.path(name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: "localhost"}
}

// issueStaff issues the certificates most stories need: an interface engine that may
// write results to a monitor, and a nurse who may not but may pass alarms on.
func (s *site) issueStaff(t *testing.T) {
	t.Helper()
	s.issue(t, "engine", "--service", "oie", "--role", "interface-engine")
	s.issue(t, "nurse", "--user", "nurse.ito", "--role", "nurse")
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// running is a running "cordon run".
type running struct {
	cmd    *exec.Cmd
	stderr io.ReadCloser
	exited chan struct{} // closed once it was waited for

	mu   sync.Mutex
	log  bytes.Buffer // standard error behind the ready line
	pids []int        // of the process that was started, and of those that have taken over
	line string       // the last ready line
}

// serve starts the gateway and waits for its ready line.
func (s *site) serve(t *testing.T) *running {
	t.Helper()
	d := &running{cmd: exec.Command(s.cordon, "run", "--json", "-c", filepath.Join(s.gw(), "cordon.yaml")), exited: make(chan struct{})}
	var err error
	if d.stderr, err = d.cmd.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go d.watch(ready)
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", d.logged())
		}
	})
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("the gateway did not start:\n%s", d.logged())
		}
	case <-time.After(patience):
		t.Fatalf("the gateway does not get ready:\n%s", d.logged())
	}
	return d
}

// watch reads standard error to its end and waits for the process. ready is told whether
// the ready line came.
func (d *running) watch(ready chan<- bool) {
	defer close(d.exited)
	lines := bufio.NewScanner(d.stderr)
	for lines.Scan() {
		var line struct {
			Schema string
			PID    int
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Schema == "cordon.ready/v1" {
			d.mu.Lock()
			d.pids, d.line = append(d.pids, line.PID), lines.Text()
			d.mu.Unlock()
			select {
			case ready <- true:
			default: // another process has taken over
			}
			continue
		}
		d.mu.Lock()
		fmt.Fprintf(&d.log, "%s\n", lines.Bytes())
		d.mu.Unlock()
	}
	d.cmd.Wait()
	select {
	case ready <- false:
	default:
	}
}

// readyLine is what it said when it was ready.
func (d *running) readyLine() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.line
}

func (d *running) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// stop ends the gateway as systemd would and returns its exit code.
func (d *running) stop(t *testing.T) int {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for told, late := 0, time.After(patience); ; {
		if leader := d.leader(); leader != told { // one that has just taken over may not have said so at first
			syscall.Kill(leader, syscall.SIGTERM)
			told = leader
		}
		select {
		case <-d.exited:
			return d.cmd.ProcessState.ExitCode()
		case <-tick.C:
		case <-late:
			d.kill()
			t.Fatal("the gateway does not end on SIGTERM")
		}
	}
}

// kill ends it as a power failure would, with every process that has taken over.
func (d *running) kill() {
	d.cmd.Process.Kill()
	for _, pid := range d.processes()[1:] {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(line), "\x00run\x00") { // it is still that one
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	select {
	case <-d.exited:
	case <-time.After(patience): // one that nobody knows of has standard error, too
		d.stderr.Close()
		<-d.exited
	}
}

// processes are those that have been ready, the first one first.
func (d *running) processes() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pids) == 0 {
		return []int{d.cmd.Process.Pid}
	}
	return slices.Clone(d.pids)
}

// leader is the process that accepts.
func (d *running) leader() int {
	all := d.processes()
	return all[len(all)-1]
}

// write writes a file of the site and returns its path.
func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.path(name)
}

// example puts an example of policy/rego beside the site's policy.
func (s *site) example(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "policy", "rego", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, filepath.Join("gw", "policy", name), string(text))
}
