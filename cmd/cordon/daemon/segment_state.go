package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cordon/cmd/cordon/keeper"
	"cordon/gateway/segment"
)

// A gateway waits at its start for the segment helper, which answers when it has tried to set
// every segment up, and then is ready: for the devices in one segment, that of others need not be
// plugged in. What is not up is said, until it is.

const (
	helperStart = 30 * time.Second // for the helper to answer, for all segments together; a hand-over waits for longer
	upPause     = 2 * time.Second  // until a segment that is not up is looked at again
	upPatience  = 3 * time.Second  // for all answers; what has none by then is not up
)

// agree waits until the helper has answered whether it goes by a plan: a helper that has just been
// started sets segments up first.
func agree(ctx context.Context, keep segment.Keeper, p segment.Plan, log *slog.Logger) error {
	for {
		err := keep.Agree(ctx, p)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", keeper.ErrNoHelper, err)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		log.Warn("waiting for the segment helper", "segment", p.Name)
	}
}

// segmentState is whether a segment can be used.
type segmentState struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	Why  string `json:"why,omitempty"` // it is not
}

// segmentStates asks for all segments at once; they are in the order of their names.
func (a *Assembly) segmentStates(ctx context.Context) []segmentState {
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	names := slices.Sorted(maps.Keys(a.segments))
	states := make([]segmentState, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() {
			states[i] = segmentState{Name: name, Up: true}
			if err := a.segments[name].Up(ctx); err != nil {
				states[i].Up, states[i].Why = false, err.Error()
			}
		})
	}
	asking.Wait()
	return states
}

// SegmentsDown are the states of segments that are not up, in words.
func SegmentsDown(states []segmentState) (words []string) {
	for _, s := range states {
		if !s.Up {
			words = append(words, fmt.Sprintf("segment %s is not up yet: %s", s.Name, s.Why))
		}
	}
	return words
}

// ready tells the service manager that clients can connect, and which segments they cannot reach.
func (r *reloader) ready(ctx context.Context) {
	states := r.parts.segmentStates(ctx)
	text := "READY=1"
	if len(states) > 0 {
		text += "\nSTATUS=" + strings.Join(SegmentsDown(states), "; ")
	}
	r.systemd.tell(text)
}

// followSegments tells when a segment that was not up at the start is. It ends with ctx, or when
// all are.
func (r *reloader) followSegments(ctx context.Context) {
	states := r.parts.segmentStates(ctx)
	for len(SegmentsDown(states)) > 0 {
		select {
		case <-time.After(upPause):
		case <-ctx.Done():
			return
		}
		now := r.parts.segmentStates(ctx)
		if ctx.Err() != nil || r.handedOver() {
			return
		}
		for i, s := range now {
			if s.Up && !states[i].Up {
				r.log.Info("segment can be reached", "name", s.Name)
				r.systemd.tell("STATUS=" + strings.Join(SegmentsDown(now), "; "))
			}
		}
		states = now
	}
}
