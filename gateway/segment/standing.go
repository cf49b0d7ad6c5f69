package segment

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A segment may be made after the gateway started, and made anew while it runs: its interface
// came later, or an administrator took it down and set it up. A socket in the one that was is in a
// namespace where nothing arrives any more, and is not told.

// How often a segment is looked at: while nothing can listen in it, from one pause to the other,
// and once something does.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 10 * time.Second
	lookEvery  = 5 * time.Second
)

// Standing is a listener at one of the gateway's own addresses in a segment, whether the segment
// is up at the moment or not.
type Standing struct {
	segment *Segment
	at      netip.AddrPort
	tell    func(error)
	stop    context.CancelFunc
	done    chan struct{} // closed when nothing looks any more

	mu      sync.Mutex
	open    *net.TCPListener // nil: nothing listens at the moment
	until   time.Time        // the deadline of Accept
	changed chan struct{}    // closed, and replaced, when open or until is
	closed  bool
}

// Stand listens at one of the gateway's addresses in the segment, as Listen does, from when the
// segment is up, and again whenever it was made anew. tell is called whenever that changes: with
// nil when something listens, with an error when nothing can; never concurrently. It may block for
// the first attempt until ctx is done; a segment that is down is no error of it. The caller closes
// the listener.
func (s *Segment) Stand(ctx context.Context, at netip.AddrPort, tell func(error)) (*Standing, error) {
	if !s.plan.called(at) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: errUndeclared}
	}
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Standing{segment: s, at: at, tell: tell, stop: stop, done: make(chan struct{}), changed: make(chan struct{})}
	_, err := l.look(ctx)
	if err != nil {
		tell(err)
	}
	go l.keep(looking, err)
	return l, nil
}

// keep looks at the segment until ctx is done. last is what came of it the last time.
func (l *Standing) keep(ctx context.Context, last error) {
	defer close(l.done)
	pause := firstPause
	for {
		wait := lookEvery
		if last != nil {
			wait, pause = pause, min(2*pause, lastPause)
		} else {
			pause = firstPause
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		anew, err := l.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if anew || (err == nil) != (last == nil) {
			l.tell(err)
		}
		last = err
	}
}

// look listens, anew, if nothing does in the segment as it is now. While nobody can say which one
// that is, what listens goes on.
func (l *Standing) look(ctx context.Context) (anew bool, err error) {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	if open != nil {
		now, err := l.segment.keep.Instance(ctx, l.segment.plan)
		if err != nil {
			return false, err
		}
		if was, err := instanceOf(open); err == nil && was == now {
			return false, nil
		}
	}
	fresh, err := l.segment.Listen(ctx, l.at)
	if err != nil {
		return false, err
	}
	l.replace(fresh.(*net.TCPListener))
	return true, nil
}

func (l *Standing) replace(fresh *net.TCPListener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil {
		l.open.Close()
	}
	l.open = fresh
	fresh.SetDeadline(l.until)
	l.change()
}

// change wakes Accept. l.mu is held.
func (l *Standing) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Accept is that of net.Listener. While the segment is down it waits.
func (l *Standing) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		open, until, changed, closed := l.open, l.until, l.changed, l.closed
		l.mu.Unlock()
		switch {
		case closed:
			return nil, l.fault(net.ErrClosed)
		case open != nil:
			c, err := open.Accept()
			if err == nil || !errors.Is(err, net.ErrClosed) {
				return c, err
			}
			l.mu.Lock()
			replaced := l.closed || l.open != open
			l.mu.Unlock()
			if !replaced {
				return nil, err
			}
		default:
			var late <-chan time.Time
			if !until.IsZero() {
				late = time.After(time.Until(until))
			}
			select {
			case <-changed:
			case <-late:
				return nil, l.fault(os.ErrDeadlineExceeded)
			}
		}
	}
}

func (l *Standing) fault(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
}

// SetDeadline is that of net.TCPListener.
func (l *Standing) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = t
	l.change()
	if l.open != nil {
		return l.open.SetDeadline(t)
	}
	return nil
}

// File is that of net.TCPListener: what listens at the moment, or an error if nothing does.
func (l *Standing) File() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil || l.closed {
		return nil, &net.OpError{Op: "file", Net: "tcp", Addr: l.Addr(), Err: errors.New("nothing listens there at the moment")}
	}
	return l.open.File()
}

// Addr is where it listens.
func (l *Standing) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// Close is that of net.Listener. It waits for a look at the segment that is going on.
func (l *Standing) Close() error {
	l.stop()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	l.change()
	if l.open != nil {
		return l.open.Close()
	}
	return nil
}

// Instance is part of Keeper: the kernel's number for the segment's namespace, which no other
// gets until the machine starts again (SO_NETNS_COOKIE, since Linux 5.14).
func (l Local) Instance(_ context.Context, p Plan) (n uint64, err error) {
	f, err := l.make(p, "instance", unix.AF_UNIX, unix.SOCK_STREAM, 0, func(fd int) (err error) {
		n, err = instance(fd)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, f.Close()
}

func instance(fd int) (uint64, error) {
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return n, os.NewSyscallError("getsockopt", err)
}

// instanceOf is Instance of the segment that a socket is in.
func instanceOf(socket syscall.Conn) (n uint64, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	if problem := raw.Control(func(fd uintptr) { n, err = instance(int(fd)) }); problem != nil {
		return 0, problem
	}
	return n, err
}
