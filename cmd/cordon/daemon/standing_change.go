package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/gateway"
	"cordon/policy"
	"cordon/policy/access"
)

// AccessRequest is what an operator wants of what stands for a time.
type AccessRequest struct {
	Do      string      `json:"do"` // "list"; "make" Fact; "end" the one with ID; "release" Device
	Fact    access.Fact `json:"fact"`
	ID      string      `json:"id"`
	Device  string      `json:"device"`
	Reason  string      `json:"reason"` // of ending and releasing
	Preview bool        `json:"preview"`
}

// AccessAnswer is what was done, or would be.
type AccessAnswer struct {
	Facts    []access.Fact  // listed, made or ended
	Sessions []gateway.Live // that it concerns, before it is done
	changed
}

// answerAccess is the verb of the control socket.
func (a *Assembly) answerAccess(_ context.Context, by string, r *AccessRequest) (any, error) {
	return a.standing.do(r, by, time.Now())
}

// do does what an operator wants. by is who.
func (s *standing) do(r *AccessRequest, by string, now time.Time) (AccessAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return AccessAnswer{}, control.ErrMoved
	}
	if s.damage != nil {
		return AccessAnswer{}, unreadable(s.path, s.damage)
	}
	if r.Do == "list" && s.parts != nil {
		return AccessAnswer{Facts: s.ledger.Facts}, nil // also what is due and could not be recorded yet
	}
	before, events := s.ledger.Advance(now) // what the clock is about to do anyway
	if r.Do == "list" {
		return AccessAnswer{Facts: before.Facts}, nil
	}
	if r.Do == "make" && r.Fact.Kind == access.Emergency {
		return AccessAnswer{}, fmt.Errorf("an emergency is opened by who may: cordon break-glass open")
	}
	if r.Do == "make" && r.Fact.Kind == access.Grant && s.parts != nil && !s.parts.configured.policy.ReadsAccess(access.Grants) {
		return AccessAnswer{}, exit.Error{Code: "access.unread", Message: "no rule of the policy reads data.access, so a grant would permit nothing", Exit: exit.Conflict,
			Try: []string{"copy grants.rego from a policy that cordon init writes, and let served hold for a grant"}}
	}
	notes := eventNotes(events)
	next, facts, err := r.change(before, by, now)
	if err != nil {
		return AccessAnswer{}, err
	}
	for i := range facts {
		if r.Do == "make" {
			notes = append(notes, madeNote(&facts[i]))
		} else {
			notes = append(notes, endedNote(&facts[i]))
		}
	}
	next, _ = next.Advance(now) // what is made from now on begins with the entry that says so
	for i := range facts {
		facts[i], _ = next.Find(facts[i].ID)
	}
	answer := AccessAnswer{Facts: facts, Sessions: s.concerned(facts)}
	if r.Preview {
		return answer, nil
	}
	s.catchUp()
	if answer.changed, err = s.put(next, notes, true); err == nil && !s.has(facts...) { // but what the clock ends
		err = answer.undone
	}
	return answer, err
}

// apply makes one change that has been allowed, behind what the clock is about to do anyway.
func (s *standing) apply(now time.Time, change func(access.Ledger) (access.Ledger, access.Fact, note, error)) (f access.Fact, done changed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return f, done, control.ErrMoved
	}
	if s.damage != nil {
		return f, done, unreadable(s.path, s.damage)
	}
	before, events := s.ledger.Advance(now)
	next, f, n, err := change(before)
	if err != nil {
		return f, done, err
	}
	next, _ = next.Advance(now)
	f, _ = next.Find(f.ID)
	s.catchUp()
	if done, err = s.put(next, append(eventNotes(events), n), true); err == nil && !s.has(f) {
		err = done.undone
	}
	return f, done, err
}

// change returns the ledger as it is to be, and the facts that were made or ended.
func (r *AccessRequest) change(l access.Ledger, by string, now time.Time) (access.Ledger, []access.Fact, error) {
	switch r.Do {
	case "make":
		r.Fact.By = by
		next, f, err := l.Make(r.Fact, now)
		if err != nil {
			return l, nil, RefusedFact(err)
		}
		return next, []access.Fact{f}, nil
	case "end":
		if f, known := l.Find(r.ID); known && f.Kind == access.Quarantine {
			return l, nil, exit.Error{Code: "access.quarantine", Message: fmt.Sprintf("%s is a quarantine", r.ID), Exit: exit.Usage,
				Try: []string{"cordon device release " + f.Device + " --reason …"}}
		}
		next, f, err := l.End(r.ID, by, r.Reason, now)
		if err != nil {
			return l, nil, RefusedFact(err)
		}
		return next, []access.Fact{f}, nil
	case "release":
		var ended []access.Fact
		for _, f := range l.Facts {
			if f.Kind != access.Quarantine || f.Device != r.Device || f.Phase() == access.Over {
				continue
			}
			var err error
			if l, f, err = l.End(f.ID, by, r.Reason, now); err != nil {
				return l, nil, RefusedFact(err)
			}
			ended = append(ended, f)
		}
		if len(ended) == 0 {
			return l, nil, exit.Error{Code: "access.not_quarantined", Message: fmt.Sprintf("no operator has quarantined device %q", r.Device), Exit: exit.NotFound, Try: []string{"cordon device show " + r.Device}}
		}
		return l, ended, nil
	}
	return l, nil, fmt.Errorf("%.40q is nothing to do with access", r.Do)
}

