package daemon

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// LedgerFile is where what operators permit and forbid for a time is kept, in gateway.state.
const LedgerFile = "access/ledger.json"

// How late a change that is due by the clock may be noticed after the clock was set, and how
// long it is left alone when it could not be recorded.
const (
	accessWatch = time.Second
	accessRetry = 5 * time.Second
)

// standing is what operators permit and forbid for a time. A change is recorded, kept in the file, and then
// in force. What cannot be recorded is not done, unless it permits less: a device is
// quarantined and a grant ends also when the disk is full, and the log is told later.
//
// If the file cannot be read, every device is quarantined: which of them are is not known.
type standing struct {
	path   string
	record func(audit.Entry) error
	alarm  alarmer   // told of changes before they are in force; nil: nobody is
	parts  *Assembly // of the gateway that is to know; nil: none runs
	log    *slog.Logger

	mu     sync.Mutex
	ledger access.Ledger
	shown  atomic.Pointer[access.Ledger] // the same, for who does not wait for mu
	damage error                         // why the file could not be read
	unkept bool                          // the file could not be written, and what is in force is not in it
	unheld bool                          // the policy in force is not kept yet for those who ask later
	late   []note                        // of what came into force without its entry
	given  bool                          // another process has the file now
}

// openStanding reads the ledger of a configuration. What it holds is not advanced yet.
func openStanding(c *config.Config, record func(audit.Entry) error, parts *Assembly, log *slog.Logger) *standing {
	s := &standing{path: filepath.Join(c.Gateway.State, LedgerFile), record: record, parts: parts, log: log}
	s.ledger, s.damage = access.Read(s.path)
	read := s.ledger
	s.shown.Store(&read)
	return s
}

// changed is what a change of the ledger did.
type changed struct {
	Ended      int    // live sessions
	Unrecorded bool   // it is in force, and has no entry yet
	Unkept     string // it is in force until the gateway ends: why the file could not be written
	undone     error  // why only what takes away was done
}

var errUnrecorded = exit.Error{Code: "access.unrecorded", Message: "the audit log cannot be written, so nothing has changed", Exit: exit.Failed, Try: []string{"cordon doctor", "free space where the log is"}}

// put makes next the ledger, with the notes that tell of it. mustKeep says that it does not count before
// it is in the file; what the clock does is worked out again from what the file has. mu is held.
func (s *standing) put(next access.Ledger, notes []note, mustKeep bool) (changed, error) {
	var done changed
	ground, err := s.prepare(next)
	if err != nil {
		return done, err
	}
	var moved map[string]bool
	if unheld := s.hold(ground); unheld != nil {
		done.undone = exit.Error{Code: "access.unkept", Message: unheld.Error() + ", so nothing has changed", Err: unheld, Try: []string{"cordon doctor", "free space where gateway.state is, and repeat it"}}
		if next, ground, moved, err = s.restrain(next); err != nil || len(moved) == 0 {
			return done, cmp.Or(err, done.undone)
		}
		notes = slices.DeleteFunc(slices.Clone(notes), func(n note) bool { return !moved[n.fact] })
	}
	if unrecorded := s.recordAll(notes, ground); len(unrecorded) > 0 {
		done.Unrecorded, done.undone = true, errUnrecorded
		if next, ground, moved, err = s.restrain(next); err != nil || len(moved) == 0 {
			return changed{}, cmp.Or(err, done.undone)
		}
		s.late = append(s.late, slices.DeleteFunc(unrecorded, func(n note) bool { return !moved[n.fact] })...)
	}
	s.raise(notes, next)
	if err := s.keep(next); err != nil {
		s.log.Error("keep a change of access", "error", err)
		if mustKeep {
			done.Unkept = err.Error()
			done.undone = exit.Error{Code: "access.unkept", Message: "keep what is granted and quarantined: " + done.Unkept, Try: []string{"free space where gateway.state is, and repeat it"}}
			if next, ground, moved, err = s.restrain(next); err != nil {
				return done, err
			}
			for _, n := range notes { // their entries say otherwise
				if n.Note = "not kept, so not done: " + n.Note; !moved[n.fact] {
					s.record(n.Entry)
				}
			}
			if len(moved) == 0 {
				return done, done.undone
			}
		}
	}
	s.unkept = s.unkept || done.Unkept != ""
	done.Ended = s.enforce(next, ground)
	return done, nil
}

