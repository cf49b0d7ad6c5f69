package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// titles are the AE titles by which the people and devices of imaging sites call.
var titles = map[string]string{"kim": "KIM", "fox": "FOX", "ct": "CT2", "nurse": "NURSE"}

// newArchive makes a gateway for an archive that listens on a loopback port: a radiologist
// (kim), a physician (fox), a CT (ct) and a nurse have certificates, and all of them AE
// titles. settings are further flags of "device add".
func newArchive(t *testing.T, cordon, port string, settings ...string) *site {
	t.Helper()
	s := emptySite(t, cordon)
	s.add(t, "pacs-1", "imaging/archive", "dicom", port, settings...)
	s.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	s.issue(t, "fox", "--user", "dr.fox", "--role", "physician")
	s.issue(t, "ct", "--device", "ct-2", "--role", "device")
	s.issue(t, "nurse", "--user", "nurse.ito", "--role", "nurse")
	s.edit(t, "policy/data.yaml", "\nae_titles: {}\n", `
ae_titles:
  user/dr.kim: [KIM]
  user/dr.fox: [FOX]
  user/nurse.ito: [NURSE]
  device/ct-2: [CT2]
`)
	return s
}

// untested removes the policy's tests, which say what a story's own tables contradict: a start goes by them.
func (s *site) untested(t *testing.T) {
	t.Helper()
	tests, err := filepath.Glob(filepath.Join(s.gw(), "policy", "*_test.rego"))
	for _, name := range tests {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text that a file of the gateway's directory contains once.
func (s *site) edit(t *testing.T, name, old, new string) {
	t.Helper()
	file := filepath.Join(s.gw(), name)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not contain %q once", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commented is the decision code in the error comment of a refusal, (0000,0902), as dcmtk
// prints it.
var commented = regexp.MustCompile(`\(0000,0902\) LO \[[^\]]*\b([0-9A-Z]{3}-[0-9A-Z]{2})\]`)

// explained fails unless "cordon why" says of a code what it must.
func (s *site) explained(t *testing.T, code string, wants ...string) {
	t.Helper()
	out := s.run(t, "why", code, "--dir", s.gw())
	for _, want := range wants {
		if out.code != exit.Done || !strings.Contains(out.stdout, want) {
			t.Errorf("why %q exits with %d and says %s%s, want %q in it", code, out.code, out.stdout, out.stderr, want)
		}
	}
}

// lastRefusal returns the code of the latest refusal in the log.
func (s *site) lastRefusal(t *testing.T) string {
	t.Helper()
	var code string
	for line := range strings.Lines(s.must(t, "audit", "tail", "-n", "20", "--dir", s.gw())) {
		if strings.Contains(line, " DENY ") {
			code = decisionCode.FindString(line)
		}
	}
	return code
}

// background is a program that runs until the test ends.
type background struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once it was waited for

	mu     sync.Mutex
	output bytes.Buffer
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.output.Write(p)
}

func (b *background) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.output.String()
}

// start starts a program, which is killed when the test ends.
func start(t *testing.T, dir, name string, args ...string) *background {
	t.Helper()
	b := &background{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr, b.cmd.WaitDelay = dir, b, b, time.Second
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.exited)
		b.cmd.Wait()
	}()
	t.Cleanup(func() {
		b.cmd.Process.Kill()
		<-b.exited
		if t.Failed() {
			t.Logf("%s said:\n%.4000s", filepath.Base(name), b.said())
		}
	})
	return b
}

// waitFor waits until something holds, and fails if the program ends before.
func (b *background) waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-b.exited:
			t.Fatalf("%s ended instead of %s:\n%s", filepath.Base(b.cmd.Path), what, b.said())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not %s:\n%s", filepath.Base(b.cmd.Path), what, b.said())
		}
	}
}

// listening reports whether a loopback port is being listened on. It does not connect:
// some peers serve one connection at a time.
func listening(port string) bool { return len(connections(port, listen)) > 0 }

// States of TCP sockets, as the kernel numbers them (net/tcp_states.h).
const (
	established = "01"
	listen      = "0A"
)

// connections returns the lines of /proc/net/tcp and tcp6 about sockets in a state whose
// own port is port (proc_pid_net(5)). It asks for this thread: the first one of the process may
// have been left in a network of its own.
func connections(port, state string) []string {
	var found []string
	for _, table := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != state {
				continue
			}
			_, own, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(own, 16, 16); err == nil && strconv.FormatUint(n, 10) == port {
				found = append(found, line)
			}
		}
	}
	return found
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(freeAddress(t))
	return port
}

// images makes the images that deploy/peers/images.py describes, in a new directory.
func images(t *testing.T) string {
	t.Helper()
	peer(t, "pydicom", "python3-pydicom")
	dir := t.TempDir()
	if out := runProgram(t, dir, nil, "/usr/bin/python3", script(t, "images.py"), dir); out.code != 0 {
		t.Fatalf("images.py: %s", out.stderr)
	}
	return dir
}

// dataSet opens a DICOM file behind its meta information (PS3.10 7.1), whose first element
// says how long that is.
func dataSet(t *testing.T, name string) io.ReadCloser {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 144)
	_, err = io.ReadFull(f, head)
	if err == nil && !bytes.HasPrefix(head[128:], []byte("DICM\x02\x00\x00\x00UL\x04\x00")) {
		err = errors.New("no DICOM file")
	}
	if err == nil {
		_, err = f.Seek(int64(len(head))+int64(binary.LittleEndian.Uint32(head[140:])), io.SeekStart)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// sameDataSet fails unless two files hold the same data set, byte for byte.
func sameDataSet(t *testing.T, got, want string) {
	t.Helper()
	a, b := dataSet(t, got), dataSet(t, want)
	defer a.Close()
	defer b.Close()
	arrived, err := io.ReadAll(a)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(arrived, sent) {
		at := 0
		for at < min(len(arrived), len(sent)) && arrived[at] == sent[at] {
			at++
		}
		t.Errorf("%s holds a data set of %d bytes and %s one of %d, which differ from byte %d on", got, len(arrived), want, len(sent), at)
	}
}
