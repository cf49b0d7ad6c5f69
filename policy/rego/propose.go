package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// Proposal is an edit of a policy that permits some of what was seen and refused. It is for a
// person to read; nobody puts it in force by itself.
//
// It permits what does not change anything, was seen more than once, from more than one
// person, and not only at odd hours. All else it sets apart as questions. It keeps to the
// tables of the shipped policy: what they cannot say without saying more is a rule, and what
// no table permits is a question.
type Proposal struct {
	Policy   string   `json:"policy"` // digests of the policy that is edited
	Data     string   `json:"data"`
	Recorded int64    `json:"recorded"`    // decisions that were looked at
	Allowed  int64    `json:"allowed"`     // the policy permits as it is
	Refused  int64    `json:"refused"`     // it does not; those in groups, and Further
	Unasked  int64    `json:"not_asked"`   // were no policy's to answer, or were not recorded whole
	Further  int64    `json:"further"`     // refused, and in no group because there are too many
	Groups   []Seen   `json:"groups"`      // those that are kept first; the largest first
	SetAside []string `json:"tests_aside"` // tests of the policy that say otherwise, and are todo_test_… in the proposal
	Sources  []Source `json:"-"`           // the files of the proposed folder, sorted by name; by Finish

	learner *Learner
	engine  *Engine // as proposed
	list    []*candidate
	engines map[string]*Engine // of trials, by their edits
	day     string
}

// Seen is operations that were refused alike, or would have been but for learning.
type Seen struct {
	Kept      bool      `json:"kept"`
	Why       []string  `json:"why"`       // not; nil if it is kept
	Role      string    `json:"role"`      // that would be permitted it; "" if none can
	Roles     string    `json:"roles"`     // the subjects'
	Kind      string    `json:"kind"`      // the subjects'
	Class     string    `json:"class"`     // the device's
	Operation string    `json:"operation"` // or "connect"
	Does      string    `json:"does"`      // the operation's class
	Facts     []string  `json:"facts"`     // what else the tables look at: "calling AE title KIM-WS"
	Details   []string  `json:"details"`   // what else a person may want to know: "holding_registers 11 = 180 to 240"
	Count     int64     `json:"count"`
	Passed    int64     `json:"passed"` // of these, allowed in learning mode
	People    int       `json:"people"` // subjects, whatever their kind
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Examples  []string  `json:"examples"` // decision codes, each of another subject; the earliest ones
	Devices   []string  `json:"devices"`  // ids of up to 20, sorted
	Edits     []string  `json:"edits"`    // what would permit it: "roles.nurse.monitor/bedside: query"
	Rule      bool      `json:"rule"`     // a rule does, because the tables would permit more
}

// candidate is a group on its way into a proposal or out of it.
type candidate struct {
	Seen
	key     seenKey
	samples []policy.Request // the group's own, and those that were answered otherwise
	edits   []tableEdit
}

// opens reports whether it only opens, keeps or ends a session: whoever may do something on a
// device may do that.
func (c *candidate) opens() bool { return c.key.connect || c.key.does == policy.ClassSession }

// Propose makes a proposal of what was gathered. It blocks for some milliseconds for each group. What it
// returns is to be proven, and then finished.
func (l *Learner) Propose(ctx context.Context, now time.Time) (*Proposal, error) {
	e := l.asks.policy
	p := &Proposal{Policy: e.revision, Data: e.data, Recorded: l.recorded, Allowed: l.allowed, Refused: l.refused, Unasked: l.unasked, Further: l.further,
		learner: l, engines: map[string]*Engine{}, day: now.Format(time.DateOnly)}
	for k, g := range l.groups {
		p.list = append(p.list, newCandidate(k, g))
	}
	slices.SortFunc(p.list, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Class, b.Class), strings.Compare(a.Operation, b.Operation), strings.Compare(a.Roles, b.Roles),
			slices.Compare(a.Facts, b.Facts), strings.Compare(fmt.Sprint(a.key), fmt.Sprint(b.key)))
	})
	for _, c := range p.list {
		if err := p.fit(ctx, c); err != nil {
			return nil, err
		}
	}
	p.shareTitles()
	for _, c := range p.list {
		c.Kept = len(c.Why) == 0
	}
	return p, p.settle(ctx)
}

