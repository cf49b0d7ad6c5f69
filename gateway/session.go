package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cordon/plugins"
	"cordon/plugins/sdk"
	"cordon/policy"
)

// session is one client's connection to one service of one device.
type session struct {
	gateway    *Gateway
	route      *Route
	tally      *tally // the route's
	source     string
	subject    policy.Subject // who opened it
	shown      credentials    // by the client
	client     side           // who opened it
	device     side           // who is asked; nil if every operation is refused
	inspection *plugins.Inspection
	flows      [2]flow
	running    atomic.Int32 // flows that have not ended
	began      time.Time
	active     atomic.Int64 // when bytes last arrived, or were judged, ns since began

	// deciding guards what both flows use when they carry out steps. It is not held
	// while bytes move.
	deciding   sync.Mutex
	request    policy.Request
	operations [2]operations    // by direction
	refused    *policy.Decision // why every operation is refused; nil: ask
	allowed    int
	denied     int

	refusing [2]sync.Mutex // by direction of the operation; held while the plugin makes its refusal

	due        atomic.Int64         // when what is allowed has to be decided again, ns since the Unix epoch
	flip       atomic.Pointer[flip] // why it is to end; nil: it is not
	allowing   sync.Mutex           // guards allowances; nothing is waited for under it
	allowances []allowance

	ending atomic.Bool
	mu     sync.Mutex
	cause  error     // why the session ended, the first reason given
	ends   time.Time // when it was told to
}

// Why sessions end, besides errors of sockets.
var (
	errEnd     = errors.New("the inspector ended the session")
	errUnasked = errors.New("the device sent what is not a reply")
	errMute    = errors.New("the device asked for what is refused, and nothing may be told to it")
	errFull    = errors.New("the inspector found no operation in a full window")
	errStalled = errors.New("an operation began and did not go on")
	errIdle    = errors.New("idle")
	errHalf    = errors.New("one side closed and the other did not follow")
	errCut     = errors.New("the client closed in the middle of an operation")
)

// Time for the last words of a session: to reach the place where a refusal goes, and for the
// client to take it.
const (
	farewellTimeout = 5 * time.Second
	lingerTimeout   = time.Second
)

// handle takes a connection from accept to the start of its two flows. Its goroutine ends
// there: a handshake needs a deep stack, an idle session should not.
func (g *Gateway) handle(ctx context.Context, r *Route, conn *net.TCPConn, source string) {
	conn.SetKeepAliveConfig(keepAlive)
	config := g.tls
	if r.InsecureTLS12 {
		config = g.tls12
	}
	c, err := newClient(conn, config)
	if err != nil {
		conn.Close()
		g.leave(r, source)
		return
	}
	on, epoch := g.grounds.Load(), g.Certs.Epoch()
	id, shown, err := g.identify(ctx, c.Conn)
	if err != nil {
		g.sums.stranger(err)
		g.recordStranger(r, source, err)
		hangUp(conn)
		g.leave(r, source)
		return
	}
	s := &session{gateway: g, route: r, tally: g.tally(r), source: source, client: c, subject: subject(id), shown: shown, began: time.Now()}
	s.due.Store(id.NotAfter.UnixNano())
	s.request = policy.Request{
		Phase: policy.PhaseConnect, Subject: s.subject, Device: r.Device, Service: r.Service,
		Session: policy.Session{ID: fmt.Sprintf("%s-%d", g.boot, g.count.Add(1)), Direction: policy.Inbound, Client: source, TLS: tlsVersion(c.Conn)},
	}
	if err := s.connect(ctx); err != nil {
		s.note(err)
		s.close()
		return
	}
	s.start()
	if g.grounds.Load() != on || g.Certs.Epoch() != epoch { // who asked all sessions again did not see this one
		g.recheck([]*session{s})
	}
}

// hangUp closes a connection so that the peer reads the alert it was sent: a socket that is
// closed with unread bytes is reset, and what was sent is lost.
func hangUp(conn *net.TCPConn) {
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(alertTimeout))
	io.CopyN(io.Discard, conn, 64<<10)
	conn.Close()
}

// alertTimeout is how long a refused stranger may hold a place to read why.
const alertTimeout = 200 * time.Millisecond

