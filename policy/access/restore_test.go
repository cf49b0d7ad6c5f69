package access

import (
	"testing"
	"time"
)

// TestRestored: of what came after a backup, only what takes away stays.
func TestRestored(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	fact := func(id string, kind Kind, phase string) Fact {
		f := Fact{ID: id, Kind: kind, From: now.Add(-time.Hour), Until: now.Add(time.Hour), Begun: phase != Planned}
		if phase == Over {
			f.Ended = now.Add(-time.Minute)
		}
		return f
	}
	const gone = "" // it is not there
	for _, c := range []struct {
		name            string
		kind            Kind
		was, since, are string
		stays           bool
	}{
		{"quarantine begun since", Quarantine, gone, InForce, InForce, true},
		{"quarantine begun and released since", Quarantine, gone, Over, gone, false},
		{"quarantine released since", Quarantine, InForce, Over, InForce, false},
		{"quarantine released long since", Quarantine, InForce, gone, InForce, false},
		{"quarantine that goes on", Quarantine, InForce, InForce, InForce, false},
		{"grant made since", Grant, gone, InForce, gone, false},
		{"grant ended since", Grant, InForce, Over, Over, true},
		{"grant ended before it began", Grant, Planned, Over, Over, true},
		{"grant begun since", Grant, Planned, InForce, Planned, false},
		{"grant that goes on", Grant, InForce, InForce, InForce, false},
		{"learning ended long since", Learning, InForce, gone, Over, true},
		{"maintenance ended since", Maintenance, InForce, Over, Over, true},
		{"emergency opened since", Emergency, gone, InForce, Over, true},
		{"emergency opened and closed since", Emergency, gone, Over, Over, true},
		{"emergency closed since", Emergency, InForce, Over, Over, true},
		{"emergency that goes on", Emergency, InForce, InForce, InForce, false},
		{"emergency closed before", Emergency, Over, Over, Over, false},
	} {
		var was, since Ledger
		if c.was != gone {
			was.Facts = []Fact{fact("X-1", c.kind, c.was)}
		}
		if c.since != gone {
			since.Facts = []Fact{fact("X-1", c.kind, c.since)}
		}
		restored, stays := was.Restored(since, now)
		is := gone
		if f, known := restored.Find("X-1"); known {
			is = f.Phase()
		}
		if is != c.are || (len(stays) == 1) != c.stays {
			t.Errorf("%s: it is %q, want %q; stays %+v", c.name, is, c.are, stays)
		}
		if c.was != gone && was.Facts[0].Phase() != c.was {
			t.Errorf("%s: the backup's own was changed", c.name)
		}
	}
}
