package alarm

import (
	"context"
	"fmt"
)

// attempt is one delivery of an alarm over one channel, or one that failed.
type attempt struct {
	id  string
	err error
}

// tell counts an attempt, and tells those who wait for one.
func (l *line) tell(a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.err == nil {
		l.sent++
	} else {
		l.failed++
	}
	for w := range l.watchers {
		select {
		case w <- a:
		default: // it has heard of enough
		}
	}
}

// Attempts are what became of alarms on one channel since Open.
type Attempts struct {
	Sent   uint64 // deliveries
	Failed uint64 // tries that were none; each alarm is tried again
}

// Attempts returns them by channel.
func (s *Spool) Attempts() map[string]Attempts {
	all := map[string]Attempts{}
	for _, l := range s.lines {
		l.mu.Lock()
		all[l.Name()] = Attempts{l.sent, l.failed}
		l.mu.Unlock()
	}
	return all
}

// Tell is Raise, and waits until each channel has delivered a or has failed at it or at one that goes
// before it, until ctx is done at most. It returns by channel what kept it from a, nil if it was delivered;
// what was not goes on waiting. Run must be running.
func (s *Spool) Tell(ctx context.Context, a *Alarm) (map[string]error, error) {
	heard := make([]chan attempt, len(s.lines))
	for i, l := range s.lines {
		heard[i] = make(chan attempt, maxWaiting+maxLoose) // whatever waits before a
		l.mu.Lock()
		l.watchers[heard[i]] = true
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.watchers, heard[i])
		}()
	}
	err := s.Raise(a)
	came := map[string]error{}
	for i, l := range s.lines {
		came[l.Name()] = hear(ctx, heard[i], a.ID)
	}
	return came, err
}

// hear returns what became of an alarm.
func hear(ctx context.Context, attempts <-chan attempt, id string) error {
	for {
		select {
		case got := <-attempts:
			if got.err != nil || got.id == id {
				return got.err
			}
		case <-ctx.Done():
			return fmt.Errorf("not delivered yet: %w", ctx.Err())
		}
	}
}
