package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"cordon/plugins"
)

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

// reach connects to a route's device. What it takes of the device's sessions, part gives back.
func (g *Gateway) reach(ctx context.Context, r *Route) (*device, error) {
	g.mu.Lock()
	busy := r.Sessions > 0 && g.devices[r] >= r.Sessions
	if !busy {
		g.devices[r]++
	}
	g.mu.Unlock()
	if busy {
		g.Logger.Warn("device busy", "device", r.Device.ID, "service", r.Service.Name, "sessions", r.Sessions)
		return nil, errBusy
	}
	d, err := dial(ctx, r.Address, g.Limits.DialTimeout)
	if err != nil {
		g.part(r)
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

// dial connects to a device within timeout.
func dial(ctx context.Context, address string, timeout time.Duration) (*device, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	sys, err := tcp.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	dev := &device{TCPConn: tcp, sys: sys}
	dev.poll = dev.readNow
	return dev, nil
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
