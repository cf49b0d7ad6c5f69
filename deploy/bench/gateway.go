package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cordon/policy"
	"cordon/policy/rego"
)

// world is what the proxies stand in: devices, certificates, and the gateway's directory.
type world struct {
	dir, pki string
	cordon   string            // the program
	today    string            // directory of what nginx and OPA need
	device   map[string]string // addresses by protocol
	client   *tls.Config
	devices  io.Closer
}

func newWorld(ctx context.Context) (*world, error) {
	tmp, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return nil, err
	}
	w := &world{dir: filepath.Join(tmp, "gw"), pki: filepath.Join(tmp, "pki"), cordon: filepath.Join(tmp, "cordon")}
	fmt.Fprintln(os.Stderr, "building cordon")
	if err := command(ctx, "go", "build", "-o", w.cordon, "cordon/cmd/cordon"); err != nil {
		return nil, err
	}
	if w.devices, err = w.startDevices(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.pki, 0o700); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"init", w.dir},
		{"device", "add", "mon-7", "--dir", w.dir, "--class", "monitor/bedside", "--protocol", "hl7", "--address", "127.0.0.1",
			"--port", port(w.device["hl7"]), "--listen", freeAddress()},
		{"device", "add", "vent-4", "--dir", w.dir, "--class", "ventilator/icu", "--protocol", "stream", "--address", "127.0.0.1",
			"--port", port(w.device["stream"]), "--listen", freeAddress(), "--set", "class=read"},
		{"device", "add", "pacs-1", "--dir", w.dir, "--class", "imaging/archive", "--protocol", "dicom", "--address", "127.0.0.1",
			"--port", port(w.device["dicom"]), "--listen", freeAddress()},
		{"device", "add", "rack-1", "--dir", w.dir, "--class", "pump/infusion", "--protocol", "modbus", "--address", "127.0.0.1",
			"--port", port(w.device["modbus"]), "--listen", freeAddress()},
		{"device", "add", "web-1", "--dir", w.dir, "--class", "pump/web", "--protocol", "http", "--address", "127.0.0.1",
			"--port", port(w.device["http"]), "--listen", freeAddress()},
		{"cert", "issue", "--dir", w.dir, "--user", "load", "--role", "radiologist", "--role", "biomed", "--out", filepath.Join(w.pki, "client")},
	}
	for _, args := range steps {
		if err := command(ctx, w.cordon, append([]string{"-q"}, args...)...); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.raiseLimits(), w.bindAETitles()); err != nil {
		return nil, err
	}
	return w, w.makeClient()
}

// raiseLimits lets one address hold all sessions: here all clients have the same.
func (w *world) raiseLimits() error {
	return w.edit("cordon.yaml", "sessions_per_source: 256", "sessions_per_source: 4096")
}

// bindAETitles lets the client call DICOM devices from any AE title.
func (w *world) bindAETitles() error {
	return w.edit("policy/data.yaml", "\nae_titles: {}\n", "\nae_titles: {user/load: [\"*\"]}\n")
}

// edit replaces a text in a file of the gateway's directory.
func (w *world) edit(name, before, after string) error {
	file := filepath.Join(w.dir, name)
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), before) {
		return fmt.Errorf("edit %s: it does not contain %q", file, before)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(b), before, after, 1)), 0o644)
}

// makeClient loads the client's certificate and gives the bare proxy a server certificate
// of the same kind.
func (w *world) makeClient() error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(w.pki, "client.pem"), filepath.Join(w.pki, "client.key"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(w.pki, "ca.pem"))
	if err != nil {
		return err
	}
	roots.AppendCertsFromPEM(ca)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	server := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots.AppendCertsFromPEM(server)
	w.client = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}
	return errors.Join(
		os.WriteFile(filepath.Join(w.pki, "server.pem"), server, 0o600),
		os.WriteFile(filepath.Join(w.pki, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}), 0o600))
}

// startGateway starts "cordon run" and waits until it is ready.
func (w *world) startGateway(ctx context.Context) (*proxy, error) {
	cmd := exec.CommandContext(ctx, w.cordon, "run", "--json", "-q", "-c", filepath.Join(w.dir, "cordon.yaml"))
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &proxy{
		name: "cordon", address: map[string]string{},
		pids: func() []int { return family(cmd.Process.Pid) },
		stop: func() { cmd.Process.Signal(syscall.SIGTERM); io.Copy(io.Discard, out); cmd.Wait() },
	}
	var ready struct {
		Schema    string
		Listeners []struct{ Service, Address string }
	}
	r := bufio.NewReader(out)
	for ready.Schema != "cordon.ready/v1" {
		line, err := r.ReadBytes('\n')
		if err != nil {
			p.stop()
			return nil, fmt.Errorf("start the gateway: %w", err)
		}
		json.Unmarshal(line, &ready)
	}
	for _, l := range ready.Listeners {
		p.address[l.Service] = l.Address
	}
	go io.Copy(io.Discard, r)
	return p, nil
}

func (w *world) close() {
	w.devices.Close()
	os.RemoveAll(filepath.Dir(w.dir))
}

// decisionCost is the time of one decision of the shipped policy in µs, answered from
// memory and evaluated.
func decisionCost(dir string) (cached, evaluated float64, err error) {
	engine, err := rego.Load(filepath.Join(dir, "policy"))
	if err != nil {
		return 0, 0, err
	}
	request := policy.Request{
		Phase:     policy.PhaseOperation,
		Subject:   policy.Subject{ID: "dr.kim", Kind: policy.KindUser, Roles: []string{"radiologist"}, Groups: []string{}},
		Device:    policy.Device{ID: "mon-7", Class: "monitor/bedside", Labels: map[string]string{}, State: policy.StateActive},
		Service:   policy.Service{Name: "hl7", Protocol: "hl7"},
		Session:   policy.Session{ID: "1", Direction: policy.Inbound, Client: "10.1.2.3", TLS: "1.3"},
		Operation: policy.Operation{Name: "hl7:ORU^R01", Class: policy.ClassWrite},
	}
	time := func(each func(int)) float64 {
		r := testing.Benchmark(func(b *testing.B) {
			for i := range b.N {
				each(i)
				if d := engine.Decide(context.Background(), &request); !d.Allow {
					b.Fatal(d.Reason)
				}
			}
		})
		return float64(r.NsPerOp()) / 1000
	}
	cached = time(func(int) {})
	evaluated = time(func(i int) { request.Device.ID, request.Device.Class = fmt.Sprint(i), fmt.Sprintf("monitor/%d", i) })
	return cached, evaluated, nil
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// freeAddress is a loopback address nobody listens on at this moment.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
