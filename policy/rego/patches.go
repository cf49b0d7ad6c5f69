package rego

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Patch is a virtual patch: a rule named patched that refuses what a known flaw of a type
// of device needs, whoever asks. Its facts are the METADATA comment above the rule.
type Patch struct {
	Name      string   // "cms8000-call-out", as profiles name it
	Title     string   // what it refuses, in a line
	CVE       []string // "CVE-2025-0626"
	Advisory  string   // "ICSMA-25-030-01"
	SignedOff string   // who checked the rule, and when; "" if nobody did, or the file was changed since
	File      string
	Line      int
}

// Learns reports whether the policy knows what a device in learning mode is: otherwise that is none of
// the states in which anything is permitted.
func (e *Engine) Learns() bool {
	return len(e.compiler.GetRulesExact(append(entryPath(), ast.StringTerm("learning")))) > 0
}

// Patches are the policy's, sorted by name. A patch that stands in several rules is listed
// once, with the facts of the first.
func (e *Engine) Patches() []Patch {
	var list []Patch
	for _, name := range sortedNames(e.compiler.Modules) {
		m := e.compiler.Modules[name]
		signed := asShipped(name, e.folder.text(name))
		for _, r := range m.Rules {
			if p, ok := patchOf(r); ok && m.Package.Path.Equal(entryPath()) && !slices.ContainsFunc(list, func(q Patch) bool { return q.Name == p.Name }) {
				if !signed {
					p.SignedOff = ""
				}
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(p, q Patch) int { return strings.Compare(p.Name, q.Name) })
	return list
}

func entryPath() ast.Ref {
	return ast.Ref{ast.DefaultRootDocument, ast.StringTerm(entryPackage)}
}

// patchOf reads "patched contains NAME if ..." and its annotation.
func patchOf(r *ast.Rule) (Patch, bool) {
	if r.Head.Name != "patched" && !r.Head.Ref().Equal(ast.Ref{ast.VarTerm("patched")}) || r.Head.Key == nil {
		return Patch{}, false
	}
	name, ok := r.Head.Key.Value.(ast.String)
	if !ok {
		return Patch{}, false
	}
	p := Patch{Name: string(name), File: r.Location.File, Line: r.Location.Row}
	for _, a := range r.Annotations {
		p.Title = a.Title
		p.Advisory, _ = a.Custom["advisory"].(string)
		p.SignedOff, _ = a.Custom["signed_off"].(string)
		list, _ := a.Custom["cve"].([]any)
		for _, v := range list {
			if cve, ok := v.(string); ok {
				p.CVE = append(p.CVE, cve)
			}
		}
	}
	return p, true
}

// asShipped reports whether a file is as it came with Cordon.
func asShipped(name string, text []byte) bool {
	original, err := fs.ReadFile(shipped, "shipped/"+name)
	return err == nil && bytes.Equal(original, text)
}
