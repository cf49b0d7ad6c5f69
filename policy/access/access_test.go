package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// noon is now in these tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func grant(device string, from, until time.Duration) Fact {
	return Fact{Kind: Grant, Subject: "vendor/acme", Device: device, Classes: []policy.Class{policy.ClassRead}, From: noon.Add(from), Until: noon.Add(until), Reason: "WO-881", By: "root"}
}

func window(kind Kind, from, until time.Duration) Fact {
	f := Fact{Kind: kind, Device: "ct-2", From: noon.Add(from), Reason: "WO-881", By: "root"}
	if until > 0 {
		f.Until = noon.Add(until)
	}
	return f
}

// made is a ledger with facts that were made at noon.
func made(t *testing.T, facts ...Fact) (l Ledger, ids []string) {
	t.Helper()
	for _, f := range facts {
		var err error
		if l, f, err = l.Make(f, noon); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, f.ID)
	}
	return l, ids
}

func phases(l Ledger) (list []string) {
	for i := range l.Facts {
		list = append(list, l.Facts[i].Phase())
	}
	return list
}

func TestAdvance(t *testing.T) {
	l, ids := made(t, grant("ct-2", 0, time.Hour), grant("ct-3", time.Hour, 3*time.Hour), window(Quarantine, 0, 0))
	for _, step := range []struct {
		at     time.Duration
		events int
		want   string
	}{
		{0, 2, "in force, planned, in force"},
		{0, 0, "in force, planned, in force"},
		{time.Hour - 1, 0, "in force, planned, in force"},
		{time.Hour, 2, "over, in force, in force"},
		{0, 0, "over, in force, in force"}, // the clock was set back, and nothing comes back
		{time.Hour, 0, "over, in force, in force"},
		{3 * time.Hour, 1, "over, over, in force"},
		{300 * 24 * time.Hour, 0, "over, over, in force"}, // a quarantine without an end
	} {
		var events []Event
		l, events = l.Advance(noon.Add(step.at))
		if got := strings.Join(phases(l), ", "); got != step.want || len(events) != step.events {
			t.Errorf("at %v: %s with %d events, want %s with %d", step.at, got, len(events), step.want, step.events)
		}
	}
	if f, ok := l.Find(ids[0]); !ok || !f.Ended.Equal(noon.Add(time.Hour)) || f.EndedBy != "" {
		t.Errorf("the first is %+v", f)
	}
	// What was to begin and end while nobody looked only ends.
	l, _ = made(t, grant("ct-2", time.Hour, 2*time.Hour))
	if l, events := l.Advance(noon.Add(5 * time.Hour)); len(events) != 1 || !events[0].Ended || l.Facts[0].Begun {
		t.Errorf("%+v", events)
	}
}

func TestNext(t *testing.T) {
	l, ids := made(t, window(Quarantine, 0, 0), grant("ct-2", 0, 2*time.Hour), grant("ct-3", time.Hour, 3*time.Hour))
	for _, want := range []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour} {
		at, ok := l.Next()
		if !ok || !at.Equal(noon.Add(want)) {
			t.Fatalf("next is %v, %v, want %v", at, ok, want)
		}
		l, _ = l.Advance(at)
	}
	if at, ok := l.Next(); ok {
		t.Errorf("next is %v with nothing but a quarantine without an end", at)
	}
	if _, ok := l.Find(ids[0]); !ok {
		t.Error("the quarantine is gone")
	}
}

// Quarantine goes before maintenance, whoever set it, and lasts until the last one is over.
func TestState(t *testing.T) {
	l, ids := made(t, window(Maintenance, 0, 5*time.Hour), window(Quarantine, 0, time.Hour), window(Quarantine, 0, 0), window(Maintenance, time.Hour, 6*time.Hour))
	now := noon
	expect := func(configured, want string) {
		t.Helper()
		l, _ = l.Advance(now)
		if got := l.State("ct-2", configured); got != want {
			t.Errorf("at %v configured %s it is %s, want %s", now.Sub(noon), configured, got, want)
		}
		if got := l.State("ct-3", configured); got != configured {
			t.Errorf("another device is %s", got)
		}
	}
	if got := l.State("ct-2", policy.StateActive); got != policy.StateActive {
		t.Errorf("before it begins it is %s", got)
	}
	expect(policy.StateActive, policy.StateQuarantined)
	now = noon.Add(2 * time.Hour)
	expect(policy.StateActive, policy.StateQuarantined)
	var err error
	if l, _, err = l.End(ids[2], "root", "clean", now); err != nil {
		t.Fatal(err)
	}
	expect(policy.StateActive, policy.StateMaintenance)
	expect(policy.StateQuarantined, policy.StateQuarantined)
	now = noon.Add(5 * time.Hour)
	expect(policy.StateActive, policy.StateMaintenance)
	now = noon.Add(6 * time.Hour)
	expect(policy.StateActive, policy.StateActive)
}

