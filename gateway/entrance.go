package gateway

import (
	"context"
	"maps"
	"net"
	"sync"
	"sync/atomic"
)

// entrance is where clients come in while a gateway serves. It can be closed before the gateway
// ends, and opened again: another process of the same gateway may accept meanwhile.
type entrance struct {
	mu        sync.Mutex
	ctx       context.Context // Serve's; nil: it does not run
	doors     []*door
	stop      context.CancelFunc // of accepting
	accepting sync.WaitGroup
}

// door is an open listener.
type door struct {
	net.Listener
	turns atomic.Uint64 // of the loop that accepts
	asked chan struct{} // wakes the loop when it waits for a slot
}

// open makes g accept on listeners, one per route in their order, until ctx is done.
func (g *Gateway) open(ctx context.Context, listeners []net.Listener) {
	e := &g.entrance
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx = ctx
	g.admit(listeners)
}

// admit is open while the entrance's mutex is held.
func (g *Gateway) admit(listeners []net.Listener) {
	e := &g.entrance
	opened, stop := context.WithCancel(e.ctx)
	e.stop = stop
	for i, l := range listeners {
		d := &door{Listener: l, asked: make(chan struct{}, 1)}
		e.doors = append(e.doors, d)
		e.accepting.Go(func() { g.accept(e.ctx, opened, &g.Routes[i], d) })
	}
}

// Pause closes the listeners and returns when nothing is accepted any more. Sessions, those
// that are shaking hands too, go on under Serve. A listener's socket lives on in other
// descriptors of it, and the kernel keeps clients waiting there.
func (g *Gateway) Pause() {
	g.entrance.mu.Lock()
	defer g.entrance.mu.Unlock()
	g.shut()
}

// shut is Pause while the entrance's mutex is held.
func (g *Gateway) shut() {
	e := &g.entrance
	if e.stop == nil {
		return
	}
	e.stop()
	for _, d := range e.doors {
		d.Close()
	}
	e.accepting.Wait()
	e.doors, e.stop = nil, nil
}

// Resume accepts on listeners, as Listen ordered them, after Pause. If Serve is over, it closes
// them.
func (g *Gateway) Resume(listeners []net.Listener) {
	g.entrance.mu.Lock()
	defer g.entrance.mu.Unlock()
	if g.entrance.ctx != nil {
		g.admit(listeners)
		return
	}
	for _, l := range listeners {
		l.Close()
	}
}

// close is Pause for good.
func (g *Gateway) close() {
	g.entrance.mu.Lock()
	defer g.entrance.mu.Unlock()
	g.shut()
	g.entrance.ctx = nil
}

// Accepting reports whether clients are served.
func (g *Gateway) Accepting() bool {
	g.entrance.mu.Lock()
	defer g.entrance.mu.Unlock()
	return g.entrance.stop != nil
}

// Wait returns when no session is left, or ctx is done. Nothing may be accepted meanwhile.
func (g *Gateway) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		g.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Held counts the sessions with devices by Route.Name, those that are still shaking hands
// included: while nothing is accepted, the counts only fall.
func (g *Gateway) Held() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := maps.Clone(g.elsewhere)
	if held == nil {
		held = map[string]int{}
	}
	for r, n := range g.entered {
		if n > 0 {
			held[r.Name()] += n
		}
	}
	return held
}

// Elsewhere says how many sessions other processes of this gateway have with devices, by
// Route.Name. They count towards Route.Sessions.
func (g *Gateway) Elsewhere(counts map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.elsewhere = maps.Clone(counts)
}
