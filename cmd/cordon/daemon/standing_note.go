package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cordon/gateway/audit"
	"cordon/policy/access"
)

// note is the entry about what became of a fact.
type note struct {
	fact string // its id
	audit.Entry
}

// eventNotes are those of what the clock began and ended.
func eventNotes(events []access.Event) (list []note) {
	for _, e := range events {
		f := &e.Fact
		switch {
		case e.Overdue:
			n := noteOf(f, fmt.Sprintf("has not been reviewed since %s", f.From.UTC().Format(time.RFC3339)))
			n.Kind = audit.KindBreakGlassOverdue
			list = append(list, n)
		case !e.Ended:
			list = append(list, noteOf(f, "came into force"))
		case f.Begun:
			list = append(list, noteOf(f, "ended by itself"))
		default:
			list = append(list, noteOf(f, "ended before it came into force"))
		}
	}
	return list
}

// noteOf says of a fact its id, what became of it, and what it says.
func noteOf(f *access.Fact, what string) note {
	kind := map[access.Kind]audit.Kind{access.Grant: audit.KindGrant, access.Maintenance: audit.KindWindow, access.Learning: audit.KindWindow, access.Quarantine: audit.KindQuarantine}[f.Kind]
	switch {
	case f.Kind == access.Quarantine && f.Phase() == access.Over:
		kind = audit.KindRelease
	case f.Kind == access.Emergency && f.Phase() == access.Over:
		kind = audit.KindBreakGlassClosed
	case f.Kind == access.Emergency:
		kind = audit.KindBreakGlassOpened
	}
	return note{f.ID, audit.Entry{Kind: kind, Note: fmt.Sprintf("%s %s: %s", f.ID, what, f)}}
}

// madeNote says that an operator has made a fact.
func madeNote(f *access.Fact) note {
	words := []string{"from " + f.From.UTC().Format(time.RFC3339), "until released"}
	if !f.Until.IsZero() {
		words[1] = "until " + f.Until.UTC().Format(time.RFC3339)
	}
	words = append(words, "reason: "+f.Reason)
	if f.Sponsor != "" {
		words = append(words, "sponsor "+f.Sponsor)
	}
	if f.Proof != "" {
		words = append(words, f.Proof, "review due "+f.ReviewBy().UTC().Format(time.RFC3339))
	}
	n := noteOf(f, "made by "+f.By)
	n.Note += ", " + strings.Join(words, ", ")
	return n
}

// endedNote says that an operator has ended a fact.
func endedNote(f *access.Fact) note {
	n := noteOf(f, "ended by "+f.EndedBy)
	n.Note += ", reason: " + f.EndedReason
	return n
}

// raise alarms about what notes tell, before it is kept: what is not done after all was an alarm
// too many, and none is lost.
func (s *standing) raise(notes []note, next access.Ledger) {
	if s.alarm == nil {
		return
	}
	moved := moves(s.ledger, next)
	for _, n := range notes {
		if f, known := next.Find(n.fact); known && moved[n.fact] {
			s.alarm(n.Entry, &f)
		}
	}
}

// recordAll records notes, and returns those from the first on that could not be.
func (s *standing) recordAll(notes []note, ground inForce) []note {
	for i := range notes {
		n := &notes[i]
		if ground.policy != nil {
			n.Decision.Revision, n.Decision.Data = ground.policy.Revision(), ground.policy.Data()
		}
		if err := s.record(n.Entry); err != nil {
			s.log.Error("record a change of access", "change", n.Note, "error", err)
			return slices.Clone(notes[i:])
		}
	}
	return nil
}
