package rego

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// heard makes records of one kind of operation: count of them, by people in turn, an hour apart
// from ten in the morning on.
type heard struct {
	operation, does, role, kind, device, class, protocol, direction, state string
	count, people                                                          int
	facts                                                                  policy.Attributes
	hour                                                                   int
	allowed                                                                bool // in learning mode
}

func (a heard) records(from int) (list []Recorded) {
	for i := range a.count {
		r := request(a.role)
		r.Subject.Kind, r.Subject.ID = a.kind, fmt.Sprintf("%s.%d", a.role, i%a.people)
		if a.kind == policy.KindDevice {
			r.Subject.ID = a.device
		}
		r.Device.ID, r.Device.Class, r.Device.State = a.device, a.class, policy.StateActive
		if a.state != "" {
			r.Device.State = a.state
		}
		if a.allowed {
			r.Device.State = policy.StateLearning
		}
		r.Service.Protocol = a.protocol
		if a.direction != "" {
			r.Session.Direction = a.direction
		}
		r.Operation.Name, r.Operation.Class = a.operation, policy.Class(a.does)
		if a.operation == "" {
			r.Phase, r.Operation = policy.PhaseConnect, policy.Operation{}
		}
		for _, x := range a.facts {
			r.Operation.Attributes.Set(x.Name, x.Value)
		}
		rec := recorded(int64(from+i), r, a.allowed)
		rec.Time = time.Date(2026, 11, 16, 10+a.hour, 0, 0, 0, time.Local).Add(time.Duration(i) * 24 * time.Hour)
		list = append(list, rec)
	}
	return list
}

func odd(t time.Time) bool { return t.Hour() < 6 || t.Hour() >= 22 }

