package rego

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cordon/policy"
)

// TestLeafPaths holds the table of leaves to the JSON form of a request.
func TestLeafPaths(t *testing.T) {
	var want []string
	var walk func(reflect.Type, string)
	walk = func(s reflect.Type, under string) {
		for i := range s.NumField() {
			f := s.Field(i)
			at := under + f.Tag.Get("json")
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, at+".")
			} else {
				want = append(want, at)
			}
		}
	}
	walk(reflect.TypeFor[policy.Request](), "")
	got := slices.Clone(leafPaths[:])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("leaves  %v\nrequest %v", got, want)
	}
}

// TestReads finds what each kind of rule reads.
func TestReads(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{`allow if input.subject.mfa`, "subject.mfa"},
		{`allow if "nurse" in input.subject.roles`, "subject.roles"},
		{`allow if input.subject.roles[0] == "nurse"`, "subject.roles"},
		{`allow if input.subject.roles[_] == input.device.class`, "device.class subject.roles"},
		{`allow if { s := input.subject; s.id == "x" }`, "subject"},
		{`allow if { s := input; s.subject.id == "x" }`, "(all)"},
		{`allow if count(input) > 3`, "(all)"},
		{`allow if { some k; input[k] == 7 }`, "(all)"},
		{`allow if { k := "subject"; input[k].id == "x" }`, "(all)"},
		{`allow if input.operation.attributes.a == "x"`, "operation.attributes.a"},
		{`allow if input.operation.attributes["b c"] == "x"`, "operation.attributes.b c"},
		{`allow if { k := "a"; input.operation.attributes[k] == "x" }`, "operation.attributes"},
		{`allow if input.operation.attributes[input.service.name] == "x"`, "operation.attributes service.name"},
		{`allow if input.operation.attributes.a.b[input.session.id]`, "operation.attributes.a.b session.id"},
		{`allow if not input.subject.mfa`, "subject.mfa"},
		{`allow if count([r | some r in input.subject.roles; r != input.session.tls]) > 1`, "session.tls subject.roles"},
		{`allow if {x | x := input.device.id} == {"a"}`, "device.id"},
		{`allow if {k: v | some k, v in input.device.labels} == {"a": "b"}`, "device.labels"},
		{`allow if every r in input.subject.roles { r == input.device.segment }`, "device.segment subject.roles"},
		{`allow if f(input.device.id)
f(x) if x == input.session.client`, "device.id session.client"},
		{`allow if a
a if b
b if input.device.state == "active"`, "device.state"},
		{`allow := false if input.subject.mfa
else := true if input.device.id == "x"
else := input.subject.mfa if input.service.name == "y"`, "device.id service.name subject.mfa"},
		{`allow if p[input.device.id]
p[input.session.id] := 1 if input.subject.mfa`, "device.id session.id subject.mfa"},
		{`allow if p.x.y
p.x.y := true if input.subject.mfa
p[k] := 1 if k := input.device.id`, "device.id subject.mfa"},
		{`allow if data.cordon[input.device.id]
h := true if input.subject.mfa`, "(recursive)"},
		{`allow if data.lib[input.device.id]`, "device.id session.tls"},
		{`allow if data.lib.tls`, "session.tls"},
		{`allow if helper with input as {"subject": {"mfa": input.session.tls}}
helper if input.subject.mfa`, "(all)"},
		{`allow if helper with input.subject.id as input.service.protocol
helper if input.subject.id == "x"`, "service.protocol subject.id"},
		{`allow if f(1) with f as g
f(x) if x == 2
g(_) if input.session.direction == "inbound"`, "session.direction"},
		{`allow if sprintf("%v", [input.subject]) == ""`, "subject"},
		{`allow if walk(input.operation, [["class"], "x"])`, "operation"},
		{`allow if $"{input.device.id}" == "x"`, "device.id"},
		{`allow if object.get(input, ["subject", "id"], "") == "x"`, "(all)"},
		{`allow if input.now_ns > 7`, "now_ns"},
		{`allow if data.lib.tls with data.lib.tls as input.phase`, "phase session.tls"},
		{`allow if input.phase == "connect"
unused if input.subject.mfa`, "phase"},
	} {
		e, err := Load(write(t, map[string]string{"p.rego": "package cordon\n" + c.rules + "\n", "lib.rego": "package lib\ntls if input.session.tls == \"1.3\"\n"}))
		if err != nil {
			if c.want != "(recursive)" {
				t.Errorf("%s: %v", c.rules, err)
			}
			continue
		}
		var got []string
		for _, p := range newReads(e.compiler).of(answerRef("allow")) {
			if len(p) == 0 {
				p = []string{"(all)"}
			}
			got = append(got, strings.Join(p, "."))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s\nreads %q\nwant  %q", c.rules, strings.Join(got, " "), c.want)
		}
	}
}

