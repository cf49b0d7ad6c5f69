package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"syscall"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/keeper"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/handover"
)

// This is the end of the process that hands over; takeover.go is the other one's. What cannot
// be changed in a running process, its own program above all, a new process has from its start:
// it gets the listening sockets, clients notice nothing, and sessions that are open stay here
// until they are over.

// Bounds of a hand-over.
const (
	prepareTimeout = 2 * time.Minute  // for the new process to have all but the log; the old one serves meanwhile
	giveTimeout    = 10 * time.Second // for the log to change hands; what is to be recorded waits
	maxDepth       = 8                // processes that still have sessions; an entry passes through all that follow
	heldEvery      = 250 * time.Millisecond
)

// inheritance is what a new process is to run with.
type inheritance struct {
	Config []byte            `json:"config"`
	Trial  *trial            `json:"trial,omitempty"`
	Policy *revision.Digests `json:"policy,omitempty"` // that was proven and recorded, if the folder decides: by now it may hold another one
}

// programChanged reports whether the program on disk is another than this process runs.
func programChanged() bool {
	path, err := os.Executable() // without the " (deleted)" of one that was replaced
	if err != nil {
		return false
	}
	onDisk, err := os.Stat(path)
	running, err2 := os.Stat("/proc/self/exe")
	return err == nil && err2 == nil && !os.SameFile(onDisk, running)
}

func (r *reloader) handedOver() bool { return r.heir.Load() != nil }

// handOver has a new process take over with the configuration given. On an error this one goes
// on as before. r.mu is held.
func (r *reloader) handOver(ctx context.Context, run inheritance) error {
	// Nor below an init of the container's: it ends when the process that it started does.
	if os.Getpid() == 1 || os.Getenv("container") != "" {
		return exit.Error{Code: "reload.first", Message: "a container ends with its first process, which cannot hand over", Exit: exit.Conflict, Try: []string{"restart the container"}}
	}
	depth := 1
	if r.old != nil {
		select {
		case <-r.old.Gone():
		default:
			depth += r.old.Offer.Depth
		}
	}
	if depth > maxDepth {
		return exit.Error{Code: "reload.draining", Message: fmt.Sprintf("%d processes that handed over earlier still have sessions", depth-1), Exit: exit.Conflict,
			Try: []string{"try again when some of them are over", "shorten limits.handover_timeout", "restart the gateway, which cuts them"}}
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("look for the program to hand over to: %w", err)
	}
	files, names, err := r.heritage()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	state, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("tell the new process what to run with: %w", err)
	}
	heir, err := handover.Start(program, os.Args, os.Environ(), handover.Offer{Names: names, Depth: depth, State: state}, files)
	if err != nil {
		return err
	}
	preparing, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if err := heir.Prepared(preparing); err != nil {
		heir.Kill()
		return refusedBy(err)
	}
	return r.give(ctx, heir, files)
}

// heritage duplicates what the new process needs, the listeners in their order first. The
// caller closes the files.
func (r *reloader) heritage() (files []*os.File, names []string, err error) {
	pass := func(name string, owner any) {
		var f *os.File
		if c, ok := owner.(syscall.Conn); !ok {
			err = fmt.Errorf("pass on %q: a %T has no descriptor", name, owner)
		} else if f, err = handover.Duplicate(c, name); err == nil {
			files, names = append(files, f), append(names, name)
		}
	}
	for i, l := range r.listeners {
		if err == nil {
			pass(r.parts.Gateway.Routes[i].Place(), l)
		}
	}
	if err == nil {
		pass(control.Name, r.control.Listener)
	}
	if err == nil && r.metrics.listener != nil {
		pass(r.metrics.name(), r.metrics.listener)
	}
	if err == nil && r.lifeline != nil {
		pass(keeper.LifelineName, r.lifeline)
	}
	return files, names, err
}

// refusedBy makes what a new process said of its own errors.
func refusedBy(err error) error {
	if refused, ok := errors.AsType[*handover.Refused](err); ok {
		var why exit.Refusals
		if json.Unmarshal(refused.Why, &why) == nil && len(why) > 0 {
			return why
		}
	}
	return exit.Error{Code: "reload.handover", Message: "hand over to a new process: " + err.Error(), Err: err, Try: []string{"the gateway's log has what it said", "cordon check"}}
}

