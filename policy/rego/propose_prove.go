package rego

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cordon/policy"
)

// Proof asks everything once more, of a policy as it is and as proposed. It is not for
// concurrent use: to share the work make one for each goroutine, and Join them.
type Proof struct {
	now, next *Replay
	proposal  *Proposal
	verdicts  map[seenKey]*candidate
	stray     map[seenKey][]policy.Request

	kept, apart, strays int64
	besides             map[besidesKey]*Besides
}

type besidesKey struct{ class, operation, roles string }

// Besides is what a proposal permits where nobody learned.
type Besides struct {
	Class     string   `json:"class"`
	Operation string   `json:"operation"`
	Roles     string   `json:"roles"`
	Count     int64    `json:"count"`
	Devices   []string `json:"devices"` // up to 20
	Example   string   `json:"example"` // a decision code

	devices map[string]bool
}

// Proven is what a Proof found.
type Proven struct {
	Kept    int64     `json:"kept"`    // decisions that are refused and would be permitted, as proposed
	Apart   int64     `json:"apart"`   // that are refused and would be, as proposed
	Besides []Besides `json:"besides"` // that are refused and would be permitted on other devices
}

const (
	maxStray   = 4 // kept of a group
	maxBesides = 64
)

// Proof begins a proof of p, which is not changed meanwhile.
func (p *Proposal) Proof() (*Proof, error) {
	r := &Proof{now: p.learner.asks.policy.NewReplay(nil), next: p.engine.NewReplay(nil), proposal: p, verdicts: map[seenKey]*candidate{}, stray: map[seenKey][]policy.Request{}, besides: map[besidesKey]*Besides{}}
	for _, c := range p.list {
		r.verdicts[c.key] = c
	}
	if access := p.learner.access; access != nil {
		return r, errors.Join(r.now.AccessBy(access), r.next.AccessBy(access))
	}
	return r, nil
}

// Add asks what rec records. It blocks for a second at most and does not keep rec. An error
// says that ctx ended.
func (r *Proof) Add(ctx context.Context, rec *Recorded) error {
	if r.now.read(rec) != "" || !r.next.under(&rec.Decision) {
		return nil
	}
	q := &r.now.request
	unlearn(q)
	was, err := r.now.ask(ctx, q)
	if err != nil || was.Allow || was.Cause == policy.CauseDoubt {
		return err
	}
	is, err := r.next.ask(ctx, q)
	if err != nil {
		return err
	}
	k := keyOfSeen(q)
	c := r.verdicts[k]
	if !r.proposal.learner.scope.Covers(q.Device.ID, q.Device.Class) {
		c = nil
	}
	switch {
	case c != nil && c.Kept == is.Allow && is.Allow:
		r.kept++
	case c != nil && c.Kept == is.Allow, c == nil && !is.Allow:
		r.apart++
	case c != nil:
		r.strays++
		if list := r.stray[c.key]; len(list) < maxStray {
			r.stray[c.key] = append(list, keep(q))
		}
	default:
		r.beside(q, rec.Code)
	}
	return nil
}

func (r *Proof) beside(q *policy.Request, code string) {
	k := besidesKey{strings.Clone(q.Device.Class), strings.Clone(q.Operation.Name), strings.Join(q.Subject.Roles, ", ")}
	if q.Phase == policy.PhaseConnect {
		k.operation = "connect"
	}
	if r.besides[k] == nil && len(r.besides) >= maxBesides {
		k = besidesKey{operation: "(any other)"}
	}
	b := r.besides[k]
	if b == nil {
		b = &Besides{Class: k.class, Operation: k.operation, Roles: strings.Clone(k.roles), Example: code, devices: map[string]bool{}}
		r.besides[k] = b
	}
	b.Count++
	note(b.devices, q.Device.ID, maxDevices)
}

// Join adds what other found, a proof of the same proposal by other entries.
func (r *Proof) Join(other *Proof) {
	r.kept += other.kept
	r.apart += other.apart
	r.strays += other.strays
	for k, list := range other.stray {
		r.stray[k] = append(r.stray[k], list...)
	}
	for k, o := range other.besides {
		if b := r.besides[k]; b == nil {
			r.besides[k] = o
		} else {
			b.Count += o.Count
			maps.Copy(b.devices, o.devices)
		}
	}
}

