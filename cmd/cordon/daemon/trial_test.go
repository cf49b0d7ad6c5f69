package daemon

import (
	"testing"
	"time"
)

// A trial ends by whichever clock says so first: the wall clock when the machine has slept, the other one when the wall clock
// was set back.
func TestTrialOver(t *testing.T) {
	fresh := &trial{For: time.Minute}
	fresh.begin()
	inherited := &trial{For: time.Hour, Until: time.Now().Add(time.Minute).Round(0)}
	inherited.begin()
	failed := &trial{For: time.Hour, Until: time.Now()}
	failed.again(time.Minute)
	for name, x := range map[string]*trial{"fresh": fresh, "of the process before": inherited, "to be tried again": failed} {
		if x.over(time.Now()) || x.over(x.seen.Add(x.left-time.Nanosecond)) {
			t.Errorf("%s: it is over before its end", name)
		}
		if slept := x.Until; !x.over(slept) {
			t.Errorf("%s: it is not over after a sleep", name)
		}
		x.Until = x.Until.Add(24 * time.Hour) // as if the clock had been set back a day
		if !x.over(x.seen.Add(time.Minute)) {
			t.Errorf("%s: it is not over where the clock was set back", name)
		}
	}
}
