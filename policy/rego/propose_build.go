package rego

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// tablesName is the file that the proposal edits.
const tablesName = "data.yaml"

// Bounds of what is written for a person to read; the report has all of it.
const (
	maxNotes    = 6   // comment lines above one edit
	maxApart    = 100 // questions in the tables, as comments
	maxSamples  = 300 // tests
	maxMarkdown = 500 // groups in QUESTIONS.md
)

// build writes the proposed folder, and makes an engine of it.
func (p *Proposal) build(ctx context.Context) error {
	base := p.learner.asks.policy.folder
	f := &folder{rules: slices.Clone(base.rules), tests: slices.Clone(base.tests), data: slices.Clone(base.data)}
	if err := p.editTables(f); err != nil {
		return err
	}
	if text := p.rules(); text != nil {
		f.rules = append(f.rules, Source{p.file("") + ".rego", text})
	}
	f.sort()
	e, err := newEngine(f, "")
	if err != nil {
		return fmt.Errorf("propose: %w", err)
	}
	e.limit = p.learner.asks.policy.limit
	p.engine = e
	if text := p.tests(ctx); text != nil {
		f.tests = append(f.tests, Source{p.testFile(), text})
		f.sort()
	}
	return nil
}

// file is a name for the proposal's own files that the policy does not have yet: a policy may
// be learned more than once.
func (p *Proposal) file(more string) string {
	base := p.learner.asks.policy.folder
	name := "learned"
	for n := 2; ; n++ {
		taken := func(s Source) bool { return s.Name == name+".rego" || s.Name == name+"_test.rego" }
		if !slices.ContainsFunc(base.rules, taken) && !slices.ContainsFunc(base.tests, taken) {
			return name + more
		}
		name = fmt.Sprintf("learned_%d", n)
	}
}

func (p *Proposal) testFile() string { return p.file("_test.rego") }

// tables are the edits of what is kept, each once, sorted.
func (p *Proposal) tables() (edits []tableEdit) {
	for _, c := range p.list {
		for _, e := range c.takes() {
			if c.Kept && !slices.ContainsFunc(edits, e.equal) {
				edits = append(edits, e)
			}
		}
	}
	filled := func(e tableEdit) bool {
		return e.value == "" && slices.ContainsFunc(edits, func(o tableEdit) bool { return o.value != "" && slices.Equal(o.path, e.path) })
	}
	edits = slices.DeleteFunc(slices.Clone(edits), filled)
	slices.SortFunc(edits, func(a, b tableEdit) int {
		if by := slices.Compare(a.path, b.path); by != 0 {
			return by
		}
		return strings.Compare(a.value, b.value)
	})
	return edits
}

// takes are the edits that c needs beside its rule, if it has one: that opens no session.
func (c *candidate) takes() []tableEdit {
	if !c.Rule {
		return c.edits
	}
	var edits []tableEdit
	for _, e := range c.edits {
		if e.path[0] == "roles" {
			e.value = ""
		}
		edits = append(edits, e)
	}
	return edits
}

// editTables makes the edits in data.yaml, says above each what was seen, and puts the questions there
// as comments.
func (p *Proposal) editTables(f *folder) error {
	at := slices.IndexFunc(f.data, func(s Source) bool { return s.Name == tablesName })
	edits := p.tables()
	if at < 0 {
		if len(edits) > 0 {
			return fmt.Errorf("propose: the policy has no %s to edit", tablesName)
		}
		return nil
	}
	text := f.data[at].Text
	for _, e := range edits {
		var notes []string
		for _, c := range p.list {
			if c.Kept && slices.ContainsFunc(c.takes(), e.equal) {
				notes = append(notes, c.note("learned "+p.day))
			}
		}
		if more := len(notes) - maxNotes; more > 0 {
			notes = append(notes[:maxNotes], fmt.Sprintf("and %d more: see QUESTIONS.md", more))
		}
		var err error
		if text, err = e.write(text, notes...); err != nil {
			return fmt.Errorf("propose: %w", err)
		}
	}
	document, problem := parseYAML(text)
	if problem != nil {
		return fmt.Errorf("propose: %s", problem.Message)
	}
	apart := 0
	for _, c := range slices.Backward(p.list) { // each goes above those that are there
		if c.Kept || len(c.edits) == 0 || slices.Contains(c.Why, onlyOpened) {
			continue
		}
		if apart++; apart > maxApart {
			break
		}
		notes := []string{c.note("QUESTION (" + strings.Join(c.Why, ", ") + ")")}
		for _, e := range c.edits {
			notes = append(notes, proposedLines(document, e)...)
		}
		text = noteBelow(text, c.edits[len(c.edits)-1].path, notes)
	}
	f.data[at].Text = text
	return nil
}