// connect asks whether the subject may connect at all, and if so dials the device. A
// subject who may not still gets an inspection: it is refused in its own protocol.
func (s *session) connect(ctx context.Context) error {
	g := s.gateway
	s.request.NowNs = time.Now().UnixNano()
	d := g.decide(g.grounds.Load(), s.route, &s.request)
	s.expires(d)
	d, _ = g.record(&s.request, d)
	s.tally.decided(Connect, &d)
	if d.Allow {
		var err error
		if s.device, err = g.reach(ctx, s.route, s.source); err != nil {
			d = policy.Decision{Reason: err.Error(), Cause: policy.CauseDoubt}
		}
	}
	if s.device == nil {
		s.refused = &d
	}
	s.request.Phase = policy.PhaseOperation
	forward, reverse := &s.flows[sdk.Forward], &s.flows[sdk.Reverse]
	forward.dir, forward.mode, forward.src = sdk.Forward, sdk.Held, s.client
	reverse.dir, reverse.dst = sdk.Reverse, s.client
	if s.device != nil {
		forward.dst, reverse.src = s.device, s.device
	}

	ctx, cancel := context.WithTimeout(ctx, g.Limits.PluginTimeout)
	defer cancel()
	inspection, steps, err := s.route.Plugin.Open(ctx, s.route.Number, s)
	if err != nil {
		return err
	}
	s.inspection = inspection
	// The plugin names the mode; that replies are not shown at all only the site can say.
	reverse.mode = min(inspection.Modes()[sdk.Reverse], sdk.Observed)
	if s.route.CallOut != nil {
		reverse.mode = sdk.Held
	}
	if s.route.UnseenReply {
		reverse.mode = sdk.Unseen
		reverse.covered = sdk.Unlimited // nothing is left to be shown
		reverse.shown.Store(sdk.Unlimited)
	}
	for i := range s.flows {
		s.flows[i].insp, s.flows[i].patience = inspection, g.Limits.WriteTimeout
	}
	return s.apply(sdk.Forward, steps)
}

// start lets the flows run. The last of them to end closes the session.
func (s *session) start() {
	s.active.Store(int64(time.Since(s.began)))
	s.gateway.mu.Lock()
	s.gateway.running[s] = struct{}{}
	s.gateway.mu.Unlock()
	s.tally.sessions.Add(1)
	lower(&s.gateway.due, s.due.Load())
	if s.gateway.draining.Load() {
		s.wake()
	}
	if s.device == nil {
		s.running.Store(1)
		go s.run(&s.flows[sdk.Forward])
		return
	}
	s.running.Store(2)
	go s.run(&s.flows[sdk.Forward])
	go s.run(&s.flows[sdk.Reverse])
}

// run moves one direction until it ends.
func (s *session) run(f *flow) {
	err := s.pump(f)
	if err != nil && !s.ending.Load() {
		s.end(err)
	}
	s.leave(f)
	if s.running.Add(-1) == 0 {
		s.close()
	}
}

