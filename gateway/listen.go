package gateway

import (
	"context"
	"errors"
	"net"
	"time"
)

// acceptPause is how long accepting rests after an error such as too many open files:
// long enough not to spin, short enough not to be noticed.
const acceptPause = 50 * time.Millisecond

// accept serves one listener until it is closed. A slot is taken before accepting, so a
// full gateway leaves further clients in the kernel's queue instead of dropping them.
func (g *Gateway) accept(ctx context.Context, r *Route, l net.Listener) error {
	for {
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-g.slots
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			g.Logger.Warn("accept", "listen", r.Listen, "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
				return nil
			}
			continue
		}
		source := sourceOf(c)
		r := g.called(r, source)
		if !g.enter(source) {
			g.Logger.Warn("too many sessions from one source", "source", source, "limit", g.Limits.SessionsPerSource)
			c.Close()
			<-g.slots
			continue
		}
		g.sessions.Add(1)
		serve := g.handle
		if r.CallOut != nil {
			serve = g.call
		}
		go serve(ctx, r, c.(*net.TCPConn), source)
	}
}

// leave gives back what accept took for a connection, once it is over.
func (g *Gateway) leave(source string) {
	g.mu.Lock()
	if g.sources[source]--; g.sources[source] == 0 {
		delete(g.sources, source)
	}
	g.mu.Unlock()
	<-g.slots
	g.sessions.Done()
}

func (g *Gateway) enter(source string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sources[source] >= g.Limits.SessionsPerSource {
		return false
	}
	g.sources[source]++
	return true
}

// sourceOf is the address the socket names. What a client claims about itself (the PROXY
// protocol) is never believed.
func sourceOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}