func newCandidate(k seenKey, g *seenGroup) *candidate {
	c := &candidate{key: k, samples: []policy.Request{g.sample}}
	c.Seen = Seen{Roles: k.roles, Kind: k.kind, Class: k.class, Operation: k.operation, Does: string(k.does), Facts: k.facts(), Details: slices.Sorted(maps.Keys(g.details)),
		Count: g.count, Passed: g.passed, People: len(g.people), First: g.first.UTC(), Last: g.last.UTC(), Edits: []string{}}
	if k.connect {
		c.Operation = "connect"
	}
	for _, x := range g.examples {
		c.Examples = append(c.Examples, x.code)
	}
	c.Devices = slices.Sorted(maps.Keys(g.devices))
	c.Devices = c.Devices[:min(len(c.Devices), maxDevices)]
	person := k.kind == policy.KindUser || k.kind == policy.KindVendor
	for _, q := range []struct {
		holds bool
		why   string
	}{
		{!k.plain(), "it has a name that cannot be written down"},
		{k.callOut, "the device calls out"},
		{k.does == policy.ClassUnknown, "nobody knows what it does"},
		{k.does == policy.ClassWrite, "it writes"},
		{k.does == policy.ClassControl, "it controls the device"},
		{k.does == policy.ClassAdmin, "it configures the device"},
		{k.state != policy.StateActive, "the device was in state " + k.state},
		{g.count == 1, "seen once"},
		{g.count > 1 && len(g.people) == 1 && person && !c.opens(), "seen of one person only"},
		{g.count > 1 && g.odd == g.count, "seen at odd hours only"},
	} {
		if q.holds {
			c.Why = append(c.Why, q.why)
		}
	}
	return c
}

// facts are what the tables look at besides, in words.
func (k *seenKey) facts() []string {
	list := []string{}
	for _, f := range []struct{ name, value string }{{"calling AE title ", k.calls}, {"to ", k.destination}, {"SOP class ", k.sop}, {"", k.further}} {
		if f.value != "" {
			list = append(list, clip(line(f.name+f.value)))
		}
	}
	if k.calls != "" || k.destination != "" {
		list = append(list, "by "+k.kind+"/"+k.subject)
	}
	return list
}

// plain reports whether all that the group is named by can stand in a policy as it is.
func (k *seenKey) plain() bool {
	for _, s := range []string{k.roles, k.kind, k.class, k.protocol, k.direction, k.operation, string(k.does), k.subject, k.device, k.calls, k.sop, k.destination, k.further} {
		if s != line(s) || len(s) > 2*maxProposed {
			return false
		}
	}
	return true
}

// fit finds the fewest edits of the tables that permit c.
func (p *Proposal) fit(ctx context.Context, c *candidate) error {
	q := &c.samples[0]
	best := ""
	for _, role := range q.Subject.Roles {
		edits := p.possible(c, role)
		d, err := p.try(ctx, edits, q)
		if err != nil {
			return err
		}
		if !d.Allow {
			best = cmp.Or(best, d.Reason)
			continue
		}
		for _, e := range slices.Clone(edits) {
			fewer := slices.DeleteFunc(slices.Clone(edits), e.equal)
			if d, err := p.try(ctx, fewer, q); err != nil {
				return err
			} else if d.Allow {
				edits = fewer
			}
		}
		if c.Role == "" || len(edits) < len(c.edits) {
			c.Role, c.edits = role, edits
		}
	}
	tables := func(s Source) bool { return s.Name == tablesName }
	if len(c.edits) > 0 && !slices.ContainsFunc(p.learner.asks.policy.folder.data, tables) {
		c.Why = append(c.Why, "the policy's tables are not in "+tablesName)
	}
	if c.Role == "" {
		c.Why = append(c.Why, "no table permits it: "+cmp.Or(best, "no role"))
	}
	for _, e := range c.edits {
		if e.path[0] == "move_destinations" {
			c.Why = append(c.Why, "it sends images elsewhere")
		}
		c.Edits = append(c.Edits, e.String())
	}
	return nil
}

