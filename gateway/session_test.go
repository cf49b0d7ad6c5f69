package gateway

import (
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/certs"
	"cordon/policy"
)

func TestAllowedAndRefused(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.dial()
	c.send("one\n")
	c.expect("ok one")
	c.send("no\n")
	c.expect("refused *")
	c.send("two\n")
	c.expect("ok two")
	if got := w.device.all(); got != "one\ntwo\n" {
		t.Errorf("the device received %q", got)
	}
}

// Refusals keep their place among the replies to operations asked before and after.
func TestPipelined(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		if line == "slow" {
			time.Sleep(100 * time.Millisecond)
		}
		return "ok " + line + "\n"
	}})
	c := w.dial()
	c.send("a\nno\nslow\nno\nbad\nb\n")
	for _, want := range []string{"ok a", "refused *", "ok slow", "refused *", "refused *", "ok b"} {
		c.expect(want)
	}
	if got := w.device.all(); got != "a\nslow\nb\n" {
		t.Errorf("the device received %q", got)
	}
}

func TestRefusedConnect(t *testing.T) {
	w := newWard(t, wardConfig{policy: allowBut("connect")})
	c := w.dial()
	c.send("one\n")
	c.expect("refused *")
	if n := w.device.accepted(); n != 0 {
		t.Errorf("the device was connected to %d times", n)
	}
}

func TestUnreachable(t *testing.T) {
	w := newWard(t, wardConfig{})
	w.device.close()
	c := w.dial()
	c.send("one\n")
	if line := c.line(); !strings.HasSuffix(line, " "+string(policy.CauseDoubt)) {
		t.Errorf("got %q, want a refusal for doubt", line)
	}
}

// A device that takes one session gets one; the second is told to try again, and can once
// the first has ended.
func TestBusyDevice(t *testing.T) {
	w := newWard(t, wardConfig{sessions: 1})
	first := w.dial()
	first.send("one\n")
	first.expect("ok one")
	second := w.dial()
	second.send("two\n")
	if line := second.line(); !strings.HasSuffix(line, " "+string(policy.CauseDoubt)) {
		t.Errorf("got %q, want a refusal for doubt", line)
	}
	if n := w.device.accepted(); n != 1 {
		t.Errorf("the device was connected to %d times", n)
	}
	first.Close()
	if !eventually(func() bool {
		third := w.dial()
		defer third.Close()
		third.send("three\n")
		return third.line() == "ok three"
	}) {
		t.Error("the device stays busy")
	}
}

func TestNoValidCertificate(t *testing.T) {
	w := newWard(t, wardConfig{})
	other := newAuthority(t)
	revoked := w.ca.client(t, "user", "gone", nil, time.Hour)
	w.ca.revoke(revoked.Leaf.SerialNumber)
	for name, config := range map[string]*tls.Config{
		"none":     {RootCAs: w.ca.pool, ServerName: "localhost"},
		"expired":  certs.ClientConfig(w.ca.pool, w.ca.client(t, "user", "late", nil, -time.Hour), "localhost"),
		"other CA": certs.ClientConfig(w.ca.pool, other.client(t, "user", "stranger", nil, time.Hour), "localhost"),
		"revoked":  certs.ClientConfig(w.ca.pool, revoked, "localhost"),
		"TLS 1.2":  {RootCAs: w.ca.pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{w.ca.client(t, "user", "old", nil, time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.address, config)
			if err == nil {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				c.Write([]byte("one\n"))
				_, err = c.Read(make([]byte, 1))
			}
			if err == nil || isTimeout(err) {
				t.Errorf("error = %v, want a TLS alert", err)
			}
		})
	}
	// A PROXY header is not TLS, and names nobody.
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write([]byte("PROXY TCP4 10.0.0.1 10.0.0.2 1234 443\r\none\n"))
	for b := make([]byte, 256); err == nil; {
		_, err = c.Read(b)
	}
	if isTimeout(err) {
		t.Error("a client that does not speak TLS was kept")
	}
	if got := w.device.all(); got != "" || w.device.accepted() > 0 {
		t.Errorf("the device received %q", got)
	}
}