// learn makes a proposal of what was asked, and proves it with the same records.
func learn(t testing.TB, e *Engine, scope Scope, list ...heard) (*Proposal, Proven) {
	t.Helper()
	scope.Odd = odd
	var records []Recorded
	for _, a := range list {
		records = append(records, a.records(len(records))...)
	}
	parts := []*Learner{e.NewLearner(scope), e.NewLearner(scope), e.NewLearner(scope)}
	for i := range records {
		if err := parts[i%len(parts)].Add(t.Context(), &records[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range parts[1:] {
		parts[0].Join(other)
	}
	p, err := parts[0].Propose(t.Context(), time.Date(2026, 11, 30, 0, 0, 0, 0, time.Local))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		proof, err := p.Proof()
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			if err := proof.Add(t.Context(), &records[i]); err != nil {
				t.Fatal(err)
			}
		}
		found, ok := proof.Result()
		if ok {
			if err := p.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p, found
		}
		if err := p.Revise(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there is no end to revising")
	return nil, Proven{}
}

// unpack writes a proposal to a folder of its own and loads it, as its user does.
func unpack(t testing.TB, p *Proposal) *Engine {
	t.Helper()
	dir := t.TempDir()
	for _, s := range p.Sources {
		if err := os.WriteFile(filepath.Join(dir, s.Name), s.Text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	results, err := Test(t.Context(), dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.source("data.yaml"))
	}
	for _, r := range results {
		if !r.Passed && !r.Skipped {
			t.Errorf("%s of the proposal fails: %s", r.Name, r.Message)
		}
	}
	return patient(t, dir)
}

func (p *Proposal) source(name string) string {
	for _, s := range p.Sources {
		if s.Name == name {
			return string(s.Text)
		}
	}
	return ""
}

func TestPropose(t *testing.T) {
	title := func(s string) policy.Attributes { return policy.Attributes{{Name: "calling_ae", Value: s}} }
	sop := func(uid string) policy.Attributes { return policy.Attributes{{Name: "sop_class_uid", Value: uid}} }
	alarm := heard{operation: "hl7:ORU^R40", does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 6, people: 3}
	opened := heard{role: "physician", kind: "user", device: "pump-1", class: "pump/syringe", protocol: "hl7", count: 4, people: 2}
	query := heard{operation: "hl7:QRY^A19", does: "query", role: "physician", kind: "user", device: "pump-1", class: "pump/syringe", protocol: "hl7", count: 4, people: 2}
	with := func(a heard, change func(*heard)) heard { change(&a); return a }
	for _, c := range []struct {
		name  string
		asked []heard
		kept  string // operations, sorted
		why   string // in the first question
		data  string // in the tables afterwards
		rule  string // in learned.rego
		aside bool   // a test of the policy says otherwise
	}{
		{"alarms", []heard{alarm}, "hl7:ORU^R40", "", "  physician:\n    imaging/*: [read, query, write]\n    monitor/*: [read, query, write]\n    # learned 2026-11-30: hl7:ORU^R40, 6 times by 3, 2026-11-16 to 2026-11-21, as C-0 C-1 C-2\n    monitor/bedside: [notify]\n  nurse:", "", false},
		{"seen while learning", []heard{with(alarm, func(a *heard) { a.allowed = true })}, "hl7:ORU^R40", "", "monitor/bedside: [notify]", "", false},
		{"once", []heard{with(alarm, func(a *heard) { a.count = 1 })}, "", "seen once", "    # QUESTION (seen once): hl7:ORU^R40, once, 2026-11-16, as C-0\n    # monitor/bedside: [notify]\n", "", false},
		{"one person", []heard{with(alarm, func(a *heard) { a.people = 1 })}, "", "seen of one person only", "", "", false},
		{"at night", []heard{with(alarm, func(a *heard) { a.hour = 13 })}, "", "seen at odd hours only", "", "", false},
		{"writes", []heard{with(alarm, func(a *heard) { a.does = "write"; a.role = "nurse"; a.operation = "hl7:ORU^R01" })}, "", "it writes", "    # monitor/bedside: [write]\n", "", false},
		{"control", []heard{with(alarm, func(a *heard) { a.does = "control" })}, "", "it controls the device", "    # monitor/bedside: [control]\n", "", false},
		{"configuration", []heard{with(alarm, func(a *heard) { a.does = "admin" })}, "", "it configures the device", "", "", false},
		{"unknown", []heard{with(alarm, func(a *heard) { a.does = "unknown" })}, "", "nobody knows what it does", "", "", false},
		{"in maintenance", []heard{with(alarm, func(a *heard) { a.state = "maintenance" })}, "", "the device was in state maintenance", "", "", false},
		{"a role nobody knows", []heard{with(alarm, func(a *heard) { a.role = "porter" })}, "", "no table permits it: a user cannot act in role porter", "", "", false},
		{"another's role", []heard{with(alarm, func(a *heard) { a.kind = "service" })}, "", "no table permits it: a service cannot act", "", "", false},
		{"opened only", []heard{opened}, "", onlyOpened, "", "", false},
		{"opened and asked", []heard{opened, query}, "connect hl7:QRY^A19", "", "pump/syringe: [query]", "", false},
		{"opened once and asked", []heard{with(opened, func(a *heard) { a.count = 1 }), query}, "connect hl7:QRY^A19", "", "pump/syringe: [query]", "", false},
		{"one kept, another of its class not", []heard{query, with(query, func(a *heard) { a.operation, a.count = "hl7:QBP^Q11", 1 })}, "hl7:QRY^A19", "seen once", "pump/syringe: []", `input.operation.name == "hl7:QRY^A19"`, false},
		{"calls out", []heard{with(alarm, func(a *heard) {
			a.role, a.kind, a.device, a.direction, a.does, a.people = "device", "device", "mon-7", "outbound", "query", 1
		})}, "", "the device calls out", "", "", false},
		{"what an analyser sends", []heard{{operation: "astm:R", does: "write", role: "nurse", kind: "user", device: "gas-1", class: "analyser/blood-gas", protocol: "astm", direction: "outbound", count: 5, people: 2}}, "", "it writes", "# analyser/blood-gas: [read]", "", false},
		{"an AE title", []heard{{operation: "dicom:A-ASSOCIATE", does: "session", role: "radiologist", kind: "user", device: "ct-1", class: "imaging/ct", protocol: "dicom", count: 3, people: 1, facts: title("KIM-WS")}},
			"dicom:A-ASSOCIATE", "", "  user/radiologist.0: [KIM-WS]\n", "", false},
		{"an AE title of two", []heard{{operation: "dicom:A-ASSOCIATE", does: "session", role: "radiologist", kind: "user", device: "ct-1", class: "imaging/ct", protocol: "dicom", count: 4, people: 2, facts: title("WS")}},
			"", "2 subjects call from this AE title", "", "", false},
		{"a DICOM service", []heard{{operation: "dicom:C-FIND", does: "query", role: "radiologist", kind: "user", device: "ct-1", class: "imaging/ct", protocol: "dicom", count: 5, people: 2, facts: sop("1.2.840.10008.5.1.4.31")}},
			"dicom:C-FIND", "", "radiologist: [find, move, get, store, commit, print, worklist]", "", true},
		{"images elsewhere", []heard{{operation: "dicom:C-MOVE", does: "read", role: "radiologist", kind: "user", device: "ct-1", class: "imaging/ct", protocol: "dicom", count: 5, people: 2, facts: policy.Attributes{{Name: "move_destination", Value: "ROOM"}}}},
			"", "it sends images elsewhere", "# move_destinations:\n#   ct-1: [ROOM]\n", "", false},
		{"an unreadable query", []heard{{operation: "dicom:C-FIND", does: "query", role: "radiologist", kind: "user", device: "ct-1", class: "imaging/ct", protocol: "dicom", count: 5, people: 2, facts: policy.Attributes{{Name: "anomalies", Value: []string{"head_unreadable"}}}}},
			"", "no table permits it: the data set cannot be read", "", "", false},
		{"a patch", []heard{with(query, func(a *heard) {
			a.device, a.class, a.operation = "mon-9", "monitor/bedside", "hl7:QBP^Q11"
			a.role = "nurse"
			a.facts = nil
			a.protocol = "http"
		})}, "", "", "", "", false},
		{"every topic", []heard{{operation: "mqtt:SUBSCRIBE", does: "read", role: "interface-engine", kind: "service", device: "gas-1", class: "analyser/blood-gas", protocol: "mqtt", count: 5, people: 2, facts: policy.Attributes{{Name: "filters", Value: []string{"#"}}}}},
			"", "no table permits it: a subscription to every topic", "", "", false},
		{"permitted already", []heard{with(query, func(a *heard) { a.class = "monitor/bedside" })}, "", "", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := untested(t)
			if c.name == "alarms" || c.name == "a DICOM service" || c.name == "one kept, another of its class not" {
				dir = shippedDir(t)
			}
			p, found := learn(t, patient(t, dir), Scope{}, c.asked...)
			var kept []string
			why, refused, permitted := "", int64(0), int64(0)
			for _, g := range p.Groups {
				if g.Kept {
					kept = append(kept, g.Operation)
					permitted += g.Count
				} else {
					refused += g.Count
					why = firstLine(why, strings.Join(g.Why, "; "))
				}
			}
			slices.Sort(kept)
			if got := strings.Join(kept, " "); got != c.kept {
				t.Errorf("kept %q, want %q: %+v", got, c.kept, p.Groups)
			}
			if !strings.Contains(why, c.why) {
				t.Errorf("a question because of %q, want %q", why, c.why)
			}
			if !strings.Contains(p.source("data.yaml"), c.data) {
				t.Errorf("%q is not in\n%s", c.data, p.source("data.yaml"))
			}
			if rules := p.source("learned.rego"); !strings.Contains(rules, c.rule) || c.rule == "" && rules != "" {
				t.Errorf("%q is not in\n%s", c.rule, rules)
			}
			if found.Kept != permitted || found.Apart != refused || len(found.Besides) != 0 {
				t.Errorf("the proof is %+v, want %d and %d", found, permitted, refused)
			}
			next := unpack(t, p)
			if d := Diff(p.learner.asks.policy, next); c.kept == "" && len(d.Rules)+len(d.Data) > 0 {
				t.Errorf("nothing is kept, and the policy differs: %+v", d)
			}
			if len(p.SetAside) > 0 != c.aside {
				t.Errorf("set aside: %v", p.SetAside)
			}
		})
	}
}

// untested is the shipped policy without its tests, which take seconds.
func untested(t *testing.T) string {
	t.Helper()
	dir := shippedDir(t)
	tests, err := filepath.Glob(filepath.Join(dir, "*_test.rego"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests in %s (%v)", dir, err)
	}
	for _, name := range tests {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func firstLine(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestProposeNamesNobody looks for what the record says of patients, and for what a client may write
// to be taken for something else.
func TestProposeNamesNobody(t *testing.T) {
	evil := "hl7:X\n# y\nallow := true\n```\nroles: {nurse: {\"*\": [control]}}\u202e"
	facts := policy.Attributes{{Name: "patient_id", Value: "PAT-4711"}, {Name: "path", Value: "/fhir/Patient/PAT-4711"}, {Name: "topic", Value: "ward/PAT-4711/hr"}, {Name: "calling_ae", Value: "PAT-4711"}}
	p, _ := learn(t, patient(t, untested(t)), Scope{},
		heard{operation: evil, does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 5, people: 2, facts: facts[:3]},
		heard{operation: evil, does: "query", role: "physician", kind: "user", device: "mon-7", class: "pump/x", protocol: "hl7", count: 5, people: 2, facts: facts[:3]},
		heard{operation: "hl7:Y", does: "query", role: "physician", kind: "user", device: "mon-7", class: "pump/x", protocol: "hl7", count: 1, people: 1, facts: facts[:3]},
		heard{operation: "mqtt:PUBLISH", does: "write", role: "nurse", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "mqtt", count: 5, people: 2, facts: facts[:3]})
	for _, s := range p.Sources {
		if bytes.Contains(s.Text, []byte("4711")) || bytes.Contains(s.Text, []byte("nurse.1")) || bytes.Contains(s.Text, []byte("MSG00001")) {
			t.Errorf("%s tells of a person:\n%s", s.Name, s.Text)
		}
		if bytes.Contains(s.Text, []byte("\nallow := true")) || bytes.Contains(s.Text, []byte("\u202e")) || bytes.Contains(s.Text, []byte("\n```")) {
			t.Errorf("%s says what a client wrote:\n%s", s.Name, s.Text)
		}
	}
	next := unpack(t, p)
	if d := Diff(p.learner.asks.policy, next); len(d.Data)+len(d.Rules) > 0 {
		t.Errorf("%+v", d)
	}
}

// TestProposeBeside finds what a proposal permits where nobody learned.
func TestProposeBeside(t *testing.T) {
	alarm := heard{operation: "hl7:ORU^R40", does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 6, people: 3}
	other := alarm
	other.device, other.count, other.people = "mon-8", 2, 1
	p, found := learn(t, patient(t, untested(t)), Scope{Device: "mon-7"}, alarm, other)
	if p.Recorded != 6 || len(p.Groups) != 1 || found.Kept != 6 || len(found.Besides) != 1 || found.Besides[0].Count != 2 || !slices.Equal(found.Besides[0].Devices, []string{"mon-8"}) {
		t.Errorf("%+v %+v", p, found)
	}
	for _, c := range []struct {
		scope Scope
		want  bool
	}{{Scope{}, true}, {Scope{Class: "monitor/*"}, true}, {Scope{Class: "monitor/bedside"}, true}, {Scope{Class: "mon/*"}, false}, {Scope{Class: "monitor"}, false}, {Scope{Device: "mon-8"}, false}} {
		if got := c.scope.Covers("mon-7", "monitor/bedside"); got != c.want {
			t.Errorf("%+v covers it: %v", c.scope, got)
		}
	}
}

// TestProposeDiffers learns under a policy in which answers depend on what groups do not tell
// apart: what is answered otherwise than the rest of its group makes the group a question.
func TestProposeDiffers(t *testing.T) {
	dir := untested(t)
	rule := "package cordon\n\nunpatched if 1 == 2\n\npatched contains \"nights\" if input.subject.id == \"physician.1\"\n"
	if err := os.WriteFile(filepath.Join(dir, "site.rego"), []byte(rule), 0o644); err != nil {
		t.Fatal(err)
	}
	alarm := heard{operation: "hl7:ORU^R40", does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 6, people: 3}
	p, found := learn(t, patient(t, dir), Scope{}, alarm)
	if len(p.Groups) != 1 || p.Groups[0].Kept || found.Kept != 0 || found.Apart != 6 {
		t.Errorf("%+v %+v", p.Groups, found)
	}
}

// TestProposeOtherPolicies proposes nothing for a policy that has no tables of the shipped form.
func TestProposeOtherPolicies(t *testing.T) {
	alarm := heard{operation: "hl7:ORU^R40", does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 6, people: 3}
	for name, files := range map[string]map[string]string{
		"no tables": {"p.rego": nurses},
		"JSON":      {"p.rego": "package cordon\n\nallow if input.operation.class in data.roles[input.subject.roles[0]][input.device.class]\n", "data.json": `{"roles": {"nurse": {}}}`},
		"no lists":  {"p.rego": "package cordon\n\nallow if data.roles[input.subject.roles[0]]\n", "data.yaml": "roles: {physician: false}\n"},
	} {
		p, _ := learn(t, load(t, files), Scope{}, alarm)
		if len(p.Groups) != 1 || p.Groups[0].Kept {
			t.Errorf("%s: %+v", name, p.Groups)
		}
		unpack(t, p)
	}
}

// TestLearnBounds sees more kinds of operations than are gathered.
func TestLearnBounds(t *testing.T) {
	l := patient(t, shippedDir(t)).NewLearner(Scope{})
	for i := range maxSeen + 10 {
		a := heard{operation: fmt.Sprintf("hl7:X%d", i), does: "notify", role: "physician", kind: "user", device: "mon-7", class: "monitor/bedside", protocol: "hl7", count: 1, people: 1}
		if err := l.Add(t.Context(), &a.records(i)[0]); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.groups) != maxSeen || l.further != 10 || l.refused != maxSeen+10 {
		t.Errorf("%d groups, %d further, %d refused", len(l.groups), l.further, l.refused)
	}
}
