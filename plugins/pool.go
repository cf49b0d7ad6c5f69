package plugins

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cordon/plugins/wire"
)

// windowTimeout bounds the wait for a free window, and for the plugin to map a new one.
const windowTimeout = 5 * time.Second

// pool lends the windows of one plugin process. Another process never maps them: one
// protocol's plaintext is not another's to see. A window is held only while bytes are in
// flight, so there are far fewer windows than sessions.
type pool struct {
	places chan struct{} // one per window that may be lent

	mu     sync.Mutex
	conn   *net.UnixConn
	free   []*Window
	made   uint32
	closed bool
}

func newPool(conn *net.UnixConn, most int) *pool {
	return &pool{conn: conn, places: make(chan struct{}, most)}
}

// ErrNoWindow is that no window is free.
var ErrNoWindow = errors.New("take a window: all are in use")

var errNotMapped = errors.New("take a window: the plugin did not map it")

func (p *pool) take(wait bool) (*Window, error) {
	select {
	case p.places <- struct{}{}:
	default:
		if !wait {
			return nil, ErrNoWindow
		}
		patience := time.NewTimer(windowTimeout)
		defer patience.Stop()
		select {
		case p.places <- struct{}{}:
		case <-patience.C:
			return nil, ErrNoWindow
		}
	}
	w, err := p.lend()
	if err != nil {
		<-p.places
	}
	return w, err
}

// lend returns a free window, or makes one and waits until the plugin has mapped it.
func (p *pool) lend() (*Window, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("take a window: the plugin has ended")
	}
	if n := len(p.free); n > 0 {
		w := p.free[n-1]
		p.free = p.free[:n-1]
		return w, nil
	}
	w, fd, err := wire.NewWindow(p.made)
	if err != nil {
		return nil, fmt.Errorf("take a window: %w", err)
	}
	defer unix.Close(fd)
	p.conn.SetDeadline(time.Now().Add(windowTimeout))
	if err := wire.SendWindow(p.conn, w.ID, fd); err != nil {
		w.Unmap()
		return nil, fmt.Errorf("%w: %w", errNotMapped, err)
	}
	p.made++
	return w, nil
}

func (p *pool) give(w *Window) {
	p.mu.Lock()
	if p.closed {
		w.Unmap()
	} else {
		p.free = append(p.free, w)
	}
	p.mu.Unlock()
	<-p.places
}

// close frees the windows that are not lent; the others are freed when given back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.conn.Close()
	for _, w := range p.free {
		w.Unmap()
	}
	p.free = nil
}
