package rego

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// Recorded is a decision as the audit log has it.
type Recorded struct {
	Index    int64
	Time     time.Time
	Code     string
	Input    []byte // the JSON form of a policy.Request; empty if nothing was asked
	Decision policy.Decision
}

// Replay asks a policy what was asked before, and gathers what it answers otherwise. It is
// not for concurrent use: to share the work make one for each goroutine, and Join them.
//
// A question is evaluated once for all that have the same key, as in Decide, also those of
// other clock times unless the policy reads the clock. What was answered before has no part
// in the key: it is compared entry by entry.
//
// What operators had granted when a question was asked is no part of the policy that is tried: each
// is asked again under data.access as it was then, see AccessBy.
//
// A replay tells nothing about what nobody asked, and it believes the record.
type Replay struct {
	*basis                   // of the entry at hand
	bases  map[string]*basis // by the digest of the data that decided then; nil: it is not known what was granted
	policy *Engine           // without access
	access func(revision, data string) ([]byte, bool)

	critical func(device string) bool

	request policy.Request // room for one, reused
	buf     []byte

	same, sameDenied int64
	evaluated        int64
	groups           map[groupKey]*group
}

// basis is the policy under what was granted at a time, and what it has answered.
type basis struct {
	engine   *Engine
	verdicts *Engine // the same without reasons: only the first of a group is told one
	known    map[string]entry
}

const (
	maxBases  = 64      // kept at a time
	maxKnown  = 1 << 17 // answers kept of them all; some 60 MiB
	maxGroups = 1 << 14 // names of operations come from clients
)

// NewReplay begins a replay of recorded decisions. critical tells which devices are.
func (e *Engine) NewReplay(critical func(device string) bool) *Replay {
	return &Replay{basis: newBasis(e), bases: map[string]*basis{}, policy: e, critical: critical, groups: map[groupKey]*group{}}
}

// AccessBy has r ask each question under the data.access of the policy and data that decided it then. access
// returns it by their digests; false if it is not known any more, and the question is not replayed.
func (r *Replay) AccessBy(access func(revision, data string) ([]byte, bool)) error {
	plain, err := r.policy.With(nil)
	if err != nil {
		return err
	}
	r.policy, r.access, r.basis = plain, access, newBasis(plain)
	r.bases[plain.data] = r.basis
	return nil
}

func newBasis(e *Engine) *basis {
	verdicts := &Engine{verdict: e.verdict, limit: e.limit, revision: e.revision, data: e.data}
	return &basis{e, verdicts, map[string]entry{}}
}

// under makes the basis that under which rec was decided, or reports that it is not known.
func (r *Replay) under(d *policy.Decision) bool {
	if r.access == nil || r.basis.engine.data == d.Data {
		return true
	}
	found, known := r.bases[d.Data]
	if !known {
		if access, ok := r.access(d.Revision, d.Data); ok {
			if e, err := r.policy.With(access); err == nil {
				found = newBasis(e)
			}
		}
		if len(r.bases) >= maxBases {
			clear(r.bases)
		}
		r.bases[strings.Clone(d.Data)] = found
	}
	if found != nil {
		r.basis = found
	}
	return found != nil
}

// Add asks what rec records once more. It blocks for 500 ms at most and does not keep rec.
// An error says that ctx ended.
func (r *Replay) Add(ctx context.Context, rec *Recorded) error {
	q := &r.request
	if why := r.read(rec); why != "" {
		r.put(ctx, rec, q, NotReplayed, policy.Decision{Reason: why})
		return nil
	}
	d, err := r.ask(ctx, q)
	if err != nil {
		return err
	}
	switch {
	case d.Allow != rec.Decision.Allow && d.Cause == policy.CausePolicy && rec.Decision.Revision == r.engine.revision && rec.Decision.Data == r.engine.data:
		r.put(ctx, rec, q, Contradicted, d)
	case rec.Decision.Allow && !d.Allow:
		r.put(ctx, rec, q, NewlyDenied, d)
	case !rec.Decision.Allow && d.Allow:
		r.put(ctx, rec, q, NewlyAllowed, d)
	case d.Allow && !slices.Equal(d.Obligations, rec.Decision.Obligations):
		r.put(ctx, rec, q, OtherObligations, d)
	case d.Allow:
		r.same++
	default:
		r.sameDenied++
	}
	return nil
}

// read reads what rec asked into r.request, as far as it can be read, and says why that cannot be
// asked again, or "".
func (r *Replay) read(rec *Recorded) (why string) {
	why = notPolicys(rec)
	if why == "" && !r.under(&rec.Decision) {
		why = "what was granted then is not kept here any more"
	}
	q := &r.request
	if len(rec.Input) == 0 {
		*q = policy.Request{}
		return why
	}
	lacks, buf, err := readRecorded(rec.Input, r.buf, q)
	r.buf = buf
	if err != nil {
		*q = policy.Request{}
		err = fmt.Errorf("its input is not what this version asks: %.100s", err)
	} else if l := slices.IndexFunc(lacks, r.engine.verdict.key.reads); l >= 0 {
		err = fmt.Errorf("it does not say %s, which the policy reads", leafPaths[lacks[l]])
	}
	if why == "" && err != nil {
		why = err.Error()
	}
	return why
}

// notPolicys says why a decision was no policy's, or "".
func notPolicys(rec *Recorded) string {
	switch {
	case len(rec.Input) == 0:
		return "nothing was asked"
	case rec.Decision.Cause == policy.CauseProtocol:
		return "the protocol's inspector refused it"
	case rec.Decision.Cause == policy.CauseDoubt:
		return "nobody could decide it"
	case rec.Decision.Cause != policy.CausePolicy:
		return fmt.Sprintf("it was settled by %.40q", rec.Decision.Cause)
	case rec.Decision.Revision == "":
		return "the gateway settled it before any policy"
	}
	return ""
}

// ask returns the policy's answer to q, from an equal question if there was one.
func (r *Replay) ask(ctx context.Context, q *policy.Request) (policy.Decision, error) {
	e := r.engine
	r.buf = e.verdict.key.append(r.buf[:0], q)
	if a, ok := r.known[string(r.buf)]; ok && a.from <= q.NowNs && q.NowNs < a.until {
		return a.decision, nil
	}
	r.evaluated++
	d := r.verdicts.judge(ctx, input(q))
	if d.Reason == errLate.Error() && ctx.Err() == nil {
		d = r.verdicts.judge(ctx, input(q)) // a replay keeps the machine busy itself
	}
	if err := ctx.Err(); err != nil {
		return d, err
	}
	a := entry{d, math.MinInt64, math.MaxInt64}
	switch {
	case d.ValidUntil != 0:
		a.from, a.until = q.NowNs, d.ValidUntil
	case e.verdict.key.clock:
		return ended(d, q.NowNs), nil
	}
	if len(r.known) >= maxKnown/max(1, len(r.bases)) {
		clear(r.known)
	}
	r.known[string(r.buf)] = a
	return ended(d, q.NowNs), nil
}