// possible are all edits that might permit c to a role, those that are least wanted first.
func (p *Proposal) possible(c *candidate, role string) (edits []tableEdit) {
	q := &c.samples[0]
	name := q.Subject.Kind + "/" + q.Subject.ID
	if to := c.key.destination; to != "" {
		edits = append(edits, tableEdit{[]string{"move_destinations", q.Device.ID}, to})
		own := func(o *candidate) bool {
			return o.key.calls == to && o.key.kind == c.key.kind && o.key.subject == c.key.subject
		}
		if slices.ContainsFunc(p.list, own) {
			edits = append(edits, tableEdit{[]string{"ae_titles", name}, to})
		}
	}
	if c.key.calls != "" {
		edits = append(edits, tableEdit{[]string{"ae_titles", name}, c.key.calls})
	}
	if c.key.protocol == "dicom" && !c.opens() {
		for _, s := range listedServices() {
			edits = append(edits, tableEdit{[]string{"dicom_services", role}, s})
		}
	}
	row := []string{"roles", role, q.Device.Class}
	if c.opens() {
		return append(edits, tableEdit{row, ""})
	}
	if c.key.direction == policy.Outbound {
		edits = append(edits, tableEdit{row, string(policy.ClassWrite)}, tableEdit{row, string(policy.ClassRead)})
	}
	if e := (tableEdit{row, string(c.key.does)}); c.key.does != policy.ClassUnknown && !slices.ContainsFunc(edits, e.equal) {
		edits = append(edits, e)
	}
	return edits
}

// try asks the policy with edits of its tables.
func (p *Proposal) try(ctx context.Context, edits []tableEdit, q *policy.Request) (policy.Decision, error) {
	name := fmt.Sprint(edits)
	e := p.engines[name]
	if e == nil {
		base := p.learner.asks.policy
		document, problems := readData(base.folder.data)
		if len(problems) > 0 {
			return policy.Decision{}, errors.New(problems[0].String())
		}
		for _, edit := range edits {
			if document[edit.path[0]] == nil {
				continue // a table that this policy does not have permits nothing
			}
			if _, err := edit.apply(document); err != nil {
				return policy.Decision{Reason: err.Error()}, nil
			}
		}
		e = &Engine{folder: base.folder, compiler: base.compiler, store: newStore(document), limit: base.limit}
		if err := e.prepare(); err != nil {
			return policy.Decision{}, fmt.Errorf("prepare policy: %w", err)
		}
		if len(p.engines) >= maxSeen {
			clear(p.engines)
		}
		p.engines[name] = e
	}
	d := e.evaluate(ctx, input(q), q.NowNs)
	return d, ctx.Err()
}

// shareTitles makes a question of an AE title that several subjects call from.
func (p *Proposal) shareTitles() {
	of := map[string]map[string]bool{}
	for _, c := range p.list {
		if c.key.calls == "" {
			continue
		}
		if of[c.key.calls] == nil {
			of[c.key.calls] = map[string]bool{}
		}
		of[c.key.calls][c.key.kind+"/"+c.key.subject] = true
	}
	for _, c := range p.list {
		if n := len(of[c.key.calls]); n > 1 {
			c.Why = append(c.Why, fmt.Sprintf("%d subjects call from this AE title", n))
		}
	}
}

