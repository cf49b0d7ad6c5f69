package rego

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// entryPackage is the package whose rules answer.
const entryPackage = "cordon"

// inputSchema is the JSON Schema of what a rule reads as input, for editors and for
// the compiler.
//
//go:embed input.schema.json
var inputSchema string

// answers are the rules Cordon asks for, with the type each must have.
var answers = []struct {
	name string
	want types.Type
}{
	{"allow", types.B},
	{"reason", types.S},
	{"rule", types.S},
	{"obligations", types.NewSet(types.S)},
	{"valid_until", types.N},
}

func answerRef(name string) ast.Ref {
	return ast.Ref{ast.DefaultRootDocument, ast.StringTerm(entryPackage), ast.StringTerm(name)}
}

// withheld tells which built-in functions a policy cannot call: all whose answer
// depends on more than their arguments. Without them the same input and data
// have the same decision, which is what the cache and `cordon why` rest on.
func withheld(name string) bool {
	b, known := ast.BuiltinMap[name]
	// OPA does not mark these two, but they compare with the host's clock.
	return known && b.Nondeterministic || strings.HasPrefix(name, "crypto.x509.parse_and_verify_certificates")
}

// newCompiler returns a compiler that refuses what Cordon refuses.
func newCompiler(document map[string]any) (*ast.Compiler, error) {
	able := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	able.Builtins = slices.DeleteFunc(able.Builtins, func(b *ast.Builtin) bool { return withheld(b.Name) })
	able.AllowNet = []string{} // not nil: nil allows every host
	var schema any
	if err := json.Unmarshal([]byte(inputSchema), &schema); err != nil {
		return nil, fmt.Errorf("read input schema: %w", err)
	}
	schemas := ast.NewSchemaSet()
	// Under any other reference OPA would ignore it without a word.
	schemas.Put(ast.SchemaRootRef, schema)
	return ast.NewCompiler().
		WithStrict(true).
		WithDefaultRegoVersion(ast.RegoV1).
		WithCapabilities(able).
		WithSchemas(schemas).
		WithPathConflictsCheck(func(path []string) (bool, error) { return holds(document, path), nil }), nil
}

// holds reports whether document has a value at path.
func holds(document map[string]any, path []string) bool {
	var at any = document
	for _, name := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return false
		}
		if at, ok = m[name]; !ok {
			return false
		}
	}
	return true
}

// parse reads the sources as Rego.
func parse(list []Source) (map[string]*ast.Module, []Problem) {
	modules := map[string]*ast.Module{}
	var problems []Problem
	for _, s := range list {
		m, err := ast.ParseModuleWithOpts(s.Name, string(s.Text), ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true})
		var errs ast.Errors
		switch {
		case errors.As(err, &errs):
			problems = append(problems, fromOPA(errs)...)
		case err != nil:
			problems = append(problems, Problem{File: s.Name, Code: "policy.syntax", Message: err.Error()})
		default:
			modules[s.Name] = m
		}
	}
	return modules, problems
}

// compile turns the deciding rules into something that can be asked.
func compile(list []Source, document map[string]any) (*ast.Compiler, []Problem) {
	modules, problems := parse(list)
	if len(problems) > 0 {
		return nil, problems
	}
	c, err := newCompiler(document)
	if err != nil {
		return nil, []Problem{{Code: "policy.compile", Message: err.Error()}}
	}
	if c.Compile(modules); c.Failed() {
		return nil, fromOPA(c.Errors)
	}
	return c, append(checkAnswers(c), checkData(c, document)...)
}

// checkAnswers refuses a policy that has no allow, or answers of another type.
func checkAnswers(c *ast.Compiler) []Problem {
	var problems []Problem
	for _, a := range answers {
		rules := c.GetRulesExact(answerRef(a.name))
		if len(rules) == 0 && a.name == "allow" {
			problems = append(problems, noAllow(c))
		}
		for _, r := range rules {
			p := Problem{File: r.Location.File, Line: r.Location.Row, Column: r.Location.Col, Code: "policy.type"}
			if len(r.Head.Args) > 0 {
				p.Message = fmt.Sprintf("data.cordon.%s is a function, but nobody passes it arguments", a.name)
				problems = append(problems, p)
				continue
			}
			if got := c.TypeEnv.GetByRef(answerRef(a.name)); got != nil && !fits(got, a.want) {
				p.Message = fmt.Sprintf("data.cordon.%s must be %s, not %s", a.name, types.Sprint(a.want), types.Sprint(got))
				problems = append(problems, p)
				break
			}
		}
	}
	return problems
}

// fits reports whether a value of type got can only be of type want, as far as
// the compiler knows.
func fits(got, want types.Type) bool {
	switch g := got.(type) {
	case types.Any:
		for _, one := range g {
			if !fits(one, want) {
				return false
			}
		}
		return true // an empty Any is a value nothing is known of
	case *types.Set:
		w, ok := want.(*types.Set)
		return ok && fits(g.Of(), w.Of())
	}
	return types.Compare(got, want) == 0
}

// noAllow says that nothing answers, and who might have been meant.
func noAllow(c *ast.Compiler) Problem {
	p := Problem{Code: "policy.allow", Message: "no rule data.cordon.allow: nothing would ever be allowed",
		Hint: `write "package cordon" and a rule "allow"`}
	for _, name := range sortedNames(c.Modules) {
		m := c.Modules[name]
		p.File = name
		for _, r := range m.Rules {
			if r.Head.Ref().String() == "allow" {
				p.Line, p.Column = m.Package.Location.Row, m.Package.Location.Col
				p.Hint = fmt.Sprintf("line %d has one, but the package of the answers is cordon, not %s", r.Location.Row, strings.TrimPrefix(m.Package.Path.String(), "data."))
				return p
			}
		}
	}
	return p
}

// checkData refuses references to documents that neither a rule nor a data file
// defines: they would be undefined without a word, mostly by a slip of the pen.
func checkData(c *ast.Compiler, document map[string]any) []Problem {
	known := map[string]bool{}
	for name := range document {
		known[name] = true
	}
	for _, m := range c.Modules {
		if len(m.Package.Path) > 1 {
			known[string(m.Package.Path[1].Value.(ast.String))] = true
		}
	}
	var problems []Problem
	for _, name := range sortedNames(c.Modules) {
		ast.WalkRefs(c.Modules[name], func(r ast.Ref) bool {
			if !r.HasPrefix(ast.DefaultRootRef) || len(r) < 2 {
				return false
			}
			top, ok := r[1].Value.(ast.String)
			if !ok || known[string(top)] {
				return false
			}
			p := Problem{File: name, Code: "policy.data", Message: fmt.Sprintf("no data file and no package defines data.%s", string(top))}
			if at := begins(r); at != nil {
				p.Line, p.Column = at.Row, at.Col
			}
			names := sortedNames(known)
			if n := near(string(top), names); n != "" {
				p.Hint = fmt.Sprintf("did you mean data.%s?", n)
			} else {
				p.Hint = "known: data." + strings.Join(names, ", data.")
			}
			problems = append(problems, p)
			return false
		})
	}
	return problems
}

// begins returns where a reference begins; compiled references keep the
// position of their first or second term only.
func begins(r ast.Ref) *ast.Location {
	for _, t := range r[:2] {
		if t.Location != nil && t.Location.Row > 0 {
			return t.Location
		}
	}
	return nil
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
