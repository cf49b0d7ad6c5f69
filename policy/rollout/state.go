package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Stage is how far a candidate has come.
type Stage string

// Stages, in their order. All is a stage only for a candidate without an approver: any
// other becomes the current revision there.
const (
	Shadow Stage = "shadow" // it is asked beside the current one, which decides
	Canary Stage = "canary" // it decides for named devices
	All    Stage = "all"    // it decides for every device
)

// Stages lists every stage, in order.
var Stages = [...]Stage{Shadow, Canary, All}

// Revision is a policy with a number, by which people speak of it.
type Revision struct {
	Number   int    `json:"number"`             // from 1, given once
	Policy   string `json:"policy"`             // digest of its rules, "sha256:…"
	Data     string `json:"data"`               // and of its data
	Author   string `json:"author,omitempty"`   // who submitted it, "user/dr.kim"; "" for what was there at first
	Approver string `json:"approver,omitempty"` // who else approved it; "" if nobody did
}

func (r Revision) same(other Revision) bool { return r.Policy == other.Policy && r.Data == other.Data }

// Candidate is a revision on its way. One without an approver can only narrow.
type Candidate struct {
	Revision
	Stage   Stage    `json:"stage"`
	Devices []string `json:"devices"` // ids, sorted; of a canary only
}

// Narrows reports whether c allows only what the current revision allows as well.
func (c *Candidate) Narrows() bool { return c.Approver == "" }

// State is which policies a gateway decides by. It is a value: what changes it returns
// another one.
type State struct {
	Last      int        `json:"last"` // the highest number given so far
	Current   Revision   `json:"current"`
	Candidate *Candidate `json:"candidate"` // nil unless one is being rolled out
	Past      []Revision `json:"past"`      // in force before Current, the latest first
	Undone    []Revision `json:"undone"`    // in force once and rolled back, the latest first
}

// Bounds of a State.
const (
	MaxPast    = 64   // revisions of each list; older ones can no longer be rolled back to
	MaxDevices = 1000 // of a canary
)

// Why a step cannot be made; its caller explains what to do.
var (
	ErrOther   = errors.New("another revision is being rolled out")
	ErrCurrent = errors.New("it is what is in force")
	ErrNever   = errors.New("it was never in force")
)

// Begin returns the state of a gateway that decides by r, its first revision.
func Begin(policy, data string) State {
	return State{Last: 1, Current: Revision{Number: 1, Policy: policy, Data: data}, Past: []Revision{}, Undone: []Revision{}}
}

// Reserve returns a number for another revision.
func (s State) Reserve() (State, int) {
	s.Last++
	return s, s.Last
}

// Advance brings r to a stage, forwards or backwards. Devices are for a canary, at least one.
// An approved revision for All becomes the current one.
func (s State) Advance(r Revision, stage Stage, devices []string) (State, error) {
	devices = slices.Compact(slices.Sorted(slices.Values(devices)))
	switch {
	case r.Number < 1 || r.Number > s.Last:
		return s, fmt.Errorf("roll out revision %d: there are %d", r.Number, s.Last)
	case !slices.Contains(Stages[:], stage):
		return s, fmt.Errorf("stage %.20q: want shadow, canary or all", string(stage))
	case stage == Canary && len(devices) == 0:
		return s, errors.New("a canary needs devices")
	case stage != Canary && len(devices) > 0:
		return s, fmt.Errorf("devices are for a canary, not for stage %s", stage)
	case len(devices) > MaxDevices:
		return s, fmt.Errorf("%d devices: at most %d", len(devices), MaxDevices)
	case s.Candidate != nil && s.Candidate.Number != r.Number:
		return s, fmt.Errorf("roll out revision %d: %w: %d, at stage %s", r.Number, ErrOther, s.Candidate.Number, s.Candidate.Stage)
	case r.Number == s.Current.Number || r.same(s.Current):
		return s, fmt.Errorf("roll out revision %d: %w", r.Number, ErrCurrent)
	}
	if stage == All && r.Approver != "" {
		s.Past = keep(s.Current, s.Past)
		s.Undone = without(s.Undone, r.Number)
		s.Past = without(s.Past, r.Number)
		s.Current, s.Candidate = r, nil
		return s, nil
	}
	s.Candidate = &Candidate{Revision: r, Stage: stage, Devices: append([]string{}, devices...)}
	return s, nil
}

