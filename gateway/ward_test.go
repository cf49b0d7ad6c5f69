package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/plugins"
	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
	"cordon/policy"
)

// The test binary is every plugin process, too, and the gateway of crash_test.go. A
// protocol that is not listed here is one of the hostile ones of hostile_test.go.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		switch name := os.Args[2]; name {
		case "lines":
			serve.Serve(linesProtocol())
		case "talk":
			serve.Serve(talkProtocol())
		default:
			serveHostile(name)
		}
	}
	if len(os.Args) == 3 && os.Args[1] == "gateway" {
		serveUntilKilled(os.Args[2])
	}
	os.Exit(m.Run())
}

// lines is a toy protocol for the relay: a request is "name payload\n", a reply is one
// line; "name*N\n" is followed by N bytes of body. It refuses with "refused CODE\n", and
// is slow to look at the reply to "late".
type lines struct {
	waiting []sdk.OpID // operations without a reply yet, refused ones included
	refused map[sdk.OpID]sdk.Refusal
	mid     bool // in the middle of a reply
}

func linesProtocol() sdk.Protocol {
	return sdk.Protocol{
		Name: "lines", Version: "test", Modes: [2]sdk.Mode{sdk.Held, sdk.Observed},
		Configure: func(json.RawMessage) (func() sdk.Inspector, error) {
			return func() sdk.Inspector { return &lines{refused: map[sdk.OpID]sdk.Refusal{}} }, nil
		},
	}
}

func (l *lines) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		if dir == sdk.Reverse {
			if len(l.waiting) == 0 {
				out.Invalid(policy.Operation{Name: "lines:unasked", Class: policy.ClassUnknown}, "a reply nobody waits for")
				out.End("a reply nobody waits for")
				return
			}
			if bytes.HasPrefix(data, []byte("ok late")) {
				time.Sleep(300 * time.Millisecond)
			}
			l.mid = n == 0
			if n == 0 {
				out.Span(l.waiting[0], int64(len(data)))
				return
			}
			out.Span(l.waiting[0], int64(n))
			l.waiting = l.waiting[1:]
			l.answer(out)
			data = data[n:]
			continue
		}
		if n == 0 {
			return
		}
		name, _, _ := strings.Cut(string(data[:n-1]), " ")
		name, size, _ := strings.Cut(name, "*")
		body, _ := strconv.ParseInt(size, 10, 64)
		op := policy.Operation{Name: "lines:" + name, Class: policy.ClassWrite}
		var id sdk.OpID
		if name == "bad" {
			id = out.Invalid(op, "bad is never good")
		} else {
			id = out.Operation(op)
		}
		l.waiting = append(l.waiting, id)
		out.Span(id, int64(n)+body)
		if int64(len(data)) <= int64(n)+body {
			return
		}
		data = data[int64(n)+body:]
	}
}

func (l *lines) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	l.refused[op] = why
	if !l.mid {
		l.answer(out)
	}
}

