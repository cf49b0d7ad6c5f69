package rollout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func digest(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func revision(n int, approver string) Revision {
	return Revision{Number: n, Policy: digest(n), Data: digest(0), Author: "user/a", Approver: approver}
}

// summary is a State as a test writes it.
func summary(s State) string {
	numbers := func(list []Revision) (n []int) {
		for _, r := range list {
			n = append(n, r.Number)
		}
		return n
	}
	out := fmt.Sprintf("%d past %v undone %v", s.Current.Number, numbers(s.Past), numbers(s.Undone))
	if c := s.Candidate; c != nil {
		out += fmt.Sprintf(" %s of %d %v", c.Stage, c.Number, c.Devices)
	}
	return out
}

func TestSteps(t *testing.T) {
	s := Begin(digest(1), digest(0))
	s.Last = 5
	for _, step := range []struct {
		do   func(State) (State, error)
		want string // what it leads to, or how its error ends
	}{
		{func(s State) (State, error) { return s.Rollback(0) }, "there is no earlier revision"},
		{func(s State) (State, error) { return s.Rollback(3) }, "it was never in force"},
		{func(s State) (State, error) { return s.Advance(revision(9, "user/b"), Shadow, nil) }, "there are 5"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), "most", nil) }, "want shadow, canary or all"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), Canary, nil) }, "a canary needs devices"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), All, []string{"a"}) }, "not for stage all"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), Canary, list(MaxDevices+1)) }, "at most 1000"},
		{func(s State) (State, error) {
			r := revision(2, "user/b")
			r.Policy = digest(1)
			return s.Advance(r, All, nil)
		}, "it is what is in force"},
		{func(s State) (State, error) { return s.Advance(revision(2, ""), Shadow, nil) }, "1 past [] undone [] shadow of 2 []"},
		{func(s State) (State, error) { return s.Advance(revision(3, "user/b"), Shadow, nil) }, "another revision is being rolled out: 2, at stage shadow"},
		{func(s State) (State, error) { return s.Advance(revision(2, ""), Canary, []string{"b", "a", "b"}) }, "1 past [] undone [] canary of 2 [a b]"},
		{func(s State) (State, error) { return s.Advance(revision(2, ""), All, nil) }, "1 past [] undone [] all of 2 []"},
		{func(s State) (State, error) { return s.Rollback(0) }, "1 past [] undone []"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), Canary, []string{"a"}) }, "1 past [] undone [] canary of 2 [a]"},
		{func(s State) (State, error) { return s.Rollback(1) }, "1 past [] undone []"},
		{func(s State) (State, error) { return s.Rollback(1) }, "it is what is in force"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), All, nil) }, "2 past [1] undone []"},
		{func(s State) (State, error) { return s.Advance(revision(3, "user/b"), All, nil) }, "3 past [2 1] undone []"},
		{func(s State) (State, error) { return s.Advance(revision(4, "user/b"), All, nil) }, "4 past [3 2 1] undone []"},
		{func(s State) (State, error) { return s.Advance(revision(5, "user/b"), Shadow, nil) }, "4 past [3 2 1] undone [] shadow of 5 []"},
		{func(s State) (State, error) { return s.Rollback(0) }, "4 past [3 2 1] undone []"},
		{func(s State) (State, error) { return s.Rollback(0) }, "3 past [2 1] undone [4]"},
		{func(s State) (State, error) { return s.Rollback(1) }, "1 past [] undone [3 2 4]"},
		{func(s State) (State, error) { return s.Rollback(4) }, "4 past [1] undone [3 2]"},
		{func(s State) (State, error) { return s.Rollback(5) }, "it was never in force"},
		{func(s State) (State, error) { return s.Advance(revision(2, "user/b"), All, nil) }, "2 past [4 1] undone [3]"},
		{func(s State) (State, error) { return s.Advance(revision(1, "user/b"), All, nil) }, "1 past [2 4] undone [3]"},
	} {
		next, err := step.do(s)
		if err != nil {
			if !strings.HasSuffix(err.Error(), step.want) {
				t.Errorf("%s: error %q, want %q", summary(s), err, step.want)
			}
			if !reflect.DeepEqual(next, s) {
				t.Errorf("%s: a step that fails leads to %s", summary(s), summary(next))
			}
			continue
		}
		if summary(next) != step.want {
			t.Errorf("%s: leads to %s, want %s", summary(s), summary(next), step.want)
		}
		if err := next.check(); err != nil {
			t.Errorf("%s: %v", summary(next), err)
		}
		s = next
	}
}

func list(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint("d", i))
	}
	return out
}

// seeded is a source of chance; a test that fails says which.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestWalk makes many steps at random: what comes out is well formed, survives its file,
// and the current revision is always one that somebody approved, or the first.
func TestWalk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rollout.json")
	s := Begin(digest(1), digest(0))
	rnd := seeded(t)
	past, undone := 0, 0 // the longest lists; where the walk ends says nothing
	for i := range 3000 {
		var err error
		before := summary(s)
		var next State
		switch rnd.IntN(5) {
		case 0:
			next = s
			if s.Last < 2*MaxPast { // more, and it seldom meets a revision again
				next, _ = s.Reserve()
			}
		case 1, 2:
			stage, approver := Stages[rnd.IntN(3)], []string{"", "user/b"}[rnd.IntN(2)]
			var devices []string
			if stage == Canary {
				devices = []string{"x"}
			}
			next, err = s.Advance(revision(1+rnd.IntN(s.Last), approver), stage, devices)
		case 3:
			next, err = s.Rollback(0)
		default:
			next, err = s.Rollback(rnd.IntN(s.Last + 2))
		}
		if summary(s) != before {
			t.Fatal("a step changed what it began from")
		}
		if err != nil {
			continue
		}
		s = next
		past, undone = max(past, len(s.Past)), max(undone, len(s.Undone))
		if s.Current.Number != 1 && s.Current.Approver == "" {
			t.Fatalf("%s: nobody approved what is in force", summary(s))
		}
		if i%50 > 0 {
			if err := s.check(); err != nil {
				t.Fatalf("%s: %v", summary(s), err)
			}
			continue
		}
		if err := Write(path, s); err != nil {
			t.Fatalf("%s: %v", summary(s), err)
		}
		if back, err := Read(path); err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("%s: read back as %s, %v", summary(s), summary(back), err)
		}
	}
	if past < 2 || undone < 2 {
		t.Errorf("the walk led nowhere: %s", summary(s))
	}
}