func TestDocument(t *testing.T) {
	general := grant("", 0, time.Hour)
	general.DeviceClass = "imaging/*"
	l, ids := made(t, grant("ct-2", 0, time.Hour), grant("ct-3", time.Hour, 2*time.Hour), general, window(Quarantine, 0, 0))
	if b := l.Document(); b != nil {
		t.Errorf("before anything is in force: %s", b)
	}
	l, _ = l.Advance(noon)
	want := map[string]any{"grants": map[string]any{"vendor/acme": map[string]any{
		ids[0]: map[string]any{"device": "ct-2", "device_class": "", "classes": []any{"read"}, "until_ns": float64(noon.Add(time.Hour).UnixNano())},
		ids[2]: map[string]any{"device": "", "device_class": "imaging/*", "classes": []any{"read"}, "until_ns": float64(noon.Add(time.Hour).UnixNano())},
	}}}
	var got map[string]any
	if err := json.Unmarshal(l.Document(), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s", err, l.Document())
	}
	if !bytes.Equal(l.Document(), l.Document()) {
		t.Error("the same facts have two documents")
	}
	l, _ = l.Advance(noon.Add(2 * time.Hour))
	if b := l.Document(); b != nil {
		t.Errorf("after all are over: %s", b)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		device, class, id, of string
		want                  bool
	}{
		{"ct-2", "", "ct-2", "imaging/ct", true},
		{"ct-2", "", "ct-22", "imaging/ct", false},
		{"", "imaging/*", "x", "imaging/ct", true},
		{"", "imaging/*", "x", "imaging", true},
		{"", "imaging/*", "x", "imagings/ct", false},
		{"", "imaging/ct", "x", "imaging/ct", true},
		{"", "imaging/ct", "x", "imaging/ct/head", false},
	} {
		f := Fact{Kind: Grant, Device: c.device, DeviceClass: c.class}
		if got := f.Covers(policy.Device{ID: c.id, Class: c.of}); got != c.want {
			t.Errorf("%s%s on %s, %s: %v", c.device, c.class, c.id, c.of, got)
		}
	}
}

func TestRefused(t *testing.T) {
	for what, change := range map[string]func(*Fact){
		"kind":                 func(f *Fact) { f.Kind = "key" },
		"no end":               func(f *Fact) { f.Until = time.Time{} },
		"end before beginning": func(f *Fact) { f.Until = f.From },
		"too long":             func(f *Fact) { f.Until = f.From.Add(MaxGrant + 1) },
		"too far ahead":        func(f *Fact) { f.From, f.Until = noon.Add(MaxAhead+1), noon.Add(MaxAhead+2) },
		"no reason":            func(f *Fact) { f.Reason = " " },
		"long reason":          func(f *Fact) { f.Reason = strings.Repeat("x", MaxReason+1) },
		"two lines":            func(f *Fact) { f.Reason = "a\nb" },
		"not UTF-8":            func(f *Fact) { f.Reason = "a\xff" },
		"nobody":               func(f *Fact) { f.By = "" },
		"subject":              func(f *Fact) { f.Subject = "acme" },
		"subject of a kind":    func(f *Fact) { f.Subject = "firm/acme" },
		"every subject":        func(f *Fact) { f.Subject = "vendor/*" },
		"sponsor":              func(f *Fact) { f.Sponsor = "kim" },
		"own sponsor":          func(f *Fact) { f.Sponsor = f.Subject },
		"no device":            func(f *Fact) { f.Device = "" },
		"both":                 func(f *Fact) { f.DeviceClass = "imaging/ct" },
		"device":               func(f *Fact) { f.Device = "ct 2" },
		"every device":         func(f *Fact) { f.Device, f.DeviceClass = "", "*" },
		"class of devices":     func(f *Fact) { f.Device, f.DeviceClass = "", "imaging/*/x" },
		"empty class":          func(f *Fact) { f.Device, f.DeviceClass = "", "imaging/" },
		"no class":             func(f *Fact) { f.Classes = nil },
		"unknown":              func(f *Fact) { f.Classes = []policy.Class{policy.ClassUnknown} },
		"session":              func(f *Fact) { f.Classes = []policy.Class{policy.ClassSession} },
		"another class":        func(f *Fact) { f.Classes = []policy.Class{"reading"} },
		"twice":                func(f *Fact) { f.Classes = []policy.Class{policy.ClassRead, policy.ClassRead} },
		"order":                func(f *Fact) { f.Classes = []policy.Class{policy.ClassQuery, policy.ClassRead} },
	} {
		f := grant("ct-2", 0, time.Hour)
		change(&f)
		if _, got, err := (Ledger{}).Make(f, noon); err == nil {
			t.Errorf("%s: made %+v", what, got)
		}
	}
	for what, f := range map[string]Fact{
		"maintenance without an end": window(Maintenance, 0, 0),
		"long maintenance":           window(Maintenance, 0, MaxMaintenance+1),
		"long quarantine":            window(Quarantine, 0, MaxQuarantine+1),
		"quarantine of a class":      {Kind: Quarantine, DeviceClass: "imaging/*", From: noon, Reason: "x", By: "root"},
		"quarantine for somebody":    {Kind: Quarantine, Device: "ct-2", Subject: "vendor/acme", From: noon, Reason: "x", By: "root"},
	} {
		if _, got, err := (Ledger{}).Make(f, noon); err == nil {
			t.Errorf("%s: made %+v", what, got)
		}
	}
}