// give passes clients and log on to heir, which is prepared. Where that fails, this process
// takes both back: files are its listening sockets.
func (r *reloader) give(ctx context.Context, heir *handover.Successor, files []*os.File) error {
	emergencies, standing := r.parts.emergencies, r.parts.standing
	emergencies.mu.Lock()
	defer emergencies.mu.Unlock()
	standing.mu.Lock() // a change of access is made before, here, or afterwards, there
	defer standing.mu.Unlock()
	if err := standing.settle(); err != nil {
		heir.Kill()
		return err
	}
	giving, cancel := context.WithTimeout(ctx, giveTimeout)
	defer cancel()
	r.unwatch()
	r.parts.Gateway.Pause()
	err := r.parts.giveUp()
	if err != nil {
		r.log.Error("close the log to hand it over", "error", err) // what is in it is durable; a new writer recovers it
	}
	if err := heir.Give(giving, r.parts.Gateway.Held()); err != nil {
		heir.Kill()
		if back := r.takeBack(files); back != nil {
			r.log.Error("go on after a failed hand-over", "error", back)
			r.leave()
			return errors.Join(refusedBy(err), back)
		}
		return refusedBy(err)
	}
	r.parts.log.Pass(heir)
	r.heir.Store(heir)
	standing.given = true
	r.control.Hush()
	r.running.Go(r.metrics.hush) // it waits for who has asked
	r.systemd.tell(fmt.Sprintf("MAINPID=%d", heir.PID()))
	if err := heir.Lead(); err != nil {
		r.log.Error("hand over", "error", err) // linger sees what has become of it
	}
	r.running.Go(func() { r.linger(heir) })
	return nil
}

// takeBack owns the log again and accepts.
func (r *reloader) takeBack(files []*os.File) error {
	if err := r.parts.own(); err != nil {
		return err
	}
	r.unwatch = r.parts.watchSegments(r.log)
	listeners := make([]net.Listener, len(r.listeners))
	for i := range listeners {
		l, err := net.FileListener(files[i])
		if err != nil {
			for _, l := range listeners[:i] {
				l.Close()
			}
			return fmt.Errorf("take the listener %q back: %w", r.parts.Gateway.Routes[i].Place(), err)
		}
		listeners[i] = l
	}
	r.listeners = listeners
	r.parts.Gateway.Resume(listeners)
	return nil
}

// linger serves the sessions that stay behind until they are over, their time is, or heir is
// gone.
func (r *reloader) linger(heir *handover.Successor) {
	r.log.Info("handed over", "to", heir.PID(), "sessions", r.parts.Gateway.Sessions())
	followed := make(chan struct{})
	go func() {
		heir.Follow(remainder{r})
		close(followed)
	}()
	ctx, cancel := context.WithTimeout(r.serving, r.parts.Config.Limits.HandoverTimeout)
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.parts.Gateway.Wait(ctx)
		if r.old != nil { // its entries pass through here
			select {
			case <-r.old.Gone():
			case <-ctx.Done():
			}
		}
	}()
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	told := map[string]int{}
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		case <-followed:
			r.log.Error("the process that has taken over is gone, the sessions that stayed here end", "process", heir.PID())
			waiting = false
		case <-tick.C:
			if held := r.parts.Gateway.Held(); !maps.Equal(held, told) {
				heir.Held(held) // an error: it is gone, and followed
				told = held
			}
		}
	}
	r.leave()
	<-over
	<-followed
}

// remainder is the sessions that stay behind.
type remainder struct{ r *reloader }

// End ends them as at a shutdown.
func (m remainder) End() { m.r.leave() }

// Replace makes what the new process decides by what they are decided by, here and in the
// process before.
func (m remainder) Replace(text json.RawMessage) (ended int, err error) {
	if ended, err = m.r.parts.follow(text); err != nil {
		m.r.log.Error("what decisions rest on cannot be followed, the sessions that stayed here end", "error", err)
	}
	return ended, err
}
