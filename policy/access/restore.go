package access

import "time"

// restoredBy is who ends what a restore ends.
const restoredBy = "restore"

// Restored is l, of some time ago, beside what stood since then: nothing that was taken away comes back. Quarantines
// that began since are in it, what ended since is over, and emergencies that were opened since are over and to
// be reviewed. What was permitted since is not in it, nor are releases. stays lists the facts
// that are otherwise than in l.
func (l Ledger) Restored(since Ledger, now time.Time) (restored Ledger, stays []Fact) {
	var is Ledger
	for _, f := range since.Facts {
		if _, known := l.Find(f.ID); !known && f.Kind == Emergency && f.Phase() != Over {
			f = endedBy(f, "it was opened after what was restored", now)
		}
		is.Facts = append(is.Facts, f)
	}
	restored = l.Restrain(is)
	for i, f := range restored.Facts {
		if _, known := since.Find(f.ID); !known && f.Kind != Quarantine && f.Phase() != Over { // it was over so long ago that it was dropped
			f = endedBy(f, "it was over already", now)
			restored.Facts[i] = f
		}
		if was, known := l.Find(f.ID); known && was.Phase() == f.Phase() {
			restored.Facts[i] = was
		} else {
			stays = append(stays, f)
		}
	}
	return restored, stays
}

func endedBy(f Fact, reason string, now time.Time) Fact {
	f.Ended, f.EndedBy, f.EndedReason = wall(now), restoredBy, reason
	return f
}
