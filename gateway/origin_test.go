package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/policy"
)

// mover is a gateway for a device that clients ask, and that calls out because of it.
type mover struct {
	*caller
	both            *Gateway
	inside, outside string // where clients and the device connect
}

func newMover(t *testing.T) *mover {
	c := newCaller(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(string) string { return "!done\n" }}, "localhost", "127.0.0.1")
	g := c.gateway
	out := g.Routes[0]
	in := out
	in.CallOut, in.Listen, in.Service.Name = nil, "127.0.0.1:0", "inside"
	other := out
	other.Device.ID, other.CallOut = "dev-2", new(CallOut)
	*other.CallOut = *out.CallOut
	other.CallOut.From = []netip.Addr{netip.MustParseAddr("127.0.0.2")}
	both := New(Config{Name: "ward", TrustDomain: g.TrustDomain, Certs: g.Certs, Policy: g.Policy, Log: g.Log, Routes: []Route{out, in, other}, Logger: g.Logger})
	listeners, err := both.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- both.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &mover{c, both, listeners[1].Addr().String(), listeners[0].Addr().String()}
}

// ask is a client's, in a session that goes on.
func (m *mover) ask(t *testing.T, line string) (client *peer, answer string) {
	t.Helper()
	m.address = m.inside
	p := m.dial("nurse")
	p.send(line + "\n")
	return p, p.line()
}

// push is the device's. It returns what policy was told of the operation.
func (m *mover) push(t *testing.T, line string) policy.Attributes {
	t.Helper()
	return m.pushFrom(t, "127.0.0.1", line)
}

func (m *mover) pushFrom(t *testing.T, address, line string) policy.Attributes {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	conn, err := d.Dial("tcp", m.outside)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	got := says(t, conn, line+"\n")
	if got != "!done\n" {
		t.Fatalf("%s: the device was told %q", line, got)
	}
	all := m.decided(t)
	return all[len(all)-1].request.Operation.Attributes
}

type decided struct {
	code    string
	request policy.Request
}

// decided are the operations in the log.
func (m *mover) decided(t *testing.T) (list []decided) {
	t.Helper()
	r, err := audit.OpenReader(m.logDir)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Entries(0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		d := decided{code: e.Code}
		if json.Unmarshal(e.Input, &d.request) == nil && d.request.Phase == policy.PhaseOperation {
			list = append(list, d)
		}
	}
	return list
}

// What a device does by itself because of what somebody asked of it, policy is told with who that
// was, and the log with the decision.
func TestOrigin(t *testing.T) {
	m := newMover(t)
	unknown := func(when, line string) {
		t.Helper()
		a := m.push(t, line)
		if a.Get(policy.Origin) != policy.OriginUnknown || a.Get(policy.OriginCode) != nil || a.Get(policy.OriginSubject) != nil {
			t.Errorf("%s: %v", when, a)
		}
	}
	if a := m.push(t, "?store 1"); len(a) != 0 {
		t.Errorf("of its own: %v", a)
	}
	unknown("before anything was asked", "?store because=K")
	client, answer := m.ask(t, "?move expects=K")
	if answer != "!done" {
		t.Fatalf("the client was told %q", answer)
	}
	var code string
	for _, d := range m.decided(t) {
		if d.request.Operation.Name == "talk:move" {
			code = d.code
		}
	}
	for range 2 {
		a := m.push(t, "?store because=K")
		if a.Get(policy.Origin) != policy.OriginAllowed || a.Get(policy.OriginCode) != code || a.Get(policy.OriginSubject) != "user/dr.kim" || code == "" {
			t.Errorf("after it was asked for with the code %s: %v", code, a)
		}
	}
	unknown("with other words", "?store because=L")
	if _, answer := m.ask(t, "?no expects=M"); !strings.HasPrefix(answer, "!refused") {
		t.Fatalf("the client was told %q", answer)
	}
	unknown("after it was refused", "?store because=M")

	// The device's own asking is nothing that was asked of it, and another device is another.
	m.push(t, "?move expects=N")
	unknown("asked by the device itself", "?store because=N")
	if reporter, answer := m.ask(t, "?report because=N"); answer != "!done" {
		t.Errorf("a client that follows what the device asked was told %q", answer)
	} else {
		reporter.Close()
		all := m.decided(t)
		if a := all[len(all)-1].request.Operation.Attributes; a.Get(policy.Origin) != policy.OriginAllowed || a.Get(policy.OriginSubject) != "device/dev-1" {
			t.Errorf("asked by the device, and followed by a client: %v", a)
		}
	}
	if a := m.pushFrom(t, "127.0.0.2", "?store because=K"); a.Get(policy.Origin) != policy.OriginUnknown {
		t.Errorf("by another device: %v", a)
	}

	// Who asked is not permitted any more.
	m.both.Replace(decider(func(r *policy.Request) policy.Decision {
		return policy.Decision{Allow: r.Subject.Kind == policy.KindDevice, Cause: policy.CausePolicy}
	}), nil)
	unknown("after who asked was put out", "?store because=K")
	client.Close()
}

