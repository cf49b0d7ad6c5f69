package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"cordon/plugins"
)

// side is one end of a session: a client or a device, by TLS or in plain.
type side interface {
	source
	sink
	closeWrite() error
	discard(until time.Time) // reads and drops, at most until then
	cut()                    // closes at once
}

// device is the plaintext side of a session.
type device struct {
	*net.TCPConn
	sys syscall.RawConn

	// Of a read; here so that it allocates nothing.
	one  [1]byte
	flow *flow
	n    int
	err  error
	poll func(fd uintptr) bool
}

// Why a device is not reached, as clients are told.
var (
	errUnreachable = errors.New("the device cannot be reached")
	errBusy        = errors.New("the device has as many sessions as it takes")
)

// reach connects to a route's device, for a client. What it takes of the device's sessions, part gives back.
func (g *Gateway) reach(ctx context.Context, r *Route, client string) (side, error) {
	g.mu.Lock()
	busy := r.Sessions > 0 && g.devices[r]+g.elsewhere[r.Name()] >= r.Sessions
	if !busy {
		g.devices[r]++
	}
	g.mu.Unlock()
	t := g.tally(r)
	if busy {
		t.busy.Add(1)
		g.Logger.Warn("device busy", "device", r.Device.ID, "service", r.Service.Name, "sessions", r.Sessions)
		return nil, errBusy
	}
	if r.CallOut != nil {
		c, err := goOn(ctx, r, g.Limits.DialTimeout)
		if err != nil {
			g.part(r)
			t.unreachable.Add(1)
			g.Logger.Warn("destination unreachable", "device", r.Device.ID, "to", r.CallOut.To, "error", err)
			return nil, errDestination
		}
		return c, nil
	}
	d, err := dial(ctx, r, client, g.Limits.DialTimeout)
	if err != nil {
		g.part(r)
		t.unreachable.Add(1)
		g.Logger.Warn("device unreachable", "device", r.Device.ID, "address", r.Address, "error", err)
		return nil, errUnreachable
	}
	return d, nil
}

func (g *Gateway) part(r *Route) {
	g.mu.Lock()
	g.devices[r]--
	g.mu.Unlock()
}

// dial connects to a route's device within timeout.
func dial(ctx context.Context, r *Route, client string, timeout time.Duration) (*device, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	connect := r.Dial
	if connect == nil {
		connect = func(ctx context.Context, _ netip.Addr) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", r.Address)
		}
	}
	from, _ := netip.ParseAddr(client) // what no IP address is, is nobody's
	c, err := connect(ctx, from.Unmap())
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("dial %s: a connection of type %T, not TCP", r.Address, c)
	}
	return newDevice(tcp)
}

// newDevice takes c over. It closes it if that fails.
func newDevice(c *net.TCPConn) (*device, error) {
	c.SetKeepAliveConfig(keepAlive)
	sys, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	d := &device{TCPConn: c, sys: sys}
	d.poll = d.readNow
	return d, nil
}

// keepAlive finds a peer that vanished without a word within a minute, while interfaces
// that say nothing for days stay open.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// read brings bytes into f's window and returns how many. It waits for the first, without
// a window if f has none.
func (d *device) read(f *flow) (int, error) {
	d.flow = f
	if err := d.sys.Read(d.poll); err != nil {
		return 0, err
	}
	return d.n, d.err
}

// readNow reads as long as many bytes are there. It must come to EAGAIN before it may say that
// it wants to wait: readiness is only told once. A session whose device is silent must not
// wait for a window, which others may hold for long: where none is free, it looks for one
// byte first.
func (d *device) readNow(fd uintptr) bool {
	f := d.flow
	d.n, d.err = 0, nil
	borrowed := f.window == nil
	if borrowed {
		switch err := f.take(false); {
		case errors.Is(err, plugins.ErrNoWindow):
			n, err := readFD(fd, d.one[:])
			if err == syscall.EAGAIN {
				return false
			}
			if n == 0 && err == nil {
				err = io.EOF
			}
			if err == nil {
				err = f.take(true)
			}
			if err != nil {
				d.err = err
				return true
			}
			f.room()[0], d.n = d.one[0], 1
		case err != nil:
			d.err = err
			return true
		}
	}
	for room := f.room(); d.n < len(room); {
		n, err := readFD(fd, room[d.n:])
		switch {
		case err == syscall.EAGAIN:
			if d.n > 0 {
				return true
			}
			if borrowed {
				f.give()
			}
			return false
		case err != nil:
			d.err = err
			return true
		case n == 0:
			d.err = io.EOF
			return true
		}
		if d.n += n; d.n < fewBytes {
			return true
		}
	}
	return true
}

func (d *device) write(b []byte) error {
	_, err := d.TCPConn.Write(b)
	return err
}

func (d *device) closeWrite() error { return d.TCPConn.CloseWrite() }

// discard is what client.discard is, where a device opened the session.
func (d *device) discard(until time.Time) {
	d.SetReadDeadline(until)
	io.Copy(io.Discard, d.TCPConn)
}

func (d *device) cut() { d.Close() }
