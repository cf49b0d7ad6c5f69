package rego

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"cordon/policy"
)

// maxDecision bounds one evaluation where the caller sets no shorter deadline. It is the longest
// that limits.decision_timeout may be.
const maxDecision = 10 * time.Second

const (
	maxReason      = 256 // bytes of a reason or a rule's name; the rest is cut off
	maxObligations = 32
)

// Engine is one revision of a policy, ready to be asked. It is safe for
// concurrent use and holds nothing that needs closing.
type Engine struct {
	folder   *folder
	document map[string]any // the data
	compiler *ast.Compiler
	store    storage.Store
	verdict  *question // allow, and the answers that go with it
	reason   *question // nil if the policy gives none
	limit    time.Duration

	revision, data string

	hits, misses, doubts atomic.Uint64
}

// question is something asked of the rules, with the answers it had before. A
// reason usually says more of a request than the verdict depends on, so the two
// are apart, and a talkative reason costs allowed requests nothing.
type question struct {
	text  string
	query rego.PreparedEvalQuery
	key   keyPlan
	cache cache
}

// Stats counts since the policy was loaded.
type Stats struct {
	Hits   uint64 // decisions given again from the cache
	Misses uint64 // decisions evaluated
	Doubts uint64 // of these, refusals because the policy gave no clear answer
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats { return Stats{e.hits.Load(), e.misses.Load(), e.doubts.Load()} }

// Load reads, checks and compiles the policy below dir. Faults of the policy
// itself are a *Problems. Tests are not run; Test does.
func Load(dir string) (*Engine, error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	return newEngine(f, dir)
}

// LoadArchive makes an Engine of what Archive or ArchiveWithTests returned, to explain a
// decision after its policy was edited, or to take a policy from somebody else. Faults of
// the policy are a *Problems.
func LoadArchive(b []byte) (*Engine, error) {
	f, err := readArchive(b)
	if err != nil {
		return nil, err
	}
	return newEngine(f, "")
}

// Archive returns the rules and data as a tar file. It depends on nothing but
// their names and contents, so it can be kept under Revision and Data.
func (e *Engine) Archive() []byte { return e.folder.archive() }

// ArchiveWithTests is Archive with the tests besides, for somebody else to run.
func (e *Engine) ArchiveWithTests() []byte {
	return tarOf(e.folder.rules, e.folder.data, e.folder.tests)
}

// Sources returns the files that decide, rules before data, each sorted by name.
func (e *Engine) Sources() []Source { return slices.Concat(e.folder.rules, e.folder.data) }

// Revision is the digest of the rules, "sha256:…": what
// "sha256sum FILE... | sha256sum" prints for the deciding .rego files in order.
func (e *Engine) Revision() string { return e.revision }

// Data is the digest of the data files, made in the same way; what With was given counts as one more.
func (e *Engine) Data() string { return e.data }

func newEngine(f *folder, dir string) (*Engine, error) {
	if len(f.rules) == 0 {
		return nil, refuse(dir, Problem{Code: "policy.empty", Message: "no .rego file", Hint: "`cordon init` writes a policy to start from"})
	}
	document, problems := readData(f.data)
	if len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	if problems := settle(f, document); len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	c, problems := compile(f.rules, document)
	if len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	e := &Engine{
		folder:   f,
		document: document,
		compiler: c,
		store:    newStore(document),
		limit:    maxDecision,
		revision: digest(f.rules),
		data:     digest(f.data),
	}
	if err := e.prepare(); err != nil {
		return nil, fmt.Errorf("prepare policy: %w", err)
	}
	return e, nil
}

// newStore holds the data in the form the rules are evaluated in.
func newStore(document map[string]any) storage.Store {
	return inmem.NewFromObjectWithOpts(document, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
}

// prepare compiles the two questions and works out what their answers depend on.
func (e *Engine) prepare() (err error) {
	text, asked := "allow = data.cordon.allow", []string{"allow"}
	for _, name := range []string{"rule", "obligations", "valid_until"} {
		if e.defines(name) {
			// A list of at most one value, so that an undefined answer does not
			// take allow down with it.
			text += fmt.Sprintf("; %s = [x | x = data.cordon.%[1]s]", name)
			asked = append(asked, name)
		}
	}
	if e.verdict, err = e.question(text, asked...); err != nil || !e.defines("reason") {
		return err
	}
	e.reason, err = e.question("reason = data.cordon.reason", "reason")
	return err
}

func (e *Engine) defines(name string) bool { return len(e.compiler.GetRulesExact(answerRef(name))) > 0 }

// question prepares text, which asks for the named answers.
func (e *Engine) question(text string, names ...string) (*question, error) {
	var asked []any
	for _, n := range names {
		asked = append(asked, answerRef(n))
	}
	return e.questionOf(text, planKey(newReads(e.compiler).of(asked...)))
}

// questionOf prepares text, whose answers depend on what key says.
func (e *Engine) questionOf(text string, key keyPlan) (*question, error) {
	query, err := rego.New(
		rego.Query(text),
		rego.Compiler(e.compiler),
		rego.Store(e.store),
		// Otherwise a failing call is undefined, and "not f(x)" is true.
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t.Value, nil }),
	).PrepareForEval(context.Background())
	if err != nil {
		return nil, err
	}
	return &question{text, query, key, cache{entries: map[string]entry{}}}, nil
}

// recall returns the answer that an equal request had.
func (q *question) recall(r *policy.Request) (policy.Decision, bool) {
	var room [512]byte
	return q.cache.get(q.key.append(room[:0], r), r.NowNs)
}

// keep makes d the answer to requests equal to r.
func (q *question) keep(r *policy.Request, d policy.Decision) {
	q.cache.put(q.key.append(nil, r), d, r.NowNs, q.key.clock)
}

