package audit

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cordon/policy"
)

// variedLog writes entries of every form and returns its folder and a time in its middle.
func variedLog(t *testing.T) (dir string, middle time.Time) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir, limits: small()})
	for i := range 40 {
		e := sampleEntry()
		switch i % 5 {
		case 0:
			e.Decision = policy.Decision{Reason: `says "no"`, Cause: policy.CausePolicy, Revision: "sha256:a"}
		case 1:
			e = Entry{Kind: KindStart, Note: "started"}
		case 2:
			e.Decision.Obligations, e.Decision.ValidUntil, e.Note = []string{"a", "b"}, 77, "noted"
		case 3:
			e.Input = json.RawMessage(`{"a":"}\"{\\","b":[{"c":{}}]}`)
		}
		if i == 20 {
			time.Sleep(2 * time.Millisecond)
			middle = time.Now()
			time.Sleep(2 * time.Millisecond)
		}
		mustAppend(t, l, e)
	}
	mustClose(t, l)
	return dir, middle
}

// decisions reads an extent as a replay does.
func decisions(r *Reader, x Extent) (list []Entry, err error) {
	for _, s := range x.Spans {
		for e, err := range r.Decisions(s) {
			if err != nil {
				return list, err
			}
			kept := *e
			kept.Input = slices.Clone(e.Input)
			list = append(list, kept)
		}
	}
	return list, nil
}

// TestSince reads a log by its spans and by its entries.
func TestSince(t *testing.T) {
	dir, middle := variedLog(t)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []Entry
	for e, err := range r.Entries(0, 1000) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	for _, since := range []time.Time{{}, middle, time.Now().Add(time.Hour)} {
		x, err := r.Since(since)
		if err != nil || x.Torn != 0 {
			t.Fatalf("since %v: %+v, %v", since, x, err)
		}
		got, err := decisions(r, x)
		if err != nil {
			t.Fatal(err)
		}
		from := len(want) - len(got)
		if !slices.EqualFunc(got, want[from:], sameEntry) {
			t.Errorf("since %v: read\n%+v, want\n%+v", since, got, want[from:])
		}
		switch {
		case since.IsZero() && (from != 0 || len(x.Spans) < 3):
			t.Errorf("from the beginning: %d entries left out, spans %v", from, x.Spans)
		case from > 0 && !want[from-1].Time.Before(since):
			t.Errorf("since %v: entry %d is missing", since, from-1)
		case since.Equal(middle) && from == 0:
			t.Error("nothing older was left out")
		}
	}
}

func sameEntry(a, b Entry) bool {
	x, y := a.appendJSON(nil), b.appendJSON(nil)
	return string(x) == string(y)
}

// TestSinceDamage changes a log in ways that reading on would pass over.
func TestSinceDamage(t *testing.T) {
	dir, _, good := smallLog(t, 40)
	logs := good.segments()
	last, middle := logs[len(logs)-1], logs[1]
	flip := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name string
		bad  folder
		torn bool // said, and no damage
	}{
		{"a byte in the last file", with(good, last, flip(good[last], 400)), false},
		{"a byte in another file", with(good, middle, flip(good[middle], 400)), false},
		{"a file cut short", with(good, middle, good[middle][:500]), false},
		{"the last file cut short", with(good, last, good[last][:300]), false},
		{"a checkpoint changed", with(good, fileCheckpoint, flip(good[fileCheckpoint], 20)), false},
		{"bytes behind the end", with(good, last, append(slices.Clone(good[last]), "half a li\x00"...)), true},
	} {
		c.bad.write(t, dir, good)
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		x, err := r.Since(time.Time{})
		if err == nil {
			_, err = decisions(r, x)
		}
		damage, found := errors.AsType[*Damage](err)
		switch {
		case c.torn && (err != nil || x.Torn != 9):
			t.Errorf("%s: %+v, %v", c.name, x, err)
		case !c.torn && !found:
			t.Errorf("%s: %+v, %v %v", c.name, x, damage, err)
		}
		good.write(t, dir, c.bad)
	}
}

// TestDecisionsEndEarly takes the end of a span away after it was found.
func TestDecisionsEndEarly(t *testing.T) {
	dir, _, good := smallLog(t, 40)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	x, err := r.Since(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	logs := good.segments()
	if err := os.Truncate(filepath.Join(dir, logs[len(logs)-1]), 300); err != nil {
		t.Fatal(err)
	}
	if _, err := decisions(r, x); !errorIsDamage(err) {
		t.Errorf("read to the end with %v", err)
	}
}

func errorIsDamage(err error) bool {
	_, ok := errors.AsType[*Damage](err)
	return ok
}

// FuzzReadDecision holds the short way of reading an entry to the long one.
func FuzzReadDecision(f *testing.F) {
	f.Add("gw", "reason", "rule", "a", "note", `{"a":"}"}`, int64(5), true)
	f.Add("", "", "", "", "", "", int64(0), false)
	f.Add("g\\", "\"", "}{", "é", "\x00", `{"a":"\\\""}`, int64(9), true)
	f.Add("g\\", "", "", "", "", `{"a":"}\"{"}`, int64(1), true) // nothing else to notice the escape by
	f.Add("g", "r", "", "", "\\", "", int64(1), false)
	f.Fuzz(func(t *testing.T, gateway, reason, rule, obligation, note, input string, until int64, allow bool) {
		e := Entry{Index: 7, Time: time.Unix(1, 2).UTC(), Code: "7QF-21", Kind: KindDecision, Gateway: gateway, Note: note,
			Decision: policy.Decision{Allow: allow, Reason: reason, Rule: rule, ValidUntil: until, Cause: policy.CausePolicy, Revision: "r", Data: "d"}}
		if json.Valid([]byte(input)) && e.check() == nil {
			e.Input = json.RawMessage(input)
		}
		if e.check() != nil {
			return
		}
		if obligation != "" {
			e.Decision.Obligations = []string{obligation, "b"}
		}
		b := e.appendJSON(nil)
		h, err := parseHead(b)
		if err != nil {
			t.Fatal(err)
		}
		var got Entry
		if !got.readDecision(record{head: h, json: b}) {
			return
		}
		want, err := ParseEntry(b)
		if err != nil || !sameEntry(got, want) || string(got.Input) != string(want.Input) {
			t.Errorf("%s\nread as %+v\nwant    %+v, %v", b, got, want, err)
		}
		if got.readDecision(record{head: h, json: append(slices.Clone(b), '}')}) {
			t.Errorf("%s} was read", b)
		}
		for cut := range b { // nothing shorter is whole
			if got.readDecision(record{head: h, json: b[:cut]}) {
				t.Errorf("%s was read", b[:cut])
			}
		}
	})
}

// TestReadDecisionIsTaken holds that the usual entry is read the short way.
func TestReadDecisionIsTaken(t *testing.T) {
	for _, input := range []string{sampleInput, `{"a":"}\"{\\"}`} {
		e := sampleEntry()
		e.Time, e.Code, e.Input = time.Unix(1, 2).UTC(), "7QF-21", json.RawMessage(input)
		b := e.appendJSON(nil)
		var got Entry
		if h, err := parseHead(b); err != nil || !got.readDecision(record{head: h, json: b}) {
			t.Errorf("%s is left to encoding/json (%v)", b, err)
		}
	}
}
