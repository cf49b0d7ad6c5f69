package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/gateway/segment"
)

// Segments need CAP_NET_ADMIN, which a daemon that faces clients must not have. A second
// process, the segment helper, has it: it sets segments up and gives the daemon sockets that
// the configuration declares. It listens on a socket of type SOCK_SEQPACKET, one request on
// each connection, so that neither end's restart is more than a failed request to the other.

// defaultSegmentSocket is where cordon-segment.socket listens.
const defaultSegmentSocket = "/run/cordon/segment.sock"

func segmentSocketFlag(c *cobra.Command, socket *string) {
	c.Flags().StringVar(socket, "segment-socket", defaultSegmentSocket, "where the segment helper listens: `PATH`")
}

// keeper makes what needs privileges in this process if it has them, or asks the helper.
func keeper(socket string) segment.Keeper {
	if canNetAdmin() {
		return segment.Local{}
	}
	return helper{socket}
}

// canNetAdmin reports whether this process has what segments need.
func canNetAdmin() bool {
	var header unix.CapUserHeader
	var data [2]unix.CapUserData
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&need == need
}

// helper asks the process that listens at a path.
type helper struct{ socket string }

// errNoHelper is a segment in which nobody can make sockets.
var errNoHelper = errors.New("the segment helper does not answer")

func ask[T any](ctx context.Context, h helper, do func(*segment.Client) (T, error)) (T, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unixpacket", h.socket)
	if err != nil {
		var none T
		return none, fmt.Errorf("%w: %w", errNoHelper, err)
	}
	c := segment.NewClient(conn.(*net.UnixConn))
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return do(c)
}

func (h helper) Agree(ctx context.Context, p segment.Plan) error {
	_, err := ask(ctx, h, func(c *segment.Client) (struct{}, error) { return struct{}{}, c.Agree(ctx, p) })
	return err
}

func (h helper) Up(ctx context.Context, p segment.Plan) error {
	_, err := ask(ctx, h, func(c *segment.Client) (struct{}, error) { return struct{}{}, c.Up(ctx, p) })
	return err
}

func (h helper) Dialer(ctx context.Context, p segment.Plan, to netip.AddrPort, client netip.Addr) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Dialer(ctx, p, to, client) })
}

func (h helper) Listener(ctx context.Context, p segment.Plan, at netip.AddrPort) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Listener(ctx, p, at) })
}

func (h helper) InlineListener(ctx context.Context, p segment.Plan, at netip.AddrPort) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.InlineListener(ctx, p, at) })
}

func (h helper) Dropped(ctx context.Context, p segment.Plan) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Dropped(ctx, p) })
}

func (h helper) Instance(ctx context.Context, p segment.Plan) (uint64, error) {
	return ask(ctx, h, func(c *segment.Client) (uint64, error) { return c.Instance(ctx, p) })
}

func (h helper) Findings(ctx context.Context, p segment.Plan) ([]segment.Finding, error) {
	return ask(ctx, h, func(c *segment.Client) ([]segment.Finding, error) { return c.Findings(ctx, p) })
}

// segmentHelperCommand is the helper's process: systemd starts it as root, or "cordon run" does.
func segmentHelperCommand(a *app) *cobra.Command {
	var restart, untilEOF bool
	c := &cobra.Command{
		Use: "segment-helper", Short: "Set segments up and make sockets in them, for a gateway without privileges",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			if untilEOF {
				ctx = untilEnd(ctx, a.stdin)
			}
			if restart {
				return a.restartHelper(ctx)
			}
			h := &segmentHelper{read: func() ([]segment.Plan, error) { return a.chosenPlans(nil) }, log: a.newLogger(a.stderr)}
			var err error
			if h.plans, err = h.read(); err != nil {
				return cannot("help with segments", err)
			}
			listener, err := inherited()
			if err != nil {
				return cannot("help with segments", err)
			}
			return h.run(ctx, listener)
		},
	}
	c.Flags().BoolVar(&restart, "restart", false, "start it again whenever it ends")
	c.Flags().BoolVar(&untilEOF, "until-eof", false, "end with standard input")
	return c
}

// untilEnd is ctx until nothing more can come from r.
func untilEnd(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, r)
		cancel()
	}()
	return ctx
}

// firstInherited is the first file descriptor that a process is passed (sd_listen_fds(3)).
const firstInherited = 3

// inherited is the listening socket that systemd passes.
func inherited() (*net.UnixListener, error) {
	f := os.NewFile(firstInherited, "segment socket")
	defer f.Close() // net.FileListener makes its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over the listening socket: %w; cordon-segment.socket starts this command", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok || u.Addr().Network() != "unixpacket" {
		l.Close()
		return nil, fmt.Errorf("take over the listening socket: it is of type %s, expected unixpacket", l.Addr().Network())
	}
	return u, nil
}

// segmentHelper answers the gateway. What it may do is what its own reading of the
// configuration declares, whatever it is asked.
type segmentHelper struct {
	read func() ([]segment.Plan, error) // of the configuration as it is now
	log  *slog.Logger

	making  sync.Mutex     // held while segments are made
	missing []segment.Plan // what could not be; it stays closed

	mu    sync.Mutex
	plans []segment.Plan
}

// Plans is part of segment.Declaration.
func (h *segmentHelper) Plans() []segment.Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plans
}