// proposedLines are what the file would say after an edit that is a question.
func proposedLines(document map[string]any, e tableEdit) []string {
	var at any = document
	for i, name := range e.path {
		m, _ := at.(map[string]any)
		if len(m) == 0 && i > 0 { // it stands there as {}
			return lines(0, e.path[i-1:], e.value, nil)
		}
		if m[name] == nil {
			return lines(0, e.path[i:], e.value, nil)
		}
		at = m[name]
	}
	list, _ := at.([]any)
	var values []string
	for _, v := range list {
		values = append(values, yamlText(fmt.Sprint(v)))
	}
	if e.value != "" {
		values = append(values, yamlText(e.value))
	}
	return []string{yamlText(e.path[len(e.path)-1]) + ": [" + strings.Join(values, ", ") + "]"}
}

// note tells of c in a line.
func (c *candidate) note(head string) string {
	what := []string{c.Operation}
	what = append(what, c.Facts...)
	return line(fmt.Sprintf("%s: %s, %s", head, strings.Join(what, ", "), c.evidence()))
}

// evidence is how often c was seen, of how many, when, and where to look.
func (c *candidate) evidence() string {
	times, by := "once", ""
	if c.Count > 1 {
		times = fmt.Sprintf("%d times", c.Count)
		by = fmt.Sprintf(" by %d", c.People)
	}
	when := c.First.Local().Format(time.DateOnly)
	if last := c.Last.Local().Format(time.DateOnly); last != when {
		when += " to " + last
	}
	return fmt.Sprintf("%s%s, %s, as %s", times, by, when, strings.Join(c.Examples, " "))
}

// quote writes a string for Rego.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // never: a string has a JSON form
	}
	return string(b)
}

// rules are those that say what the tables cannot without saying more; nil if there are none.
func (p *Proposal) rules() []byte {
	var b strings.Builder
	for _, c := range p.list {
		if !c.Kept || !c.Rule {
			continue
		}
		fmt.Fprintf(&b, "\n# %s\nallow if {\n\tinput.phase == \"operation\"\n\tin_use\n\tunpatched\n\tknown\n", c.note("Learned "+p.day))
		fmt.Fprintf(&b, "\t%s in roles\n\tinput.device.class == %s\n\tinput.session.direction == %s\n", quote(c.Role), quote(c.key.class), quote(c.key.direction))
		fmt.Fprintf(&b, "\tinput.operation.name == %s\n\tinput.operation.class == %s\n", quote(c.key.operation), quote(c.Does))
		if c.key.sop != "" {
			fmt.Fprintf(&b, "\tinput.operation.attributes.sop_class_uid == %s\n", quote(c.key.sop))
		}
		fmt.Fprintf(&b, "\tfits(%s)\n}\n", quote(c.Role))
	}
	if b.Len() == 0 {
		return nil
	}
	return []byte("# Operations that were seen and are permitted by name: the tables in data.yaml would permit\n# others with them, which are questions.\npackage cordon\n" + b.String())
}

