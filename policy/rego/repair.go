package rego

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"cordon/policy"
)

// Kinds of edits.
const (
	EditData  = "data"  // a value in a list of the policy's data
	EditRole  = "role"  // a role of the subject, in its next certificate
	EditState = "state" // the device's state
	EditLabel = "label" // a label of the device
)

// Edit is one change of what a decision rests on.
type Edit struct {
	Kind  string   `json:"kind"`
	Path  []string `json:"path,omitempty"` // of the list in the data, or the label's name
	Value string   `json:"value"`          // what is added to the list, or what the role, state or label is
	Words string   `json:"words"`          // "role nurse may query on imaging/ct"

	// Where the data say so, if the file is YAML: After is added at Line, or takes the place of
	// Before.
	File   string `json:"file,omitempty"` // inside the folder
	Line   int    `json:"line,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Repair is edits that together allow a request that was refused.
type Repair struct {
	Edits  []Edit `json:"edits"`
	Effect Effect `json:"effect"`

	engine *Engine // the policy with the edits of its data
}

// Around is what could be otherwise about the device and its subject, as a site has it.
type Around struct {
	Labels map[string][]string // values that devices of the site have, by label
}

// Bounds of a search. Every candidate is decided: a hundred microseconds each.
const (
	maxPlaces  = 32   // lists that are looked into
	maxChoices = 48   // values for one list
	maxTrials  = 4096 // candidates in all
	maxSecond  = 24   // first edits from which a second one is tried
	maxRepairs = 8
)

// Guard says why no edit of data may allow r: something that no table decides refuses it. It
// is "" if there is no such thing.
func (e *Engine) Guard(ctx context.Context, r *policy.Request) string {
	d := e.unhurried().Decide(ctx, r)
	switch {
	case r.Device.State == policy.StateQuarantined:
		return fmt.Sprintf("device %s is quarantined: who ends the quarantine decides that, not the policy's data", r.Device.ID)
	case r.Operation.Class == policy.ClassUnknown:
		return fmt.Sprintf("%s is of no known class of operation: only allow_unknown of the service can name it, and a rule of its own", r.Operation.Name)
	case d.Cause == policy.CauseDoubt:
		return "the policy gives no clear answer: " + d.Reason
	case d.Rule != "" && slices.ContainsFunc(e.Patches(), func(p Patch) bool { return p.Name == d.Rule }):
		return fmt.Sprintf("virtual patch %s refuses it, whatever the tables permit", d.Rule)
	}
	return ""
}

// Repairs returns the smallest edits found that would make e allow r, which it refuses: single
// ones, and pairs where no single edit of the data suffices. Each was decided with the edit made; none is made.
// It looks where the rules looked: into lists of the data, at the subject's roles and at the device's state and
// labels, so a rule that compares with a constant is not repaired. The order is that of the search: see Weigh.
func (e *Engine) Repairs(ctx context.Context, r *policy.Request, around Around) ([]Repair, error) {
	document, _ := readData(e.folder.data)
	s := &search{engine: e.unhurried(), request: r, document: document, around: around, atoms: atomsOf(r)}
	first, err := s.from(ctx, nil, map[string]bool{})
	if err != nil {
		return nil, err
	}
	found := s.found
	if !slices.ContainsFunc(found, func(t trial) bool { return t.edits[0].Kind == EditData }) {
		// The rules went further with these than without.
		first = slices.DeleteFunc(first, func(t trial) bool { return len(t.news) == 0 || t.edits[0].Kind != EditData })
		first = narrowest(first)
		for _, t := range first[:min(len(first), maxSecond)] {
			if _, err := s.from(ctx, &t, t.seen); err != nil {
				return nil, err
			}
		}
		found = s.found
	}
	return s.repairs(ctx, narrowest(found))
}

// search looks for edits.
type search struct {
	engine   *Engine
	request  *policy.Request
	document map[string]any
	around   Around
	atoms    []string // strings of the request

	trials int
	found  []trial
}

// trial is edits that were tried.
type trial struct {
	edits []Edit
	seen  map[string]bool // places in the data that were looked into
	news  [][]string      // of these, those that were not without the last edit
}

// from tries one edit more than base has. It returns those that do not suffice.
func (s *search) from(ctx context.Context, base *trial, seen map[string]bool) ([]trial, error) {
	var made []Edit
	var places [][]string
	if base == nil {
		var err error
		if places, err = s.look(ctx, nil, seen); err != nil {
			return nil, err
		}
	} else {
		made, places = base.edits, base.news
	}
	candidates := s.ofData(places)
	if base == nil {
		candidates = append(candidates, s.ofRequest()...)
	}
	var rest []trial
	for _, c := range candidates {
		if s.trials++; s.trials > maxTrials {
			break
		}
		t := trial{edits: append(slices.Clone(made), c)}
		allowed, err := s.try(ctx, t.edits)
		if err != nil {
			return nil, err
		}
		if allowed {
			s.found = append(s.found, t)
			continue
		}
		if base == nil {
			t.seen = maps.Clone(seen)
			if t.news, err = s.look(ctx, t.edits, t.seen); err != nil {
				return nil, err
			}
			rest = append(rest, t)
		}
	}
	return rest, nil
}

// made returns the engine and the request with edits made.
func (s *search) made(edits []Edit) (*Engine, *policy.Request, error) {
	document, r := s.document, *s.request
	changed := false
	for _, x := range edits {
		if x.Kind == EditData {
			document, changed = addTo(document, x.Path, x.Value).(map[string]any), true
		}
		assume(&r, x)
	}
	if !changed {
		return s.engine, &r, nil
	}
	e, err := s.engine.withData(document)
	return e, &r, err
}

// try decides the request with edits made.
func (s *search) try(ctx context.Context, edits []Edit) (bool, error) {
	e, r, err := s.made(edits)
	if err != nil {
		return false, err
	}
	d := e.evaluate(ctx, input(r), r.NowNs)
	return d.Allow, ctx.Err()
}

// look returns the places in the data that the rules look into with edits made, and that are
// not in seen, and adds them there.
func (s *search) look(ctx context.Context, edits []Edit, seen map[string]bool) (news [][]string, err error) {
	e, r, err := s.made(edits)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxExplain)
	defer cancel()
	stop := topdown.NewCancel()
	defer context.AfterFunc(ctx, stop.Cancel)()
	t := &lookups{seen: seen, ours: func(name string) bool { _, ok := s.document[name]; return ok && name != accessName }}
	_, err = e.verdict.ask(ctx, input(r), stop, rego.EvalQueryTracer(t), rego.EvalRuleIndexing(false))
	return t.news, err
}

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

// mildest is the order in which the classes of operation are proposed where several would do.
var mildest = [...]policy.Class{policy.ClassSession, policy.ClassQuery, policy.ClassRead, policy.ClassNotify, policy.ClassWrite, policy.ClassAdmin, policy.ClassControl}

// narrowest keeps one repair for each set of places: that with the mildest values.
func narrowest(found []trial) []trial {
	value := func(v string) int {
		i := slices.Index(mildest[:], policy.Class(v))
		switch {
		case v == "*":
			return 100
		case i < 0:
			return 50
		}
		return i
	}
	weight := func(t trial) (w int) {
		for _, x := range t.edits {
			if x.Kind == EditData {
				w += value(x.Value)
			}
		}
		return w
	}
	slices.SortStableFunc(found, func(a, b trial) int {
		return cmp.Or(cmp.Compare(breadth(a.edits), breadth(b.edits)), cmp.Compare(weight(a), weight(b)))
	})
	seen := map[string]bool{}
	var out []trial
	for _, t := range found {
		var places []string
		for _, x := range t.edits {
			place := x.Kind + "\x00" + strings.Join(x.Path, "\x00")
			if x.Kind != EditData {
				place += "\x00" + x.Value
			}
			places = append(places, place)
		}
		slices.Sort(places)
		if key := strings.Join(places, "\x01"); !seen[key] {
			seen[key] = true
			out = append(out, t)
		}
	}
	return out
}

// breadth orders repairs by what they are about: less, or fewer, comes first.
func breadth(edits []Edit) (n int) {
	for _, x := range edits {
		n += 10 * len(edits)
		for _, name := range append(slices.Clone(x.Path), x.Value) {
			n += strings.Count(name, "*")
			if name == "*" {
				n += 2
			}
		}
		switch x.Kind {
		case EditState:
			n += 30
		case EditRole:
			n += 31
		}
	}
	return n
}

// repairs writes the edits of data into the files, and decides once more.
func (s *search) repairs(ctx context.Context, found []trial) ([]Repair, error) {
	out := []Repair{}
	for _, t := range found {
		if len(out) == maxRepairs {
			break
		}
		e, _, err := s.made(t.edits)
		if err != nil {
			return nil, err
		}
		p := Repair{Edits: slices.Clone(t.edits), engine: e}
		files := s.engine.folder.data
		for i := range p.Edits {
			files = writeEdit(files, &p.Edits[i])
		}
		if written, problems := readData(files); len(problems) == 0 && e != s.engine {
			// What is shown is what was decided, or nothing is shown.
			if w, err := s.engine.withData(written); err != nil || !sameJSON(written, s.whole(t.edits)) {
				for i := range p.Edits {
					p.Edits[i].File, p.Edits[i].Line, p.Edits[i].Before, p.Edits[i].After = "", 0, "", ""
				}
			} else {
				p.engine = w
			}
		}
		r := *s.request
		for _, x := range p.Edits {
			assume(&r, x)
		}
		if d := p.engine.Decide(ctx, &r); !d.Allow {
			continue
		}
		out = append(out, p)
	}
	return out, ctx.Err()
}

// whole returns the data with edits made.
func (s *search) whole(edits []Edit) any {
	var document any = s.document
	for _, x := range edits {
		if x.Kind == EditData {
			document = addTo(document, x.Path, x.Value)
		}
	}
	return document
}

// Allows reports whether e allows r, with more time to answer than Decide gives it.
func (e *Engine) Allows(ctx context.Context, r *policy.Request) bool {
	return e.unhurried().Decide(ctx, r).Allow
}