// TestReadsAsWritten walks rules the compiler has not rewritten. It lifts these
// forms into variables today; the walk must not depend on that.
func TestReadsAsWritten(t *testing.T) {
	for rule, want := range map[string]string{
		`p[input.device.id].x := 1`:                    "device.id",
		`p if [input.device.id, "b"][_] == "b"`:        "device.id",
		`p if {"a": input.subject.mfa}[x]`:             "subject.mfa",
		`p if split(input.device.class, "/")[0] == ""`: "device.class",
		`p := input.session.id`:                        "session.id",
	} {
		m, problems := parse([]Source{{"p.rego", []byte("package cordon\n" + rule + "\n")}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got := (&reads{}).of(m["p.rego"].Rules[0])
		if len(got) != 1 || strings.Join(got[0], ".") != want {
			t.Errorf("%s\nreads %q, want %s", rule, got, want)
		}
	}
}

// policies read assorted parts of the input in assorted ways.
var policies = []string{
	`allow if input.operation.class == "a"`,
	`allow if input.operation.attributes[input.subject.id] == "a"`,
	`allow if input.operation.attributes.a == "b"`,
	`allow if not input.operation.attributes.a`,
	`allow if count(input.operation.attributes) == 1`,
	`allow if count([1 | some x in input.subject.roles; x in input.subject.groups]) > 0`,
	`allow if { some k, v in input.device.labels; k == v }`,
	`allow if input.device.labels.a == input.device.labels.b`,
	`allow if { s := json.marshal(input); count(s) % 2 == 0 }`,
	`allow if f(input.subject)
f(s) if s.id == input.device.id
f(s) if s.mfa`,
	`allow if every r in input.subject.roles { r != "a" }`,
	`allow if concat("", input.subject.roles) == "ab"`,
	`allow if { some k; input.operation.attributes[k][_] == "a" }`,
	`allow if is_number(input.operation.attributes.a)
else := input.subject.mfa if input.session.client == input.session.id`,
	`allow if p with input.subject.id as input.service.name
p if input.subject.id == input.service.protocol`,
	`allow if data.cordon.q[input.device.state]
q contains x if some x in input.subject.groups`,
	`allow if input.subject.roles == input.subject.groups`,
	`allow if input.phase in {"a", "b"}
reason := input.session.tls`,
}

// draw makes a request of few different values, so that keys meet often.
func draw(rnd *rand.Rand) *policy.Request {
	word := func() string { return []string{"", "a", "b", "ab"}[rnd.IntN(4)] }
	words := func() []string {
		list := []string{}
		for range rnd.IntN(3) {
			list = append(list, word())
		}
		return list
	}
	r := &policy.Request{
		Phase:   policy.Phase(word()),
		Subject: policy.Subject{ID: word(), Kind: word(), Roles: words(), Groups: words(), MFA: rnd.IntN(2) == 0},
		Device:  policy.Device{ID: word(), Class: word(), Segment: word(), Labels: map[string]string{}, State: word()},
		Service: policy.Service{Name: word(), Protocol: word()},
		Session: policy.Session{ID: word(), Direction: word(), Client: word(), TLS: word()},
		NowNs:   int64(rnd.IntN(3)),
	}
	for range rnd.IntN(3) {
		r.Device.Labels[word()] = word()
	}
	r.Operation.Name, r.Operation.Class = word(), policy.Class(word())
	for range rnd.IntN(3) {
		r.Operation.Attributes.Set(word(), []any{word(), int64(rnd.IntN(3)), words(), []int64{1}, []int64{}}[rnd.IntN(5)])
	}
	return r
}

// TestKeyDetermines draws requests and holds that those with equal keys have
// equal uncached answers.
func TestKeyDetermines(t *testing.T) {
	const draws = 1500
	met := 0
	for i, rules := range policies {
		e := load(t, map[string]string{"p.rego": "package cordon\ndefault allow := false\n" + rules + "\n"})
		met += equalKeys(t, e, rand.New(rand.NewPCG(uint64(i), 7)), draws)
	}
	if met < draws {
		t.Errorf("only %d pairs met", met)
	}
}

// equalKeys counts how often a drawn request met a key it had seen, and reports
// where the answers differed.
func equalKeys(t *testing.T, e *Engine, rnd *rand.Rand, draws int) (met int) {
	t.Helper()
	answers := map[string]string{}
	for range draws {
		r := draw(rnd)
		d := e.evaluate(t.Context(), input(r), r.NowNs)
		for _, q := range []*question{e.verdict, e.reason} {
			if q == nil || q == e.reason && d.Allow {
				continue
			}
			answer := fmt.Sprint(d.Allow, d.Cause)
			if q == e.reason {
				answer = d.Reason
			}
			key := fmt.Sprint(q == e.reason, string(q.key.append(nil, r)))
			old, ok := answers[key]
			if ok && old != answer {
				t.Errorf("%s\n%+v has the key of a request that got %s, and got %s", e.Sources()[0].Text, r, old, answer)
				return met
			}
			if ok {
				met++
			}
			answers[key] = answer
		}
	}
	return met
}

// TestKeyNeedsEveryPart leaves out one part of the key at a time; the test above
// must notice.
func TestKeyNeedsEveryPart(t *testing.T) {
	for _, rules := range policies[:8] {
		e := load(t, map[string]string{"p.rego": "package cordon\ndefault allow := false\n" + rules + "\n"})
		whole := e.verdict.key.parts
		for i := range whole {
			e.verdict.key.parts = slices.Delete(slices.Clone(whole), i, i+1)
			if !differs(t, e) {
				t.Errorf("%s\nnothing differs without %+v", rules, whole[i])
			}
		}
	}
}

// differs reports whether two drawn requests share a key and not the answer.
func differs(t *testing.T, e *Engine) bool {
	rnd := rand.New(rand.NewPCG(3, 4))
	answers := map[string]bool{}
	for range 3000 {
		r := draw(rnd)
		allow := e.evaluate(t.Context(), input(r), r.NowNs).Allow
		key := string(e.verdict.key.append(nil, r))
		if old, ok := answers[key]; ok && old != allow {
			return true
		}
		answers[key] = allow
	}
	return false
}

// FuzzKey holds that requests which differ have keys which differ.
func FuzzKey(f *testing.F) {
	f.Add("a", "b", "c", "d", int64(1), true)
	f.Add("", "\x00", "ab", "", int64(-1), false)
	f.Add("\x01a", "", "a\x01", "\xff", int64(0), true)
	whole := planKey([][]string{{}})
	f.Fuzz(func(t *testing.T, a, b, c, d string, n int64, flag bool) {
		one := func(x, y, z string) *policy.Request {
			r := &policy.Request{Phase: policy.Phase(x), Subject: policy.Subject{ID: y, Roles: []string{z, x}, MFA: flag}, Device: policy.Device{Labels: map[string]string{x: y, z: x}}}
			r.Operation.Attributes.Set(x, n)
			r.Operation.Attributes.Set(y, []string{z})
			r.Operation.Attributes.Set(z, x)
			return r
		}
		p, q := one(a, b, c), one(b, c, d)
		if same := reflect.DeepEqual(p, q); same != bytes.Equal(whole.append(nil, p), whole.append(nil, q)) {
			t.Errorf("%+v\n%+v\nsame: %v", p, q, same)
		}
	})
}
