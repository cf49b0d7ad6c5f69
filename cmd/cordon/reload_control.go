package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"cordon/cmd/cordon/config"
)

// Bounds of a reload. Tests may take long; sessions do not wait for them.
const (
	reloadTimeout  = time.Minute
	controlTimeout = 5 * time.Second // to ask over the control socket, and to take the answer
)

// controlName is the socket in gateway.state over which a running gateway is asked to
// reload. Whoever may write that directory can do everything.
const controlName = "control.sock"

// The whole request over the control socket; the answer is a reloadAnswer on one line.
const reloadRequest = "reload\n"

// reloader brings what was edited into a running gateway: the policy, and what policy is told
// about devices. It is done as a whole or not at all.
type reloader struct {
	parts *assembly
	file  string // the configuration
	log   *slog.Logger

	dir     *os.File // gateway.state, which the socket's address goes by
	control net.Listener
	signals chan os.Signal
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex     // one at a time
	config *config.Config // as it is in force
}

// acceptReloads lets parts be reloaded, by SIGHUP and over the control socket. Close the
// reloader before parts.
func acceptReloads(parts *assembly, file string, log *slog.Logger) (*reloader, error) {
	r := &reloader{parts: parts, file: file, log: log, config: parts.config, signals: make(chan os.Signal, 1)}
	address, dir, err := controlAddress(parts.config.Gateway.State)
	if err != nil {
		return nil, fmt.Errorf("listen for reloads: %w", err)
	}
	r.dir = dir
	// Nobody else listens: there is one writer of the audit log. What lies there was left by one
	// that was killed.
	if err = os.Remove(address); err == nil || errors.Is(err, fs.ErrNotExist) {
		if r.control, err = net.Listen("unix", address); err == nil {
			err = os.Chmod(address, 0o600)
		}
	}
	if err != nil {
		if r.control != nil {
			r.control.Close()
		}
		dir.Close()
		return nil, fmt.Errorf("listen for reloads in %q: %w", parts.config.Gateway.State, err)
	}
	signal.Notify(r.signals, syscall.SIGHUP)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.running.Go(func() { r.followSignals(ctx) })
	r.running.Go(func() { r.followControl(ctx) })
	return r, nil
}

// close waits for a reload that is going on, which is broken off.
func (r *reloader) close() {
	signal.Stop(r.signals)
	r.stop()
	r.control.Close() // and removes the socket
	r.running.Wait()
	r.dir.Close()
}

// controlAddress is the socket's address by way of an open directory: a socket's path may be
// 107 bytes long at most (unix(7)), and a directory's may be longer.
func controlAddress(state string) (address string, dir *os.File, err error) {
	dir, err = os.Open(state)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlName), dir, nil
}

func (r *reloader) followSignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.signals:
			r.reload(ctx)
		}
	}
}

func (r *reloader) followControl(ctx context.Context) {
	for {
		c, err := r.control.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("accept on the control socket", "error", err)
			time.Sleep(100 * time.Millisecond) // not to spin when files run out
			continue
		}
		r.answer(ctx, c)
	}
}

// answer serves one request over the control socket.
func (r *reloader) answer(ctx context.Context, c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlTimeout))
	asked := make([]byte, len(reloadRequest))
	if _, err := io.ReadFull(c, asked); err != nil || string(asked) != reloadRequest {
		return
	}
	answer := r.reload(ctx)
	c.SetDeadline(time.Now().Add(controlTimeout))
	if err := json.NewEncoder(c).Encode(answer); err != nil {
		r.log.Warn("answer on the control socket", "error", err)
	}
}
