package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/plugins"
	"cordon/policy"
)

// serveUntilKilled is a whole gateway in a process of its own. dir holds its certificates
// ("ca", "server"), the device's address ("device"), what it speaks and with which plugin
// ("plugin") and its log; it prints where it listens.
func serveUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "server"), filepath.Join(dir, "server"))
	fail(err)
	roots, err := os.ReadFile(filepath.Join(dir, "ca"))
	fail(err)
	device, err := os.ReadFile(filepath.Join(dir, "device"))
	fail(err)
	words, err := os.ReadFile(filepath.Join(dir, "plugin"))
	fail(err)
	protocol, behaviour, _ := strings.Cut(string(words), " ")
	ca := &authority{pool: x509.NewCertPool(), server: &server, revoked: map[string]bool{}}
	ca.pool.AppendCertsFromPEM(roots)
	log, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "log"), Origin: "cordon.test/crash", Logger: quiet})
	fail(err)
	plugin := plugins.New(plugins.Config{
		Protocol: protocol, Command: []string{"/proc/self/exe", "plugin", behaviour}, Services: map[uint32][]byte{7: []byte("{}")}, RuntimeDir: dir, Logger: quiet,
	})
	g := New(Config{
		Name: "crash", TrustDomain: "test.example", Certs: ca, Policy: allowBut("no"), Log: log, Logger: quiet,
		Routes: []Route{{
			Listen: "127.0.0.1:0", Device: policy.Device{ID: "dev-1", Class: "test", Labels: map[string]string{}, State: policy.StateActive},
			Service: policy.Service{Name: "lines", Protocol: protocol}, Address: string(device), Plugin: plugin, Number: 7,
		}},
	})
	listeners, err := g.Listen()
	fail(err)
	go func() { fail(plugin.Run(context.Background())) }()
	plugin.WaitRunning(context.Background()) // a first start that does not succeed is an error
	fmt.Println(listeners[0].Addr())
	fail(g.Serve(context.Background(), listeners))
}

// Rounds of TestCrash; in each the plugin is killed, and then the gateway.
const crashRounds = 26