// pump reads, tells the plugin and carries out its steps until the source ends (nil) or the
// session has to (error).
func (s *session) pump(f *flow) error {
	for !s.ending.Load() || f.dir == sdk.Reverse && !f.settled() {
		f.expect(s.patience(f))
		n, err := f.src.read(f)
		if n > 0 {
			f.heard = time.Now()
			s.active.Store(int64(f.heard.Sub(s.began)))
			tell, err := f.arrive(n)
			if err == nil && tell {
				err = s.tell(f, false)
				s.active.Store(int64(time.Since(s.began)))
			}
			if err != nil {
				return err
			}
			if f.full() {
				return errFull
			}
			f.settle()
			if s.flip.Load() != nil {
				if err := s.farewell(f); err != nil {
					return err
				}
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return s.ended(f)
		case isTimeout(err):
			if err := s.timedOut(f); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// tell shows the plugin what has arrived and carries out its steps, again as long as it
// has more to say and gets on.
func (s *session) tell(f *flow, end bool) error {
	for {
		before := f.covered
		steps, more, err := s.inspection.Notify(f.dir, f.window, f.arrived, end, f.ahead())
		if err != nil {
			return err
		}
		if err := s.apply(f.dir, steps); err != nil {
			return err
		}
		if !more || f.covered == before || f.covered >= f.arrived || s.ending.Load() {
			return nil
		}
	}
}

// ended passes a source's end on: half of a connection may close while the other still
// has something to say.
func (s *session) ended(f *flow) error {
	if f.covered < sdk.Unlimited {
		if err := s.tell(f, true); err != nil {
			return err
		}
	}
	if !f.quiet() && f.dir == sdk.Forward {
		return errCut
	}
	if f.dir == sdk.Forward && s.device != nil {
		return s.device.closeWrite()
	}
	return nil
}

// leave ends a flow's part in the session: what it holds is dropped, and the other flow
// is woken to see that it is alone.
func (s *session) leave(f *flow) {
	f.stop()
	f.mu.Lock()
	f.ended, f.heard = true, time.Now()
	f.mu.Unlock()
	if f.window != nil {
		f.give()
	}
	ending := s.ending.Load()
	if f.dir == sdk.Reverse || s.device == nil {
		s.client.SetWriteDeadline(time.Now().Add(lingerTimeout))
		s.client.closeWrite()
	}
	switch {
	case f.dir == sdk.Forward && ending:
		s.flows[sdk.Reverse].wake()
		until := lingerTimeout
		if s.device != nil && !s.flows[sdk.Reverse].settled() {
			until = farewellTimeout
		}
		s.client.discard(time.Now().Add(until))
	case f.dir == sdk.Reverse && ending:
		s.client.SetReadDeadline(time.Now().Add(lingerTimeout)) // the forward flow is discarding
	default:
		s.flows[f.dir.Opposite()].wake()
	}
}

// end makes the session end for the reason given: nothing more moves towards the device,
// and refusals that are owed are still delivered.
func (s *session) end(cause error) {
	s.note(cause)
	s.mu.Lock()
	if s.ends.IsZero() {
		s.ends = time.Now()
	}
	s.mu.Unlock()
	s.flows[sdk.Forward].stop()
	if s.flows[sdk.Reverse].settled() {
		s.flows[sdk.Reverse].stop()
	}
	s.ending.Store(true)
	s.wake()
}

// fail ends the session at once.
func (s *session) fail(cause error) {
	s.note(cause)
	s.ending.Store(true)
	s.client.cut()
	if s.device != nil {
		s.device.cut()
	}
}

func (s *session) note(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
	}
}

// Ended is the plugin's end.
func (s *session) Ended() { s.wake() }

// Placed keeps the place of a refusal.
func (s *session) Placed(op sdk.OpID, at int64) { s.flows[op.Direction().Opposite()].place(op, at) }

// wake makes waiting flows look at what has changed.
func (s *session) wake() {
	s.flows[sdk.Forward].wake()
	s.flows[sdk.Reverse].wake()
}

// close frees everything and writes the session's one line.
func (s *session) close() {
	g := s.gateway
	g.mu.Lock()
	_, established := g.running[s]
	delete(g.running, s)
	g.mu.Unlock()
	if established {
		s.tally.sessions.Add(-1)
		s.tally.ends[s.endedAs()].Add(1)
	}
	if s.inspection != nil {
		s.inspection.Close()
	}
	s.client.cut()
	if s.device != nil {
		s.device.cut()
		g.part(s.route)
	}
	if f := s.flip.Load(); f != nil {
		f.cut.Stop()
	}
	s.allowing.Lock()
	s.allowances = nil // what follows from s may keep it for hours
	s.allowing.Unlock()
	level, cause := slog.LevelInfo, "closed"
	if s.cause != nil {
		cause = s.cause.Error()
		if _, bad := errors.AsType[*violation](s.cause); bad {
			level = slog.LevelError
		}
	}
	there, back := "to_device", "to_client"
	if s.route.CallOut != nil {
		there, back = "to_destination", "to_device"
	}
	g.Logger.Log(context.Background(), level, "session",
		"id", s.request.Session.ID, "subject", s.subject.Kind+"/"+s.subject.ID, "client", s.source,
		"device", s.route.Device.ID, "service", s.route.Service.Name, "allowed", s.allowed, "refused", s.denied,
		there, s.flows[sdk.Forward].passed, back, s.flows[sdk.Reverse].passed,
		"took", time.Since(s.began).Round(time.Millisecond), "end", cause)
	g.leave(s.route, s.source)
}