// Rollback takes one step back: it withdraws the candidate, or else returns to what was in
// force before. With to it makes that revision the current one, which was so once.
func (s State) Rollback(to int) (State, error) {
	switch {
	case to == 0 && s.Candidate != nil:
		s.Candidate = nil
		return s, nil
	case to == 0 && len(s.Past) == 0:
		return s, errors.New("roll back: there is no earlier revision")
	case to == 0:
		to = s.Past[0].Number
	case to == s.Current.Number && s.Candidate != nil:
		s.Candidate = nil
		return s, nil
	case to == s.Current.Number:
		return s, fmt.Errorf("roll back to revision %d: %w", to, ErrCurrent)
	}
	numbered := func(r Revision) bool { return r.Number == to }
	s.Candidate = nil
	if i := slices.IndexFunc(s.Past, numbered); i >= 0 {
		undone := s.Undone
		for _, r := range slices.Backward(s.Past[:i]) {
			undone = keep(r, undone)
		}
		s.Undone = keep(s.Current, undone)
		s.Current, s.Past = s.Past[i], slices.Clone(s.Past[i+1:])
		return s, nil
	}
	if i := slices.IndexFunc(s.Undone, numbered); i >= 0 {
		back := s.Undone[i]
		s.Past, s.Undone = keep(s.Current, s.Past), without(s.Undone, to)
		s.Current = back
		return s, nil
	}
	return s, fmt.Errorf("roll back to revision %d: %w", to, ErrNever)
}

// keep puts r before list, which is not changed.
func keep(r Revision, list []Revision) []Revision {
	list = append([]Revision{r}, list...)
	return list[:min(len(list), MaxPast)]
}

func without(list []Revision, number int) []Revision {
	return slices.DeleteFunc(slices.Clone(list), func(r Revision) bool { return r.Number == number })
}

// check reports what no sequence of steps leads to.
func (s *State) check() error {
	seen := map[int]bool{}
	one := func(r Revision) error {
		switch {
		case r.Number < 1 || r.Number > s.Last:
			return fmt.Errorf("revision %d: there are %d", r.Number, s.Last)
		case seen[r.Number]:
			return fmt.Errorf("revision %d is there twice", r.Number)
		case !isDigest(r.Policy) || !isDigest(r.Data):
			return fmt.Errorf("revision %d has a digest that is none", r.Number)
		case r.Approver != "" && (r.Author == "" || r.Author == r.Approver):
			return fmt.Errorf("revision %d was approved by its author", r.Number)
		}
		seen[r.Number] = true
		return nil
	}
	inForce := slices.Concat([]Revision{s.Current}, s.Past, s.Undone)
	for _, r := range inForce {
		if r.Author != "" && r.Approver == "" {
			return fmt.Errorf("revision %d was in force, and nobody approved it", r.Number)
		}
		if err := one(r); err != nil {
			return err
		}
	}
	if len(s.Past) > MaxPast || len(s.Undone) > MaxPast || s.Past == nil || s.Undone == nil {
		return fmt.Errorf("%d and %d earlier revisions: want two lists of at most %d", len(s.Past), len(s.Undone), MaxPast)
	}
	c := s.Candidate
	if c == nil {
		return nil
	}
	after, err := State{Last: s.Last, Current: s.Current}.Advance(c.Revision, c.Stage, c.Devices)
	switch {
	case err != nil:
		return err
	case after.Candidate == nil || c.Author == "" || !slices.Equal(after.Candidate.Devices, c.Devices) || c.Devices == nil:
		return fmt.Errorf("revision %d cannot be a candidate at stage %s", c.Number, c.Stage)
	}
	// It may have been in force and rolled back before.
	delete(seen, c.Number)
	return one(c.Revision)
}

func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