func kept(t *testing.T) (path string, text []byte) {
	s := Begin(digest(1), digest(0))
	s.Last = 3
	s, err := s.Advance(revision(2, "user/b"), All, nil)
	if err == nil {
		s, err = s.Advance(revision(3, ""), Canary, []string{"mon-7"})
	}
	path = filepath.Join(t.TempDir(), "rollout.json")
	if err = errors.Join(err, Write(path, s)); err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, text
}

// TestDamage changes every byte of the file once, and cuts it at every place.
func TestDamage(t *testing.T) {
	path, text := kept(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the file: %v, %v", info.Mode(), err)
	}
	for i := range len(text) - 1 { // behind it is a newline, which does not count
		for _, bad := range [][]byte{text[:i], slices.Concat(text[:i], []byte{text[i] ^ 1}, text[i+1:]), slices.Concat(text[:i], text[i+1:])} {
			if s, err := Parse(bad); err == nil {
				t.Fatalf("%q is read as %s", bad, summary(s))
			}
		}
	}
	if _, err := Parse(append(bytes.Clone(text), "{}"...)); err == nil {
		t.Error("what is behind the end is not seen")
	}
	if _, err := Parse(make([]byte, maxFile+1)); err == nil {
		t.Error("a huge file is read")
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

// TestImpossible has whole files that no sequence of steps leads to.
func TestImpossible(t *testing.T) {
	good := Begin(digest(1), digest(0))
	good.Last = 4
	candidate := func(r Revision, stage Stage, devices ...string) *Candidate {
		return &Candidate{Revision: r, Stage: stage, Devices: append([]string{}, devices...)}
	}
	for name, change := range map[string]func(*State){
		"no number":                 func(s *State) { s.Current.Number = 0 },
		"a number not given":        func(s *State) { s.Current.Number = 5 },
		"no digest":                 func(s *State) { s.Current.Policy = "sha256:" },
		"twice":                     func(s *State) { s.Past = []Revision{s.Current} },
		"in force, unapproved":      func(s *State) { s.Current = revision(2, "") },
		"past, unapproved":          func(s *State) { s.Past = []Revision{revision(2, "")} },
		"approved by its author":    func(s *State) { s.Current = revision(2, "user/a") },
		"approved by nobody's peer": func(s *State) { s.Current.Approver = "user/b" },
		"too many":                  func(s *State) { s.Last = 99; s.Undone = many(MaxPast + 1) },
		"no list":                   func(s *State) { s.Past = nil },
		"candidate without author":  func(s *State) { s.Candidate = candidate(Revision{Number: 2, Policy: digest(2), Data: digest(0)}, All) },
		"approved all":              func(s *State) { s.Candidate = candidate(revision(2, "user/b"), All) },
		"canary without devices":    func(s *State) { s.Candidate = candidate(revision(2, "user/b"), Canary) },
		"devices unsorted":          func(s *State) { s.Candidate = candidate(revision(2, "user/b"), Canary, "b", "a") },
		"shadow with devices":       func(s *State) { s.Candidate = candidate(revision(2, "user/b"), Shadow, "a") },
		"candidate in force":        func(s *State) { s.Candidate = candidate(revision(1, "user/b"), Shadow) },
		"no such stage":             func(s *State) { s.Candidate = candidate(revision(2, "user/b"), "most") },
		"candidate's own approval":  func(s *State) { s.Candidate = candidate(revision(2, "user/a"), Shadow) },
	} {
		s := good
		change(&s)
		if s.check() == nil {
			t.Errorf("%s: %s is accepted", name, summary(s))
		}
		if err := Write(filepath.Join(t.TempDir(), "rollout.json"), s); err == nil {
			t.Errorf("%s is written", name)
		}
	}
}

func many(n int) (out []Revision) {
	for i := range n {
		out = append(out, revision(2+i, "user/b"))
	}
	return out
}

// FuzzParse gives the reader any state, with a digest that fits: what it takes is
// well formed and is written as it was read.
func FuzzParse(f *testing.F) {
	for _, s := range []State{Begin(digest(1), digest(0)), {}} {
		b, _ := json.Marshal(s)
		f.Add(b)
	}
	f.Add([]byte(`{"last":2,"current":{"number":1,"policy":"","data":""},"candidate":{"number":2,"stage":"all","devices":null},"past":[],"undone":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, state []byte) {
		text := slices.Concat([]byte(`{"version":1,"sha256":"`+sum(state)+`","state":`), state, []byte("}\n"))
		s, err := Parse(text)
		if err != nil {
			return
		}
		if err := s.check(); err != nil {
			t.Error(err)
		}
		if err := Write(filepath.Join(t.TempDir(), "rollout.json"), s); err != nil {
			t.Error(err)
		}
	})
}