// RefusedFact is why a change of the ledger is not made, with its code.
func RefusedFact(err error) error {
	f := exit.Error{Code: "access.refused", Message: err.Error(), Exit: exit.Usage, Err: err}
	switch {
	case errors.Is(err, access.ErrNoFact):
		f.Code, f.Exit, f.Try = "access.unknown", exit.NotFound, []string{"cordon access list --all"}
	case errors.Is(err, access.ErrGoesOn), errors.Is(err, access.ErrReviewed), errors.Is(err, access.ErrTwice):
		f.Code, f.Exit, f.Try = "access.conflict", exit.Conflict, []string{"cordon break-glass list --all"}
	case errors.Is(err, access.ErrOver):
		f.Code, f.Exit = "access.over", exit.Conflict
	case errors.Is(err, access.ErrFull):
		f.Code, f.Exit, f.Try = "access.full", exit.Conflict, []string{"cordon access list", "a grant on a class of devices in place of many"}
	}
	return f
}

func unreadable(path string, err error) error {
	return exit.Error{Code: "access.unreadable", Message: fmt.Sprintf("what is granted and quarantined is not known: %v", err), Exit: exit.Checks, Err: err,
		Try: []string{"restore " + path + " from a backup and restart the gateway", "or move it away: then nothing is granted or quarantined; cordon audit tail says what was"}}
}

// concerned are the live sessions that facts may change something for: of a grant its
// subject's with its devices, of anything else all with the device.
func (s *standing) concerned(facts []access.Fact) []gateway.Live {
	list := []gateway.Live{}
	if s.parts == nil {
		return list
	}
	for _, live := range s.parts.Gateway.Live() {
		for i := range facts {
			f := &facts[i]
			if f.Covers(s.parts.configured.devices[live.Device]) && (f.Subject == "" || f.Subject == live.Subject) {
				list = append(list, live)
				break
			}
		}
	}
	return list
}

// ChangeAccess has the running gateway do it, or does it itself where none runs: the lock on the audit log
// keeps one from starting meanwhile.
func ChangeAccess(ctx context.Context, c *config.Config, r *AccessRequest, quiet *slog.Logger) (answer AccessAnswer, running bool, err error) {
	if r.Preview || r.Do == "list" {
		err = control.Ask(ctx, c.Gateway.State, "access", r, &answer, 2*ReloadTimeout)
		if errors.Is(err, control.ErrNoGateway) {
			answer, err = openStanding(c, nil, nil, quiet).do(r, control.Operator(), time.Now())
			return answer, false, err
		}
		return answer, true, err
	}
	log, err := AskOrOpen(ctx, c, "access", r, &answer, 2*ReloadTimeout, quiet)
	if log == nil {
		return answer, true, err
	}
	s := openStanding(c, RecordIn(log), nil, quiet)
	answer, err = s.do(r, control.Operator(), time.Now())
	return answer, false, errors.Join(err, log.Close())
}

// lookTimeout bounds asking a gateway what it has in force.
const lookTimeout = 10 * time.Second

// StandingOf is what the running gateway has in force, or what one would have that is started now.
func StandingOf(ctx context.Context, c *config.Config) (access.Ledger, error) {
	var answer AccessAnswer
	err := control.Ask(ctx, c.Gateway.State, "access", &AccessRequest{Do: "list"}, &answer, lookTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		return StandingNow(c)
	}
	return access.Ledger{Facts: answer.Facts}, err
}

// StandingNow reads what stands by the file and the clock.
func StandingNow(c *config.Config) (access.Ledger, error) {
	s := openStanding(c, nil, nil, slog.New(slog.DiscardHandler))
	if s.damage != nil {
		return access.Ledger{}, unreadable(s.path, s.damage)
	}
	l, _ := s.ledger.Advance(time.Now())
	return l, nil
}

// StateNow is a device's state in force.
func StateNow(l access.Ledger, d *config.Device) (state string, by []access.Fact) {
	state = l.State(d.ID, d.State)
	for _, f := range l.Facts {
		if f.Device == d.ID && f.Phase() == access.InForce && (f.Kind == access.Quarantine || f.Kind == access.Maintenance && state == policy.StateMaintenance || f.Kind == access.Learning && state == policy.StateLearning) {
			by = append(by, f)
		}
	}
	return state, by
}

// StateWords are a device's state in force, and until when if that is known.
func StateWords(l access.Ledger, d *config.Device) string {
	state, by := StateNow(l, d)
	var end time.Time
	for _, f := range by {
		if f.Until.IsZero() {
			return state
		}
		if f.Until.After(end) {
			end = f.Until
		}
	}
	if state == d.State || end.IsZero() {
		return state
	}
	return state + " until " + end.Local().Format("2006-01-02 15:04")
}