func TestEnd(t *testing.T) {
	l, ids := made(t, grant("ct-2", 0, time.Hour), grant("ct-3", time.Hour, 2*time.Hour))
	l, _ = l.Advance(noon)
	for _, id := range ids {
		var err error
		var f Fact
		if l, f, err = l.End(id, "dana", "done", noon.Add(time.Minute)); err != nil || f.EndedBy != "dana" || f.Phase() != Over {
			t.Errorf("%+v, %v", f, err)
		}
		if _, _, err := l.End(id, "dana", "done", noon); !errors.Is(err, ErrOver) {
			t.Errorf("ended twice: %v", err)
		}
	}
	if _, _, err := l.End("G-00000", "dana", "done", noon); !errors.Is(err, ErrNoFact) {
		t.Errorf("%v", err)
	}
	if l, events := l.Advance(noon.Add(90 * time.Minute)); len(events) > 0 || l.Document() != nil {
		t.Errorf("what was ended by hand has %+v", events)
	}
	l, ids = made(t, grant("ct-2", 0, time.Hour))
	if _, _, err := l.End(ids[0], "dana", "", noon); err == nil {
		t.Error("ended without a reason")
	}
}

// What cannot be recorded only takes away.
func TestRestrain(t *testing.T) {
	was, ids := made(t, grant("ct-1", 0, time.Hour), grant("ct-2", time.Hour, 2*time.Hour), window(Maintenance, 0, time.Hour), window(Quarantine, 0, time.Hour), window(Maintenance, time.Hour, 2*time.Hour))
	was, _ = was.Advance(noon)
	next, _ := was.Advance(noon.Add(time.Hour))
	var fresh []string
	for _, f := range []Fact{grant("ct-9", time.Hour, 2*time.Hour), window(Quarantine, time.Hour, 0)} {
		var err error
		if next, f, err = next.Make(f, noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, f.ID)
	}
	next, _ = next.Advance(noon.Add(time.Hour))
	if got := strings.Join(phases(next), ", "); got != "over, in force, over, over, in force, in force, in force" {
		t.Fatalf("it would be %s", got)
	}
	got := was.Restrain(next)
	for id, want := range map[string]string{ids[0]: Over, ids[1]: Planned, ids[2]: Over, ids[3]: InForce, ids[4]: Planned, fresh[1]: InForce} {
		if f, _ := got.Find(id); f.Phase() != want {
			t.Errorf("%s is %s, want %s", &f, f.Phase(), want)
		}
	}
	if _, known := got.Find(fresh[0]); known {
		t.Error("a new grant is in force")
	}
	if again, events := got.Advance(noon.Add(time.Hour)); len(events) != 3 || again.Document() == nil {
		t.Errorf("when it can be recorded again, %d events are left", len(events))
	}
}

