package rego

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"cordon/policy"
)

// Effect is what a repair would have changed among recorded questions.
type Effect struct {
	Questions int64    `json:"questions"`       // recorded, that were asked again
	Asked     int64    `json:"asked"`           // of these newly allowed: the same subject, device and operation
	Allowed   int64    `json:"others_allowed"`  // newly allowed besides
	People    int      `json:"others_people"`   // subjects of those
	Denied    int64    `json:"others_denied"`   // newly refused
	Examples  []string `json:"others_examples"` // decision codes of others, each of another subject
}

// maxQuestions are the different questions a History keeps: some 60 MiB.
const maxQuestions = 100_000

// History is what was asked before, each different question once. It is not for concurrent
// use: fill one for each goroutine, and Join them.
type History struct {
	engine    *Engine
	questions map[string]*asked
	buf       []byte
	lost      int64
}

// asked is one question that was asked count times.
type asked struct {
	request policy.Request
	count   int64
	code    string
	index   int64 // of the entry with the code
}

// NewHistory begins a record of what is asked of the rules of e.
func (e *Engine) NewHistory() *History {
	return &History{engine: e.unhurried(), questions: map[string]*asked{}}
}

// Add counts what rec records, if a policy was asked then. It does not keep rec.
func (h *History) Add(_ context.Context, rec *Recorded) error {
	if notPolicys(rec) != "" {
		return nil
	}
	var r policy.Request
	if _, _, err := readRecorded(rec.Input, nil, &r); err != nil {
		h.lost++
		return nil
	}
	h.buf = h.engine.verdict.key.append(h.buf[:0], &r)
	for _, s := range []string{r.Subject.Kind, r.Subject.ID, r.Device.ID, r.Operation.Name} {
		h.buf = appendString(h.buf, s)
	}
	if q := h.questions[string(h.buf)]; q != nil {
		q.count++
		return nil
	}
	if len(h.questions) >= maxQuestions {
		h.lost++
		return nil
	}
	h.questions[string(h.buf)] = &asked{r, 1, strings.Clone(rec.Code), rec.Index}
	return nil
}

// Join adds what another History has.
func (h *History) Join(other *History) {
	h.lost += other.lost
	for k, o := range other.questions {
		q := h.questions[k]
		switch {
		case q == nil:
			h.questions[k] = o
		case o.index < q.index:
			o.count += q.count
			h.questions[k] = o
		default:
			q.count += o.count
		}
	}
}

// Lost returns how many decisions are not in h: too many different ones, or written by another
// version.
func (h *History) Lost() int64 { return h.lost }

// Weigh fills in what each repair of r would have changed in h, and sorts them: those that
// change least besides come first, then those whose edits say least.
func (h *History) Weigh(ctx context.Context, r *policy.Request, repairs []Repair) error {
	for i := range repairs {
		if err := h.weigh(ctx, r, &repairs[i]); err != nil {
			return err
		}
	}
	slices.SortStableFunc(repairs, func(a, b Repair) int {
		return cmp.Or(cmp.Compare(a.Effect.Denied, b.Effect.Denied), cmp.Compare(a.Effect.Allowed, b.Effect.Allowed), cmp.Compare(breadth(a.Edits), breadth(b.Edits)))
	})
	return nil
}

func (h *History) weigh(ctx context.Context, r *policy.Request, p *Repair) error {
	people := map[string]*asked{}
	x := Effect{Examples: []string{}}
	for _, q := range h.questions {
		x.Questions += q.count
		then := q.request
		for _, edit := range p.Edits {
			if edit.Kind != EditData && edit.concerns(r, &q.request) {
				assume(&then, edit)
			}
		}
		before, after := h.engine.Decide(ctx, &q.request), p.engine.Decide(ctx, &then)
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case before.Allow == after.Allow:
		case before.Allow:
			x.Denied += q.count
		case then.Subject.Kind == r.Subject.Kind && then.Subject.ID == r.Subject.ID && then.Device.ID == r.Device.ID && then.Operation.Name == r.Operation.Name:
			x.Asked += q.count
		default:
			x.Allowed += q.count
			who := then.Subject.Kind + "/" + then.Subject.ID
			if first := people[who]; first == nil || q.index < first.index {
				people[who] = q
			}
		}
	}
	x.People = len(people)
	first := make([]*asked, 0, len(people))
	for _, q := range people {
		first = append(first, q)
	}
	slices.SortFunc(first, func(a, b *asked) int { return cmp.Compare(a.index, b.index) })
	for _, q := range first[:min(len(first), maxExamples)] {
		x.Examples = append(x.Examples, q.code)
	}
	p.Effect = x
	return nil
}