// Whatever is killed at whatever moment: every operation that reached the device is in the
// log as allowed, every refusal a client was told is in it too, the log is sound, and no
// plugin outlives its gateway.
func TestCrash(t *testing.T) {
	c := newCrash(t, "lines lines")
	for round := range crashRounds {
		if testing.Short() && round == 5 {
			break
		}
		c.round(t, round)
	}

	r, err := audit.OpenReader(filepath.Join(c.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(filepath.Join(c.dir, "log"), r.VerifierKey(), audit.Options{}); err != nil {
		t.Error(err)
	}
	allowed, refused := map[string]bool{}, map[string]string{}
	for e, err := range r.Entries(0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		var in policy.Request
		if e.Kind != audit.KindDecision {
			continue
		}
		if err := json.Unmarshal(e.Input, &in); err != nil {
			t.Fatal(err)
		}
		if e.Decision.Allow {
			allowed[in.Operation.Name] = true
		} else {
			refused[e.Code] = in.Operation.Name
		}
	}
	arrived := strings.FieldsFunc(c.device.all(), func(r rune) bool { return r == '\n' })
	for _, line := range arrived {
		if !allowed["lines:"+line] {
			t.Errorf("the device received %q, and the log does not know of it", line)
		}
	}
	for code := range c.codes {
		if refused[code] != "lines:no" {
			t.Errorf("a client was told the code %s; the log has it for %q", code, refused[code])
		}
	}
	t.Logf("%d operations arrived, %d refusals were told", len(arrived), len(c.codes))
	if len(arrived) < crashRounds || len(c.codes) < crashRounds {
		t.Error("that is too little to show anything")
	}
}

// crash is what stays while gateways and plugins are killed: the device, the clients'
// certificates and what clients were told.
type crash struct {
	dir    string
	device *recorder
	tls    *tls.Config

	mu    sync.Mutex
	codes map[string]bool // of refusals
	count int             // of operations, to name each
}

func newCrash(t *testing.T, plugin string) *crash {
	ca := newAuthority(t)
	c := &crash{dir: t.TempDir(), device: newRecorder(t, nil), codes: map[string]bool{}}
	t.Cleanup(c.device.close)
	c.tls = certs.ClientConfig(ca.pool, ca.client(t, "user", "dr.kim", nil, time.Hour), "localhost")
	key, err := x509.MarshalPKCS8PrivateKey(ca.server.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	server := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.server.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	for name, content := range map[string][]byte{
		"ca": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), "server": server, "device": []byte(c.device.address()), "plugin": []byte(plugin),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(c.dir, 0o711); err != nil { // the plugin's user passes through to its socket
		t.Fatal(err)
	}
	return c
}

// start starts a gateway, and returns its process and where it listens.
func (c *crash) start(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "gateway", c.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway does not start: %v", err)
	}
	return cmd, strings.TrimSpace(address)
}

// A plugin that listens to nothing does not outlive its gateway either.
func TestOrphan(t *testing.T) {
	cmd, _ := newCrash(t, "hostile deaf").start(t)
	plugin := pluginOf(cmd.Process.Pid)
	if plugin == 0 {
		t.Error("there is no plugin")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if !eventually(func() bool { return !alive(plugin) }) {
		t.Error("the plugin outlives its gateway")
		syscall.Kill(plugin, syscall.SIGKILL)
	}
}

// round starts a gateway, loads it, kills its plugin, waits until operations pass again,
// and kills it.
func (c *crash) round(t *testing.T, round int) {
	t.Helper()
	cmd, address := c.start(t)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { c.load(ctx, address) })
	}
	var first int
	if !eventually(func() bool { first = pluginOf(cmd.Process.Pid); return first != 0 }) {
		t.Fatalf("round %d: there is no plugin", round)
	}
	time.Sleep(time.Duration(rand.Int64N(int64(150 * time.Millisecond))))
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Errorf("round %d: kill the plugin: %v", round, err)
	}
	var second int
	if !eventually(func() bool { second = pluginOf(cmd.Process.Pid); return second != 0 && second != first }) {
		t.Errorf("round %d: the plugin does not come back", round)
	}
	before := c.told()
	if !eventually(func() bool { return c.told() > before }) {
		t.Errorf("round %d: nothing passes although the plugin is back", round)
	}
	time.Sleep(time.Duration(rand.Int64N(int64(50 * time.Millisecond))))
	cmd.Process.Kill()
	cmd.Wait()
	stop()
	clients.Wait()
	if !eventually(func() bool { return !alive(first) && !alive(second) }) {
		t.Errorf("round %d: a plugin outlives its gateway", round)
	}
}

// load has operations done, some of which are refused, until ctx ends; when the
// connection breaks it makes another.
func (c *crash) load(ctx context.Context, address string) {
	for ctx.Err() == nil {
		c.talk(ctx, address)
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *crash) talk(ctx context.Context, address string) {
	raw, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return
	}
	defer raw.Close()
	conn := tls.Client(raw, c.tls)
	conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	for ctx.Err() == nil {
		c.mu.Lock()
		c.count++
		name := fmt.Sprintf("op-%d", c.count)
		c.mu.Unlock()
		if _, err := io.WriteString(conn, name+"\nno\n"); err != nil {
			return
		}
		for range 2 {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if code, refused := strings.CutPrefix(line, "refused "); refused {
				code, cause, _ := strings.Cut(strings.TrimSpace(code), " ")
				if cause == string(policy.CausePolicy) {
					c.mu.Lock()
					c.codes[code] = true
					c.mu.Unlock()
				}
			}
		}
	}
}

// told returns how many refusals clients were told.
func (c *crash) told() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.codes)
}

// pluginOf returns the process that gateway started, or 0.
func pluginOf(gateway int) int {
	for _, p := range processes() {
		if p.parent == gateway && p.state != "Z" {
			return p.pid
		}
	}
	return 0
}

func alive(pid int) bool {
	return slices.ContainsFunc(processes(), func(p process) bool { return p.pid == pid && p.state != "Z" })
}

type process struct {
	pid, parent int
	state       string
}

func processes() []process {
	var list []process
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): pid (comm) state ppid …; comm may hold spaces and parentheses.
		s := string(b)
		f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		pid, _ := strconv.Atoi(s[:strings.IndexByte(s, ' ')])
		parent, _ := strconv.Atoi(f[1])
		list = append(list, process{pid, parent, f[0]})
	}
	return list
}
