package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cordon/certs"
	"cordon/policy"
)

// caller is a device that calls out, and the destination it means.
type caller struct {
	*ward
	destination *recorder
}

// newCaller makes a gateway that takes a device's calls. Its destination speaks TLS, asks for
// a certificate and answers each line with reply.
func newCaller(t *testing.T, c wardConfig, name, from string) *caller {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if c.reply == nil {
		c.reply = func(string) string { return "" }
	}
	ca := newAuthority(t)
	config := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}
	for _, own := range ca.Certificates() {
		config.Certificates = append(config.Certificates, *own)
	}
	d := &recorder{l: tls.NewListener(l, config), reply: c.reply}
	d.wg.Go(d.serve)
	t.Cleanup(d.close)
	badge := certs.ClientConfig(ca.pool, ca.client(t, "device", "dev-1", []string{"device"}, time.Hour), name)
	c.callOut = &CallOut{
		Listen: func(context.Context) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		From:   []netip.Addr{netip.MustParseAddr(from)},
		Peer:   policy.Subject{ID: "archive.example", Kind: policy.KindService, Roles: []string{"destination"}, Groups: []string{}},
		To:     l.Addr().String(),
		TLS:    func(context.Context) (*tls.Config, error) { return badge, nil },
	}
	return &caller{newWard(t, c), d}
}

// call connects as the device does, in plain.
func (c *caller) call(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// says sends text, ends there and returns all that comes back.
func says(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(conn)
	if err != nil && isTimeout(err) {
		t.Fatalf("the session goes on; it got %q", b)
	}
	return string(b)
}

// What a device says is decided as anybody's, and so is what a destination asks of it.
func TestCallOut(t *testing.T) {
	told := make(chan string, 10)
	c := newCaller(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(line string) string {
		told <- line
		if line == "?store 1" {
			return "?no 9\n?take 1\n!stored\n"
		}
		return ""
	}}, "localhost", "127.0.0.1")
	device := c.call(t)
	if _, err := io.WriteString(device, "?no 2\n?store 1\n"); err != nil {
		t.Fatal(err)
	}
	hear := func() string {
		select {
		case line := <-told:
			return line
		case <-time.After(patience):
			return ""
		}
	}
	if first, second := hear(), hear(); first != "?store 1" || !strings.HasPrefix(second, "!refused ") {
		t.Errorf("the destination received %q and %q", first, second)
	}
	got := says(t, device, "")
	refused, rest, _ := strings.Cut(got, "\n")
	if !strings.HasPrefix(refused, "!refused ") || rest != "?take 1\n!stored\n" {
		t.Errorf("the device was told %q", got)
	}
	asked := map[string]bool{}
	for _, r := range entries(t, c.ward) {
		asked[r.Subject.Kind+"/"+r.Subject.ID+" "+r.Session.Direction+" "+r.Operation.Name] = true
	}
	if want := map[string]bool{"device/dev-1 outbound ": true, "device/dev-1 outbound talk:store": true, "device/dev-1 outbound talk:no": true,
		"service/archive.example inbound talk:no": true, "service/archive.example inbound talk:take": true}; !maps.Equal(asked, want) {
		t.Errorf("the log says who asked as %v", asked)
	}
}

// A plugin makes refusals up, so a device only hears one that is known to be nothing else.
func TestCallOutMute(t *testing.T) {
	for name, answer := range map[string]func([]byte) error{
		"no answer":      nil,
		"another answer": func([]byte) error { return io.ErrUnexpectedEOF },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, wardConfig{protocol: "talk", answer: answer, reply: func(string) string { return "!done\n" }}, "localhost", "127.0.0.1")
			if got := says(t, c.call(t), "?no 1\n"); got != "" {
				t.Errorf("the device was told %q", got)
			}
			if got := c.destination.all(); got != "" {
				t.Errorf("the destination received %q", got)
			}
		})
	}
}

// Who is not the device is not heard, and who is not the destination hears nothing.
func TestCallOutStrangers(t *testing.T) {
	t.Run("at the device's end", func(t *testing.T) {
		c := newCaller(t, wardConfig{protocol: "talk", answer: answerTalk}, "localhost", "127.0.0.9")
		if got := says(t, c.call(t), ""); got != "" {
			t.Errorf("a stranger was told %q", got)
		}
		if n := len(entries(t, c.ward)); n != 0 {
			t.Errorf("the log holds %d entries", n)
		}
	})
	t.Run("at the destination's", func(t *testing.T) {
		c := newCaller(t, wardConfig{protocol: "talk", answer: answerTalk}, "elsewhere.example", "127.0.0.1")
		if got := says(t, c.call(t), "?store 1\n"); !strings.HasPrefix(got, "!refused ") {
			t.Errorf("the device was told %q", got)
		}
		if got := c.destination.all(); got != "" {
			t.Errorf("the destination received %q", got)
		}
	})
}

// Replies that clients hear at once a device hears only behind the plugin.
func TestCallOutHeld(t *testing.T) {
	c := newCaller(t, wardConfig{reply: func(line string) string { return "ok\nand more\n" }}, "localhost", "127.0.0.1")
	if got := says(t, c.call(t), "store\n"); got != "ok\n" {
		t.Errorf("the device received %q", got)
	}
}

// Two devices call one address: who calls tells which of them it is, and a third is not heard.
func TestCallOutShared(t *testing.T) {
	c := newCaller(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(string) string { return "!done\n" }}, "localhost", "127.0.0.1")
	g := c.gateway
	first := g.Routes[0]
	second := first
	second.Device.ID, second.CallOut = "dev-2", new(CallOut)
	*second.CallOut = *first.CallOut
	second.CallOut.From = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
	elsewhere := second
	elsewhere.Device.Segment = "other"
	shared := New(Config{Name: "ward", TrustDomain: g.TrustDomain, Certs: g.Certs, Policy: g.Policy, Log: g.Log, Routes: []Route{first, second, elsewhere}, Logger: g.Logger})
	listeners, err := shared.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if listeners[0] != listeners[1] || listeners[0] == listeners[2] {
		t.Error("not the call-outs of one place share a listener")
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- shared.Serve(ctx, listeners) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c.address = listeners[0].Addr().String()
	for from, want := range map[string]string{"127.0.0.1": "!done\n", "127.0.0.2": "!done\n", "127.0.0.3": ""} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
		conn, err := d.Dial("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if got := says(t, conn, "?store "+from+"\n"); got != want {
			t.Errorf("%s was told %q, want %q", from, got, want)
		}
	}
	ids := map[string]string{}
	for _, r := range entries(t, c.ward) {
		ids[r.Session.Client] += r.Subject.ID + "/" + r.Device.ID + " "
	}
	if want := map[string]string{"127.0.0.1": "dev-1/dev-1 dev-1/dev-1 ", "127.0.0.2": "dev-2/dev-2 dev-2/dev-2 "}; !maps.Equal(ids, want) {
		t.Errorf("the log names %v", ids)
	}
}
