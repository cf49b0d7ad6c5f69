package gateway

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"cordon/gateway/timing"
	"cordon/policy"
)

// n is how often something was decided on the ward's first route.
func (c Counts) n(class policy.Class, allow bool, cause policy.Cause) uint64 {
	for _, d := range c.Routes[0].Decisions {
		if d.Class == class && d.Allow == allow && d.Cause == cause {
			return d.N
		}
	}
	return 0
}

func TestCounts(t *testing.T) {
	w := newWard(t, wardConfig{sessions: 1})
	c := w.dial()
	for _, line := range []string{"one", "two"} {
		c.send(line + "\n")
		c.expect("ok " + line)
	}
	for _, line := range []string{"no", "bad"} {
		c.send(line + "\n")
		c.expect("refused *")
	}
	busy := w.dial()
	busy.send("one\n")
	busy.line()
	got := w.gateway.Counts()
	for _, want := range []struct {
		class policy.Class
		allow bool
		cause policy.Cause
		n     uint64
	}{
		{Connect, true, policy.CausePolicy, 2}, {policy.ClassWrite, true, policy.CausePolicy, 2}, {policy.ClassWrite, false, policy.CausePolicy, 1},
		{policy.ClassWrite, false, policy.CauseProtocol, 1}, {policy.ClassWrite, false, policy.CauseDoubt, 1}, {policy.ClassRead, true, policy.CausePolicy, 0},
	} {
		if n := got.n(want.class, want.allow, want.cause); n != want.n {
			t.Errorf("%s, allowed %v by %s: %d times, want %d", want.class, want.allow, want.cause, n, want.n)
		}
	}
	if r := got.Routes[0]; r.Sessions != 2 || r.Busy != 1 || r.Unreachable != 0 || got.Decide.Count < 4 || got.Record.Count < 6 || got.Record.Sum <= 0 {
		t.Errorf("counted %+v, %d decisions and %d records timed", r, got.Decide.Count, got.Record.Count)
	}
	c.Close()
	busy.Close()
	stranger, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(stranger, "GET / HTTP/1.1\r\n\r\n")
	stranger.Read(make([]byte, 100))
	stranger.Close()
	if !eventually(func() bool {
		got = w.gateway.Counts()
		return got.Routes[0].Sessions == 0 && got.Routes[0].Ends["closed"] == 2 && got.Handshakes["not_tls"] == 1
	}) {
		t.Errorf("sessions and a stranger are counted as %+v, %v", got.Routes[0], got.Handshakes)
	}
}

// Whatever an inspector calls operations, there is one count for each class.
func TestCountsBounded(t *testing.T) {
	w := newWard(t, wardConfig{})
	before := w.gateway.Counts()
	c := w.dial()
	for i := range 300 {
		c.send(fmt.Sprintf("op%d\n", i))
		c.expect(fmt.Sprintf("ok op%d", i))
	}
	after := w.gateway.Counts()
	if len(after.Routes[0].Decisions) != len(before.Routes[0].Decisions) || after.n(policy.ClassWrite, true, policy.CausePolicy) != 300 {
		t.Errorf("%d counts, before %d; %d writes", len(after.Routes[0].Decisions), len(before.Routes[0].Decisions), after.n(policy.ClassWrite, true, policy.CausePolicy))
	}
	var x tally
	x.decided("firmware", &policy.Decision{Allow: true})
	x.decided("", &policy.Decision{Cause: "whim"})
	i := slices.Index(classes, policy.ClassUnknown)
	if x.decisions[i][0].Load() != 1 || x.decisions[i][1].Load() != 1 {
		t.Error("a class that is none is not counted as unknown")
	}
}

// Every reason for a session's end has its word.
func TestEndWords(t *testing.T) {
	for _, c := range []struct {
		cause error
		want  string
	}{
		{nil, "closed"}, {errIdle, "idle"}, {errHalf, "idle"}, {errStalled, "stalled"}, {errDrained, "drained"}, {errWithdrawn, "withdrawn"}, {errPermitted, "withdrawn"},
		{errEnd, "inspector"}, {violates("x"), "contract"}, {errMute, "mute"}, {errUnasked, "mute"}, {errFull, "full"}, {net.ErrClosed, "plugin"},
		{fmt.Errorf("%w: x", errWithdrawn), "withdrawn"},
	} {
		if got := endWords[(&session{cause: c.cause}).endedAs()]; got != c.want { // without an inspection, for want of a plugin
			t.Errorf("%v ends a session as %q, want %q", c.cause, got, c.want)
		}
	}
}

// BenchmarkCounting is what an operation pays for being counted and timed, alone and where all count at once.
func BenchmarkCounting(b *testing.B) {
	var s sums
	var x tally
	d := policy.Decision{Allow: true, Cause: policy.CausePolicy}
	one := func() {
		began := timing.Clock()
		s.decide.Observe(timing.Clock() - began)
		began = timing.Clock()
		s.record.Observe(timing.Clock() - began)
		x.decided(policy.ClassWrite, &d)
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			one()
		}
	})
	b.Run("at once", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}