// Decide implements policy.Decider. It blocks for 250 ms at most.
func (e *Engine) Decide(ctx context.Context, r *policy.Request) policy.Decision {
	d, hit := e.verdict.recall(r)
	if hit && !d.Allow && e.reason != nil {
		var why policy.Decision
		why, hit = e.reason.recall(r)
		d.Reason = why.Reason
	}
	if hit {
		e.hits.Add(1)
		d.Obligations = slices.Clone(d.Obligations)
		return d
	}
	e.misses.Add(1)
	d = e.judge(ctx, input(r))
	if d.Cause == policy.CauseDoubt {
		e.doubts.Add(1)
		return d
	}
	e.verdict.keep(r, d)
	if !d.Allow && e.reason != nil && d.Reason != noReason {
		e.reason.keep(r, policy.Decision{Reason: d.Reason})
	}
	d.Obligations = slices.Clone(d.Obligations)
	return ended(d, r.NowNs)
}

// noReason is the reason of a policy that has none for a request, or a broken one.
const noReason = "no rule allows it"

// evaluate asks the rules what holds now. Whatever is not a clear answer is a doubt.
func (e *Engine) evaluate(ctx context.Context, in ast.Value, now int64) policy.Decision {
	return ended(e.judge(ctx, in), now)
}

// ended makes a refusal of what was permitted until a moment that is over.
func ended(d policy.Decision, now int64) policy.Decision {
	if !d.Allow || d.ValidUntil == 0 || now < d.ValidUntil {
		return d
	}
	why := "permitted until " + time.Unix(0, d.ValidUntil).UTC().Format(time.RFC3339)
	if d.Rule != "" {
		why = d.Rule + ": " + why
	}
	return policy.Decision{Reason: line(why), Rule: d.Rule, Revision: d.Revision, Data: d.Data, Cause: policy.CausePolicy}
}

// judge asks the rules. What it answers holds until its ValidUntil.
func (e *Engine) judge(ctx context.Context, in ast.Value) policy.Decision {
	// Cheaper than a context with a deadline, which OPA would watch with a
	// goroutine for each question.
	stop := topdown.NewCancel()
	defer time.AfterFunc(e.limit, stop.Cancel).Stop()
	defer context.AfterFunc(ctx, stop.Cancel)()
	d := policy.Decision{Revision: e.revision, Data: e.data, Cause: policy.CausePolicy}
	answer, err := e.verdict.ask(ctx, in, stop)
	if err == nil {
		err = read(answer, &d)
	}
	switch {
	case err != nil:
		d = policy.Decision{Revision: e.revision, Data: e.data, Cause: policy.CauseDoubt, Reason: errUnclear.Error()}
		if errors.Is(err, errLate) {
			d.Reason = errLate.Error()
		}
	case !d.Allow:
		d.Reason = e.why(ctx, in, stop)
	}
	return d
}

// why asks for the reason of a refusal. It cannot change the verdict.
func (e *Engine) why(ctx context.Context, in ast.Value, stop topdown.Cancel) string {
	if e.reason != nil {
		if answer, err := e.reason.ask(ctx, in, stop); err == nil {
			if s, ok := answer["reason"].(ast.String); ok && s != "" {
				return line(string(s))
			}
		}
	}
	return noReason
}

var (
	errLate    = errors.New("the policy did not answer in time")
	errUnclear = errors.New("the policy gave no clear answer")
)

// ask evaluates the question until stop, and returns its variables; none if it is
// undefined.
func (q *question) ask(ctx context.Context, in ast.Value, stop topdown.Cancel, more ...rego.EvalOption) (map[string]any, error) {
	set, err := q.query.Eval(ctx, append(more, rego.EvalParsedInput(in), rego.EvalExternalCancel(stop), rego.EvalMetrics(metrics.NoOp()))...)
	switch {
	case stop.Cancelled() || ctx.Err() != nil:
		return nil, errLate
	case err != nil:
		return nil, err
	case len(set) == 0:
		return nil, nil
	}
	return set[0].Bindings, nil
}

// read takes the verdict's answers into d. An answer of another type than its own
// is an error; allow is what it is only if it is exactly true.
func read(answer map[string]any, d *policy.Decision) error {
	if answer == nil { // no allow rule holds, and there is no default
		return nil
	}
	allow, ok := answer["allow"].(ast.Boolean)
	if !ok {
		return errUnclear
	}
	d.Allow = bool(allow)
	for name, v := range answer {
		if name == "allow" {
			continue
		}
		list, ok := v.(*ast.Array)
		if !ok || list.Len() > 1 {
			return errUnclear
		}
		if list.Len() == 0 {
			continue
		}
		if err := readOne(name, list.Elem(0).Value, d); err != nil {
			return err
		}
	}
	return nil
}

func readOne(name string, v ast.Value, d *policy.Decision) error {
	switch v := v.(type) {
	case ast.String:
		if name == "rule" {
			d.Rule = line(string(v))
			return nil
		}
	case ast.Number:
		if n, ok := v.Int64(); ok && name == "valid_until" && n > 0 && n < math.MaxInt64 {
			d.ValidUntil = n
			return nil
		}
	case ast.Set:
		if name != "obligations" || v.Len() > maxObligations {
			return errUnclear
		}
		for _, t := range v.Slice() {
			s, ok := t.Value.(ast.String)
			if !ok {
				return errUnclear
			}
			d.Obligations = append(d.Obligations, string(s))
		}
		slices.Sort(d.Obligations)
		return nil
	}
	return errUnclear
}

// line makes one printable line of bounded length of what a policy says.
func line(s string) string {
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}
