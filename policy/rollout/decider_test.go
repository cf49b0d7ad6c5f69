package rollout

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"reflect"
	"slices"
	"testing"

	"cordon/policy"
)

// fixed is a policy with one answer.
type fixed policy.Decision

func (f fixed) Decide(context.Context, *policy.Request) policy.Decision { return policy.Decision(f) }

// forbidden must not be asked.
type forbidden struct{ t *testing.T }

func (f forbidden) Decide(context.Context, *policy.Request) policy.Decision {
	f.t.Error("a policy was asked that has no say")
	return policy.Decision{Allow: true}
}

func allow(revision string, until int64, obligations ...string) policy.Decision {
	return policy.Decision{Allow: true, Revision: revision, Cause: policy.CausePolicy, ValidUntil: until, Obligations: obligations}
}

func under(rule string, d policy.Decision) policy.Decision {
	d.Rule = rule
	return d
}

var (
	currentDeny   = policy.Decision{Reason: "old", Revision: "current", Cause: policy.CausePolicy}
	currentDoubt  = policy.Decision{Reason: "old", Revision: "current", Cause: policy.CauseDoubt}
	candidateDeny = policy.Decision{Reason: "new", Revision: "candidate", Cause: policy.CausePolicy, Obligations: []string{"x"}, ValidUntil: 3}
)

// TestDecider says for every stage who answers.
func TestDecider(t *testing.T) {
	yes, no := allow("candidate", 0), candidateDeny
	for _, c := range []struct {
		name               string
		stage              Stage
		approver, device   string
		current, candidate policy.Decision
		want               policy.Decision
	}{
		{"shadow", Shadow, "user/b", "mon-1", currentDeny, yes, currentDeny},
		{"shadow, unapproved", Shadow, "", "mon-1", allow("current", 0), no, allow("current", 0)},
		{"canary elsewhere", Canary, "user/b", "mon-2", currentDeny, yes, currentDeny},
		{"canary", Canary, "user/b", "mon-1", currentDeny, yes, yes},
		{"canary denies", Canary, "user/b", "mon-1", allow("current", 0), no, no},
		{"unapproved canary elsewhere", Canary, "", "mon-2", allow("current", 0), no, allow("current", 0)},
		{"unapproved canary widens", Canary, "", "mon-1", currentDeny, yes, currentDeny},
		{"unapproved canary, doubt", Canary, "", "mon-1", currentDoubt, yes, currentDoubt},
		{"unapproved canary denies", Canary, "", "mon-1", allow("current", 0), no, no},
		{"unapproved all widens", All, "", "mon-9", currentDeny, yes, currentDeny},
		{"unapproved all denies", All, "", "mon-9", allow("current", 0), no, no},
		{"both allow", All, "", "mon-9", allow("current", 5, "b", "a"), allow("candidate", 0, "c", "a"), allow("candidate", 5, "a", "b", "c")},
		{"both allow, the current in an emergency", All, "", "mon-9", under("break-glass E-1", allow("current", 0)), under("nothing to see", allow("candidate", 0)), under("break-glass E-1", allow("candidate", 0))},
		{"both allow, the candidate as if in one", All, "", "mon-9", allow("current", 0), under("break-glass E-1", allow("candidate", 0)), allow("candidate", 0)},
		{"both allow, the candidate for less", All, "", "mon-9", allow("current", 5), allow("candidate", 4), allow("candidate", 4)},
		{"both allow, the current for less", All, "", "mon-9", allow("current", 4), allow("candidate", 5), allow("candidate", 4)},
	} {
		candidate := &Candidate{Revision: Revision{Approver: c.approver}, Stage: c.stage}
		if c.stage == Canary {
			candidate.Devices = []string{"mon-0", "mon-1"}
		}
		r := &policy.Request{Device: policy.Device{ID: c.device}}
		if got := NewDecider(fixed(c.current), fixed(c.candidate), candidate, nil).Decide(t.Context(), r); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		// Who has no say is not even asked: its cost and its doubts are nobody's.
		if c.want.Revision == "current" {
			NewDecider(fixed(c.current), forbidden{t}, candidate, nil).Decide(t.Context(), r)
		}
		if c.approver != "" && c.want.Revision == "candidate" {
			NewDecider(forbidden{t}, fixed(c.candidate), candidate, nil).Decide(t.Context(), r)
		}
	}
}

// anything is a policy that answers each question at random, and again in the same way.
type anything struct {
	seed uint64
	name string
}

func (a anything) Decide(_ context.Context, r *policy.Request) policy.Decision {
	h := fnv.New64a()
	h.Write(r.AppendJSON(binary.LittleEndian.AppendUint64(nil, a.seed)))
	n := h.Sum64()
	d := policy.Decision{Allow: n&1 == 0, Revision: a.name, Cause: policy.CausePolicy, ValidUntil: int64(n >> 4 & 3)}
	if n&14 == 0 {
		d.Cause = policy.CauseDoubt
		d.Allow = false
	}
	for i, o := range []string{"a", "b", "c"} {
		if n>>(8+i)&1 == 0 {
			d.Obligations = append(d.Obligations, o)
		}
	}
	return d
}

// TestUnapprovedNeverWidens asks random pairs of policies at random: whatever the stage, a
// candidate that nobody approved makes no refusal an allow, drops no obligation and
// lengthens nothing.
func TestUnapprovedNeverWidens(t *testing.T) {
	devices := []string{"a", "b", "c", "d"}
	narrowed, rnd := 0, seeded(t)
	for range 2000 {
		current, next := anything{rnd.Uint64(), "current"}, anything{rnd.Uint64(), "candidate"}
		c := &Candidate{Stage: Stages[rnd.IntN(len(Stages))]}
		if c.Stage == Canary {
			c.Devices = devices[:1+rnd.IntN(3)]
		}
		both := NewDecider(current, next, c, nil)
		for range 50 {
			r := &policy.Request{Device: policy.Device{ID: devices[rnd.IntN(4)]}, NowNs: rnd.Int64()}
			was, is := current.Decide(t.Context(), r), both.Decide(t.Context(), r)
			switch {
			case is.Allow && !was.Allow:
				t.Fatalf("%s: refused before, allowed now: %+v", c.Stage, is)
			case is.Allow && (was.ValidUntil != 0 && (is.ValidUntil == 0 || is.ValidUntil > was.ValidUntil)):
				t.Fatalf("%s: valid until %d before, until %d now", c.Stage, was.ValidUntil, is.ValidUntil)
			case was.Allow && !is.Allow:
				narrowed++
			}
			for _, o := range was.Obligations {
				if is.Allow && !slices.Contains(is.Obligations, o) {
					t.Fatalf("%s: obligation %q is gone: %v", c.Stage, o, is.Obligations)
				}
			}
			named := map[string]anything{"current": current, "candidate": next}[is.Revision].Decide(t.Context(), r)
			if named.Allow != is.Allow {
				t.Fatalf("%s: the policy named in the answer says otherwise: %+v", c.Stage, is)
			}
		}
	}
	if narrowed == 0 {
		t.Error("no candidate had any effect")
	}
}