// A body far larger than a window passes, in both directions, byte for byte.
func TestLargeBody(t *testing.T) {
	big := strings.Repeat("0123456789abcde\n", 1<<16) // 1 MiB, each line answered
	w := newWard(t, wardConfig{reply: func(line string) string {
		switch {
		case strings.HasPrefix(line, "put"):
			return "ok\n"
		case line == "end":
			return strings.Repeat("x", 3<<20) + "\n"
		}
		return ""
	}})
	c := w.dial()
	go c.send("put*1048576\n" + big + "no*1048576\n" + big + "end\n")
	c.expect("ok")
	c.expect("refused *")
	if got := c.line(); len(got) != 3<<20 || strings.Trim(got, "x") != "" {
		t.Errorf("reply of %d bytes", len(got))
	}
	if got := w.device.all(); got != "put*1048576\n"+big+"end\n" {
		t.Errorf("the device received %d bytes, or other ones than were sent", len(got))
	}
}

func TestHalfClose(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		time.Sleep(50 * time.Millisecond)
		return "ok " + line + "\n"
	}})
	c := w.dial()
	c.send("one\n")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.ends(); got != "ok one\n" {
		t.Errorf("after half-close the client got %q", got)
	}
}

// One that closes its side in the middle of a dialogue gets every answer, refusals in
// their place.
func TestHalfCloseRefused(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		time.Sleep(50 * time.Millisecond)
		return "ok " + line + "\n"
	}})
	c := w.dial()
	c.send("one\nno\n")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.ends(); !strings.HasPrefix(got, "ok one\nrefused ") {
		t.Errorf("after half-close the client got %q", got)
	}
}

// What is left of an operation when the client goes is not passed on.
func TestCutOperation(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.dial()
	c.send("one\ntw")
	c.expect("ok one")
	c.CloseWrite()
	c.ends()
	if got := w.device.all(); got != "one\n" {
		t.Errorf("the device received %q", got)
	}
}

func TestUnaskedReply(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string { return "ok\nand this\n" }})
	c := w.dial()
	c.send("one\n")
	c.expect("ok")
	c.ends()
}

func TestPatience(t *testing.T) {
	why := &endings{}
	w := newWard(t, wardConfig{limits: Limits{StallTimeout: 200 * time.Millisecond}, idle: 1500 * time.Millisecond, logger: slog.New(why)})
	idle := w.dial()
	idle.send("one\n")
	stalled := w.dial()
	stalled.send("begun and not fini")
	stalled.ends()
	if got := idle.ends(); got != "ok one\n" {
		t.Errorf("the idle session got %q", got)
	}
	if got := slices.Sorted(slices.Values(why.of(t, "dev-1", 2))); got[0] != errStalled.Error() || got[1] != errIdle.Error() {
		t.Errorf("the sessions ended for %q", got)
	}
}

// An operation that is being decided holds up the end of its session, however long that takes
// and nothing else happens: neither is the session idle nor does a shutdown find it quiet.
func TestDecidingIsNoSilence(t *testing.T) {
	for name, c := range map[string]struct {
		idle, wait time.Duration
		drains     bool
	}{
		"idle":     {idle: time.Second, wait: 2500 * time.Millisecond},
		"shutdown": {wait: 4 * drainQuiet, drains: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := gate{make(chan struct{}), make(chan struct{})}
			w := newWard(t, wardConfig{idle: c.idle, limits: Limits{DrainTimeout: patience}, policy: g.at(policy.PhaseOperation, ":slow"),
				reply: func(string) string { return "" }})
			client := w.dial()
			client.send("slow\n")
			<-g.reached
			s := w.gateway.live()[0]
			var draining sync.WaitGroup
			defer draining.Wait()
			if c.drains {
				draining.Go(w.gateway.drain)
			}
			time.Sleep(c.wait) // in which the other direction hears nothing
			decided := time.Since(s.began)
			close(g.opened)
			w.reaches("slow\n")
			if !eventually(func() bool { return time.Duration(s.active.Load()) >= decided }) {
				t.Error("a decision is no sign of life")
			}
		})
	}
}

func TestSourceLimit(t *testing.T) {
	w := newWard(t, wardConfig{limits: Limits{SessionsPerSource: 2}})
	a, b := w.dial(), w.dial()
	a.send("a\n")
	a.expect("ok a")
	if c, err := net.DialTimeout("tcp", w.address, 5*time.Second); err == nil {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Error("a third session from one source was let in")
		}
		c.Close()
	}
	b.send("b\n")
	b.expect("ok b")
}

func TestDrain(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.dial()
	c.send("one\n")
	c.expect("ok one")
	done := make(chan struct{})
	go func() {
		w.gateway.drain()
		close(done)
	}()
	c.ends()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("an idle session held up the shutdown")
	}
}
