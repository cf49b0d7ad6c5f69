package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
)

// This is the end of the process that takes over; handover.go is the other one's.

// inherit finds out what this process is to run with: the file, or what old says.
func (r *reloader) inherit() (err error) {
	if r.old == nil {
		r.lifeline, err = keeper.Lifeline()
		if err == nil {
			r.text, err = config.Read(r.file)
		}
		return err
	}
	r.lifeline = r.old.File(keeper.LifelineName)
	var run inheritance
	if err := json.Unmarshal(r.old.Offer.State, &run); err != nil {
		return fmt.Errorf("read what the old process runs with: %w", err)
	}
	r.text, r.trial, r.proven = run.Config, run.Trial, run.Policy
	return nil
}

// takenOver are the listeners that old passed on, of those that routes need.
func takenOver(old *handover.Predecessor, routes []gateway.Route) (map[string]net.Listener, error) {
	open := map[string]net.Listener{}
	if old == nil {
		return open, nil
	}
	for i := range routes {
		l, err := old.Listener(routes[i].Place())
		if err != nil {
			return nil, err
		}
		if l != nil {
			open[routes[i].Place()] = l
		}
	}
	return open, nil
}

// refuse tells the old process why this one cannot take over.
func refuse(old *handover.Predecessor, err error) {
	why, err := json.Marshal(control.Crossing(err))
	if err == nil {
		old.Refuse(why)
	}
}

// start makes the log this process's own, from the old one if there is one, and records it.
func (r *reloader) start(ctx context.Context) error {
	if r.old == nil {
		return r.parts.note(audit.KindStart, "")
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	held, err := r.old.Take(ctx)
	if err != nil {
		return err
	}
	r.parts.Gateway.Elsewhere(held)
	if err := r.parts.own(); err != nil {
		return err
	}
	if err := r.parts.stand(r.log); err != nil { // the old process has made its last change of access
		return err
	}
	if err := r.parts.note(audit.KindStart, fmt.Sprintf(", taking over from process %d", os.Getppid())); err != nil {
		return err
	}
	r.old.Taken()
	return nil
}

// follow records what the old process still decides, and has it follow what is decided here.
func (r *reloader) follow() {
	r.following.Go(func() {
		r.old.Serve(handover.Successions{
			Log: r.parts.log, Held: r.parts.Gateway.Elsewhere,
			Leading: func() { r.ready(r.serving) },
		})
	})
	s := r.parts.standing
	s.mu.Lock() // until it follows, so that it learns of changes in their order
	r.parts.old = r.old
	told := r.parts.tellOld()
	r.running.Go(func() {
		defer s.mu.Unlock()
		if ended := told(); ended > 0 {
			r.log.Info("sessions of the old process end", "sessions", ended)
		}
	})
}
