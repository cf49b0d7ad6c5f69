package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"cordon/policy"
)

// Difference is what distinguishes two policies. Order and comments of rules
// are no difference.
type Difference struct {
	Files []FileChange `json:"files"` // by name
	Rules []RuleChange `json:"rules"` // by file and line
	Data  []DataChange `json:"data"`  // by path
	Tests []RuleChange `json:"tests"` // rules of *_test.rego files, which decide nothing; nil if the first policy has none, as one that is kept
}

// Kinds of difference.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// FileChange is a file that is not the same in both.
type FileChange struct {
	Name   string `json:"name"`
	Change string `json:"change"`
}

// RuleChange is a rule that is not the same in both.
type RuleChange struct {
	Rule   string `json:"rule"` // "data.cordon.allow"
	Change string `json:"change"`
	File   string `json:"file"` // where it is, or was if it is removed
	Line   int    `json:"line"`
	Before string `json:"before"` // as written, behind the imports that it uses; "" if it is added
	After  string `json:"after"`
}

// DataChange is a value that is not the same in both.
type DataChange struct {
	Path   []string `json:"path"` // "roles", "nurse", "monitor/*"
	Change string   `json:"change"`
	Words  string   `json:"words"` // "role nurse may write on monitor/*"
}

// Diff tells how b differs from a.
func Diff(a, b *Engine) Difference {
	d := Difference{Files: []FileChange{}, Rules: []RuleChange{}, Data: []DataChange{}}
	was, is := texts(a.Sources()), texts(b.Sources())
	for _, name := range sortedNames(both(was, is)) {
		before, had := was[name]
		after, has := is[name]
		if !had || !has || !bytes.Equal(before, after) {
			d.Files = append(d.Files, FileChange{name, change(had, has)})
		}
	}
	d.Rules = append(d.Rules, diffRules(a.folder.rules, b.folder.rules)...)
	// Both were read when the engines were made.
	x, _ := readData(a.folder.data)
	y, _ := readData(b.folder.data)
	d.Data = append(d.Data, diffData(nil, x, y)...)
	if len(a.folder.tests) > 0 {
		d.Tests = append([]RuleChange{}, diffRules(a.folder.tests, b.folder.tests)...)
	}
	return d
}

func texts(list []Source) map[string][]byte {
	m := map[string][]byte{}
	for _, s := range list {
		m[s.Name] = s.Text
	}
	return m
}

// both returns a map that has the keys of both.
func both[V any](a, b map[string]V) map[string]V {
	m := maps.Clone(a)
	if m == nil {
		m = map[string]V{}
	}
	maps.Copy(m, b)
	return m
}

func change(had, has bool) string {
	switch {
	case !had:
		return Added
	case !has:
		return Removed
	}
	return Changed
}

// written is a rule as its file has it.
type written struct {
	name, file string
	line       int
	text       string // as written, behind the imports that it uses
	meaning    string // the same without comments and layout
}

// rulesOf returns the rules of a policy that compiles, in order.
func rulesOf(list []Source) []written {
	modules, _ := parse(list)
	var all []written
	for _, name := range sortedNames(modules) {
		for _, r := range modules[name].Rules {
			pkg, imports := modules[name].Package.Path.String(), importsOf(r, modules[name])
			all = append(all, written{pkg + "." + r.Head.Ref().String(), name, r.Location.Row, imports + strings.TrimSpace(string(r.Location.Text)),
				pkg + " " + imports + r.String()})
		}
	}
	return all
}

// importsOf returns the imports of m whose names r has, a line each: what a rule says depends on them as on its body. A
// local variable of such a name counts, too.
func importsOf(r *ast.Rule, m *ast.Module) (text string) {
	used := map[ast.Var]bool{}
	ast.WalkVars(r, func(v ast.Var) bool {
		used[v] = true
		return false
	})
	for _, i := range m.Imports {
		if used[i.Name()] {
			text += i.String() + "\n"
		}
	}
	return text
}

