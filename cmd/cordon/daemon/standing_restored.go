package daemon

import (
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// StaysNote is the entry about a fact that began or ended after a backup, and stays so when that is restored.
func StaysNote(f *access.Fact) audit.Entry {
	what := "stays in force over a restore"
	if f.Phase() == access.Over {
		what = "stays ended over a restore"
	}
	return noteOf(f, what).Entry
}
