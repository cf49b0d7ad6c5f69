package access

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of a ledger.
const (
	MaxFacts = 4096               // that are not over, or emergencies that nobody has reviewed
	maxKept  = 4096               // of the others
	keepFor  = 7 * 24 * time.Hour // those that are over, for people to look up; the log has them for good
)

// Why a change of the ledger is not made.
var (
	ErrNoFact   = errors.New("there is no such grant, maintenance window, quarantine or emergency")
	ErrOver     = errors.New("it is over already")
	ErrGoesOn   = errors.New("it goes on; it is reviewed when it is over")
	ErrReviewed = errors.New("it was reviewed already")
	ErrTwice    = errors.New("it was opened with this statement already")
	ErrFull     = fmt.Errorf("there are %d grants, windows, quarantines and emergencies already that are not over or not reviewed", MaxFacts)
)

// Ledger is all facts, in the order they were made. It is a value: a method that changes it
// returns another, and no fact of either is changed later.
type Ledger struct {
	Facts []Fact
}

// Event is a fact that began, ended, or became overdue for its review.
type Event struct {
	Fact    Fact // as it is then
	Ended   bool
	Overdue bool
}

// Make adds a fact under an id of its own, and returns it. What it says of when it was begun and
// ended, and of its review, does not count. A proof is good for one fact.
func (l Ledger) Make(f Fact, now time.Time) (Ledger, Fact, error) {
	f.Made, f.Begun, f.Ended, f.EndedBy, f.EndedReason = wall(now), false, time.Time{}, "", ""
	f.Reviewed, f.ReviewedBy, f.ReviewNote, f.Overdue = time.Time{}, "", "", false
	f.From, f.Until = wall(f.From), wall(f.Until)
	if f.From.Before(f.Made) {
		f.From = f.Made
	}
	f.ID = l.newID(f.Kind)
	if err := f.check(); err != nil {
		return l, Fact{}, err
	}
	standing := 0
	for i := range l.Facts {
		if l.Facts[i].Phase() != Over || l.Facts[i].Unreviewed() {
			standing++
		}
		if f.Proof != "" && l.Facts[i].Proof == f.Proof {
			return l, Fact{}, ErrTwice
		}
	}
	if standing >= MaxFacts {
		return l, Fact{}, ErrFull
	}
	return Ledger{append(slices.Clone(l.Facts), f)}, f, nil
}

// wall is t by the wall clock alone, as it would be read back from a file.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }

// End ends a fact by hand.
func (l Ledger) End(id, by, reason string, now time.Time) (Ledger, Fact, error) {
	i := slices.IndexFunc(l.Facts, func(f Fact) bool { return f.ID == id })
	if i < 0 {
		return l, Fact{}, ErrNoFact
	}
	f := l.Facts[i]
	if f.Phase() == Over {
		return l, f, ErrOver
	}
	f.Ended, f.EndedBy, f.EndedReason = wall(now), by, reason
	if err := errors.Join(checkLine("reason", reason, MaxReason, false), checkLine("by", by, maxName, false)); err != nil {
		return l, f, err
	}
	facts := slices.Clone(l.Facts)
	facts[i] = f
	return Ledger{facts}, f, nil
}

// Review says what somebody found who looked at an emergency that is over. Whether they are
// somebody else than who opened it is for the caller to know.
func (l Ledger) Review(id, by, note string, now time.Time) (Ledger, Fact, error) {
	i := slices.IndexFunc(l.Facts, func(f Fact) bool { return f.ID == id && f.Kind == Emergency })
	if i < 0 {
		return l, Fact{}, ErrNoFact
	}
	f := l.Facts[i]
	switch {
	case f.Phase() != Over:
		return l, f, ErrGoesOn
	case !f.Reviewed.IsZero():
		return l, f, ErrReviewed
	}
	f.Reviewed, f.ReviewedBy, f.ReviewNote = wall(now), by, note
	if err := errors.Join(checkLine("note", note, MaxReason, false), checkLine("by", by, maxName, false)); err != nil {
		return l, f, err
	}
	facts := slices.Clone(l.Facts)
	facts[i] = f
	return Ledger{facts}, f, nil
}

