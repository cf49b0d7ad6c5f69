package gateway

import (
	"slices"
	"testing"
)

// TestForesee tells which sessions Replace would end, and why; and nothing is changed by it.
func TestForesee(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		if line == "wait" {
			return ""
		}
		return "ok " + line + "\n"
	}})
	goes, stays, waits := w.established("visitor"), w.established("physician"), w.established("physician")
	waits.send("wait\n")
	w.reaches("wait\n")
	w.settle()
	for refused, want := range map[string][]string{"visitor": {" no visitor any more"}, "wait": {"lines:wait no wait any more"}, "first": nil, "nobody": nil} {
		var got []string
		for _, f := range w.gateway.Foresee(without(refused), nil) {
			got = append(got, f.Operation+" "+f.Reason)
		}
		if !slices.Equal(got, want) {
			t.Errorf("without %s, %q would end, want %q", refused, got, want)
		}
	}
	if list := w.ended(t, 0); len(list) > 0 || len(w.gateway.Live()) != 3 {
		t.Errorf("%d sessions live, %d have ended", len(w.gateway.Live()), len(list))
	}
	goes.exchange("after")
	stays.exchange("after")
	w.settle()
	for refused, want := range map[string]int{"first": 0, "visitor": 1} {
		if n := w.gateway.Replace(without(refused), nil); n != want {
			t.Errorf("without %s, %d sessions ended, want %d", refused, n, want)
		}
	}
	goes.ends()
}