// Result returns what was found. ok is false if something was answered otherwise than its
// group: then Revise has to be called, and the proof to be made again.
func (r *Proof) Result() (found Proven, ok bool) {
	found = Proven{Kept: r.kept, Apart: r.apart, Besides: []Besides{}}
	for _, b := range r.besides {
		b.Devices = slices.Sorted(maps.Keys(b.devices))
		b.Devices = b.Devices[:min(len(b.Devices), maxDevices)]
		found.Besides = append(found.Besides, *b)
	}
	slices.SortFunc(found.Besides, func(a, b Besides) int {
		return strings.Compare(a.Class+"\x00"+a.Operation+"\x00"+a.Roles, b.Class+"\x00"+b.Operation+"\x00"+b.Roles)
	})
	return found, r.strays == 0
}

// Revise takes into account what a proof found to be answered otherwise than its group.
func (p *Proposal) Revise(ctx context.Context, r *Proof) error {
	for _, c := range p.list {
		c.samples = append(c.samples, r.stray[c.key]...)
	}
	return p.settle(ctx)
}

// Finish runs the tests of what is proposed: the new ones, and those the policy has. The table
// in which the shipped tests write out what every role is permitted follows. A test that still
// says otherwise is set aside: a person has to look at it. It blocks for as long as the tests take.
func (p *Proposal) Finish(ctx context.Context) error {
	p.SetAside = []string{}
	f := p.engine.folder
	results, err := f.test(ctx, "")
	if err != nil {
		return err
	}
	if results.Failed() > 0 && p.writeOut(f) {
		if results, err = f.test(ctx, ""); err != nil {
			return err
		}
	}
	for _, r := range results {
		if r.Passed || r.Skipped {
			continue
		}
		i := slices.IndexFunc(f.tests, func(s Source) bool { return s.Name == r.File })
		name := r.Name[strings.LastIndexByte(r.Name, '.')+1:]
		if i < 0 || f.tests[i].Name == p.testFile() {
			return fmt.Errorf("propose: test %s of the proposal fails: %s", name, r.Message)
		}
		head := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `\b`)
		f.tests[i].Text = head.ReplaceAllLiteral(f.tests[i].Text, []byte("# It says otherwise than what was learned: change one of them.\ntodo_"+name))
		p.SetAside = append(p.SetAside, fmt.Sprintf("%s:%d %s", r.File, r.Line, name))
	}
	p.Sources = slices.Concat(f.rules, f.data, f.tests, []Source{{"input.schema.json", []byte(inputSchema)}, {"QUESTIONS.md", p.questions()}})
	slices.SortFunc(p.Sources, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// writeOut changes the table "expected" of the shipped tests, a line for each role and device class:
// that is where a permission is written out a second time. It reports whether it did.
func (p *Proposal) writeOut(f *folder) (changed bool) {
	for i, s := range f.tests {
		text := s.Text
		for _, e := range p.tables() {
			if len(e.path) == 3 && e.path[0] == "roles" {
				text = expectMore(text, e.path[1]+" "+e.path[2], e.value)
			}
		}
		changed = changed || !bytes.Equal(text, s.Text)
		f.tests[i].Text = text
	}
	return changed
}

// expectMore adds a class of operation to a row of the table.
func expectMore(text []byte, row, class string) []byte {
	head := []byte("\nexpected := {\n")
	begin := bytes.Index(text, head)
	if begin < 0 {
		return text
	}
	begin += len(head)
	end := bytes.Index(text[begin:], []byte("\n}"))
	if end < 0 {
		return text
	}
	table := text[begin : begin+end]
	line := regexp.MustCompile(`(?m)^\t` + regexp.QuoteMeta(quote(row)) + `: \{([^{}\n]*)\},$`)
	m := line.FindSubmatchIndex(table)
	switch {
	case m == nil:
		more := "\t" + quote(row) + `: {"session"`
		if class != "" {
			more += ", " + quote(class)
		}
		return slices.Concat(text[:begin], []byte(more+"},\n"), text[begin:])
	case class == "" || bytes.Contains(table[m[2]:m[3]], []byte(quote(class))):
		return text
	}
	at := begin + m[3]
	return slices.Concat(text[:at], []byte(", "+quote(class)), text[at:])
}