// No plugin says where an operation comes from.
func TestOriginForged(t *testing.T) {
	for _, name := range []string{policy.Origin, policy.OriginCode, policy.OriginSubject} {
		m := newMover(t)
		m.address = m.outside
		conn := m.caller.call(t)
		io.WriteString(conn, "?store "+name+"=allowed\n")
		if b, err := io.ReadAll(conn); len(b) > 0 || err != nil && isTimeout(err) {
			t.Errorf("%s: the device was told %q, %v", name, b, err)
		}
		if got := m.destination.all(); got != "" {
			t.Errorf("%s: the destination received %q", name, got)
		}
	}
}

// What is remembered is bounded, and ends.
func TestOrigins(t *testing.T) {
	var o origins
	at := func(n int) originKey { return originKey{"talk", "dev-1", policy.Inbound, string(rune('a' + n))} }
	now := time.Now()
	for i := range 3 * maxOrigins {
		o.add(at(i), &origin{began: now, used: now.Add(time.Duration(i))})
	}
	if len(o.known) > maxOrigins || len(o.known) < maxOrigins/2 || o.find(at(0)) != nil || o.find(at(3*maxOrigins-1)) == nil {
		t.Errorf("%d are kept", len(o.known))
	}
	last := at(3*maxOrigins - 1)
	o.known[last].began = now.Add(-2 * originIdle)
	o.known[last].used = now.Add(-originIdle - time.Second)
	if o.find(last) != nil {
		t.Error("one that nothing followed from for long is found")
	}
	waiting := at(3*maxOrigins - 3)
	o.known[waiting].began = now.Add(-2 * originIdle)
	o.known[waiting].used = o.known[waiting].began
	if o.find(waiting) == nil {
		t.Error("one that nothing has followed from yet is not found")
	}
	again := at(3*maxOrigins - 2)
	o.known[again].began = now.Add(-originWhole - time.Second)
	if o.find(again) != nil {
		t.Error("one that was asked for yesterday is found")
	}
	kept := len(o.known)
	o.swept = now.Add(-2 * originIdle)
	o.add(at(0), &origin{began: now, used: now})
	if len(o.known) != kept-1 { // the two are gone
		t.Errorf("%d of %d are kept", len(o.known), kept)
	}
}

// What is not permitted any more is the origin of nothing, though the operation is over, and its
// session too.
func TestOriginPermitted(t *testing.T) {
	for _, ended := range []bool{false, true} {
		for _, phase := range []policy.Phase{policy.PhaseConnect, policy.PhaseOperation} {
			m := newMover(t)
			client, _ := m.ask(t, "?move expects=K")
			if ended {
				m.leave(t, client)
			}
			store := func(when string, permitted bool, want string) {
				t.Helper()
				m.both.Replace(decider(func(r *policy.Request) policy.Decision {
					return policy.Decision{Allow: permitted || r.Subject.Kind == policy.KindDevice || r.Phase != phase, Cause: policy.CausePolicy}
				}), nil)
				for range 2 {
					if a := m.push(t, "?store because=K"); a.Get(policy.Origin) != want {
						t.Errorf("ended %t, %s of %s: %v", ended, when, phase, a)
					}
				}
			}
			store("before the refusal", true, policy.OriginAllowed)
			store("after the refusal", false, policy.OriginUnknown)
		}
	}
}