func TestFull(t *testing.T) {
	var l Ledger
	for range MaxFacts {
		l.Facts = append(l.Facts, Fact{ID: "x"})
	}
	if _, _, err := l.Make(grant("ct-2", 0, time.Hour), noon); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	for i := range l.Facts {
		l.Facts[i].Ended = noon.Add(-time.Hour)
	}
	l, _, err := l.Make(grant("ct-2", 0, time.Hour), noon)
	if err != nil {
		t.Fatal(err)
	}
	if l, _ := l.Advance(noon); len(l.Facts) != maxKept+1 {
		t.Errorf("%d are kept", len(l.Facts))
	}
	if l, _ := l.Advance(noon.Add(keepFor)); len(l.Facts) != 1 {
		t.Errorf("%d are kept after a week", len(l.Facts))
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	if l, err := Read(path); err != nil || len(l.Facts) > 0 {
		t.Errorf("no file is %+v, %v", l, err)
	}
	general := grant("", 0, time.Hour)
	general.DeviceClass, general.Sponsor = "imaging/*", "user/dr.kim"
	l, ids := made(t, grant("ct-2", 0, time.Hour), general, window(Maintenance, time.Hour, 2*time.Hour), window(Quarantine, 0, 0))
	l, _ = l.Advance(noon)
	l, _, err := l.End(ids[0], "dana", "done \u2028 „so“", noon)
	if err == nil {
		t.Error("a line separator is taken for one line")
	}
	if l, _, err = l.End(ids[0], "dana", "done, „so“", noon); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second replaces the first
		if err := l.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	if back, err := Read(path); err != nil || !reflect.DeepEqual(back, l) {
		t.Errorf("read back %+v, %v, wrote %+v", back, err, l)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string][]byte{
		"empty":        {},
		"cut":          good[:len(good)-20],
		"more":         append(bytes.Clone(good), '{'),
		"another file": []byte(`{"schema":"cordon.ledger/v2","facts":[]}`),
		"unknown key":  bytes.Replace(good, []byte(`"by"`), []byte(`"buy"`), 1),
		"twice":        bytes.Replace(good, []byte(ids[1]), []byte(ids[0]), 1),
		"no end":       bytes.Replace(good, []byte(`"until":"2026-11-22T13:00:00Z"`), []byte(`"until":"0001-01-01T00:00:00Z"`), 1),
		"a year":       bytes.Replace(good, []byte(`"until":"2026-11-22T13:00:00Z"`), []byte(`"until":"2027-11-22T13:00:00Z"`), 1),
		"huge":         bytes.Repeat([]byte{' '}, maxFile+1),
	} {
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: nothing was changed", what)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Read(path); err == nil || len(l.Facts) > 0 {
			t.Errorf("%s: read %+v, %v", what, l, err)
		}
	}
}

// The longest ledger there can be fits the file.
func TestLongestFile(t *testing.T) {
	f := grant("", 0, time.Hour)
	f.Made, f.Classes = noon, []policy.Class{policy.ClassRead, policy.ClassQuery, policy.ClassWrite, policy.ClassControl, policy.ClassAdmin, policy.ClassNotify}
	f.Subject, f.Sponsor = "service/"+strings.Repeat("s", maxName), "service/"+strings.Repeat("t", maxName)
	f.DeviceClass, f.Reason, f.EndedReason, f.By, f.EndedBy = strings.Repeat("c", maxClass), strings.Repeat("\"", MaxReason), strings.Repeat("<", MaxReason), strings.Repeat("b", maxName), strings.Repeat("b", maxName)
	f.Begun, f.Ended = true, noon.Add(time.Nanosecond)
	if err := f.check(); err != nil {
		t.Fatal(err)
	}
	line, err := Ledger{[]Fact{f}}.Format()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(line) * (MaxFacts + maxKept + MaxFacts); n > maxFile {
		t.Errorf("%d facts of %d bytes make %d bytes, and %d are read", MaxFacts+maxKept+MaxFacts, len(line), n, maxFile)
	}
}

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]string{"vendor/acme": "vendor/acme", "vendor:acme": "vendor/acme", "user/dr.kim": "user/dr.kim",
		"acme": "", "vendor/": "", "vendor": "", "vendor/a/b": "", "vendor/a:b": "", "role/nurse": "", "vendor/..": ""} {
		if got, err := ParseSubject(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

// FuzzParse holds what is read to what could have been made, and to what is written of it.
func FuzzParse(f *testing.F) {
	l, _, err := Ledger{}.Make(grant("ct-2", 0, time.Hour), noon)
	if err != nil {
		f.Fatal(err)
	}
	l, _, _ = l.Make(window(Quarantine, 0, 0), noon)
	l, _ = l.Advance(noon)
	b, _ := l.Format()
	f.Add(b)
	f.Add([]byte(`{"schema":"cordon.ledger/v1","facts":[]}`))
	f.Add([]byte(`{"schema":"cordon.ledger/v1","facts":[{"id":"Q-1","kind":"quarantine","device":"x","from":"2026-01-01T00:00:00+01:00","made":"2026-01-01T00:00:00Z","reason":"r","by":"b","until":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		text, err := l.Format()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if second, _ := again.Format(); !bytes.Equal(text, second) {
			t.Errorf("%s becomes %s", text, second)
		}
		for at := noon; at.Before(noon.Add(3 * MaxAhead)); at = at.Add(13 * 24 * time.Hour) {
			next, events := l.Advance(at)
			if len(events) > len(l.Facts) || len(next.Facts) > len(l.Facts) {
				t.Errorf("%d events and %d facts of %d", len(events), len(next.Facts), len(l.Facts))
			}
			next.Document()
			l = next
		}
	})
}
