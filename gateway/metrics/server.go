package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of what somebody who asks can make the gateway spend.
const (
	connections  = 16 // at a time; others wait in the kernel's queue
	readings     = 2  // at a time; others are told to try again
	readTimeout  = 5 * time.Second
	writeTimeout = 15 * time.Second
	maxHeader    = 8 << 10 // bytes
)

// Check is one thing that has to be so.
type Check struct {
	Name string // one word
	Err  error  // why it is not so; nil: it is
}

// Source is what a Server shows. Its functions may be called concurrently and have to return soon.
type Source struct {
	Read  func(*Reading)
	Lives func(context.Context) []Check // whether a restart would help, if one of them is not so
	Ready func(context.Context) []Check // whether clients are served
}

// Server answers GET /metrics, /healthz and /readyz. A connection is good for one request: after a
// hand-over the next one is the new process's.
type Server struct {
	http     *http.Server
	listener *bounded
	served   chan struct{} // closed when nothing is accepted any more
	closing  sync.Once
}

// Serve answers on l until Close, which closes it.
func Serve(l net.Listener, s Source, log *slog.Logger) *Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(s.Read), promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: readings,
	}))
	mux.HandleFunc("GET /healthz", answer(s.Lives))
	mux.HandleFunc("GET /readyz", answer(s.Ready))
	h := &http.Server{
		Handler: mux, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers cause
	}
	h.SetKeepAlivesEnabled(false)
	server := &Server{http: h, listener: &bounded{Listener: l, places: make(chan struct{}, connections), closed: make(chan struct{})}, served: make(chan struct{})}
	go func() {
		defer close(server.served)
		if err := h.Serve(server.listener); err != nil && !errors.Is(err, net.ErrClosed) {
			log.Error("serve metrics", "error", err)
		}
	}()
	return server
}

// Close stops accepting and waits until those who are connected are answered, readTimeout for one that
// asks nothing. Who comes later waits for the process that has the socket too, if there is one.
// It may be called twice.
func (s *Server) Close() { s.closing.Do(s.close) }

func (s *Server) close() {
	s.listener.Close()
	<-s.served
	// Not by http.Server.Shutdown, which hangs up on who has connected and not asked yet.
	patience := time.NewTimer(readTimeout + writeTimeout)
	defer patience.Stop()
	for range cap(s.listener.places) {
		select {
		case s.listener.places <- struct{}{}:
		case <-patience.C:
			s.http.Close()
			return
		}
	}
}

// answer says in one line for each check how it is, and with the status whether all are as they
// should be.
func answer(checks func(context.Context) []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		all := checks(ctx)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		for _, c := range all {
			if c.Err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				break
			}
		}
		for _, c := range all {
			if c.Err != nil {
				fmt.Fprintf(w, "%s: %v\n", c.Name, c.Err)
			} else {
				fmt.Fprintf(w, "%s: ok\n", c.Name)
			}
		}
	}
}

// bounded is a listener with as many open connections at a time as it has places.
type bounded struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Accept waits for a place first.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &place{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

// Close also ends a wait for a place.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// place is a connection that gives its place back.
type place struct {
	net.Conn
	leave func()
}

// Close is part of net.Conn.
func (p *place) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
