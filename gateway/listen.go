package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// acceptPause is how long accepting rests after an error such as too many open files:
// long enough not to spin, short enough not to be noticed.
const acceptPause = 50 * time.Millisecond

// accept serves one listener until it is closed or open is done; sessions live as long as ctx.
// A slot is taken before accepting, so a full gateway leaves further clients in the kernel's
// queue instead of dropping them.
func (g *Gateway) accept(ctx, open context.Context, r *Route, l *door) {
	for {
		l.turns.Add(1)
		select {
		case g.slots <- struct{}{}:
		case <-l.asked:
			continue
		case <-open.Done():
			return
		}
		c, err := l.Accept()
		if err != nil {
			<-g.slots
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case errors.Is(err, os.ErrDeadlineExceeded):
				l.rest()
				continue
			}
			g.Logger.Warn("accept", "listen", r.Listen, "error", err)
			select {
			case <-time.After(acceptPause):
			case <-open.Done():
				return
			}
			continue
		}
		source := sourceOf(c)
		r := g.called(r, source)
		if !g.enter(r, source) {
			g.sums.crowded.Add(1)
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
func (g *Gateway) leave(r *Route, source string) {
	g.mu.Lock()
	if g.sources[source]--; g.sources[source] == 0 {
		delete(g.sources, source)
	}
	g.entered[r]--
	g.mu.Unlock()
	<-g.slots
	g.sessions.Done()
}

func (g *Gateway) enter(r *Route, source string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sources[source] >= g.Limits.SessionsPerSource {
		return false
	}
	g.sources[source]++
	g.entered[r]++
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