// Advance begins and ends what has to be by now, in the order of the ledger, and drops what has been over for a week;
// an emergency only once it was reviewed.
func (l Ledger) Advance(now time.Time) (Ledger, []Event) {
	if next, ok := l.Next(); !ok || now.Before(next) {
		return l, nil
	}
	var events []Event
	var out Ledger
	kept := 0
	for _, f := range slices.Backward(l.Facts) { // the newest that are over are kept
		begins, ends := f.moves(now)
		if ends {
			f.Ended = f.Until
		}
		f.Begun = f.Begun || begins
		was := f
		if f.Unreviewed() && !f.Overdue && !now.Before(f.ReviewBy()) {
			f.Overdue = true
			events = append(events, Event{Fact: f, Overdue: true})
		}
		if begins || ends {
			events = append(events, Event{Fact: was, Ended: ends})
		}
		if f.Phase() == Over && !ends && !f.Unreviewed() {
			if kept++; kept > maxKept || now.Sub(f.Ended) > keepFor {
				continue
			}
		}
		out.Facts = append(out.Facts, f)
	}
	slices.Reverse(out.Facts)
	slices.Reverse(events)
	return out, events
}

// moves tells what becomes of f by now. What was to begin and end meanwhile only ends.
func (f *Fact) moves(now time.Time) (begins, ends bool) {
	if f.Phase() == Over {
		return false, false
	}
	ends = !f.Until.IsZero() && !now.Before(f.Until)
	return !f.Begun && !ends && !now.Before(f.From), ends
}

// Next is the instant at which the next fact begins, ends or becomes overdue; ok is false if none will.
func (l Ledger) Next() (at time.Time, ok bool) {
	for i := range l.Facts {
		f := &l.Facts[i]
		var t time.Time
		switch f.Phase() {
		case Planned:
			t = f.From
		case InForce:
			t = f.Until
		case Over:
			if f.Unreviewed() && !f.Overdue {
				t = f.ReviewBy()
			}
		}
		if !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	return at, ok
}

// Find returns the fact with an id.
func (l Ledger) Find(id string) (Fact, bool) {
	for _, f := range l.Facts {
		if f.ID == id {
			return f, true
		}
	}
	return Fact{}, false
}

// Restrain is what may come into force of next when it cannot be recorded: of all that
// changes from l to next, only what permits less. It is for memory only.
func (l Ledger) Restrain(next Ledger) Ledger {
	var out Ledger
	seen := map[string]bool{}
	for _, f := range next.Facts {
		seen[f.ID] = true
		was, known := l.Find(f.ID)
		moved := !known || was.Phase() != f.Phase()
		narrows := moved && (f.Kind == Quarantine && f.Phase() == InForce || f.Kind != Quarantine && f.Phase() == Over)
		same := !moved && was.Overdue == f.Overdue && was.Reviewed.Equal(f.Reviewed)
		switch {
		case same || narrows:
			out.Facts = append(out.Facts, f)
		case known:
			out.Facts = append(out.Facts, was)
		}
	}
	for _, f := range l.Facts {
		if !seen[f.ID] { // dropped, so it is over
			out.Facts = append(out.Facts, f)
		}
	}
	return out
}

// idAlphabet is digits and consonants that are not taken for one another over a telephone,
// as of decision codes.
const idAlphabet = "0123456789BCDFGHJKMNPQRSTVWXYZ"

// newID returns an id that no fact of the ledger has. Of those that were dropped one in 24 million comes again.
func (l Ledger) newID(k Kind) string {
	for {
		b := make([]byte, 5)
		rand.Read(b)
		for i := range b {
			b[i] = idAlphabet[int(b[i])%len(idAlphabet)] // some a little more often, which does no harm
		}
		id := map[Kind]string{Grant: "G-", Maintenance: "M-", Learning: "L-", Quarantine: "Q-", Emergency: "E-"}[k] + string(b)
		if _, taken := l.Find(id); !taken {
			return id
		}
	}
}