// answer gives the refusals that are next in turn.
func (l *lines) answer(out *sdk.Steps) {
	for len(l.waiting) > 0 {
		why, ok := l.refused[l.waiting[0]]
		if !ok {
			return
		}
		out.Refusal(l.waiting[0], []byte("refused "+why.Code+" "+string(why.Cause)+"\n"))
		delete(l.refused, l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// patience bounds every wait. None takes nearly as long; a machine may be busy.
const patience = time.Minute

// patient fills in limits that no busy machine reaches, where a test does not mean them.
func (l Limits) patient() Limits {
	for _, t := range []*time.Duration{&l.HandshakeTimeout, &l.DecideTimeout, &l.RecordTimeout, &l.DialTimeout, &l.PluginTimeout} {
		if *t == 0 {
			*t = patience
		}
	}
	return l
}

// ward is a gateway with one device behind it.
type ward struct {
	t       testing.TB
	ca      *authority
	gateway *Gateway
	plugin  *plugins.Plugin
	device  *recorder
	log     *audit.Log
	logDir  string
	address string
}

// decider is a policy as a function.
type decider func(*policy.Request) policy.Decision

func (d decider) Decide(_ context.Context, r *policy.Request) policy.Decision {
	dec := d(r)
	dec.Revision, dec.Data = "sha256:test", "sha256:test"
	return dec
}

// allowBut allows everything but operations whose name ends in one of names.
func allowBut(names ...string) decider {
	return func(r *policy.Request) policy.Decision {
		for _, n := range names {
			if strings.HasSuffix(r.Operation.Name, ":"+n) || r.Phase == policy.PhaseConnect && n == "connect" {
				return policy.Decision{Reason: "test", Cause: policy.CausePolicy}
			}
		}
		return policy.Decision{Allow: true, Cause: policy.CausePolicy}
	}
}

type wardConfig struct {
	protocol string // default "lines"
	policy   policy.Decider
	limits   Limits
	reply    func(line string) string // default: "ok LINE"
	unseen   bool
	answer   func([]byte) error
	callOut  *CallOut
	windows  int
	idle     time.Duration
	sessions int // at a time
	logDir   string
	logger   *slog.Logger // default: none, or the test's if it is verbose
}

func newWard(t testing.TB, c wardConfig) *ward {
	t.Helper()
	if c.protocol == "" {
		c.protocol = "lines"
	}
	if c.policy == nil {
		c.policy = allowBut("no")
	}
	w := &ward{t: t, ca: newAuthority(t), device: newRecorder(t, c.reply), logDir: c.logDir}
	if w.logDir == "" {
		w.logDir = t.TempDir()
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	if testing.Verbose() {
		quiet = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if c.logger != nil {
		quiet = c.logger
	}
	var err error
	w.log, err = audit.Open(audit.Config{Dir: w.logDir, Origin: "cordon.test/ward", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w.plugin = plugins.New(plugins.Config{
		Protocol: c.protocol, Services: map[uint32][]byte{7: []byte("{}")}, RuntimeDir: t.TempDir(),
		Patience: patience, Windows: c.windows, Logger: quiet,
	})
	w.gateway = New(Config{
		Name: "ward", TrustDomain: "test.example", Certs: w.ca, Policy: c.policy, Log: w.log, Limits: c.limits.patient(), Logger: quiet,
		Routes: []Route{{
			Listen: "127.0.0.1:0", Device: policy.Device{ID: "dev-1", Class: "test", Labels: map[string]string{}, State: policy.StateActive},
			Service: policy.Service{Name: "lines", Protocol: c.protocol}, Address: w.device.address(), Plugin: w.plugin, Number: 7,
			UnseenReply: c.unseen, CallOut: c.callOut, Answer: c.answer, IdleTimeout: c.idle, Sessions: c.sessions,
		}},
	})
	listeners, err := w.gateway.Listen()
	if err != nil {
		t.Fatal(err)
	}
	w.address = listeners[0].Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	plugging, unplug := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.plugin.Run(plugging); err != nil {
			t.Error(err)
		}
	})
	starting, cancel := context.WithTimeout(ctx, patience)
	w.plugin.WaitRunning(starting) // it takes longer to start a process than a client may wait
	cancel()
	served := make(chan error, 1)
	go func() { served <- w.gateway.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		unplug()
		running.Wait()
		w.device.close()
		if err := w.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// dial connects as a user with the given roles.
func (w *ward) dial(roles ...string) *peer {
	w.t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.address,
		certs.ClientConfig(w.ca.pool, w.ca.client(w.t, "user", "dr.kim", roles, time.Hour), "localhost"))
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	w.t.Cleanup(func() { c.Close() })
	return &peer{w.t, c}
}

// peer is a client that expects things.
type peer struct {
	t testing.TB
	*tls.Conn
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatalf("send %.40q: %v", s, err)
	}
}

func (p *peer) line() string {
	p.t.Helper()
	var b []byte
	for one := make([]byte, 1); ; {
		if _, err := p.Read(one); err != nil {
			p.t.Fatalf("wait for a line after %q: %v", b, err)
		}
		if one[0] == '\n' {
			return string(b)
		}
		b = append(b, one[0])
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	if got := p.line(); got != want && !(strings.HasSuffix(want, "*") && strings.HasPrefix(got, want[:len(want)-1])) {
		p.t.Fatalf("got line %.100q, want %q", got, want)
	}
}

// ends waits for the gateway to close the connection and returns what came before.
func (p *peer) ends() string {
	p.t.Helper()
	b, err := io.ReadAll(p.Conn)
	if isTimeout(err) {
		p.t.Fatalf("the session goes on; it got %q", b)
	}
	return string(b)
}

// recorder is a device: it keeps every byte of every connection, and answers each line.
type recorder struct {
	l     net.Listener
	reply func(string) string
	wg    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	got   []*bytes.Buffer
}

func newRecorder(t testing.TB, reply func(string) string) *recorder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if reply == nil {
		reply = func(line string) string { return "ok " + line + "\n" }
	}
	r := &recorder{l: l, reply: reply}
	r.wg.Go(r.serve)
	return r
}

func (r *recorder) address() string { return r.l.Addr().String() }

func (r *recorder) serve() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		buf := new(bytes.Buffer)
		r.mu.Lock()
		r.conns, r.got = append(r.conns, c), append(r.got, buf)
		r.mu.Unlock()
		r.wg.Go(func() { r.answer(c, buf) })
	}
}

func (r *recorder) answer(c net.Conn, buf *bytes.Buffer) {
	defer c.Close()
	var line []byte
	for chunk := make([]byte, 64<<10); ; {
		n, err := c.Read(chunk)
		r.mu.Lock()
		buf.Write(chunk[:n])
		r.mu.Unlock()
		for _, b := range chunk[:n] {
			if b != '\n' {
				line = append(line, b)
				continue
			}
			if _, err := io.WriteString(c, r.reply(string(line))); err != nil {
				return
			}
			line = line[:0]
		}
		if err != nil {
			return
		}
	}
}

// received returns what connection i has received.
func (r *recorder) received(i int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i >= len(r.got) {
		return ""
	}
	return r.got[i].String()
}

// all returns everything every connection has received.
func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, g := range r.got {
		b.Write(g.Bytes())
	}
	return b.String()
}

func (r *recorder) close() {
	r.l.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// authority issues certificates after Cordon's profile, with crypto/x509 alone.
type authority struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	pool    *x509.CertPool
	server  *tls.Certificate
	mu      sync.Mutex
	revoked map[string]bool
	epoch   uint64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool(), revoked: map[string]bool{}}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(t, template, template, &a.key.PublicKey)
	a.pool.AddCert(a.cert)
	key := newKey(t)
	leaf := a.sign(t, &x509.Certificate{
		DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey)
	a.server = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a *authority) sign(t testing.TB, template, parent *x509.Certificate, pub *ecdsa.PublicKey) *x509.Certificate {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client issues a client certificate that ends after ttl, which may be negative.
func (a *authority) client(t testing.TB, kind, id string, roles []string, ttl time.Duration) tls.Certificate {
	t.Helper()
	key := newKey(t)
	claims := claimsOf(t, roles)
	leaf := a.sign(t, &x509.Certificate{
		URIs:      []*url.URL{{Scheme: "spiffe", Host: "test.example", Path: "/" + kind + "/" + id}},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(ttl),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{claims},
	}, a.cert, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// claimsOf writes the profile's extension.
func claimsOf(t testing.TB, roles []string) pkix.Extension {
	t.Helper()
	if roles == nil {
		roles = []string{}
	}
	list, err := json.Marshal(roles)
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.MarshalWithParams(`{"roles":`+string(list)+`,"groups":[],"mfa":false}`, "utf8")
	if err != nil {
		t.Fatal(err)
	}
	var oid asn1.ObjectIdentifier
	for _, arc := range strings.Split(certs.ClaimsOID, ".") {
		n, err := strconv.Atoi(arc)
		if err != nil {
			t.Fatal(err)
		}
		oid = append(oid, n)
	}
	return pkix.Extension{Id: oid, Value: value}
}

func (a *authority) Certificates() []*tls.Certificate     { return []*tls.Certificate{a.server} }
func (a *authority) Roots() (own, foreign *x509.CertPool) { return a.pool, nil }
func (a *authority) CheckRevocation(chain []*x509.Certificate) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked[chain[0].SerialNumber.String()] {
		return fmt.Errorf("%w: serial %s", certs.ErrRevoked, certs.Serial(chain[0].SerialNumber))
	}
	return nil
}
func (a *authority) Epoch() uint64 { a.mu.Lock(); defer a.mu.Unlock(); return a.epoch }
func (a *authority) revoke(serial *big.Int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked[serial.String()] = true
	a.epoch++
}
