package access

import (
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// TestLearning puts a device in learning mode: it takes an end, gives way to maintenance and to
// quarantine, and policy is told the end for as long as it is in force.
func TestLearning(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	learn := Fact{Kind: Learning, Device: "mon-7", From: now, Until: now.Add(14 * 24 * time.Hour), Reason: "CHG-204", By: "user/dr.kim"}
	for _, wrong := range []func(*Fact){
		func(f *Fact) { f.Until = time.Time{} },
		func(f *Fact) { f.Until = now.Add(MaxLearning + time.Minute) },
		func(f *Fact) { f.Device, f.DeviceClass = "", "monitor/*" },
		func(f *Fact) { f.Subject = "user/dr.kim" },
		func(f *Fact) { f.Reason = "" },
	} {
		f := learn
		wrong(&f)
		if _, _, err := (Ledger{}).Make(f, now); err == nil {
			t.Errorf("%+v was made", f)
		}
	}
	l, f, err := (Ledger{}).Make(learn, now)
	if err != nil || !strings.HasPrefix(f.ID, "L-") {
		t.Fatal(f, err)
	}
	if l.Document() != nil || l.State("mon-7", policy.StateActive) != policy.StateActive {
		t.Errorf("before it has begun: %s", l.Document())
	}
	l, _ = l.Advance(now)
	if got := string(l.Document()); got != `{"learning":{"mon-7":1796558400000000000}}` {
		t.Errorf("policy is told %s", got)
	}
	for configured, want := range map[string]string{policy.StateActive: policy.StateLearning, policy.StateMaintenance: policy.StateMaintenance, policy.StateQuarantined: policy.StateQuarantined} {
		if got := l.State("mon-7", configured); got != want {
			t.Errorf("configured %s, it is %s, want %s", configured, got, want)
		}
	}
	if got := l.State("mon-8", policy.StateActive); got != policy.StateActive {
		t.Errorf("another device is %s", got)
	}
	for kind, want := range map[Kind]string{Maintenance: policy.StateMaintenance, Quarantine: policy.StateQuarantined} {
		other, _, err := l.Make(Fact{Kind: kind, Device: "mon-7", From: now, Until: now.Add(time.Hour), Reason: "WO-1", By: "user/dr.kim"}, now)
		if err != nil {
			t.Fatal(err)
		}
		other, _ = other.Advance(now)
		if got := other.State("mon-7", policy.StateActive); got != want {
			t.Errorf("with a %s it is %s", kind, got)
		}
	}
	if l, _ = l.Advance(learn.Until); l.Document() != nil || l.State("mon-7", policy.StateActive) != policy.StateActive {
		t.Errorf("after its end: %s", l.Document())
	}
}
