package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Segment is a segment as the gateway uses it. It keeps nothing open and needs no Close:
// what it is, is in the kernel. Its methods may be called concurrently.
type Segment struct {
	plan Plan
	keep Keeper
}

// Keeper does what the gateway needs and needs privileges. Local does it in this process,
// Client asks another. Making and removing segments is not among it: the daemon that faces
// clients is not the one to say what a segment is.
type Keeper interface {
	// Agree returns nil if who makes sockets goes by this plan of the segment. It may make the
	// segment anew for it.
	Agree(ctx context.Context, p Plan) error
	// Up returns nil if a segment is set up and its interface there, or what is missing of it.
	Up(ctx context.Context, p Plan) error
	// Dialer makes a TCP socket inside a segment, to be connected by the caller to a declared
	// port of a declared device: the filters let it reach nothing else. It speaks from a client's
	// address where the device sees those, or if that is the zero Addr, from the gateway's.
	Dialer(ctx context.Context, p Plan, to netip.AddrPort, client netip.Addr) (*os.File, error)
	// Listener makes one that listens at an address of the gateway in the segment.
	Listener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error)
	// InlineListener makes one that listens in the host at an address that a device keeps.
	InlineListener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error)
	// Instance tells a segment from the one it was before it was made anew.
	Instance(ctx context.Context, p Plan) (uint64, error)
	// Dropped makes a socket on which the kernel shows what the filters drop.
	Dropped(ctx context.Context, p Plan) (*os.File, error)
	// Findings reads the segment's state from the kernel.
	Findings(ctx context.Context, p Plan) ([]Finding, error)
}

// New returns the segment of a plan, which Setup makes.
func New(keep Keeper, p Plan) *Segment { return &Segment{plan: p, keep: keep} }

// Dial connects to a declared port of a declared device, from inside the segment. It may block
// until ctx is done; give it a deadline. The caller closes the connection.
func (s *Segment) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return s.DialFor(ctx, to, netip.Addr{})
}

// DialFor is Dial on behalf of a client, whose address the device sees if the plan says so.
func (s *Segment) DialFor(ctx context.Context, to netip.AddrPort, client netip.Addr) (net.Conn, error) {
	d := s.plan.serving(to)
	if d == nil {
		return nil, fmt.Errorf("dial %v in segment %q: %w", to, s.plan.Name, errUndeclared)
	}
	c, err := s.dial(ctx, to, client)
	if err != nil {
		return nil, fmt.Errorf("dial device %q at %v in segment %q: %w", d.ID, to, s.plan.Name, err)
	}
	return c, nil
}

func (s *Segment) dial(ctx context.Context, to netip.AddrPort, client netip.Addr) (net.Conn, error) {
	f, err := s.keep.Dialer(ctx, s.plan, to, client)
	if err != nil {
		return nil, err
	}
	defer f.Close() // net.FileConn makes its own
	if err := connect(ctx, f, to); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// connect waits for the socket of f to be connected.
func connect(ctx context.Context, f *os.File, to netip.AddrPort) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()

	var result error
	asked := false
	// The kernel is asked to connect inside the callback: asked before it, the moment when the
	// socket becomes writable could pass before anyone waits for it.
	err = raw.Write(func(fd uintptr) bool {
		if !asked {
			asked = true
			result = os.NewSyscallError("connect", unix.Connect(int(fd), socketAddress(to)))
			return !errors.Is(result, unix.EINPROGRESS)
		}
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = os.NewSyscallError("getsockopt", err)
		case n != 0:
			result = os.NewSyscallError("connect", unix.Errno(n))
		default:
			if _, err := unix.Getpeername(int(fd)); err != nil {
				return false // woken without a result
			}
			result = nil
		}
		return true
	})
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		return err
	}
	return result
}

// Listen accepts what declared devices open at one of the gateway's own addresses in the
// segment. The caller closes the listener. A connection's remote address says which device it
// is: a frame with that address is dropped unless it has the device's MAC.
func (s *Segment) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	f, err := s.keep.Listener(ctx, s.plan, at)
	if err != nil {
		return nil, fmt.Errorf("listen at %v in segment %q: %w", at, s.plan.Name, err)
	}
	return listener(f)
}

// ListenInline accepts, in the host, what clients open at an address that a device of the
// segment keeps. The address need not be there yet. The caller closes the listener.
func (s *Segment) ListenInline(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	f, err := s.keep.InlineListener(ctx, s.plan, at)
	if err != nil {
		return nil, fmt.Errorf("listen at %v in place of a device of segment %q: %w", at, s.plan.Name, err)
	}
	return listener(f)
}

