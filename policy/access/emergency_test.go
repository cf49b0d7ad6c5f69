package access

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

func emergency(device string, lasts time.Duration) Fact {
	return Fact{Kind: Emergency, Subject: "user/nurse.ito", Device: device, From: noon, Until: noon.Add(lasts), Reason: "arrest in room 4", By: "user/nurse.ito", Proof: "statement " + device}
}

// It begins, ends, is overdue and reviewed, and is kept until then.
func TestEmergency(t *testing.T) {
	l, ids := made(t, emergency("ct-2", time.Hour))
	id := ids[0]
	if !strings.HasPrefix(id, "E-") {
		t.Errorf("its id is %s", id)
	}
	l, _ = l.Advance(noon)
	want := map[string]any{"emergencies": map[string]any{"user/nurse.ito": map[string]any{id: map[string]any{"device": "ct-2", "until_ns": float64(noon.Add(time.Hour).UnixNano())}}}}
	var got map[string]any
	if err := json.Unmarshal(l.Document(), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s", err, l.Document())
	}
	if state := l.State("ct-2", policy.StateActive); state != policy.StateActive {
		t.Errorf("its device is %s", state)
	}
	if _, _, err := l.Review(id, "user/dana", "fine", noon); !errors.Is(err, ErrGoesOn) {
		t.Errorf("reviewed while it goes on: %v", err)
	}
	if _, _, err := l.Make(emergency("ct-2", time.Hour), noon); !errors.Is(err, ErrTwice) {
		t.Errorf("opened twice with one statement: %v", err)
	}
	for _, step := range []struct {
		at   time.Duration
		want string // events
	}{
		{time.Hour - 1, ""}, {time.Hour, "ended"}, {ReviewWithin - 1, ""}, {ReviewWithin, "overdue"}, {ReviewWithin, ""}, {300 * 24 * time.Hour, ""},
	} {
		if at, ok := l.Next(); step.want != "" && (!ok || !at.Equal(noon.Add(step.at))) {
			t.Errorf("next is %v, %v, want %v", at, ok, noon.Add(step.at))
		}
		var events []Event
		l, events = l.Advance(noon.Add(step.at))
		if got := eventWords(events); got != step.want {
			t.Errorf("at %v: %q, want %q", step.at, got, step.want)
		}
	}
	if l.Document() != nil {
		t.Errorf("after its end: %s", l.Document())
	}
	// A week later it is still there, because nobody has reviewed it.
	l, _, err := l.Make(grant("ct-9", 300*24*time.Hour, 301*24*time.Hour), noon.Add(300*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	l, _ = l.Advance(noon.Add(300 * 24 * time.Hour))
	if f, known := l.Find(id); !known || !f.Unreviewed() || !f.Overdue {
		t.Fatalf("after a year it is %+v", f)
	}
	for _, bad := range [][2]string{{"", "fine"}, {"user/dana", ""}, {"user/dana", "two\nlines"}} {
		if _, _, err := l.Review(id, bad[0], bad[1], noon); err == nil {
			t.Errorf("reviewed by %q, who found %q", bad[0], bad[1])
		}
	}
	l, f, err := l.Review(id, "user/dana", "was needed", noon.Add(300*24*time.Hour))
	if err != nil || f.Unreviewed() || f.ReviewedBy != "user/dana" {
		t.Errorf("reviewed: %+v, %v", f, err)
	}
	if _, _, err := l.Review(id, "user/dana", "again", noon); !errors.Is(err, ErrReviewed) {
		t.Errorf("reviewed twice: %v", err)
	}
	if _, _, err := l.Review("E-00000", "user/dana", "what", noon); !errors.Is(err, ErrNoFact) {
		t.Errorf("reviewed, although there is none: %v", err)
	}
	text, err := l.Format()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Parse(text); err != nil || !reflect.DeepEqual(back, l) {
		t.Errorf("read back it is %+v, %v", back, err)
	}
	if l, _ = l.Advance(noon.Add(302 * 24 * time.Hour)); len(l.Facts) != 1 {
		t.Errorf("after the review it stays: %+v", l)
	}
}

// However much is made and ended behind it, an emergency is not forgotten before somebody has reviewed it; and so many that
// nobody has are too many.
func TestEmergencyNotFlushed(t *testing.T) {
	l, ids := made(t, emergency("ct-2", time.Hour))
	l, _ = l.Advance(noon)
	l, _, err := l.End(ids[0], "kim", "over", noon)
	if err != nil {
		t.Fatal(err)
	}
	over := grant("ct-2", 0, time.Hour)
	over.Begun, over.Ended = true, noon
	for range maxKept + 1 {
		l.Facts = append(l.Facts, over)
	}
	l, _ = l.Advance(noon.Add(ReviewWithin))
	if f, known := l.Find(ids[0]); !known || !f.Unreviewed() || !f.Overdue || len(l.Facts) != 1+maxKept {
		t.Errorf("%d are kept, and of it %+v", len(l.Facts), f)
	}
	for i := range l.Facts {
		l.Facts[i].Kind, l.Facts[i].Reviewed = Emergency, time.Time{}
	}
	if _, _, err := l.Make(grant("ct-2", 0, time.Hour), noon); !errors.Is(err, ErrFull) {
		t.Errorf("%d that nobody has reviewed: %v", len(l.Facts), err)
	}
}

// Whoever was away for days sees it end, then overdue.
func TestEmergencyAfterDays(t *testing.T) {
	l, _ := made(t, emergency("ct-2", time.Hour))
	l, _ = l.Advance(noon)
	_, events := l.Advance(noon.Add(48 * time.Hour))
	if got := eventWords(events); got != "ended, overdue" {
		t.Errorf("%q", got)
	}
}

func eventWords(events []Event) string {
	var words []string
	for _, e := range events {
		switch {
		case e.Ended:
			words = append(words, "ended")
		case e.Overdue:
			words = append(words, "overdue")
		default:
			words = append(words, "began")
		}
	}
	return strings.Join(words, ", ")
}

func TestEmergencyRefused(t *testing.T) {
	for what, change := range map[string]func(*Fact){
		"too long":          func(f *Fact) { f.Until = f.From.Add(MaxEmergency + 1) },
		"no end":            func(f *Fact) { f.Until = time.Time{} },
		"no reason":         func(f *Fact) { f.Reason = "" },
		"no proof":          func(f *Fact) { f.Proof = "" },
		"a service":         func(f *Fact) { f.Subject = "service/oie" },
		"a vendor":          func(f *Fact) { f.Subject = "vendor/acme" },
		"nobody":            func(f *Fact) { f.Subject = "" },
		"no device":         func(f *Fact) { f.Device = "" },
		"a class":           func(f *Fact) { f.DeviceClass = "imaging/*" },
		"classes":           func(f *Fact) { f.Classes = []policy.Class{policy.ClassAdmin} },
		"sponsor":           func(f *Fact) { f.Sponsor = "user/dr.kim" },
		"proof of a grant":  func(f *Fact) { *f = grant("ct-2", 0, time.Hour); f.Proof = "x" },
		"proof of a window": func(f *Fact) { *f = window(Maintenance, 0, time.Hour); f.Proof = "x" },
	} {
		f := emergency("ct-2", time.Hour)
		change(&f)
		if _, got, err := (Ledger{}).Make(f, noon); err == nil {
			t.Errorf("%s: made %+v", what, got)
		}
	}
	// Nobody brings a review along.
	f := emergency("ct-2", time.Hour)
	f.Reviewed, f.ReviewedBy, f.ReviewNote, f.Overdue = noon, "user/dana", "fine", true
	if _, got, err := (Ledger{}).Make(f, noon); err != nil || !got.Reviewed.IsZero() || got.Overdue {
		t.Errorf("made %+v, %v", got, err)
	}
}

// What cannot be recorded opens nothing and reviews nothing; it ends all the same.
func TestEmergencyRestrained(t *testing.T) {
	empty := Ledger{}
	open, ids := made(t, emergency("ct-2", time.Hour))
	open, _ = open.Advance(noon)
	if got := empty.Restrain(open); got.Document() != nil {
		t.Errorf("opened: %s", got.Document())
	}
	over, _ := open.Advance(noon.Add(time.Hour))
	if got := open.Restrain(over); got.Document() != nil {
		t.Errorf("not ended: %s", got.Document())
	}
	reviewed, _, err := over.Review(ids[0], "user/dana", "fine", noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	late, _ := over.Advance(noon.Add(ReviewWithin))
	for what, next := range map[string]Ledger{"reviewed": reviewed, "overdue": late} {
		if got := over.Restrain(next); !got.Facts[0].Reviewed.IsZero() || got.Facts[0].Overdue {
			t.Errorf("%s without an entry: %+v", what, got)
		}
	}
}
