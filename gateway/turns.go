package gateway

import (
	"context"
	"fmt"
	"time"

	"cordon/policy"
)

// Turns returns nil once every loop that accepts has turned and the policy has answered a
// question, whatever it said. If that has not happened when ctx is done, it says what hangs.
// It is for a watchdog. That a gateway refuses, because it is full or in doubt, is no reason to
// restart it, and no error here.
func (g *Gateway) Turns(ctx context.Context) error {
	g.entrance.mu.Lock()
	doors := g.entrance.doors
	g.entrance.mu.Unlock()
	for i, d := range doors {
		if err := d.ask(ctx); err != nil {
			return fmt.Errorf("accept on %s: %w", g.Routes[i].Listen, err)
		}
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r := policy.Request{Phase: policy.PhaseConnect, Subject: policy.Subject{ID: "watchdog", Roles: []string{}, Groups: []string{}}, NowNs: time.Now().UnixNano()}
		g.grounds.Load().policy.Decide(ctx, &r)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask the policy: %w", ctx.Err())
	}
}

// ask makes the loop that accepts turn, and returns when it has, or ctx is done.
func (d *door) ask(ctx context.Context) error {
	before := d.turns.Load()
	select {
	case d.asked <- struct{}{}:
	default:
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for d.turns.Load() == before {
		if l, ok := d.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			l.SetDeadline(time.Unix(1, 0)) // a closed listener turns anyway; of loops that share one, one wakes at a time
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// rest lets the loop wait for clients again. Whoever asks meanwhile sees it turn.
func (d *door) rest() {
	if l, ok := d.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		l.SetDeadline(time.Time{})
	}
}
