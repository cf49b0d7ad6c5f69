package gateway

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"cordon/policy"
)

// While the entrance is closed, sessions go on and clients wait; when it opens again, they are
// served.
func TestPause(t *testing.T) {
	w := newWard(t, wardConfig{})
	before := w.dial()
	before.send("one x\n")
	before.expect("ok one x")
	g := w.gateway
	// A second descriptor keeps the socket, as that of another process does.
	g.entrance.mu.Lock()
	f, err := g.entrance.doors[0].Listener.(*net.TCPListener).File()
	g.entrance.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g.Pause()
	before.send("two x\n")
	before.expect("ok two x")
	if held := g.Held(); held["dev-1/lines"] != 1 || len(held) != 1 {
		t.Errorf("sessions held: %v", held)
	}
	if err := g.Turns(t.Context()); err != nil {
		t.Errorf("while nothing is accepted: %v", err)
	}
	served := make(chan *peer, 1)
	go func() { served <- w.dial() }()
	select {
	case <-served:
		t.Error("a client was served while the entrance was closed")
	case <-time.After(100 * time.Millisecond):
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	g.Resume([]net.Listener{l})
	after := <-served
	after.send("three x\n")
	after.expect("ok three x")
}

// Sessions of another process take places of a device that has few.
func TestElsewhere(t *testing.T) {
	w := newWard(t, wardConfig{sessions: 1})
	w.gateway.Elsewhere(map[string]int{"dev-1/lines": 1})
	c := w.dial()
	c.send("one x\n")
	c.expect("refused *")
	c.Close()
	w.gateway.Elsewhere(nil)
	c = w.dial()
	c.send("one x\n")
	c.expect("ok one x")
}

// stuckPolicy answers when it is let.
type stuckPolicy struct{ mu sync.Mutex }

func (s *stuckPolicy) Decide(context.Context, *policy.Request) policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return policy.Decision{Allow: true, Cause: policy.CausePolicy}
}

// What hangs is told apart from what refuses.
func TestTurns(t *testing.T) {
	hangs := &stuckPolicy{}
	w := newWard(t, wardConfig{policy: hangs, limits: Limits{Sessions: 1}})
	ask := func(wait time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		return w.gateway.Turns(ctx)
	}
	const short = 300 * time.Millisecond // for what does not answer at all
	if err := ask(patience); err != nil {
		t.Errorf("at rest: %v", err)
	}
	c := w.dial()
	c.send("one x\n")
	c.expect("ok one x")
	if err := ask(patience); err != nil { // the loop waits for a place
		t.Errorf("full: %v", err)
	}
	c.Close()
	hangs.mu.Lock()
	if err := ask(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a policy that hangs: %v", err)
	}
	hangs.mu.Unlock()
	// A loop that does not get on: its mutex is what it needs for the next client, once the
	// last one has left.
	eventually(func() bool { return len(w.gateway.Held()) == 0 })
	w.gateway.mu.Lock()
	silent, err := net.Dial("tcp", w.address)
	if err == nil {
		defer silent.Close()
		eventually(func() bool { err = ask(short); return err != nil }) // it may not have come to it yet
	}
	w.gateway.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a loop that hangs: %v", err)
	}
	if err := ask(patience); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
