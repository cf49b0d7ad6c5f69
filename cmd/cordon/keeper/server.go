package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"cordon/gateway/segment"
)

const (
	SetupPause = 10 * time.Second // until a segment that could not be set up is tried again: its interface may come later
	requests   = 64               // at a time
	Patience   = 30 * time.Second // for one connection
)

// Server answers the gateway. What it may do is what its own reading of the
// configuration declares, whatever it is asked.
type Server struct {
	read func() ([]segment.Plan, error) // of the configuration as it is now
	log  *slog.Logger

	making  sync.Mutex     // held while segments are made
	missing []segment.Plan // what could not be; it stays closed

	mu    sync.Mutex
	plans []segment.Plan
}

// NewServer makes a helper for the segments that read finds in the configuration, now and whenever
// the gateway has read another one.
func NewServer(read func() ([]segment.Plan, error), log *slog.Logger) (*Server, error) {
	plans, err := read()
	return &Server{read: read, log: log, plans: plans}, err
}

// Plans is part of segment.Declaration.
func (h *Server) Plans() []segment.Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plans
}

// Reread is part of segment.Declaration. Sessions with devices that are declared as before go on; a
// segment that is not declared any more stays as it is, for nobody.
func (h *Server) Reread(ctx context.Context) error {
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
func (h *Server) mend(ctx context.Context) {
	h.making.Lock()
	defer h.making.Unlock()
	h.missing = h.setup(ctx, h.missing)
}

// Run sets the segments up and answers until ctx is done. Segments stay as they are then.
func (h *Server) Run(ctx context.Context, listener *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	h.missing = h.Plans()
	h.mend(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() {
		tick := time.NewTicker(SetupPause)
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
	slots := make(chan struct{}, requests)
	for {
		slots <- struct{}{} // each is given back within Patience
		conn, err := listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept a request for a segment: %w", err)
		}
		working.Go(func() {
			defer func() { conn.Close(); <-slots }()
			ctx, cancel := context.WithTimeout(ctx, Patience)
			defer cancel()
			if err := segment.Serve(ctx, conn, segment.Local{}, h); err != nil && ctx.Err() == nil {
				h.log.Warn("segment helper", "error", err)
			}
		})
	}
}

// setup returns the plans that could not be set up. Those stay closed.
func (h *Server) setup(ctx context.Context, plans []segment.Plan) (missing []segment.Plan) {
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
