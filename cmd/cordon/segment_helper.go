package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/segment"
)

// How the segment helper of package keeper is started: by systemd, or by "cordon run" as root, which then gives up what
// only the helper needs.

func segmentSocketFlag(c *cobra.Command, socket *string) {
	c.Flags().StringVar(socket, "segment-socket", keeper.DefaultSocket, "where the segment helper listens: `PATH`")
}

// segmentHelperCommand is the helper's process: systemd starts it as root, or "cordon run" does.
func segmentHelperCommand(a *app) *cobra.Command {
	var restart, untilEOF bool
	var memory string
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
			log := a.newLogger(a.stderr)
			h, err := keeper.NewServer(func() ([]segment.Plan, error) {
				plans, err := a.chosenPlans(nil)
				if err == nil {
					if err := segmentMemory(memory).keep(plans); err != nil {
						log.Warn("segment helper", "error", err)
					}
				}
				return plans, err
			}, log)
			if err != nil {
				return cannot("help with segments", err)
			}
			listener, err := inherited()
			if err != nil {
				return cannot("help with segments", err)
			}
			return h.Run(ctx, listener)
		},
	}
	c.Flags().BoolVar(&restart, "restart", false, "start it again whenever it ends")
	c.Flags().BoolVar(&untilEOF, "until-eof", false, "end with standard input")
	memoryFlag(c, &memory)
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

// shedNetAdmin makes "cordon run" as root what it is under systemd: it starts the helper and
// then becomes a process that cannot get CAP_NET_ADMIN any more, with the helper's socket on
// its command line. It returns only if there is nothing to shed, or with an error.
func (a *app) shedNetAdmin(flags *pflag.FlagSet) error {
	c, err := config.Load(a.config())
	if err != nil || len(c.Segments) == 0 || flags.Changed("segment-socket") || !keeper.CanNetAdmin() {
		return err // without privileges the helper is systemd's
	}
	if _, err := keeper.Plans(c); err != nil {
		return err
	}
	dir, err := daemon.MakeRuntime()
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
	// The directory is named for the process that needs it, lest daemon.MakeRuntime takes it for left behind.
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
		err = unix.Exec("/proc/self/exe", append(append([]string{}, os.Args...), "--segment-socket", socket), append(os.Environ(), fmt.Sprintf("%s=%d", keeper.LifelineEnv, fd)))
	}
	h.Process.Kill()
	return fmt.Errorf("start again without privileges: %w", err)
}