// tests hold the proposal to what was seen: what is kept is allowed, what is set apart is not.
func (p *Proposal) tests(ctx context.Context) []byte {
	name, _ := strings.CutSuffix(p.testFile(), ".rego")
	var b strings.Builder
	n := 0
	for _, c := range p.list {
		sample := p.reduce(c)
		if n >= maxSamples || !c.key.plain() || !p.holds(ctx, c, &sample) {
			continue
		}
		n++
		head, what, not := "test_kept", "", ""
		if !c.Kept {
			head, what, not = "test_apart", "Set apart ("+strings.Join(c.Why, ", ")+"): ", "not "
		}
		fmt.Fprintf(&b, "\n# %s\n%s_%d if {\n\t%scordon.allow with input as %s\n}\n", line(what+c.note(strings.Join([]string{c.Roles, c.Class}, " on "))), head, n, not, spaced(sample.AppendJSON(nil)))
	}
	if n == 0 {
		return nil
	}
	return []byte("# What was seen and refused, as the policy is asked, as far as it looks at it. Who allows what was\n# set apart deletes its test.\npackage cordon_" + name + "\n\nimport data.cordon\n" + b.String())
}

// spaced puts spaces into JSON, behind the colons and commas that are not in strings.
func spaced(b []byte) []byte {
	var out []byte
	inText := false
	for i, c := range b {
		out = append(out, c)
		if c == '"' && (i == 0 || b[i-1] != '\\') {
			inText = !inText
		}
		if !inText && (c == ':' || c == ',') {
			out = append(out, ' ')
		}
	}
	return out
}

// holds reports whether a reduced sample is answered as its group: refused before, and now
// only if it is set apart.
func (p *Proposal) holds(ctx context.Context, c *candidate, q *policy.Request) bool {
	was, is := p.learner.asks.policy.evaluate(ctx, input(q), q.NowNs), p.engine.evaluate(ctx, input(q), q.NowNs)
	return !was.Allow && was.Cause == policy.CausePolicy && is.Allow == c.Kept && is.Cause == policy.CausePolicy
}

// told are attributes that may be written into a policy: they name no patient.
var told = [...]string{"abstract_syntax", "address", "address_end", "anomalies", "called_ae", "calling_ae", "function", "move_destination", "qos", "quantity", "read_address", "read_address_end",
	"read_quantity", "retain", "scp_role", "sop_class_uid", "sub_function", "table", "transfer_syntax", "unit", "values", "will_retain", "within"}

// reduce leaves of a sample what the policy looks at, and of that what may be written down.
func (p *Proposal) reduce(c *candidate) policy.Request {
	full, plan := &c.samples[0], &p.engine.verdict.key
	q := policy.Request{Phase: full.Phase, NowNs: 1}
	q.Subject = policy.Subject{ID: "someone", Kind: full.Subject.Kind, Roles: full.Subject.Roles, Groups: []string{}}
	if c.key.subject != "" || c.key.callOut {
		q.Subject.ID = full.Subject.ID
	}
	if plan.reads(leafSubjectGroups) {
		q.Subject.Groups = full.Subject.Groups
	}
	q.Subject.MFA = full.Subject.MFA && plan.reads(leafSubjectMFA)
	q.Device = policy.Device{ID: full.Device.ID, Class: full.Device.Class, Profile: full.Device.Profile, Segment: full.Device.Segment, State: full.Device.State, Labels: map[string]string{}}
	for _, part := range plan.parts {
		if v, ok := full.Device.Labels[part.name]; ok && part.leaf == leafLabel {
			q.Device.Labels[part.name] = v
		}
	}
	q.Service = full.Service
	q.Session = policy.Session{ID: "s", Direction: full.Session.Direction, TLS: full.Session.TLS}
	q.Operation = policy.Operation{Name: full.Operation.Name, Class: full.Operation.Class}
	for _, a := range full.Operation.Attributes {
		read := slices.Contains(plan.parts, part{leafAttribute, a.Name}) || slices.Contains(plan.parts, part{leaf: leafOperationAttributes})
		if s, _ := a.Value.(string); read && slices.Contains(told[:], a.Name) && len(s) <= maxProposed {
			q.Operation.Attributes.Set(a.Name, a.Value)
		}
	}
	if list, ok := full.Operation.Attributes.Get("filters").([]string); ok && slices.Contains(list, "#") {
		q.Operation.Attributes.Set("filters", []string{"#"})
	}
	return q
}