// listener takes f over.
func listener(f *os.File) (net.Listener, error) {
	defer f.Close() // net.FileListener makes its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over a listening socket: %w", err)
	}
	return l, nil
}

var errUndeclared = errors.New("no device declares it")

// serving returns the device that declares an address and port, or nil.
func (p Plan) serving(to netip.AddrPort) *Device {
	if d := p.device(to.Addr()); d != nil && slices.Contains(d.Ports, to.Port()) {
		return d
	}
	return nil
}

// called reports whether a device may open connections to an own address and port.
func (p Plan) called(at netip.AddrPort) bool {
	return p.has(at.Addr()) &&
		slices.ContainsFunc(p.Devices, func(d Device) bool { return slices.Contains(d.Calls, at.Port()) })
}

// Device returns the ID of the device that has an address, or "".
func (s *Segment) Device(a netip.Addr) string {
	if d := s.plan.device(a.Unmap()); d != nil {
		return d.ID
	}
	return ""
}

// Dialer is part of Keeper.
func (l Local) Dialer(ctx context.Context, p Plan, to netip.AddrPort, client netip.Addr) (*os.File, error) {
	d := p.serving(to)
	if d == nil {
		return nil, errUndeclared
	}
	seen, err := p.sees(d, to.Addr(), client)
	if err != nil {
		return nil, err
	}
	return l.socket(p, to.Addr(), func(fd int) error {
		if !seen.IsValid() {
			return nil
		}
		return bindTo(fd, seen)
	})
}

// Listener is part of Keeper. Ports below 1024 are why listening needs privileges.
func (l Local) Listener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error) {
	if !p.called(at) {
		return nil, errUndeclared
	}
	return l.socket(p, at.Addr(), func(fd int) error { return listenAt(fd, at) })
}

func listenAt(fd int, at netip.AddrPort) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, socketAddress(at)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
}

// InlineListener is part of Keeper. It is the one socket that is made in the host: the filters
// know it by IP_TRANSPARENT, see inline.go. A process without privileges can be given one, and
// has so no part in making it.
func (l Local) InlineListener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error) {
	if !slices.Contains(p.listeners(), at) {
		return nil, errUndeclared
	}
	return newSocket("inline", familyOf(at.Addr()), unix.SOCK_STREAM, unix.IPPROTO_TCP, func(fd int) error {
		if err := setTransparent(fd, at.Addr()); err != nil {
			return err
		}
		return listenAt(fd, at)
	})
}

// socket makes a TCP socket in the segment. It stays there wherever it is used.
func (l Local) socket(p Plan, like netip.Addr, prepare func(fd int) error) (*os.File, error) {
	return l.make(p, "socket", familyOf(like), unix.SOCK_STREAM, unix.IPPROTO_TCP, prepare)
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func (l Local) make(p Plan, name string, family, kind, protocol int, prepare func(fd int) error) (f *os.File, err error) {
	if !isName(p.Name) {
		return nil, fmt.Errorf("segment %.40q: no such name", p.Name)
	}
	ns, err := openNamespace(l.path(p.Name))
	if err != nil {
		return nil, fmt.Errorf("%w; is the segment set up?", err)
	}
	defer ns.Close()
	err = inside(ns, func() (err error) {
		f, err = newSocket(name, family, kind, protocol, prepare)
		return err
	})
	return f, err
}

// newSocket makes a socket in the namespace that the thread is in.
func newSocket(name string, family, kind, protocol int, prepare func(fd int) error) (*os.File, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := prepare(fd); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Agree is part of Keeper: it goes by the plan that it is given.
func (Local) Agree(context.Context, Plan) error { return nil }

// Up returns nil if the segment is set up and its interface there, or what is missing of it.
func (s *Segment) Up(ctx context.Context) error { return s.keep.Up(ctx, s.plan) }

// Up is part of Keeper. It looks for what Setup does last; how well the segment is isolated is for
// Findings.
func (l Local) Up(_ context.Context, p Plan) error {
	ns, err := openNamespace(l.path(p.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment %q is not set up", p.Name)
	}
	if err != nil {
		return err
	}
	w := &work{plan: p, ns: ns}
	defer w.close()
	if err := w.inSegment(func(_ *netlink.Handle, i netlink.Link) error {
		if i.Attrs().Flags&net.FlagUp == 0 {
			return fmt.Errorf("interface %s is down in the segment", i.Attrs().Name)
		}
		return nil
	}); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("interface %s is not in the segment; is %s plugged in?", p.Interface.Name, p.Interface.held())
	} else if err != nil {
		return err
	}
	return p.answered()
}
