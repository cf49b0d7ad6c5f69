package rego

import (
	"context"
	"fmt"
	"maps"
	"slices"

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

	Place
}

// Place is where data say so, if the file is YAML: After is added at Line, or takes the place of Before.
// Either may be more than one line.
type Place struct {
	File   string `json:"file,omitempty"` // inside the folder
	Line   int    `json:"line,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	There  bool   `json:"there,omitempty"` // the file says it already
}

// Repair is edits that together allow a request that was refused.
type Repair struct {
	Edits  []Edit `json:"edits"`
	Effect Effect `json:"effect"`

	engine *Engine // the policy with the edits of its data
}

// Around is what a site has around the policy that refused.
type Around struct {
	Labels    map[string][]string // values that devices of the site have, by label
	Workspace *Engine             // the policy that people edit, if it is another: its files say where an edit goes
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

// Allows reports whether e allows r, with more time to answer than Decide gives it.
func (e *Engine) Allows(ctx context.Context, r *policy.Request) bool {
	return e.unhurried().Decide(ctx, r).Allow
}