// has reports whether facts are in force, over or planned as they say. mu is held.
func (s *standing) has(facts ...access.Fact) bool {
	return !slices.ContainsFunc(facts, func(f access.Fact) bool {
		now, known := s.ledger.Find(f.ID)
		return !known || now.Phase() != f.Phase() || now.Overdue != f.Overdue || !now.Reviewed.Equal(f.Reviewed)
	})
}

// hold keeps the policy that a change makes, if it makes one.
func (s *standing) hold(ground inForce) error {
	if s.parts == nil {
		return nil
	}
	err := s.parts.keepNew(ground)
	if err != nil {
		s.log.Error("keep the policy that a change of access makes", "error", err)
	}
	return err
}

// restrain makes ready what of next only takes away, and says which facts that moves. Its policy is kept
// when that is possible again: nothing stays permitted for the sake of those who ask later.
func (s *standing) restrain(next access.Ledger) (access.Ledger, inForce, map[string]bool, error) {
	next = s.ledger.Restrain(next)
	ground, err := s.prepare(next)
	s.unheld = s.parts != nil
	return next, ground, moves(s.ledger, next), err
}

// prepare makes ready what decisions rest on under next.
func (s *standing) prepare(next access.Ledger) (inForce, error) {
	if s.parts == nil {
		return inForce{}, nil
	}
	return s.parts.configured.over(next, s.damage)
}

// enforce brings next into force, and returns how many live sessions that ends.
func (s *standing) enforce(next access.Ledger, ground inForce) int {
	s.ledger = next
	s.shown.Store(&next)
	if s.parts == nil {
		return 0
	}
	return s.parts.put(ground)
}

// keep writes the file, and its directory if need be.
func (s *standing) keep(l access.Ledger) error {
	if err := os.Mkdir(filepath.Dir(s.path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := l.Write(s.path)
	s.unkept = s.unkept && err != nil
	return err
}

// moved reports whether another process has the file now.
func (s *standing) moved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given
}

// settle makes the file what another process may go by. mu is held from then on, until the other has it.
func (s *standing) settle() error {
	if !s.unkept {
		return nil
	}
	if err := s.keep(s.ledger); err != nil {
		return exit.Error{Code: "access.unkept", Message: "what is quarantined is in force, and cannot be kept for another process: " + err.Error(), Err: err,
			Try: []string{"free space where gateway.state is, and repeat it"}}
	}
	return nil
}

// moves are the facts that get to another phase from a to b, or are reviewed or overdue then.
func moves(a, b access.Ledger) map[string]bool {
	moved := map[string]bool{}
	for i := range b.Facts {
		f := &b.Facts[i]
		if was, known := a.Find(f.ID); !known || was.Phase() != f.Phase() || was.Overdue != f.Overdue || !was.Reviewed.Equal(f.Reviewed) {
			moved[f.ID] = true
		}
	}
	return moved
}

// advance begins and ends what has to be by now, and returns when to look again. It is called
// at the start, and then by follow.
func (s *standing) advance(now time.Time) (again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.catchUp() {
		again = accessRetry
	}
	if s.given {
		return max(again, accessWatch)
	}
	next, events := s.ledger.Advance(now)
	if s.damage == nil && len(events) > 0 {
		done, err := s.put(next, eventNotes(events), false)
		for _, e := range events {
			s.log.Info("access", "id", e.Fact.ID, "what", e.Fact.String(), "phase", e.Fact.Phase(), "sessions_ended", done.Ended)
		}
		if err != nil || done.undone != nil {
			return accessRetry
		}
	}
	if again == 0 {
		again = accessWatch
	}
	if at, ok := s.ledger.Next(); ok {
		again = max(0, min(again, at.Sub(time.Now().Round(0))))
	}
	return again
}

// catchUp records what came into force without an entry, and keeps a policy that did so without
// being kept. mu is held.
func (s *standing) catchUp() bool {
	for len(s.late) > 0 {
		e := s.late[0].Entry
		e.Note += "; recorded late"
		if s.record(e) != nil {
			return false
		}
		s.late = s.late[1:]
	}
	if s.unheld && !s.given { // else another process keeps what decides
		if err := s.parts.keep(inForce{policy: s.parts.Policy, candidate: s.parts.candidate}); err != nil {
			s.log.Error("keep the policy that decides", "error", err)
			return false
		}
		s.unheld = false
	}
	return true
}

// follow has begin and end what the clock says, until ctx is done. Once another process does it, it
// only sees to entries that are late.
func (s *standing) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.advance(time.Now())):
		}
	}
}