// settle builds what is proposed until it permits exactly what is kept. Each round makes a
// rule of something or a question, so there is an end.
func (p *Proposal) settle(ctx context.Context) error {
	for {
		p.follow()
		if err := p.build(ctx); err != nil {
			return err
		}
		again, err := p.compare(ctx)
		if err != nil {
			return err
		}
		if !again {
			break
		}
	}
	slices.SortStableFunc(p.list, func(a, b *candidate) int { return -compareBool(a.Kept, b.Kept) })
	p.Groups = []Seen{}
	for _, c := range p.list {
		p.Groups = append(p.Groups, c.Seen)
	}
	return nil
}

// onlyOpened is why a session is a question of which nothing more is known.
const onlyOpened = "only its opening was seen; what else would be done is not known"

// follow keeps the opening of sessions in which something is kept, and only of those.
func (p *Proposal) follow() {
	for _, c := range p.list {
		row := slices.IndexFunc(c.edits, func(e tableEdit) bool { return e.path[0] == "roles" })
		if !c.opens() || row < 0 {
			continue
		}
		served := func(o *candidate) bool { return o.Kept && !o.opens() && o.Role == c.Role && o.key.class == c.key.class }
		c.Why = slices.DeleteFunc(c.Why, func(why string) bool { return why == onlyOpened })
		if !slices.ContainsFunc(p.list, served) {
			c.Why = append(c.Why, onlyOpened)
		} else if len(c.edits) == 1 {
			c.Why = nil // it takes no edit of its own
		}
		c.Kept = len(c.Why) == 0
	}
}

// compare asks the proposed policy about every group, and changes what it answers otherwise.
func (p *Proposal) compare(ctx context.Context) (changed bool, err error) {
	var allowed []*candidate // that are questions
	for _, c := range p.list {
		for i := range c.samples {
			q := &c.samples[i]
			d := p.engine.evaluate(ctx, input(q), q.NowNs)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			switch {
			case c.Kept && !d.Allow:
				p.doubt(c, "some of it would still be refused: "+d.Reason)
				changed = true
			case !c.Kept && d.Allow && c.opens() && !slices.ContainsFunc(c.edits, func(e tableEdit) bool { return e.path[0] != "roles" }):
				c.Kept, c.Why, changed = true, nil, true // whoever may do something there may open a session
			case !c.Kept && d.Allow && !slices.Contains(allowed, c):
				allowed = append(allowed, c)
			}
		}
	}
	if changed {
		return true, nil
	}
	for _, c := range allowed {
		if p.part(c) {
			changed = true
		}
	}
	if len(allowed) > 0 && !changed {
		return false, fmt.Errorf("propose: %s would be permitted, and nothing that is kept can be blamed", allowed[0].Operation)
	}
	return changed, nil
}

// doubt makes a question of c.
func (p *Proposal) doubt(c *candidate, why string) {
	c.Kept, c.Rule = false, false
	c.Why = append(c.Why, why)
}

// part has what is kept permitted without the question c: by a rule instead of the table, or
// else it is a question, too.
func (p *Proposal) part(c *candidate) (changed bool) {
	for _, o := range p.list {
		shared := func(e tableEdit) bool { return slices.ContainsFunc(c.edits, e.equal) }
		if !o.Kept || !slices.ContainsFunc(o.edits, shared) {
			continue
		}
		changed = true
		byTable := func(e tableEdit) bool { return e.path[0] == "roles" && shared(e) }
		if !o.Rule && !o.opens() && slices.ContainsFunc(o.edits, byTable) && p.canRule() {
			o.Rule = true
		} else {
			p.doubt(o, "no table permits it without "+c.Operation+", which is a question")
		}
	}
	if changed {
		return true
	}
	for _, o := range p.list { // edits of several together
		if o.Kept && len(o.edits) > 0 && o.Role == c.Role {
			p.doubt(o, "no table permits it without "+c.Operation+", which is a question")
			return true
		}
	}
	return false
}

// ruleNames are the shipped policy's names that a proposed rule uses.
var ruleNames = [...]string{"in_use", "unpatched", "known", "roles", "fits"}

func (p *Proposal) canRule() bool {
	for _, name := range ruleNames {
		if !p.learner.asks.policy.defines(name) {
			return false
		}
	}
	return true
}