// What is permitted until a time is the origin of nothing behind it.
func TestOriginExpires(t *testing.T) {
	m := newMover(t)
	end := time.Now().Add(time.Hour)
	m.both.Replace(decider(func(r *policy.Request) policy.Decision {
		if r.Subject.Kind == policy.KindDevice || r.Phase == policy.PhaseConnect {
			return policy.Decision{Allow: true}
		}
		return policy.Decision{Allow: r.NowNs < end.UnixNano(), ValidUntil: end.UnixNano(), Cause: policy.CausePolicy}
	}), nil)
	client, _ := m.ask(t, "?move expects=K")
	m.leave(t, client)
	if a := m.push(t, "?store because=K"); a.Get(policy.Origin) != policy.OriginAllowed {
		t.Errorf("in time: %v", a)
	}
	for _, o := range m.both.origins.known {
		if o.due != end.UnixNano() {
			t.Errorf("due %d, not %d", o.due, end.UnixNano())
		}
		end = time.Now()
		o.due = end.UnixNano()
	}
	if a := m.push(t, "?store because=K"); a.Get(policy.Origin) != policy.OriginUnknown {
		t.Errorf("too late: %v", a)
	}
}

// A certificate that was taken back is the origin of nothing, one that ran out after its session
// ended still is.
func TestOriginRevoked(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		m := newMover(t)
		life := 8 * time.Second
		if revoked {
			life = time.Hour
		}
		shown := m.ca.client(t, "user", "dr.kim", []string{"nurse"}, life)
		conn, err := tls.Dial("tcp", m.inside, certs.ClientConfig(m.ca.pool, shown, "localhost"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		client := &peer{t, conn}
		client.send("?move expects=K\n")
		if answer := client.line(); answer != "!done" {
			t.Fatalf("the client was told %q", answer)
		}
		m.leave(t, client)
		if a := m.push(t, "?store because=K"); a.Get(policy.Origin) != policy.OriginAllowed {
			t.Errorf("before: %v", a)
		}
		want := policy.OriginAllowed
		if revoked {
			m.ca.revoke(shown.Leaf.SerialNumber)
			want = policy.OriginUnknown
		} else {
			time.Sleep(time.Until(shown.Leaf.NotAfter))
			m.both.Replace(decider(func(*policy.Request) policy.Decision { return policy.Decision{Allow: true} }), nil)
		}
		if a := m.push(t, "?store because=K"); a.Get(policy.Origin) != want {
			t.Errorf("revoked %t: %v", revoked, a)
		}
	}
}

// leave ends a client's session.
func (m *mover) leave(t *testing.T, client *peer) {
	t.Helper()
	client.Close()
	for deadline := time.Now().Add(patience); len(m.both.live()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are left", len(m.both.live()))
		}
	}
}

// Who asks for much has nothing forgotten that others asked for.
func TestOriginsShared(t *testing.T) {
	var o origins
	now := time.Now()
	first := originKey{"talk", "dev-1", policy.Inbound, "K"}
	o.add(first, &origin{subject: "user/dr.kim", began: now, used: now})
	for i := range 2 * maxOrigins {
		o.add(originKey{"talk", "dev-2", policy.Outbound, string(rune('a' + i))}, &origin{subject: "device/dev-2", began: now, used: now.Add(time.Duration(i + 1))})
	}
	if o.find(first) == nil || len(o.known) > maxOrigins {
		t.Errorf("%d are kept, and of them %v", len(o.known), o.known[first])
	}
}
