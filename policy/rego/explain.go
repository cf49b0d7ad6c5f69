package rego

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"cordon/policy"
)

const (
	maxExplain = 2 * time.Second // tracing is slower than deciding
	maxRulings = 16              // rules in an explanation
	maxValues  = 16              // values of one condition
	maxValue   = 200             // bytes of one value
)

// Explanation accounts for a decision.
type Explanation struct {
	Decision policy.Decision // as it comes out now; compare it with the recorded one
	Rulings  []Ruling        // allowed: the rules that held. Refused: the allow rules, the nearest to holding first
	Error    string          // for a doubt: what the rules ran into, "cordon.rego:12: …"
}

// Ruling is what one allow rule came to.
type Ruling struct {
	File    string
	Line    int
	Comment string     // the comment lines above the rule
	Failed  *Condition // the condition that it failed at; nil if it held
}

// Condition is one condition of a rule.
type Condition struct {
	File   string
	Line   int
	Source string  // as written: "input.operation.class in permitted"
	Values []Value // what it looked at
}

// Value is something a condition looked at, in JSON.
type Value struct {
	Name  string // "input.device.class", "role"
	Value string // `"monitor/bedside"`; "undefined" if there is none
}

// Explain decides the recorded input, the JSON form of a policy.Request, once
// more and says what the answer came from. It blocks for 2 s at most.
func (e *Engine) Explain(ctx context.Context, recorded []byte) (*Explanation, error) {
	in, err := ast.ValueFromReader(bytes.NewReader(recorded))
	if err != nil {
		return nil, fmt.Errorf("read recorded input: %w", err)
	}
	obj, ok := in.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("read recorded input: not an object")
	}
	var now int64
	if t := obj.Get(inputKeys.nowNs); t != nil {
		if n, ok := t.Value.(ast.Number); ok {
			now, _ = n.Int64()
		}
	}
	x := &Explanation{Decision: e.evaluate(ctx, in, now)}

	ctx, cancel := context.WithTimeout(ctx, maxExplain)
	defer cancel()
	stop := topdown.NewCancel()
	defer context.AfterFunc(ctx, stop.Cancel)()
	t := &tracer{rules: map[*ast.Rule]*progress{}, query: map[uint64]*ast.Rule{}, asked: map[*ast.Rule]bool{}}
	for _, r := range e.compiler.GetRulesExact(answerRef("allow")) {
		for ; r != nil; r = r.Else {
			if !r.Default {
				t.rules[r] = &progress{}
			}
		}
	}
	// The index would pass over rules without saying at what they fail.
	_, err = e.verdict.ask(ctx, in, stop, rego.EvalQueryTracer(t), rego.EvalRuleIndexing(false))
	if x.Decision.Cause == policy.CauseDoubt && err != nil {
		x.Error = err.Error()
	}
	x.Rulings = e.rulings(t, obj, x.Decision.Allow)
	return x, nil
}

// progress is how far a rule got.
type progress struct {
	held   bool
	failed *ast.Expr
	locals []Value // variables at the failure, one set for each time it failed there
}

// tracer watches the bodies of the rules it is given.
type tracer struct {
	rules map[*ast.Rule]*progress
	query map[uint64]*ast.Rule // the evaluation of a body, by OPA's number for it
	asked map[*ast.Rule]bool   // of all rules
}

func (t *tracer) Enabled() bool               { return true }
func (t *tracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

func (t *tracer) TraceEvent(ev topdown.Event) {
	switch node := ev.Node.(type) {
	case *ast.Rule:
		p := t.rules[node]
		t.asked[node] = true
		switch {
		case p == nil:
		case ev.Op == topdown.EnterOp:
			t.query[ev.QueryID] = node
		case ev.Op == topdown.ExitOp:
			p.held = true
		}
	case *ast.Expr:
		if rule := t.query[ev.QueryID]; rule != nil && ev.Op == topdown.FailOp {
			t.rules[rule].fail(node, ev)
		}
	}
}

// fail notes a failed condition if it is as far on as the furthest yet.
func (p *progress) fail(expr *ast.Expr, ev topdown.Event) {
	if p.failed == nil || expr.Index > p.failed.Index {
		p.failed, p.locals = expr, nil
	}
	if expr.Index < p.failed.Index || ev.Locals == nil {
		return
	}
	ev.Locals.Iter(func(k, v ast.Value) bool {
		name, ok := k.(ast.Var)
		meta, written := ev.LocalMetadata[name]
		if one := (Value{string(meta.Name), clip(v.String())}); ok && written && !meta.Name.IsGenerated() && !meta.Name.IsWildcard() && !slices.Contains(p.locals, one) && len(p.locals) < maxValues {
			p.locals = append(p.locals, one)
		}
		return false
	})
}

// rulings turns what was seen into what is told.
func (e *Engine) rulings(t *tracer, in ast.Object, allowed bool) []Ruling {
	type ranked struct {
		Ruling
		reached int
	}
	var list []ranked
	for rule, p := range t.rules {
		if p.held != allowed || !p.held && p.failed == nil {
			continue
		}
		at := rule.Location
		r := ranked{Ruling{File: at.File, Line: at.Row, Comment: commentAbove(e.folder.text(at.File), at.Row)}, 0}
		if !p.held {
			r.Failed, r.reached = e.condition(rule, p, t.asked, in), p.failed.Index
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.reached, a.reached), strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var out []Ruling
	for _, r := range list[:min(len(list), maxRulings)] {
		out = append(out, r.Ruling)
	}
	return out
}

// condition describes where a rule failed: the line as written, the input it
// looked at, itself or through other rules that were asked, and the variables in it.
func (e *Engine) condition(rule *ast.Rule, p *progress, asked map[*ast.Rule]bool, in ast.Object) *Condition {
	at := p.failed.Location
	c := &Condition{File: at.File, Line: at.Row, Source: sourceLine(e.folder.text(at.File), at.Row)}
	// The compiler makes several conditions of one that nests.
	var parts []any
	for _, expr := range rule.Body {
		if expr.Location.Row == at.Row {
			parts = append(parts, expr)
		}
	}
	reads := newReads(e.compiler)
	reads.all = slices.DeleteFunc(reads.all, func(r *ast.Rule) bool { return !asked[r] })
	for _, path := range reads.of(parts...) {
		ref := ast.Ref{ast.InputRootDocument}
		for _, name := range path {
			ref = append(ref, ast.StringTerm(name))
		}
		text := "undefined"
		if v, err := in.Find(ref[1:]); err == nil {
			text = clip(v.String())
		}
		c.Values = append(c.Values, Value{ref.String(), text})
	}
	slices.SortFunc(p.locals, func(a, b Value) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
	c.Values = append(c.Values, p.locals...)
	c.Values = c.Values[:min(len(c.Values), maxValues)]
	return c
}

func clip(s string) string {
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return s
}

// sourceLine returns one line of a file, from 1, without its indentation.
func sourceLine(text []byte, row int) string {
	lines := bytes.Split(text, []byte("\n"))
	if row < 1 || row > len(lines) {
		return ""
	}
	return clip(string(bytes.TrimSpace(lines[row-1])))
}

// commentAbove returns the comment that stands directly above a line.
func commentAbove(text []byte, row int) string {
	var comment []string
	for row--; ; row-- {
		words, ok := strings.CutPrefix(sourceLine(text, row), "#")
		if !ok {
			break
		}
		comment = append(comment, strings.TrimSpace(words))
	}
	slices.Reverse(comment)
	return strings.Join(comment, " ")
}
