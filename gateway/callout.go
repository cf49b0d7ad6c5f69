package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// CallOut makes a route one that the device opens by itself: it connects, in plain, to an
// address it was configured with, which the gateway has taken over in its segment, and the
// gateway goes on to the destination by mutual TLS. The session is turned around: its client is
// the device, and what stands for the device is the destination. Both only ever hear what they
// would hear the other way round: an operation that was decided, or the replies to one, behind
// which the plugin is never left (replies are held, not observed: they go to a device).
type CallOut struct {
	// Listen accepts the device's connections inside its segment. It may block until ctx is
	// done. The gateway closes the listener.
	Listen func(ctx context.Context) (net.Listener, error)
	From   []netip.Addr // the device's addresses: who else connects is another route's at this place, or not heard

	To   string         // host:port of the destination
	Peer policy.Subject // the destination, in what it asks of the device
	// TLS is what the destination must prove, and the certificate it is shown. It is asked for
	// every session.
	TLS func(ctx context.Context) (*tls.Config, error)
}

// errDestination is why an operation is refused that had nowhere to go.
var errDestination = errors.New("the destination cannot be reached")

// listen opens the listener of a route.
func (r *Route) listen(ctx context.Context) (net.Listener, error) {
	if r.CallOut != nil {
		return r.CallOut.Listen(ctx)
	}
	if r.Listener != nil {
		return r.Listener(ctx)
	}
	return net.Listen("tcp", r.Listen)
}

// shares returns the first call-out that has the same listener as the i-th route, or -1.
func (g *Gateway) shares(i int) int {
	r := &g.Routes[i]
	return slices.IndexFunc(g.Routes[:i], func(o Route) bool { return r.CallOut != nil && o.CallOut != nil && o.Place() == r.Place() })
}

// called returns the route of who called at r's place, or r.
func (g *Gateway) called(r *Route, source string) *Route {
	if r.CallOut == nil {
		return r
	}
	from, _ := netip.ParseAddr(source) // what no address is, is nobody's
	for i := range g.Routes {
		if o := &g.Routes[i]; o.CallOut != nil && o.Place() == r.Place() && slices.Contains(o.CallOut.From, from.Unmap()) {
			return o
		}
	}
	return r
}

// call takes a connection that a device opened to the start of its two flows. The device is
// known by its segment, where only frames with its MAC address carry its IP address.
func (g *Gateway) call(ctx context.Context, r *Route, conn *net.TCPConn, source string) {
	from, err := netip.ParseAddr(source)
	if err != nil || !slices.Contains(r.CallOut.From, from.Unmap()) {
		g.Logger.Warn("a call from an address that is not the device's", "device", r.Device.ID, "service", r.Service.Name, "source", source)
		conn.Close()
		g.leave(r, source)
		return
	}
	caller, err := newDevice(conn)
	if err != nil {
		g.leave(r, source)
		return
	}
	on := g.grounds.Load()
	self := policy.Subject{ID: r.Device.ID, Kind: policy.KindDevice, Roles: []string{policy.KindDevice}, Groups: []string{}}
	s := &session{gateway: g, route: r, tally: g.tally(r), source: source, client: caller, subject: self, began: time.Now()}
	s.due.Store(math.MaxInt64)
	s.request = policy.Request{
		Phase: policy.PhaseConnect, Device: on.device(r), Service: r.Service,
		// What the certificate says that the destination is shown.
		Subject: self,
		Session: policy.Session{ID: fmt.Sprintf("%s-%d", g.boot, g.count.Add(1)), Direction: policy.Outbound, Client: source},
	}
	if err := s.connect(ctx); err != nil {
		s.note(err)
		s.close()
		return
	}
	s.start()
	if g.grounds.Load() != on { // who asked all sessions again did not see this one
		g.recheck([]*session{s})
	}
}

// goOn connects to the destination of a route that a device opened, and shakes hands.
func goOn(ctx context.Context, r *Route, timeout time.Duration) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	config, err := r.CallOut.TLS(ctx)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", r.CallOut.To)
	if err != nil {
		return nil, err
	}
	raw, err := newRawConn(conn.(*net.TCPConn))
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &client{Conn: tls.Client(raw, config), raw: raw}
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("shake hands with %s: %w", r.CallOut.To, err)
	}
	// With TLS 1.3 a server refuses a certificate after the client is done: the first read tells.
	forget(c.ConnectionState())
	return c, nil
}

// direction is who asks, as policy knows it, when an operation goes in dir.
func (r *Route) direction(dir sdk.Direction) string {
	if r.CallOut != nil {
		dir = dir.Opposite()
	}
	return directions[dir]
}

// asker is who asks in dir: who opened the session, or the destination of what a device opened.
func (s *session) asker(dir sdk.Direction) policy.Subject {
	if s.route.CallOut != nil && dir == sdk.Reverse {
		return s.route.CallOut.Peer
	}
	return s.subject
}

// askedByDevice reports whether the asker of an operation in dir is a device, to which nothing
// may be told but what the route's Answer accepts.
func (r *Route) askedByDevice(dir sdk.Direction) bool { return r.direction(dir) == policy.Outbound }