// diffRules pairs equal rules first, then those left of one name, in order.
func diffRules(a, b []Source) []RuleChange {
	was, is := rulesOf(a), rulesOf(b)
	take := func(list *[]written, like func(written) bool) (written, bool) {
		i := slices.IndexFunc(*list, like)
		if i < 0 {
			return written{}, false
		}
		w := (*list)[i]
		*list = slices.Delete(*list, i, i+1)
		return w, true
	}
	is = slices.DeleteFunc(is, func(r written) bool {
		_, same := take(&was, func(w written) bool { return w.meaning == r.meaning })
		return same
	})
	var out []RuleChange
	for _, r := range is {
		old, had := take(&was, func(w written) bool { return w.name == r.name })
		out = append(out, RuleChange{r.name, change(had, true), r.file, r.line, old.text, r.text})
	}
	for _, w := range was {
		out = append(out, RuleChange{w.name, Removed, w.file, w.line, w.text, ""})
	}
	slices.SortStableFunc(out, func(x, y RuleChange) int {
		if x.File != y.File {
			return strings.Compare(x.File, y.File)
		}
		return x.Line - y.Line
	})
	return out
}

// absent is a value that is not there. Null is one that is there, and to a rule it holds.
type absent struct{}

// diffData compares values down to scalars and lists.
func diffData(path []string, a, b any) []DataChange {
	had, has := a != any(absent{}), b != any(absent{})
	x, isMap := a.(map[string]any)
	y, bothMaps := b.(map[string]any)
	if isMap && bothMaps || isMap && !has && len(x) > 0 || !had && bothMaps && len(y) > 0 {
		var out []DataChange
		for _, name := range sortedNames(both(x, y)) {
			out = append(out, diffData(append(slices.Clone(path), name), valueOf(x, name), valueOf(y, name))...)
		}
		return out
	}
	p, isList := a.([]any)
	q, bothLists := b.([]any)
	if (isList || !had) && (bothLists || !has) && (isList || bothLists) {
		if out := diffLists(path, p, q); len(out) > 0 {
			return out
		}
	}
	if had && has && sameJSON(a, b) {
		return nil
	}
	kind := change(had, has)
	words := fmt.Sprintf("%s is %s instead of %s", strings.Join(path, "."), compact(b), compact(a))
	switch kind {
	case Added:
		words = fmt.Sprintf("%s is %s", strings.Join(path, "."), compact(b))
	case Removed:
		words = fmt.Sprintf("%s is no longer %s", strings.Join(path, "."), compact(a))
	}
	return []DataChange{{path, kind, words}}
}

func valueOf(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	return absent{}
}

// diffLists tells which values went and came. It returns none if that does not say how the lists differ: in their order, or in
// how often a value is there.
func diffLists(path []string, p, q []any) (out []DataChange) {
	in := func(v any, list []any) bool {
		return slices.ContainsFunc(list, func(w any) bool { return sameJSON(v, w) })
	}
	stayed := []any{}
	for _, v := range p {
		if in(v, q) {
			stayed = append(stayed, v)
		} else {
			out = append(out, DataChange{path, Removed, inWords(path, v, Removed)})
		}
	}
	for _, v := range q {
		switch {
		case !in(v, p):
			out = append(out, DataChange{path, Added, inWords(path, v, Added)})
		case len(stayed) == 0 || !sameJSON(v, stayed[0]):
			return nil
		default:
			stayed = stayed[1:]
		}
	}
	if len(stayed) > 0 {
		return nil
	}
	return out
}

// inWords tells of one value in a list that was added or removed. The shipped policy's
// tables have sentences of their own.
func inWords(path []string, v any, change string) string {
	may := "may"
	if change == Removed {
		may = "may no longer"
	}
	s, isString := v.(string)
	if s == string(policy.ClassSession) {
		s = "open sessions"
	}
	switch {
	case isString && len(path) == 3 && path[0] == "roles":
		return fmt.Sprintf("role %s %s %s on %s", path[1], may, s, path[2])
	case isString && len(path) == 3 && path[0] == "maintenance":
		return fmt.Sprintf("role %s %s %s on %s in maintenance", path[1], may, s, path[2])
	case isString && len(path) == 2 && path[0] == "dicom_services":
		return fmt.Sprintf("role %s %s use %s in DICOM", path[1], may, s)
	case change == Removed:
		return fmt.Sprintf("%s has no longer %s", strings.Join(path, "."), compact(v))
	}
	return fmt.Sprintf("%s has %s", strings.Join(path, "."), compact(v))
}

// compact returns a value in JSON. It is not cut: what follows may be all that differs.
func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(b)
}
