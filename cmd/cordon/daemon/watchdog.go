package daemon

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// A watchdog of the service manager (WatchdogSec= of systemd) restarts a gateway that hangs. It
// is told that the gateway lives only when its loops have turned: every listener's, the log's,
// every plugin's supervisor, and the policy has answered. That the gateway refuses, for its disk is
// full or a plugin is gone, is no reason: a restart would not help.

// watchdogInterval is how often the service manager wants to hear of this process; 0: it does not.
func watchdogInterval() time.Duration {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || us <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// watchdog tells the service manager three times in each interval that the gateway lives, as
// long as it does.
func (r *reloader) watchdog(ctx context.Context) {
	every := watchdogInterval() / 3
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := r.parts.turns(ctx, every); err == nil {
			r.systemd.tell("WATCHDOG=1")
		} else if ctx.Err() == nil {
			r.log.Error("something hangs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turns returns nil if within a time everything that must turn has turned. What hangs may
// leave a goroutine behind: the process is about to be killed.
func (p *Assembly) turns(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	probes := []func(context.Context) error{p.Gateway.Turns, p.log.Turns}
	for _, plugin := range p.plugins {
		probes = append(probes, plugin.Turns)
	}
	var mu sync.Mutex
	var left sync.WaitGroup
	var hangs error
	for _, probe := range probes {
		left.Go(func() {
			if err := probe(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				hangs = err
			}
		})
	}
	all := make(chan struct{})
	go func() {
		left.Wait()
		close(all)
	}()
	select {
	case <-all:
		return hangs
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	if hangs != nil {
		return hangs
	}
	return fmt.Errorf("a loop does not turn: %w", ctx.Err())
}
