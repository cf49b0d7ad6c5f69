package rego

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"cordon/policy"
)

// Finding is what looks like a slip in a policy that compiles.
type Finding struct {
	Problem
	Warning bool `json:"warning"` // it may be meant; otherwise it cannot be
}

// Site is what the policy is for, as far as the checks ask.
type Site struct {
	Devices []SiteDevice
}

// SiteDevice is a device of the site.
type SiteDevice struct {
	ID, Class string
	Protocols []string
}

// Check is one thing that Lint looks for.
type Check struct {
	Code    string // "policy.lint.role"
	Warning bool
	Words   string // what it finds
	find    func(*linter)
}

// Checks returns all that Lint looks for: beyond what Load refuses, which is what OPA's strict
// compiler finds, misspelt fields of the input, built-in functions whose answer is not fixed
// (the clock among them), and answers of a wrong type.
func Checks() []Check {
	return []Check{
		{"policy.lint.allow", false, "a rule allow that holds for everybody and everything", (*linter).allow},
		{"policy.lint.default", true, "no `default allow := false`: where no rule holds, the answer is undefined", (*linter).defaults},
		{"policy.lint.reason", true, "no rule reason: who is refused is told nothing", (*linter).reason},
		{"policy.lint.word", false, "a field of the input compared with a word that it never is: `input.device.state == \"maintainance\"`", (*linter).words},
		{"policy.lint.clock", true, "rules that read `input.now_ns`, and none that says `valid_until`: a live session outlasts its permission", (*linter).clock},
		{"policy.lint.unreached", true, "a rule that no answer depends on", (*linter).unreached},
		{"policy.lint.assertion", true, "a test that asks no rule of the policy", (*linter).assertions},
		{"policy.lint.unread", true, "data that no rule reads", (*linter).unread},
		{"policy.lint.role", true, "a role that has no kind of subject in `kinds`: it never counts", (*linter).roles},
		{"policy.lint.kind", false, "a kind of subject that there is not", (*linter).kinds},
		{"policy.lint.class", false, "a class of operation that there is not, or unknown, which is never permitted", (*linter).classes},
		{"policy.lint.service", false, "a service of DICOM that there is not", (*linter).services},
		{"policy.lint.title", false, "an AE title that cannot be one (DICOM PS3.5 6.2), or whose holder is not kind/id", (*linter).titles},
		{"policy.lint.broad", true, "write, control or admin on every device at any time, or any AE title", (*linter).broad},
		{"policy.lint.covered", true, "a permission that another row gives already", (*linter).covered},
		{"policy.lint.device", true, "a class of device, or a device, that the site does not have", (*linter).devices},
		{"policy.lint.unbound", true, "devices that speak DICOM, and nobody with an AE title: no association is opened", (*linter).unbound},
	}
}

// Lint looks for slips in a policy that compiles. Findings are sorted by place; files are
// inside the folder.
func (e *Engine) Lint(site Site) []Finding {
	document, _ := readData(e.folder.data)
	modules, _ := parse(e.folder.rules)
	l := &linter{engine: e, site: site, document: document, modules: modules, places: placesOf(e.folder.data)}
	for _, c := range Checks() {
		l.check = c
		c.find(l)
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int { return comparePlaces(a.Problem, b.Problem) })
	return slices.Compact(l.found)
}

// linter gathers what the checks find.
type linter struct {
	engine   *Engine
	site     Site
	document map[string]any
	modules  map[string]*ast.Module // as written, not as compiled
	places   map[string]spot
	check    Check
	found    []Finding
}

func (l *linter) add(p Problem) {
	p.Code = l.check.Code
	l.found = append(l.found, Finding{p, l.check.Warning})
}

// at reports something at a place in the rules.
func (l *linter) at(where *ast.Location, hint, format string, args ...any) {
	p := Problem{Message: fmt.Sprintf(format, args...), Hint: hint}
	if where != nil {
		p.File, p.Line, p.Column = where.File, where.Row, where.Col
	}
	l.add(p)
}

// rules yields the rules of package cordon with one name, as written.
func (l *linter) rules(name string) (list []*ast.Rule) {
	for _, file := range sortedNames(l.modules) {
		m := l.modules[file]
		for _, r := range m.Rules {
			if m.Package.Path.Equal(entryPath()) && r.Head.Ref().String() == name {
				list = append(list, r)
			}
		}
	}
	return list
}

func (l *linter) allow() {
	for _, r := range l.rules("allow") {
		always := len(r.Body) == 1 && r.Body[0].Equal(ast.NewExpr(ast.BooleanTerm(true))) && len(r.Body[0].With) == 0
		if isTrue := r.Head.Value == nil || r.Head.Value.Equal(ast.BooleanTerm(true)); always && isTrue {
			l.at(r.Location, "say under which condition: allow if ...", "allow holds for everybody and everything")
		}
	}
}

func (l *linter) defaults() {
	rules := l.rules("allow")
	if len(rules) > 0 && !slices.ContainsFunc(rules, func(r *ast.Rule) bool { return r.Default }) {
		l.at(rules[0].Location, "default allow := false", "allow has no default")
	}
}

func (l *linter) reason() {
	if rules := l.rules("allow"); len(rules) > 0 && !l.engine.defines("reason") {
		l.at(rules[0].Location, `reason := "..." if not allow`, "no rule says the reason of a refusal")
	}
}

