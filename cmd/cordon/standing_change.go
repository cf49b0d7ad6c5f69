package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway"
	"cordon/policy"
	"cordon/policy/access"
)

// accessRequest is what an operator wants of what stands for a time.
type accessRequest struct {
	Do      string      `json:"do"` // "list"; "make" Fact; "end" the one with ID; "release" Device
	Fact    access.Fact `json:"fact"`
	ID      string      `json:"id"`
	Device  string      `json:"device"`
	Reason  string      `json:"reason"` // of ending and releasing
	Preview bool        `json:"preview"`
}

// accessAnswer is what was done, or would be.
type accessAnswer struct {
	Facts    []access.Fact  // listed, made or ended
	Sessions []gateway.Live // that it concerns, before it is done
	changed
}

// answerAccess is the verb of the control socket.
func (a *assembly) answerAccess(_ context.Context, by string, asked json.RawMessage) (any, error) {
	var r accessRequest
	d := json.NewDecoder(bytes.NewReader(asked))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("read what is asked of access: %w", err)
	}
	return a.standing.do(&r, by, time.Now())
}

// do does what an operator wants. by is who.
func (s *standing) do(r *accessRequest, by string, now time.Time) (accessAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return accessAnswer{}, control.ErrMoved
	}
	if s.damage != nil {
		return accessAnswer{}, unreadable(s.path, s.damage)
	}
	if r.Do == "list" && s.parts != nil {
		return accessAnswer{Facts: s.ledger.Facts}, nil // also what is due and could not be recorded yet
	}
	before, events := s.ledger.Advance(now) // what the clock is about to do anyway
	if r.Do == "list" {
		return accessAnswer{Facts: before.Facts}, nil
	}
	if r.Do == "make" && r.Fact.Kind == access.Emergency {
		return accessAnswer{}, fmt.Errorf("an emergency is opened by who may: cordon break-glass open")
	}
	if r.Do == "make" && r.Fact.Kind == access.Grant && s.parts != nil && !s.parts.configured.policy.ReadsAccess(access.Grants) {
		return accessAnswer{}, exit.Error{Code: "access.unread", Message: "no rule of the policy reads data.access, so a grant would permit nothing", Exit: exit.Conflict,
			Try: []string{"copy grants.rego from a policy that cordon init writes, and let served hold for a grant"}}
	}
	notes := eventNotes(events)
	next, facts, err := r.change(before, by, now)
	if err != nil {
		return accessAnswer{}, err
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
	answer := accessAnswer{Facts: facts, Sessions: s.concerned(facts)}
	if r.Preview {
		return answer, nil
	}
	s.catchUp()
	answer.changed, err = s.put(next, notes, true)
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
	done, err = s.put(next, append(eventNotes(events), n), true)
	return f, done, err
}

// change returns the ledger as it is to be, and the facts that were made or ended.
func (r *accessRequest) change(l access.Ledger, by string, now time.Time) (access.Ledger, []access.Fact, error) {
	switch r.Do {
	case "make":
		r.Fact.By = by
		next, f, err := l.Make(r.Fact, now)
		if err != nil {
			return l, nil, refusedFact(err)
		}
		return next, []access.Fact{f}, nil
	case "end":
		if f, known := l.Find(r.ID); known && f.Kind == access.Quarantine {
			return l, nil, exit.Error{Code: "access.quarantine", Message: fmt.Sprintf("%s is a quarantine", r.ID), Exit: exit.Usage,
				Try: []string{"cordon device release " + f.Device + " --reason …"}}
		}
		next, f, err := l.End(r.ID, by, r.Reason, now)
		if err != nil {
			return l, nil, refusedFact(err)
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
				return l, nil, refusedFact(err)
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

func refusedFact(err error) error {
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
	for _, live := range s.parts.gateway.Live() {
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

// changeAccess has the running gateway do it, or does it itself where none runs: the lock on the audit log
// keeps one from starting meanwhile.
func (a *app) changeAccess(ctx context.Context, c *config.Config, r *accessRequest) (answer accessAnswer, running bool, err error) {
	err = control.Ask(ctx, c.Gateway.State, "access", r, &answer, 2*reloadTimeout)
	if !errors.Is(err, control.ErrNoGateway) {
		return answer, true, err
	}
	quiet := quietLogger(a.stderr)
	if r.Preview || r.Do == "list" {
		answer, err = openStanding(c, nil, nil, quiet).do(r, control.Operator(), time.Now())
		return answer, false, err
	}
	log, err := home.OpenLog(c, quiet)
	if err != nil {
		return answer, false, fmt.Errorf("no gateway answers, and its log cannot be opened: %w", err)
	}
	s := openStanding(c, recordIn(log), nil, quiet)
	answer, err = s.do(r, control.Operator(), time.Now())
	return answer, false, errors.Join(err, log.Close())
}

// lookTimeout bounds asking a gateway what it has in force.
const lookTimeout = 10 * time.Second

// standing is what the running gateway has in force, or what one would have that is started now.
func (a *app) standing(ctx context.Context, c *config.Config) (access.Ledger, error) {
	var answer accessAnswer
	err := control.Ask(ctx, c.Gateway.State, "access", &accessRequest{Do: "list"}, &answer, lookTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		return standingNow(c)
	}
	return access.Ledger{Facts: answer.Facts}, err
}

// standingNow reads what stands by the file and the clock.
func standingNow(c *config.Config) (access.Ledger, error) {
	s := openStanding(c, nil, nil, slog.New(slog.DiscardHandler))
	if s.damage != nil {
		return access.Ledger{}, unreadable(s.path, s.damage)
	}
	l, _ := s.ledger.Advance(time.Now())
	return l, nil
}

// stateNow is a device's state in force.
func stateNow(l access.Ledger, d *config.Device) (state string, by []access.Fact) {
	state = l.State(d.ID, d.State)
	for _, f := range l.Facts {
		if f.Device == d.ID && f.Phase() == access.InForce && (f.Kind == access.Quarantine || f.Kind == access.Maintenance && state == policy.StateMaintenance || f.Kind == access.Learning && state == policy.StateLearning) {
			by = append(by, f)
		}
	}
	return state, by
}

// stateWords are a device's state in force, and until when if that is known.
func stateWords(l access.Ledger, d *config.Device) string {
	state, by := stateNow(l, d)
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