// Reread is part of segment.Declaration. Sessions with devices that are declared as before go on; a
// segment that is not declared any more stays as it is, for nobody.
func (h *segmentHelper) Reread(ctx context.Context) error {
	h.making.Lock()
	defer h.making.Unlock()
	all, err := h.read()
	if err != nil {
		return err
	}
	before := h.Plans()
	h.mu.Lock()
	h.plans = all
	h.mu.Unlock()
	var differ []segment.Plan
	for _, p := range all {
		if !slices.ContainsFunc(before, func(was segment.Plan) bool { return reflect.DeepEqual(was, p) }) {
			differ = append(differ, p)
		}
	}
	still := slices.DeleteFunc(h.missing, func(p segment.Plan) bool {
		return !slices.ContainsFunc(all, func(is segment.Plan) bool { return reflect.DeepEqual(is, p) })
	})
	h.log.Info("read again what is declared", "segments", len(all), "differ", len(differ))
	h.missing = append(still, h.setup(ctx, differ)...)
	return nil
}

// mend tries again to make what could not be.
func (h *segmentHelper) mend(ctx context.Context) {
	h.making.Lock()
	defer h.making.Unlock()
	h.missing = h.setup(ctx, h.missing)
}

const (
	setupPause     = 10 * time.Second // until a segment that could not be set up is tried again: its interface may come later
	helperRequests = 64               // at a time
	helperPatience = 30 * time.Second // for one connection
)

// run sets the segments up and answers until ctx is done. Segments stay as they are then.
func (h *segmentHelper) run(ctx context.Context, listener *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	h.missing = h.Plans()
	h.mend(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() {
		tick := time.NewTicker(setupPause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.mend(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	slots := make(chan struct{}, helperRequests)
	for {
		slots <- struct{}{} // each is given back within helperPatience
		conn, err := listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a request for a segment: %w", err)
		}
		working.Go(func() {
			defer func() { conn.Close(); <-slots }()
			ctx, cancel := context.WithTimeout(ctx, helperPatience)
			defer cancel()
			if err := segment.Serve(ctx, conn, segment.Local{}, h); err != nil && ctx.Err() == nil {
				h.log.Warn("segment helper", "error", err)
			}
		})
	}
}

// setup returns the plans that could not be set up. Those stay closed.
func (h *segmentHelper) setup(ctx context.Context, plans []segment.Plan) (missing []segment.Plan) {
	for _, p := range plans {
		if err := (segment.Local{}).Setup(ctx, p); err != nil {
			h.log.Error("segment", "name", p.Name, "error", err)
			missing = append(missing, p)
			continue
		}
		h.log.Info("segment up", "name", p.Name, "interface", p.Interface.Name, "devices", len(p.Devices))
	}
	return missing
}

// lifelineEnv names the descriptor that a helper which "cordon run" started lives by.
const lifelineEnv = "CORDON_SEGMENT_LIFELINE"

// ownLifeline is that descriptor; nil: the helper is not ours. Nothing that this process starts
// may come by it unasked.
func ownLifeline() (*os.File, error) {
	text, found := os.LookupEnv(lifelineEnv)
	if !found {
		return nil, nil
	}
	os.Unsetenv(lifelineEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", lifelineEnv, text)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), lifelineName), nil
}

// shedNetAdmin makes "cordon run" as root what it is under systemd: it starts the helper and
// then becomes a process that cannot get CAP_NET_ADMIN any more, with the helper's socket on
// its command line. It returns only if there is nothing to shed, or with an error.
func (a *app) shedNetAdmin(flags *pflag.FlagSet) error {
	c, err := config.Load(a.config())
	if err != nil || len(c.Segments) == 0 || flags.Changed("segment-socket") || !canNetAdmin() {
		return err // without privileges the helper is systemd's
	}
	if _, err := plans(c); err != nil {
		return err
	}
	dir, err := makeRuntime()
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "segment.sock")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("listen for requests for segments: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return err
	}
	f, err := listener.File()
	if err != nil {
		return fmt.Errorf("listen for requests for segments: %w", err)
	}
	// The helper lives as long as any process has the other end: this one, and those that take
	// over from it.
	theirs, lifeline, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the segment helper: %w", err)
	}
	runtime.LockOSThread() // for good: this thread is the one that goes on behind exec
	h := a.helperProcess(context.Background(), f, "--restart", "--until-eof")
	h.Stdin, h.SysProcAttr = theirs, &syscall.SysProcAttr{Setpgid: true}
	if err := h.Start(); err != nil {
		return fmt.Errorf("start the segment helper: %w", err)
	}
	// The directory is named for the process that needs it, lest makeRuntime takes it for left behind.
	if lasting := filepath.Join(filepath.Dir(dir), fmt.Sprintf("cordon-%d-segment", h.Process.Pid)); os.Rename(dir, lasting) == nil {
		socket = filepath.Join(lasting, filepath.Base(socket))
	}
	for _, capability := range []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_PTRACE, unix.CAP_SYS_MODULE} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			h.Process.Kill()
			return fmt.Errorf("give up capability %d: %w", capability, err)
		}
	}
	fd, err := unix.FcntlInt(lifeline.Fd(), unix.F_DUPFD, 3) // without CLOEXEC
	if err == nil {
		err = unix.Exec("/proc/self/exe", append(append([]string{}, os.Args...), "--segment-socket", socket), append(os.Environ(), fmt.Sprintf("%s=%d", lifelineEnv, fd)))
	}
	h.Process.Kill()
	return fmt.Errorf("start again without privileges: %w", err)
}
