package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/handover"
	"cordon/gateway/metrics"
)

// metricsListener is where metrics and health are shown, in the process that has the log. The zero one
// shows nothing.
type metricsListener struct {
	network, address string
	listener         net.Listener
	server           *metrics.Server
}

// name is what the listener is passed on by: who listens elsewhere opens its own.
func (m *metricsListener) name() string { return "metrics " + m.network + " " + m.address }

// openMetrics opens the listener of a configuration, or takes it over from old. Who asks waits until
// serve.
func openMetrics(c *config.Metrics, old *handover.Predecessor) (*metricsListener, error) {
	m := &metricsListener{}
	if m.network, m.address = c.Network(); m.network == "" {
		return m, nil
	}
	var err error
	if old != nil {
		if m.listener, err = old.Listener(m.name()); err != nil {
			return nil, err
		}
	}
	if m.listener == nil {
		if m.listener, err = m.open(); err != nil {
			return nil, exit.Error{Code: "metrics.listen", Message: fmt.Sprintf("listen for metrics on %s: %v", c.Listen, err), Exit: exit.Conflict, Err: err,
				Try: []string{"another process may hold the address: ss -ltnxp", "metrics: { listen: 127.0.0.1:9464 } with another port"}}
		}
	}
	if u, ok := m.listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // its place may be another process's by then
	}
	return m, nil
}

// open makes a listener. A socket is for the gateway's user and group.
func (m *metricsListener) open() (net.Listener, error) {
	if m.network == "unix" {
		if err := removeStale(m.address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(m.network, m.address)
	if err == nil && m.network == "unix" {
		if err = os.Chmod(m.address, 0o660); err != nil {
			l.Close()
		}
	}
	return l, err
}

// removeStale removes a socket that a process has left which was killed, and nothing else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there, and no socket", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return unix.EADDRINUSE
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// serve answers until hush.
func (m *metricsListener) serve(s metrics.Source, log *slog.Logger) {
	if m.listener != nil {
		m.server = metrics.Serve(m.listener, s, log)
	}
}

// hush leaves those who ask from now on to the process that has the socket too, and returns when the
// others are answered.
func (m *metricsListener) hush() {
	if m.server != nil {
		m.server.Close()
	}
}

// close is hush for good. last says that no other process has the socket.
func (m *metricsListener) close(last bool) {
	m.hush()
	if m.listener == nil {
		return
	}
	m.listener.Close()
	if last && m.network == "unix" {
		os.Remove(m.address)
	}
}

// source is what is shown of r.
func (r *reloader) source() metrics.Source {
	return metrics.Source{Read: r.read, Lives: r.parts.lives, Ready: r.parts.isReady}
}
