package rego

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"cordon/policy"
)

// lookups notes which places of the data are looked into.
type lookups struct {
	ours func(name string) bool
	seen map[string]bool
	news [][]string
}

func (t *lookups) Enabled() bool               { return true }
func (t *lookups) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

func (t *lookups) TraceEvent(ev topdown.Event) {
	expr, ok := ev.Node.(*ast.Expr)
	if !ok || ev.Op != topdown.EvalOp || len(t.seen) >= maxPlaces {
		return
	}
	ast.WalkRefs(expr, func(ref ast.Ref) bool {
		if !ref.HasPrefix(ast.DefaultRootRef) || len(ref) < 3 {
			return false
		}
		var path []string
		for _, term := range ref[1:] {
			v := term.Value
			if _, free := v.(ast.Var); free && ev.Locals != nil {
				v = ev.Locals.Get(v)
			}
			name, ok := v.(ast.String)
			if !ok {
				return false
			}
			path = append(path, string(name))
		}
		if key := strings.Join(path, "\x00"); t.ours(path[0]) && !t.seen[key] {
			t.seen[key] = true
			t.news = append(t.news, path)
		}
		return false
	})
}

// ofData returns the edits of lists at places.
func (s *search) ofData(places [][]string) (edits []Edit) {
	for _, path := range places {
		at := valueAt(s.document, path)
		list, isList := at.([]any)
		if !isList && at != nil {
			continue // a table or a fact, no list
		}
		usual, listed := siblings(s.document, path)
		if at == nil && !listed {
			continue // its neighbours are no lists
		}
		var values []string
		for _, v := range slices.Concat(s.atoms, usual) {
			if len(values) < maxChoices && !slices.Contains(values, v) && !slices.Contains(list, any(v)) {
				values = append(values, v)
			}
		}
		for _, v := range values {
			edits = append(edits, Edit{Kind: EditData, Path: path, Value: v, Words: inWords(path, v, Added)})
		}
	}
	return edits
}

// ofRequest returns the edits of the subject and the device.
func (s *search) ofRequest() (edits []Edit) {
	r := s.request
	roles := s.engine.Vocabulary().Roles
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		if slices.Contains(roles[role], r.Subject.Kind) && !slices.Contains(r.Subject.Roles, role) {
			edits = append(edits, Edit{Kind: EditRole, Value: role, Words: fmt.Sprintf("%s/%s holds role %s, too", r.Subject.Kind, r.Subject.ID, role)})
		}
	}
	if r.Device.State == policy.StateActive && s.engine.verdict.key.reads(leafDeviceState) {
		edits = append(edits, Edit{Kind: EditState, Value: policy.StateMaintenance, Words: fmt.Sprintf("device %s is in maintenance meanwhile", r.Device.ID)})
	}
	if s.engine.verdict.key.reads(leafDeviceLabels) {
		for _, name := range slices.Sorted(maps.Keys(s.around.Labels)) {
			for _, v := range s.around.Labels[name] {
				if was, ok := r.Device.Labels[name]; !ok || was != v {
					edits = append(edits, Edit{Kind: EditLabel, Path: []string{name}, Value: v, Words: fmt.Sprintf("device %s has the label %s: %s", r.Device.ID, name, v)})
				}
			}
		}
	}
	return edits
}

// assume makes an edit in a request, if it is one of requests.
func assume(r *policy.Request, x Edit) {
	switch x.Kind {
	case EditRole:
		if !slices.Contains(r.Subject.Roles, x.Value) {
			r.Subject.Roles = append(slices.Clone(r.Subject.Roles), x.Value)
			slices.Sort(r.Subject.Roles)
		}
	case EditState:
		r.Device.State = x.Value
	case EditLabel:
		r.Device.Labels = maps.Clone(r.Device.Labels)
		if r.Device.Labels == nil {
			r.Device.Labels = map[string]string{}
		}
		r.Device.Labels[x.Path[0]] = x.Value
	}
}

// concerns reports whether an edit of a subject or a device is one of r's.
func (x *Edit) concerns(asked, r *policy.Request) bool {
	if x.Kind == EditRole {
		return r.Subject.Kind == asked.Subject.Kind && r.Subject.ID == asked.Subject.ID
	}
	return r.Device.ID == asked.Device.ID
}

// atomsOf returns the strings of a request that a list of the data might name. What tells of
// patients is not among them.
func atomsOf(r *policy.Request) (atoms []string) {
	add := func(list ...string) {
		for _, s := range list {
			if s != "" && len(s) <= 64 && !slices.Contains(atoms, s) {
				atoms = append(atoms, s)
			}
		}
	}
	// An operation is mostly permitted by its class: what does least comes first.
	add(string(r.Operation.Class), r.Operation.Name, r.Service.Name, r.Service.Protocol, r.Device.ID, r.Device.Class, r.Subject.ID, r.Subject.Kind+"/"+r.Subject.ID)
	add(r.Subject.Roles...)
	add(r.Subject.Groups...)
	for _, a := range r.Operation.Attributes {
		if strings.Contains(a.Name, "patient") {
			continue
		}
		switch v := a.Value.(type) {
		case string:
			add(v)
		case []string:
			add(v...)
		}
	}
	return atoms
}

func valueAt(document any, path []string) any {
	for _, name := range path {
		m, ok := document.(map[string]any)
		if !ok {
			return nil
		}
		document = m[name]
	}
	return document
}

// siblings returns the strings in lists that stand where path does, under other names, and
// whether lists are what stands there.
func siblings(document map[string]any, path []string) (values []string, listed bool) {
	level, empty := []any{document[path[0]]}, true
	for range path[1:] {
		var next []any
		for _, at := range level {
			m, _ := at.(map[string]any)
			for _, name := range sortedNames(m) {
				next = append(next, m[name])
			}
		}
		level = next
	}
	for _, at := range level {
		empty = false
		list, ok := at.([]any)
		listed = listed || ok
		for _, v := range list {
			if s, ok := v.(string); ok && !slices.Contains(values, s) {
				values = append(values, s)
			}
		}
	}
	return values, listed || empty
}

// addTo returns a document with a value more in the list at path. The document itself stays as it is.
func addTo(document any, path []string, value string) any {
	if len(path) == 0 {
		list, _ := document.([]any)
		return append(slices.Clone(list), value)
	}
	m, _ := document.(map[string]any)
	m = maps.Clone(m)
	if m == nil {
		m = map[string]any{}
	}
	m[path[0]] = addTo(m[path[0]], path[1:], value)
	return m
}
