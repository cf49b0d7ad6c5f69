package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/policy"
)

// Log is where entries become durable: an *audit.Log, or the way to the process that has it.
// What Append cannot make durable until ctx is done is an error, and must not happen.
type Log interface {
	Append(ctx context.Context, e audit.Entry) (audit.Receipt, error)
}

// Config is what a gateway is made of. Everything is required but Listeners, Limits and Logger.
type Config struct {
	Name        string // in every entry
	TrustDomain string // of client certificates
	Certs       certs.Source
	Policy      policy.Decider // to begin with, see Gateway.Replace
	Log         Log
	Routes      []Route
	Listeners   map[string]net.Listener // open already, by Route.Place; may be nil
	Limits      Limits
	Logger      *slog.Logger // default slog.Default(); one line per session, at its end
}

// Limits bound what peers can make the gateway spend. Zero fields have the defaults stated.
type Limits struct {
	Sessions          int           // at a time, handshakes included; default 4096
	SessionsPerSource int           // from one client address; default 256
	HandshakeTimeout  time.Duration // from accept to a finished handshake; default 5 s
	DecideTimeout     time.Duration // for one decision; default 500 ms
	RecordTimeout     time.Duration // for one entry to become durable; default 2 s
	DialTimeout       time.Duration // to the device; default 5 s
	PluginTimeout     time.Duration // for a plugin to come back before a new session gives up; default 3 s
	StallTimeout      time.Duration // for bytes that are held to become an operation; default 30 s
	WriteTimeout      time.Duration // for a peer to take what is sent to it; default 30 s
	HalfCloseTimeout  time.Duration // for the second side to close after the first; default 60 s
	DrainTimeout      time.Duration // for running sessions to end at shutdown; default 10 s
}

func (l Limits) withDefaults() Limits {
	number := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	span := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	number(&l.Sessions, 4096)
	number(&l.SessionsPerSource, 256)
	span(&l.HandshakeTimeout, 5*time.Second)
	span(&l.DecideTimeout, 500*time.Millisecond)
	span(&l.RecordTimeout, 2*time.Second)
	span(&l.DialTimeout, 5*time.Second)
	span(&l.PluginTimeout, 3*time.Second)
	span(&l.StallTimeout, 30*time.Second)
	span(&l.WriteTimeout, 30*time.Second)
	span(&l.HalfCloseTimeout, 60*time.Second)
	span(&l.DrainTimeout, 10*time.Second)
	return l
}

// Gateway serves its routes.
type Gateway struct {
	Config
	verifier  *certs.Verifier
	tls       *tls.Config
	tls12     *tls.Config // of routes with InsecureTLS12
	boot      string      // makes session ids unique across restarts
	count     atomic.Uint64
	slots     chan struct{} // one per session
	strangers strangers
	origins   origins
	grounds   atomic.Pointer[grounds]
	due       atomic.Int64 // when the first session has to be asked again, ns since the Unix epoch
	asking    sync.Mutex   // held while sessions are asked again, and while grounds are replaced
	sums      sums

	mu        sync.Mutex
	sources   map[string]int // sessions by client address
	devices   map[*Route]int // sessions that have reached the device
	entered   map[*Route]int // sessions from accept on
	elsewhere map[string]int // sessions that other processes of this gateway have, by Route.Name
	running   map[*session]struct{}
	draining  atomic.Bool
	sessions  sync.WaitGroup

	entrance entrance

	// Parts of the second within which a session that is not permitted any more is gone, see
	// redecide.go. Half of the grace is for what is under way, see farewell.
	inspect, late, grace time.Duration
}

// New returns a gateway that does not listen yet.
func New(c Config) *Gateway {
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	boot := make([]byte, 4)
	rand.Read(boot)
	v := certs.NewVerifier(c.Certs, c.TrustDomain)
	config := certs.ServerConfig(c.Certs, v)
	g := &Gateway{
		Config:   c,
		verifier: v,
		tls:      config,
		tls12:    certs.LowerToTLS12(config),
		boot:     hex.EncodeToString(boot),
		slots:    make(chan struct{}, c.Limits.Sessions),
		sources:  map[string]int{},
		devices:  map[*Route]int{},
		entered:  map[*Route]int{},
		running:  map[*session]struct{}{},
		inspect:  inspectTime,
		late:     graceTime / 2,
		grace:    graceTime,
	}
	g.sums.routes = map[*Route]*tally{}
	g.grounds.Store(&grounds{policy: c.Policy})
	g.due.Store(math.MaxInt64)
	return g
}

// Listen opens the listeners of all routes, in their order, or none. Those of Config.Listeners
// are taken as they are; call-outs at one place have the same.
func (g *Gateway) Listen() ([]net.Listener, error) {
	var open []net.Listener
	for i := range g.Routes {
		r := &g.Routes[i]
		if other := g.shares(i); other >= 0 {
			open = append(open, open[other])
			continue
		}
		l, held := g.Listeners[r.Place()]
		if !held {
			var err error
			if l, err = r.listen(context.Background()); err != nil {
				for _, l := range open {
					l.Close()
				}
				return nil, fmt.Errorf("listen for device %q on %s: %w", r.Device.ID, r.Listen, err)
			}
		}
		open = append(open, l)
	}
	return open, nil
}

// Serve accepts on listeners, one per route in the order of Listen, until ctx is done. Then it
// stops accepting, lets running sessions end for Limits.DrainTimeout, closes the rest
// and returns. It closes the listeners.
func (g *Gateway) Serve(ctx context.Context, listeners []net.Listener) error {
	g.open(ctx, listeners)
	var watching sync.WaitGroup
	watching.Go(func() { g.tidy(ctx) })
	watching.Go(func() { g.watch(ctx) })
	<-ctx.Done()
	g.close()
	watching.Wait()
	g.drain()
	return nil
}

// tidy gives memory back to the system once a burst of new sessions is over. Their handshakes
// leave a heap behind that is some times what the sessions then need, and they may
// say nothing for days.
func (g *Gateway) tidy(ctx context.Context) {
	const pause = time.Second
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var seen, tidied uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := g.count.Load()
		if now == seen && now-tidied >= tidyAfter {
			debug.FreeOSMemory()
			tidied = now
		}
		seen = now
	}
}

// tidyAfter is how many sessions make it worth while.
const tidyAfter = 100

// drain ends every session: quiet ones at once, busy ones when they fall quiet or, at
// Limits.DrainTimeout, behind what is on its way to the device.
func (g *Gateway) drain() {
	g.draining.Store(true)
	g.each((*session).wake)
	done := make(chan struct{})
	go func() {
		g.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(g.Limits.DrainTimeout):
		g.each(func(s *session) { s.end(errDrained) })
	}
	select {
	case <-done:
	case <-time.After(2 * lingerTimeout):
		g.each(func(s *session) { s.fail(errDrained) })
		<-done
	}
}

var errDrained = errors.New("the gateway is shutting down")

func (g *Gateway) each(f func(*session)) {
	for _, s := range g.live() {
		f(s)
	}
}

// live returns the established sessions.
func (g *Gateway) live() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.running))
}

// Sessions returns the number of established sessions.
func (g *Gateway) Sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.running)
}