// inputWords are the fields of the input that are one of a few words.
var inputWords = map[string][]string{
	"input.phase":             {string(policy.PhaseConnect), string(policy.PhaseOperation)},
	"input.subject.kind":      tableKinds[:],
	"input.device.state":      {policy.StateActive, policy.StateMaintenance, policy.StateQuarantined, policy.StateLearning},
	"input.session.direction": {policy.Inbound, policy.Outbound},
	"input.operation.class":   classWords(),
}

func classWords() []string {
	words := []string{""}
	for _, c := range policy.Classes {
		words = append(words, string(c))
	}
	return words
}

// words looks at what rules compare fields of the input with, and roles.
func (l *linter) words() {
	for _, file := range sortedNames(l.modules) {
		eachComparison(l.modules[file], func(field ast.Ref, words []*ast.Term) {
			known, ok := inputWords[field.String()]
			if !ok {
				return
			}
			for _, w := range words {
				if s, ok := w.Value.(ast.String); ok && !slices.Contains(known, string(s)) {
					l.at(w.Location, didYouMean(string(s), known), "%s is never %q", field, string(s))
				}
			}
		})
	}
}

// eachComparison calls f with every reference that a module compares with constants, by ==, !=
// or in.
func eachComparison(m *ast.Module, f func(ast.Ref, []*ast.Term)) {
	look := func(operator ast.Ref, args []*ast.Term) {
		if len(args) != 2 {
			return
		}
		switch operator.String() {
		case "equal", "eq", "neq":
			for i, side := range args {
				if ref, ok := side.Value.(ast.Ref); ok {
					f(ref, args[1-i:2-i])
				}
			}
		case "internal.member_2":
			ref, ok := args[0].Value.(ast.Ref)
			if !ok {
				return
			}
			var words []*ast.Term
			switch list := args[1].Value.(type) {
			case ast.Set:
				words = list.Slice()
			case *ast.Array:
				list.Foreach(func(t *ast.Term) { words = append(words, t) })
			}
			f(ref, words)
		}
	}
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if terms, ok := x.Terms.([]*ast.Term); ok && len(terms) == 3 {
				if operator, ok := terms[0].Value.(ast.Ref); ok {
					look(operator, terms[1:])
				}
			}
		case ast.Call:
			if operator, ok := x[0].Value.(ast.Ref); ok {
				look(operator, x[1:])
			}
		}
		return false
	}).Walk(m)
}

func (l *linter) clock() {
	if !l.engine.verdict.key.clock || l.engine.defines("valid_until") {
		return
	}
	for _, file := range sortedNames(l.modules) {
		ast.WalkRefs(l.modules[file], func(r ast.Ref) bool {
			if r.String() == "input.now_ns" {
				l.at(begins(r), "say when the answer changes: valid_until := ...", "the answer depends on the time, and nothing says for how long it holds")
			}
			return false
		})
	}
}

func (l *linter) unreached() {
	r := newReads(l.engine.compiler)
	var asked []any
	for _, a := range answers {
		asked = append(asked, answerRef(a.name))
	}
	r.of(asked...)
	for _, rule := range r.all {
		if !r.seen[rule] {
			l.at(rule.Location, "remove it, or use it", "no answer depends on %s", rule.Head.Ref())
		}
	}
}

func (l *linter) assertions() {
	modules, problems := parse(slices.Concat(l.engine.folder.rules, l.engine.folder.tests))
	c, err := newCompiler(l.document)
	if err != nil || len(problems) > 0 {
		return // its tests do not compile, which running them says
	}
	if c.Compile(modules); c.Failed() {
		return
	}
	reads := newReads(c)
	for _, name := range sortedNames(c.Modules) {
		if kind(name) != 't' {
			continue
		}
		for _, r := range c.Modules[name].Rules {
			if !strings.HasPrefix(r.Head.Ref().String(), "test_") {
				continue
			}
			reads.of(r)
			asks := false
			for seen := range reads.seen {
				asks = asks || kind(seen.Location.File) == 'r'
			}
			if !asks {
				l.at(r.Location, "cordon.allow with input as ...", "%s asks no rule of the policy", r.Head.Ref())
			}
		}
	}
}

func (l *linter) unread() {
	read := map[string]bool{}
	all := false
	for _, m := range l.engine.compiler.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if r.HasPrefix(ast.DefaultRootRef) && len(r) > 1 {
				if name, ok := r[1].Value.(ast.String); ok {
					read[string(name)] = true
				} else {
					all = true
				}
			}
			return false
		})
	}
	for _, name := range sortedNames(l.document) {
		if !all && !read[name] && name != accessName {
			l.inData([]string{name}, didYouMean(name, sortedNames(read)), "no rule reads data.%s", name)
		}
	}
}

func didYouMean(have string, names []string) string {
	if n := near(have, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, fmt.Sprintf("%q", n))
	}
	return "known: " + strings.Join(quoted, ", ")
}

// ChecksMarkdown lists the checks as the policy's README does.
func ChecksMarkdown() string {
	var b strings.Builder
	b.WriteString("| code | | finds |\n|---|---|---|\n")
	for _, c := range Checks() {
		severity := "error"
		if c.Warning {
			severity = "warning"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Code, severity, c.Words)
	}
	return b.String()
}
