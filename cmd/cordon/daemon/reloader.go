package daemon

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
)

// ReloadTimeout bounds a reload. Tests, and a new process on a slow machine, may take long; sessions do not wait for them.
const ReloadTimeout = 3 * time.Minute

// reloader brings what was edited into a running gateway: the policy and what policy is told
// about devices at once, everything else by way of a new process (handover.go). It is done as a
// whole or not at all.
type reloader struct {
	parts     *Assembly
	file      string // the configuration
	log       *slog.Logger
	systemd   notifier
	old       *handover.Predecessor // whose last sessions go on; nil: this process took over from none
	proven    *revision.Digests     // the policy that old has proven for this process; nil: the configuration says where it is
	lifeline  *os.File              // what keeps the segment helper alive; nil: it is not ours
	following sync.WaitGroup        // old

	control *control.Server
	signals chan os.Signal
	serving context.Context
	leave   context.CancelFunc // ends serving
	stop    context.CancelFunc
	running sync.WaitGroup

	updates *updates // of bundles; nil: there are none
	metrics *metricsListener
	began   time.Time

	mu        sync.Mutex // one change at a time
	listeners []net.Listener
	unwatch   func()         // stops watching segments
	config    *config.Config // as it is in force
	text      []byte         // the same, as it was written
	trial     *trial         // nil: what is in force is meant to stay

	trialEnds atomic.Int64 // ns since the Unix epoch, a moment old; 0: none is on trial

	heir atomic.Pointer[handover.Successor] // the process that has taken over; nil: none has
}

// prepare makes everything that serving takes. Close the reloader and its parts.
func prepare(ctx context.Context, file string, keep segment.Keeper, old *handover.Predecessor, log *slog.Logger) (r *reloader, err error) {
	r = &reloader{file: file, began: time.Now(), log: log, old: old, systemd: serviceManager(), signals: make(chan os.Signal, 1), unwatch: func() {}}
	if err := home.CheckWhole(file); err != nil {
		return nil, err
	}
	if err := r.inherit(); err != nil {
		return nil, err
	}
	if r.config, err = config.Parse(file, r.text); err != nil {
		return nil, err
	}
	parts, err := assembleFrom(ctx, r.config, old, r.proven, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			parts.Close()
		}
	}()
	r.parts = parts
	if err := parts.enter(ctx, keep, log); err != nil {
		return nil, err
	}
	if r.listeners, err = r.parts.Gateway.Listen(); err != nil {
		return nil, exit.Error{Code: "listen", Message: err.Error(), Exit: exit.Conflict, Err: err,
			Try: []string{"another process may hold the address: ss -ltnp", "cordon device list"}}
	}
	var taken net.Listener
	if old != nil {
		if taken, err = old.Listener(control.Name); err != nil {
			return nil, err
		}
	}
	if r.updates, err = openUpdates(parts); err == nil {
		if r.control, err = control.Listen(r.config.Gateway.State, taken, log); err != nil && r.updates != nil {
			r.updates.source.Close()
		}
	}
	if err == nil {
		if r.metrics, err = openMetrics(&r.config.Metrics, old); err != nil {
			r.control.Close(old == nil)
		}
	}
	if err != nil {
		for _, l := range r.listeners {
			l.Close()
		}
		return nil, err
	}
	return r, nil
}

// begin lets the gateway be changed, by SIGHUP and over the control socket, while it serves.
func (r *reloader) begin(serving context.Context, leave context.CancelFunc) {
	r.serving, r.leave = serving, leave
	ctx, stop := context.WithCancel(serving)
	r.stop = stop
	r.unwatch = r.parts.watchSegments(r.log)
	if r.trial == nil {
		r.forgetTrial()
	} else {
		r.trial.begin()
	}
	r.parts.standing.advance(time.Now())
	if r.old == nil {
		r.ready(ctx)
	} else {
		r.follow()
	}
	signal.Notify(r.signals, syscall.SIGHUP)
	r.control.Serve(r.verbs())
	r.metrics.serve(r.source(), r.log)
	r.running.Go(func() { r.followSignals(ctx) })
	r.running.Go(func() { r.parts.standing.follow(ctx) })
	r.running.Go(func() { r.followSegments(ctx) })
	r.running.Go(func() { r.parts.keepPolicies(ctx) })
	if r.updates != nil {
		r.running.Go(func() { r.followBundles(ctx) })
	}
	r.running.Go(func() { r.keepTrial(ctx) })
	r.running.Go(func() { r.watchdog(ctx) })
}

// end waits until nothing is changed any more, and until the process that this one took over
// from has no sessions: an entry of its own may still come.
func (r *reloader) end() {
	if !r.handedOver() {
		r.systemd.tell("STOPPING=1")
	}
	signal.Stop(r.signals)
	r.stop()
	r.control.Hush()
	r.metrics.hush()
	if r.old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), r.config.Limits.DrainTimeout+drainSlack)
		defer cancel()
		r.old.End(ctx)
		r.old.Close()
		r.following.Wait()
	}
	if heir := r.heir.Load(); heir != nil {
		heir.Close()
	}
	r.running.Wait()
	r.unwatch()
}

// drainSlack is how much longer than Limits.DrainTimeout a drain may take.
const drainSlack = 5 * time.Second

// close gives up what prepare opened besides the parts.
func (r *reloader) close() {
	r.control.Close(!r.handedOver() && r.parts.log.Mine())
	r.metrics.close(!r.handedOver())
	if r.updates != nil {
		r.updates.source.Close()
	}
	for _, l := range r.listeners {
		l.Close()
	}
}

func (r *reloader) followSignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.signals:
			r.refresh(ctx, ChangeRequest{})
		}
	}
}

// ChangeRequest is what is asked of a verb that changes what the gateway runs with.
type ChangeRequest struct {
	Force  bool          `json:"force,omitempty"`  // reload: a new process takes over in any case
	Config []byte        `json:"config,omitempty"` // try: the text of a configuration
	For    time.Duration `json:"for,omitempty"`    // try: how long it may stay unconfirmed
}

// verbs are what a running gateway is asked for over the control socket.
func (r *reloader) verbs() map[string]control.Verb {
	changes := map[string]change{"reload": r.refresh}
	for name, do := range map[string]change{"try": r.try, "confirm": r.confirm, "rollback": r.rollback} {
		changes[name] = func(ctx context.Context, q ChangeRequest) (Reloaded, error) { return r.change(ctx, name, do, q) }
	}
	verbs := map[string]control.Verb{
		"access": control.Asked(r.parts.answerAccess), "emergency": control.Asked(r.parts.answerEmergency), "drill": control.Asked(r.parts.answerDrill),
		"certificate": control.Asked(r.parts.answerCertificate), "policy": control.Asked(r.policyStep), "bundle": control.Asked(r.answerBundle),
		"backup": control.Asked(r.answerBackup), "trial": r.answerTrial, "health": r.answerHealth, "status": r.answerStatus,
	}
	for name, do := range changes {
		verbs[name] = control.Asked(func(ctx context.Context, _ string, q *ChangeRequest) (any, error) { return do(ctx, *q) })
	}
	return verbs
}
