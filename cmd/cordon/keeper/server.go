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
	SetupPause = 10 * time.Second // until segments are looked at again, and one that could not be set up is tried: its interface may come later
	glance     = time.Second      // until it is seen that the host's rules are gone
	requests   = 64               // at a time
	Patience   = 30 * time.Second // for one connection
)

// Server answers the gateway. What it may do is what its own reading of the
// configuration declares, whatever it is asked.
type Server struct {
	read func() ([]segment.Plan, error) // of the configuration as it is now
	log  *slog.Logger

	making  sync.Mutex        // held while segments are made
	missing []segment.Plan    // what could not be; it stays closed
	said    map[string]string // what was found last of those that were, by name

	mu    sync.Mutex
	plans []segment.Plan
}

// NewServer makes a helper for the segments that read finds in the configuration, now and whenever
// the gateway has read another one.
func NewServer(read func() ([]segment.Plan, error), log *slog.Logger) (*Server, error) {
	plans, err := read()
	return &Server{read: read, log: log, plans: plans, said: map[string]string{}}, err
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

// mend tries again to make what could not be, and sets the rest up again where somebody has changed it. open: what keeps it
// closed is gone.
func (h *Server) mend(ctx context.Context, open bool) {
	h.making.Lock()
	defer h.making.Unlock()
	h.missing = h.setup(ctx, h.missing)
	declared, unread := h.read()
	for _, p := range h.Plans() {
		same := func(o segment.Plan) bool { return reflect.DeepEqual(o, p) }
		if ctx.Err() != nil || slices.ContainsFunc(h.missing, same) {
			continue
		}
		if unread == nil && !open && !slices.ContainsFunc(declared, same) {
			continue // edited, and perhaps set up by hand; it is made when the gateway goes by it, too
		}
		found, err := (segment.Local{}).Mend(ctx, p)
		said := fmt.Sprint(found, err)
		if (len(found) > 0 || err != nil) && said != h.said[p.Name] {
			h.log.Warn("segment was not as it is declared, set up again", "name", p.Name, "found", evidence(found), "error", err)
		}
		h.said[p.Name] = said
	}
}

// keep mends until ctx is done: at once when rules of the host are gone, which somebody has flushed.
func (h *Server) keep(ctx context.Context) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	mended, was := time.Now(), true
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		guarded, err := (segment.Local{}).Guarded(h.Plans()...)
		if err != nil {
			h.log.Warn("look for the host's rules", "error", err)
		}
		if was && !guarded || time.Since(mended) >= SetupPause {
			h.mend(ctx, !guarded)
			mended = time.Now()
		}
		was = guarded
	}
}

func evidence(found []segment.Finding) (words []string) {
	for _, f := range found {
		words = append(words, f.Code+": "+f.Evidence)
	}
	return words
}

// Run sets the segments up and answers until ctx is done. Segments stay as they are then.
func (h *Server) Run(ctx context.Context, listener *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	h.making.Lock()
	h.missing = h.setup(ctx, h.Plans())
	h.making.Unlock()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { h.keep(ctx) })
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
