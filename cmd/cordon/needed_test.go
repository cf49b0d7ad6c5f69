package main

import (
	"slices"
	"testing"
)

// TestNeeded protects what may decide again without anybody bringing it.
func TestNeeded(t *testing.T) {
	o := newOffice(t)
	w := o.open(t)
	for _, name := range []string{"a", "b"} {
		n := o.must(t, w, o.submission(t, w, "kim", name, nil)).Number
		o.must(t, w, o.opinion(t, w, "ada", "approve", n, nil))
		o.must(t, w, &step{Do: "rollout", Number: n, Stage: "all"})
	}
	a := &assembly{config: o.c, source: w.source, policy: grantedTo(t, w.source.current, 1)}
	needed := a.needed()
	for _, r := range append(slices.Clone(w.source.state.Past), w.source.state.Current) {
		if !slices.Contains(needed, digests{r.Policy, r.Data}) {
			t.Errorf("revision %d could be removed", r.Number)
		}
	}
	if len(w.source.state.Past) != 2 || !slices.Contains(needed, digestsOf(a.policy)) {
		t.Errorf("needed: %v of %+v", needed, w.source.state)
	}
}
