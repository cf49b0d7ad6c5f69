package rego

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// Format returns the rules and tests below dir that OPA's formatter would write otherwise,
// as it would write them, sorted by name. Files that are not Rego are a *Problems.
//
// kept are files that are better left as they are: OPA's formatter drops (1.22.2; opa#8859)
// parentheses that matter, and makes "a == (b in c)" a test whether "a == b" is in c.
func Format(dir string) (changed []Source, kept []Problem, err error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	var problems []Problem
	options := format.Opts{RegoVersion: ast.RegoV1, ParserOptions: &ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true}}
	for _, s := range slices.Concat(f.rules, f.tests) {
		text, err := format.SourceWithOpts(s.Name, s.Text, options)
		var errs ast.Errors
		switch {
		case errors.As(err, &errs):
			problems = append(problems, fromOPA(errs)...)
			continue
		case err != nil:
			problems = append(problems, Problem{File: s.Name, Code: "policy.syntax", Message: err.Error()})
			continue
		case bytes.Equal(text, s.Text):
			continue
		}
		if line := reworded(s, text); line > 0 {
			kept = append(kept, Problem{File: s.Name, Line: line, Code: "policy.format.rewrite", Message: "OPA's formatter would rewrite this rule, not only lay it out anew; the file stays as it is",
				Hint: "give an expression in parentheses a name: x := b in c"})
			continue
		}
		changed = append(changed, Source{s.Name, text})
	}
	if len(problems) > 0 {
		return nil, nil, refuse(dir, problems...)
	}
	slices.SortFunc(changed, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return changed, kept, nil
}

// reworded returns the line of the first rule of s that text, the same file formatted, does
// not say in the same way; 0 if there is none.
func reworded(s Source, text []byte) int {
	was, _ := parse([]Source{s})
	is, problems := parse([]Source{{s.Name, text}})
	a, b := was[s.Name], is[s.Name]
	if len(problems) > 0 || !a.Package.Equal(b.Package) || len(a.Imports) != len(b.Imports) || len(a.Rules) != len(b.Rules) {
		return 1
	}
	for i, r := range a.Rules {
		if !r.Equal(b.Rules[i]) {
			return r.Location.Row
		}
	}
	return 0
}
