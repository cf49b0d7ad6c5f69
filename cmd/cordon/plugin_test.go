package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// tellPinned has a plugin built as a module of its own outside of this tree, pinned by its
// checksum, started, shut in and used. With one byte of its file changed it is refused.
func tellPinned(t *testing.T, cordon string) {
	s := &site{cordon: cordon, dir: t.TempDir(), listen: freeAddress(t)}
	device := newLineDevice(t)
	program := buildAcme(t, s.dir)
	s.must(t, "init", s.gw())
	config := filepath.Join(s.gw(), "cordon.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	pinned := fmt.Sprintf("plugins:\n  acme: { path: %s, sha256: %s }\ndevices:", program, checksum(t, program))
	if err := os.WriteFile(config, []byte(strings.Replace(string(text), "devices:", pinned, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(device.l.Addr().String())
	s.must(t, "device", "add", "pump-1", "--dir", s.gw(), "--class", "monitor/bedside", "--protocol", "acme",
		"--address", "127.0.0.1", "--port", port, "--listen", s.listen)
	s.issueStaff(t)
	if out := s.must(t, "check", "--json", "-c", config); !strings.Contains(out, `"protocol":"acme","version":"0.1.0"`) {
		t.Errorf("check says %s", out)
	}
	d := s.serve(t)
	c := s.dial(t, "nurse")
	answer := bufio.NewReader(c)
	io.WriteString(c, "get rate\nset rate 500\nget rate\n")
	for i, want := range []string{"ok get rate", "no ", "ok get rate"} {
		c.SetDeadline(time.Now().Add(patience))
		if line, err := answer.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("answer %d is %q (%v), want %q", i+1, line, err, want)
		}
	}
	c.Close()
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	if got := device.received(); got != "get rate\nget rate\n" {
		t.Errorf("the device received %q", got)
	}

	if text, err = os.ReadFile(program); err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"check", "run"} {
		out := s.run(t, verb, "-c", config)
		if out.code == exit.Done || !strings.Contains(out.stderr, "config.plugin.start") || !strings.Contains(out.stderr, "another program is pinned") {
			t.Errorf("%s of a changed program exits with %d: %s", verb, out.code, out.stderr)
		}
	}
}

// lineDevice answers each line, and keeps it.
type lineDevice struct {
	l net.Listener

	mu  sync.Mutex
	got strings.Builder
}

func newLineDevice(t *testing.T) *lineDevice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &lineDevice{l: l}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return d
}

// serve ends with the gateway's connection.
func (d *lineDevice) serve(c net.Conn) {
	defer c.Close()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		d.mu.Lock()
		d.got.WriteString(lines.Text() + "\n")
		d.mu.Unlock()
		io.WriteString(c, "ok "+lines.Text()+"\n")
	}
}

func (d *lineDevice) received() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got.String()
}

// buildAcme builds testdata/acme in a module of its own and returns the program.
func buildAcme(t *testing.T, dir string) string {
	t.Helper()
	module := filepath.Join(dir, "acme-src")
	if err := os.CopyFS(module, os.DirFS("testdata/acme")); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	needs, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.Replace(string(needs), "module cordon\n", "module acme.example/plugin\n", 1) +
		fmt.Sprintf("\nrequire cordon v0.0.0\n\nreplace cordon => %q\n", here)
	for name, text := range map[string]string{"go.mod": mod, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "acme")
	if out := runProgram(t, module, nil, "go", "build", "-o", program, "."); out.code != 0 {
		t.Fatalf("go build: %s", out.stderr)
	}
	return program
}

func checksum(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
