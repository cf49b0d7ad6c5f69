package rego

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// accessFile is the data file that the gateway owns: what operators permit for a time. Rules
// see it as data.access.
const (
	accessName = "access"
	accessFile = accessName + "/data.json"
)

// With returns the same rules with the given data.access, a JSON object, in place of what e
// has; nil stands for an empty one. It compiles no rule anew. The digest of the data covers
// access unless it is nil, and Archive has it as access/data.json.
func (e *Engine) With(access []byte) (*Engine, error) {
	if had := e.Access(); bytes.Equal(access, had) && (access == nil) == (had == nil) {
		return e, nil
	}
	facts := map[string]any{}
	if access != nil {
		if len(access) > maxData {
			return nil, fmt.Errorf("read data.access: more than %d MiB", maxData>>20)
		}
		var p *Problem
		if facts, p = parseJSON(access); p != nil || facts == nil {
			return nil, fmt.Errorf("read data.access: no JSON object")
		}
	}
	f := *e.folder
	f.data = slices.DeleteFunc(slices.Clone(f.data), isAccess)
	if access != nil {
		f.data = append(f.data, Source{accessFile, access})
		f.sort()
	}
	document := maps.Clone(e.document)
	document[accessName] = facts
	made := &Engine{
		folder:   &f,
		document: document,
		compiler: e.compiler,
		store:    newStore(document),
		limit:    e.limit,
		revision: e.revision,
		data:     digest(f.data),
	}
	if err := made.prepare(); err != nil {
		return nil, fmt.Errorf("prepare policy: %w", err)
	}
	return made, nil
}

// Access returns what With was given, nil if it was nothing.
func (e *Engine) Access() []byte {
	if i := slices.IndexFunc(e.folder.data, isAccess); i >= 0 {
		return e.folder.data[i].Text
	}
	return nil
}

// ReadsAccess reports whether any rule looks at a part of data.access, such as grants. Of a policy that does not, none
// of them permits anything.
func (e *Engine) ReadsAccess(part string) bool {
	found := false
	for _, m := range e.compiler.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			// A reference that ends before the part takes all of them.
			found = found || len(r) > 1 && r[0].Equal(ast.DefaultRootDocument) && r[1].Equal(ast.StringTerm(accessName)) &&
				(len(r) == 2 || r[2].Equal(ast.StringTerm(part)) || !r[2].IsGround())
			return found
		})
	}
	return found
}

func isAccess(s Source) bool { return s.Name == accessFile }

// settle puts data.access into the document of a folder or an archive that has none. Data of a
// folder's author in its place, or beside what an archive has from With, would be grants that nobody made, and that never end.
func settle(f *folder, document map[string]any) []Problem {
	if _, taken := document[accessName]; !taken {
		document[accessName] = map[string]any{}
		return nil
	}
	for _, s := range f.data {
		if isAccess(s) {
			continue
		}
		one, bad := readData([]Source{s})
		if _, defines := one[accessName]; len(bad) == 0 && defines {
			return []Problem{reserved(s.Name)}
		}
	}
	return nil
}

func reserved(name string) Problem {
	return Problem{File: name, Code: "policy.data.access", Message: "data.access belongs to the gateway: it holds what cordon access grant makes",
		Hint: "remove it; a test says what it needs: with data.access.grants as {…}"}
}
