package rego

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// reads finds every part of the input that rules look at, directly or through
// other rules and functions. Each path is a list of names; it stands for the
// value there and all below. A path ends where the reference stops being
// constant, so input.operation.attributes[x] reads all attributes, and a bare
// input reads everything (the empty path).
//
// It errs on the side of too much: a rule counts as reached when its path and a
// reference may overlap, and a reached rule counts whole.
type reads struct {
	all   []*ast.Rule
	paths [][]string
	seen  map[*ast.Rule]bool
}

func newReads(c *ast.Compiler) *reads {
	r := &reads{seen: map[*ast.Rule]bool{}}
	for _, m := range c.Modules {
		r.all = append(r.all, m.Rules...)
	}
	return r
}

// of returns the shortest sorted list of paths that node and all it reaches read.
// node is a *ast.Rule, *ast.Expr or ast.Ref of a compiled policy.
func (r *reads) of(nodes ...any) [][]string {
	r.paths, r.seen = nil, map[*ast.Rule]bool{}
	for _, n := range nodes {
		r.walk(n)
	}
	slices.SortFunc(r.paths, slices.Compare)
	var least [][]string
	for _, p := range r.paths {
		// In this order a prefix comes right before what it covers.
		if n := len(least); n > 0 && hasPrefix(p, least[n-1]) {
			continue
		}
		least = append(least, p)
	}
	return least
}

func (r *reads) walk(node any) {
	var visit func(x any) bool
	visit = func(x any) bool {
		switch x := x.(type) {
		case *ast.Rule:
			if r.seen[x] {
				return true
			}
			r.seen[x] = true
			// The visitor passes over a head's reference: p[input.x] := 1.
			for _, t := range x.Head.Reference {
				ast.NewGenericVisitor(visit).Walk(t)
			}
		case ast.Var:
			// A root document by itself, handed on whole.
			if x.Equal(ast.InputRootDocument.Value) || x.Equal(ast.DefaultRootDocument.Value) {
				r.ref(ast.Ref{ast.NewTerm(x)})
			}
		case ast.Ref:
			r.ref(x)
			for _, t := range x[1:] {
				ast.NewGenericVisitor(visit).Walk(t)
			}
			// The head is a root document, a local variable, or a term such as a
			// call whose own references count.
			if _, plain := x[0].Value.(ast.Var); !plain {
				ast.NewGenericVisitor(visit).Walk(x[0])
			}
			return true
		}
		return false
	}
	ast.NewGenericVisitor(visit).Walk(node)
}

func (r *reads) ref(x ast.Ref) {
	switch {
	case x.HasPrefix(ast.InputRootRef):
		path := []string{}
		for _, t := range x[1:] {
			name, ok := t.Value.(ast.String)
			if !ok {
				break
			}
			path = append(path, string(name))
		}
		r.paths = append(r.paths, path)
	case x.HasPrefix(ast.DefaultRootRef):
		for _, rule := range r.all {
			if overlap(x, rule.Ref()) {
				r.walk(rule)
			}
		}
	}
}

// overlap reports whether two references may lead to the same place: their
// constant beginnings agree as far as both go.
func overlap(a, b ast.Ref) bool {
	for i := range min(len(a), len(b)) {
		if i > 0 && (!a[i].IsGround() || !b[i].IsGround()) {
			return true
		}
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}
