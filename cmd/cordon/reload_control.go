package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"cordon/cmd/cordon/config"
)

// reloadTimeout bounds a reload. Tests may take long; sessions do not wait for them.
const reloadTimeout = time.Minute

// reloader brings what was edited into a running gateway: the policy, and what policy is told
// about devices. It is done as a whole or not at all.
type reloader struct {
	parts *assembly
	file  string // the configuration
	log   *slog.Logger

	control *control
	signals chan os.Signal
	stop    context.CancelFunc
	running sync.WaitGroup

	updates *updates // of bundles; nil: there are none

	mu     sync.Mutex     // one at a time
	config *config.Config // as it is in force
}

// acceptReloads lets parts be reloaded, by SIGHUP and over the control socket, and serves what
// else is asked there. Close the reloader before parts.
func acceptReloads(parts *assembly, file string, log *slog.Logger) (*reloader, error) {
	r := &reloader{parts: parts, file: file, log: log, config: parts.config, signals: make(chan os.Signal, 1)}
	var err error
	if r.updates, err = openUpdates(parts); err != nil {
		return nil, err
	}
	r.control, err = listenControl(parts.config.Gateway.State, map[string]verb{
		"reload": func(ctx context.Context, _ string, _ json.RawMessage) (any, error) { return r.reload(ctx) },
		"access": parts.answerAccess, "emergency": parts.answerEmergency,
		"bundle": r.answerBundle,
		"policy": r.policyStep,
	}, log)
	if err != nil {
		return nil, err
	}
	signal.Notify(r.signals, syscall.SIGHUP)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	parts.standing.advance(time.Now())
	r.running.Go(func() { r.followSignals(ctx) })
	r.running.Go(func() { parts.standing.follow(ctx) })
	if r.updates != nil {
		r.running.Go(func() { r.followBundles(ctx) })
	}
	return r, nil
}

// close waits for a reload that is going on, which is broken off.
func (r *reloader) close() {
	signal.Stop(r.signals)
	r.stop()
	r.control.close()
	r.running.Wait()
	if r.updates != nil {
		r.updates.source.Close()
	}
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
