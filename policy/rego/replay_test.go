package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"cordon/policy"
)

// nurses lets nurses, and those who are named, do everything that another revision decided.
const nurses = `package cordon

default allow := false

allow if "nurse" in input.subject.roles

obligations contains "noted" if input.device.id == "noted"

reason := sprintf("not for %s %s", [input.subject.roles[0], input.subject.id])
`

// recorded is an entry that says r was answered so by another policy.
func recorded(index int64, r *policy.Request, allow bool) Recorded {
	return Recorded{Index: index, Time: time.Unix(1000+index, 0), Code: fmt.Sprint("C-", index), Input: r.AppendJSON(nil),
		Decision: policy.Decision{Allow: allow, Cause: policy.CausePolicy, Revision: "sha256:other", Data: "sha256:other"}}
}

// replay adds records to a new replay of e. Devices whose id begins with c are critical.
func replay(t *testing.T, e *Engine, list ...Recorded) Report {
	t.Helper()
	r := e.NewReplay(func(device string) bool { return strings.HasPrefix(device, "c") })
	for i := range list {
		if err := r.Add(t.Context(), &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return r.Report()
}

// TestReplayChanges replays one decision of each kind.
func TestReplayChanges(t *testing.T) {
	e := load(t, map[string]string{"p.rego": nurses})
	of := func(role string, allow bool) Recorded { return recorded(0, request(role), allow) }
	with := func(r Recorded, change func(*Recorded)) Recorded { change(&r); return r }
	for _, c := range []struct {
		name   string
		rec    Recorded
		change Change // "" for none
		after  string
		reason string
	}{
		{"allowed as before", of("nurse", true), "", "", ""},
		{"denied as before", of("biomed", false), "", "", ""},
		{"newly denied", of("biomed", true), NewlyDenied, "deny", "not for biomed"},
		{"newly allowed", of("nurse", false), NewlyAllowed, "allow", ""},
		{"on other terms", with(of("nurse", true), func(r *Recorded) { r.Decision.Obligations = []string{"x"} }), OtherObligations, "allow", ""},
		{"by this very policy", with(of("nurse", false), func(r *Recorded) { r.Decision.Revision, r.Decision.Data = e.Revision(), e.Data() }), Contradicted, "allow", ""},
		{"by these rules with other data", with(of("nurse", false), func(r *Recorded) { r.Decision.Revision = e.Revision() }), NewlyAllowed, "allow", ""},
		{"without a question", Recorded{Decision: policy.Decision{Cause: policy.CausePolicy}}, NotReplayed, "", "nothing was asked"},
		{"by the inspector", with(of("nurse", false), func(r *Recorded) { r.Decision.Cause = policy.CauseProtocol }), NotReplayed, "", "inspector"},
		{"in doubt", with(of("nurse", false), func(r *Recorded) { r.Decision.Cause = policy.CauseDoubt }), NotReplayed, "", "nobody could decide"},
		{"by something else", with(of("nurse", true), func(r *Recorded) { r.Decision.Cause = "break-glass" }), NotReplayed, "", "break-glass"},
		{"by the gateway", with(of("nurse", false), func(r *Recorded) { r.Decision.Revision = "" }), NotReplayed, "", "before any policy"},
		{"without a fact that is read", with(of("nurse", true), func(r *Recorded) { r.Input = bytes.Replace(r.Input, []byte(`"roles":["nurse"],`), nil, 1) }), NotReplayed, "", "does not say subject.roles"},
		{"without a fact that is not", with(of("nurse", true), func(r *Recorded) { r.Input = bytes.Replace(r.Input, []byte(`"profile":"",`), nil, 1) }), "", "", ""},
		{"with a fact of later", with(of("nurse", true), func(r *Recorded) { r.Input = bytes.Replace(r.Input, []byte(`"profile":""`), []byte(`"posture":""`), 1) }), NotReplayed, "", "posture"},
		{"with half a question", with(of("nurse", true), func(r *Recorded) { r.Input = r.Input[:50] }), NotReplayed, "", "not what this version asks"},
	} {
		got := replay(t, e, c.rec)
		if c.change == "" {
			if len(got.Groups) > 0 || got.Allowed+got.Denied != 1 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got.Groups) != 1 || got.Allowed+got.Denied != 0 || got.Recorded != 1 || got.Count(c.change, false) != 1 {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		if g := got.Groups[0]; g.After != c.after || !strings.Contains(g.Reason, c.reason) || (g.Before == "allow") != c.rec.Decision.Allow {
			t.Errorf("%s: %+v", c.name, g)
		}
	}
}

// TestReplayDoubt replays what a policy has no clear answer to: it would be refused.
func TestReplayDoubt(t *testing.T) {
	e := load(t, map[string]string{"p.rego": "package cordon\nallow if 1 / to_number(input.session.tls) > 0\n"})
	r := request("nurse")
	r.Session.TLS = "0"
	own := recorded(0, r, true)
	own.Decision.Revision, own.Decision.Data = e.Revision(), e.Data()
	got := replay(t, e, recorded(0, r, true), own)
	if len(got.Groups) != 1 || got.Groups[0].Change != NewlyDenied || got.Groups[0].After != "doubt" || got.Groups[0].Count != 2 {
		t.Errorf("%+v", got)
	}
}

// TestReplayClock replays the same question at times that matter.
func TestReplayClock(t *testing.T) {
	at := func(index, now int64, allow bool) Recorded {
		r := request("nurse")
		r.NowNs = now
		return recorded(index, r, allow)
	}
	for _, c := range []struct {
		name, rules string
		evaluated   int64
	}{
		{"the clock", `allow if { input.now_ns >= 50; input.now_ns < 80 }`, 5},
		{"until when", "allow if { input.now_ns >= 50; input.now_ns < 80 }\nvalid_until := 80 if input.now_ns >= 50", 4},
		{"its own time", "allow if input.subject.mfa", 1},
	} {
		e := load(t, map[string]string{"p.rego": "package cordon\ndefault allow := false\n" + c.rules + "\n"})
		is := func(now int64) bool { return c.evaluated == 1 || now >= 50 && now < 80 }
		var list []Recorded
		for i, now := range []int64{60, 10, 79, 55, 90} {
			list = append(list, at(int64(i), now, is(now)))
		}
		if got := replay(t, e, list...); len(got.Groups) > 0 || got.Evaluated != c.evaluated {
			t.Errorf("%s: evaluated %d, want %d: %+v", c.name, got.Evaluated, c.evaluated, got.Groups)
		}
	}
}

// TestReplayLacks replays records without a fact of which the policy reads a part.
func TestReplayLacks(t *testing.T) {
	for _, c := range []struct{ rule, lacks string }{
		{`input.operation.attributes.version == "2.5.1"`, `,"attributes":{"control_id":"MSG00001","patient_id":"4711","version":"2.5.1"}`},
		{`input.device.labels.ward == "icu"`, `"labels":{"ward":"icu"},`},
		{`input.now_ns > 0`, `,"now_ns":1900000000000000000`},
		{`count(input.subject) > 4`, `,"mfa":true`},
	} {
		rec := recorded(0, request("nurse"), true)
		if rec.Input = bytes.Replace(rec.Input, []byte(c.lacks), nil, 1); !json.Valid(rec.Input) {
			t.Fatalf("%s", rec.Input)
		}
		got := replay(t, load(t, map[string]string{"p.rego": "package cordon\nallow if " + c.rule + "\n"}), rec)
		if len(got.Groups) != 1 || got.Groups[0].Change != NotReplayed || !strings.Contains(got.Groups[0].Reason, "does not say") {
			t.Errorf("%s without %s: %+v", c.rule, c.lacks, got)
		}
	}
}

// TestReplayAnswers draws questions and holds that each has the answer it would get alone.
func TestReplayAnswers(t *testing.T) {
	for i, rules := range policies {
		e := load(t, map[string]string{"p.rego": "package cordon\ndefault allow := false\n" + rules + "\n"})
		rnd := rand.New(rand.NewPCG(uint64(i), 11))
		r := e.NewReplay(func(string) bool { return false })
		for n := range int64(300) {
			q := draw(rnd)
			alone := e.evaluate(t.Context(), input(q), q.NowNs)
			rec := recorded(n, q, alone.Allow)
			rec.Decision.Obligations = alone.Obligations
			if alone.Cause == policy.CauseDoubt {
				continue
			}
			if err := r.Add(t.Context(), &rec); err != nil {
				t.Fatal(err)
			}
			if got := r.Report(); len(got.Groups) > 0 {
				t.Fatalf("%s\n%s was answered %+v: %+v", rules, rec.Input, alone, got.Groups)
			}
		}
	}
}

// crowd is records of many kinds.
func crowd() (list []Recorded) {
	for i := range int64(200) {
		r := request([]string{"nurse", "biomed", "physician"}[i%3])
		r.Subject.ID = fmt.Sprint("p", i%7)
		r.Device.ID = []string{"c1", "d1", "noted"}[i/3%3]
		rec := recorded(i, r, i%2 == 0)
		if i%20 == 0 {
			rec.Input = nil
		}
		list = append(list, rec)
	}
	return list
}

// TestReplayJoin shares a replay among three.
func TestReplayJoin(t *testing.T) {
	e := load(t, map[string]string{"p.rego": nurses})
	list := crowd()
	want := replay(t, e, list...)
	var parts []*Replay
	for range 3 {
		parts = append(parts, e.NewReplay(func(device string) bool { return device == "c1" }))
	}
	for i := range list {
		if err := parts[i/10%3].Add(t.Context(), &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	parts[2].Join(parts[0])
	parts[2].Join(parts[1])
	got := parts[2].Report()
	got.Evaluated = want.Evaluated // each asked for itself
	if !reflect.DeepEqual(got, want) {
		t.Errorf("joined\n%+v\nwant\n%+v", got, want)
	}
}

// TestReplayReport holds the order of groups and what they count.
func TestReplayReport(t *testing.T) {
	got := replay(t, load(t, map[string]string{"p.rego": nurses}), crowd()...)
	rank := func(g Group) int {
		n := 2 * slices.Index(changes[:], g.Change)
		if !g.Critical {
			n++
		}
		return n
	}
	if !slices.IsSortedFunc(got.Groups, func(a, b Group) int { return rank(a) - rank(b) }) || !got.Groups[0].Critical || got.Groups[0].Change != NewlyDenied {
		t.Errorf("%+v", got.Groups)
	}
	total := got.Allowed + got.Denied
	for _, g := range got.Groups {
		total += g.Count
		if g.Last.Before(g.First) || len(g.Examples) > maxExamples || g.People > 7 || g.People == 0 && g.Change != NotReplayed {
			t.Errorf("%+v", g)
		}
	}
	if total != 200 || got.Recorded != 200 {
		t.Errorf("%d of 200 are counted, and %d", total, got.Recorded)
	}
	first := got.Groups[0]
	want := Group{NewlyDenied, true, "monitor/bedside", "hl7:ORU^R01", "biomed", "allow", "deny", "not for biomed p3", 10, 6,
		time.Unix(1010, 0).UTC(), time.Unix(1190, 0).UTC(), []string{"C-10", "C-28", "C-46"}, []string{"c1"}}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("first group\n%+v, want\n%+v", first, want)
	}
}

// TestReplayBounds has clients invent operations.
func TestReplayBounds(t *testing.T) {
	e := load(t, map[string]string{"p.rego": nurses})
	r := e.NewReplay(func(string) bool { return false })
	for i := range int64(maxGroups + 100) {
		q := request("biomed")
		q.Operation.Name = fmt.Sprint("hl7:Z", i)
		rec := recorded(i, q, true)
		if err := r.Add(t.Context(), &rec); err != nil {
			t.Fatal(err)
		}
	}
	got := r.Report()
	if len(got.Groups) != maxGroups+1 || got.Count(NewlyDenied, false) != maxGroups+100 || got.Groups[0].Operation != "(any other)" || got.Groups[0].Count != 100 {
		t.Errorf("%d groups, %d decisions, first %+v", len(got.Groups), got.Recorded, got.Groups[0])
	}
}

// TestReadRecorded reads what AppendJSON wrote, the short way unless something is escaped.
func TestReadRecorded(t *testing.T) {
	q := request("nurse")
	q.Operation.Attributes.Set("list", []string{"a", "é"})
	q.Operation.Attributes.Set("numbers", []int64{-1, 1 << 62})
	q.Operation.Attributes.Set("none", []string{})
	text := q.AppendJSON(nil)
	var got policy.Request
	if !readForm(string(text), &got) || !reflect.DeepEqual(&got, q) {
		t.Errorf("%s\nis read as %+v", text, got)
	}
	q.Subject.ID = `"\` + "\n"
	text = q.AppendJSON(nil)
	if lacks, _, err := readRecorded(text, nil, &got); err != nil || len(lacks) > 0 || !reflect.DeepEqual(&got, q) {
		t.Errorf("%s\nis read as %+v, %v, %v", text, got, lacks, err)
	}
	// As another encoder may order them; the short way would not find them again.
	other := bytes.Replace(request("nurse").AppendJSON(nil), []byte(`"control_id":"MSG00001","patient_id":"4711"`), []byte(`"patient_id":"4711","control_id":"MSG00001"`), 1)
	if lacks, _, err := readRecorded(other, nil, &got); err != nil || len(lacks) > 0 || got.Operation.Attributes.Get("control_id") != "MSG00001" || got.Operation.Attributes.Get("patient_id") != "4711" {
		t.Errorf("%s\nis read as %+v, %v, %v", other, got, lacks, err)
	}
	plain := string(request("nurse").AppendJSON(nil))
	for _, bad := range []string{strings.Replace(plain, `"now_ns":`, `"now_ns":00`, 1), strings.Replace(plain, "nurse", "nu\trse", 1), `{}x`, `[]`, ``, `{"phase":1}`, `{"subject":{"roles":null}}`, `{"operation":{"attributes":{"a":1.5}}}`, `{"operation":{"attributes":{"a":null}}}`} {
		if _, _, err := readRecorded([]byte(bad), nil, &got); err == nil {
			t.Errorf("%s was read as %+v", bad, got)
		}
	}
}

// FuzzReadRecorded holds that a policy is asked what is recorded, or nothing.
func FuzzReadRecorded(f *testing.F) {
	f.Add(request("nurse").AppendJSON(nil))
	f.Add([]byte(`{"phase":"connect","now_ns":-1,"device":{"labels":{"b":"1","a":"2"}}}`))
	f.Add([]byte(`{"phase":"é\u0041","subject":{"roles":["a","a"]},"operation":{"attributes":{"x":[],"y":[1]}}}`))
	f.Add([]byte(`{"phase":"a","phase":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var q policy.Request
		lacks, _, err := readRecorded(text, nil, &q)
		if err != nil {
			return
		}
		var was, is map[string]any
		for _, x := range []struct {
			text []byte
			to   *map[string]any
		}{{text, &was}, {q.AppendJSON(nil), &is}} {
			d := json.NewDecoder(bytes.NewReader(x.text))
			d.UseNumber()
			if err := d.Decode(x.to); err != nil {
				t.Fatalf("%s: %v", x.text, err)
			}
		}
		for l, path := range leafPaths {
			a, has := find(was, path)
			b, _ := find(is, path)
			if has == slices.Contains(lacks, leaf(l)) || has && !reflect.DeepEqual(a, b) {
				t.Errorf("%s of %s: recorded %v, read %v, lacks %v", path, text, a, b, lacks)
			}
		}
		if len(lacks) > 0 {
			return
		}
		seen, err := ast.ValueFromReader(bytes.NewReader(text))
		if err == nil && seen.Compare(input(&q)) != 0 {
			t.Errorf("%s\nis asked as %v", text, input(&q))
		}
	})
}

// TestFormat formats what is safe to format.
func TestFormat(t *testing.T) {
	tidy := "package cordon\n\nallow if input.subject.mfa\n"
	dir := write(t, map[string]string{
		"a.rego":      "package cordon\nallow   if input.subject.mfa\n",
		"b.rego":      tidy,
		"c_test.rego": "package cordon_test\n\ntest_in if true == (1 in [1,2])\n",
	})
	changed, kept, err := Format(dir)
	if err != nil || len(changed) != 1 || changed[0].Name != "a.rego" || string(changed[0].Text) != tidy {
		t.Errorf("changed %q, %v", changed, err)
	}
	if len(kept) != 1 || kept[0].File != "c_test.rego" || kept[0].Line != 3 {
		t.Errorf("kept %+v", kept)
	}
	if _, _, err := Format(write(t, map[string]string{"a.rego": "package cordon\nallow if {\n"})); err == nil || !strings.Contains(err.Error(), "a.rego:") {
		t.Errorf("half a file is formatted: %v", err)
	}
}

// TestDiff compares policies that differ in one way each.
func TestDiff(t *testing.T) {
	base := map[string]string{"p.rego": nurses, "data.yaml": "roles: {nurse: {\"monitor/*\": [read, write]}}\nlimit: 5\nlist: [{a: 1}]\n", "p_test.rego": "package t\n\ntest_x if true\n"}
	a := load(t, base)
	for _, c := range []struct {
		name, file, old, new string
		want                 []string
	}{
		{"nothing", "p.rego", "", "", nil},
		{"a test", "p_test.rego", "true", "1 == 1", []string{"test data.t.test_x changed p_test.rego:3"}},
		{"a test more", "p_test.rego", "package t", "package t\n\ntest_y if true", []string{"test data.t.test_y added p_test.rego:3"}},
		{"a test set aside", "p_test.rego", "test_x", "todo_test_x", []string{"test data.t.test_x removed p_test.rego:3", "test data.t.todo_test_x added p_test.rego:3"}},
		{"a comment and layout", "p.rego", "allow if ", "# who\nallow if   ", []string{"p.rego changed"}},
		{"a rule's body", "p.rego", `"nurse" in`, `"biomed" in`, []string{"p.rego changed", "data.cordon.allow changed p.rego:5"}},
		{"another rule", "p.rego", "reason :=", "allow if input.subject.mfa\n\nreason :=", []string{"p.rego changed", "data.cordon.allow added p.rego:9"}},
		{"a rule less", "p.rego", `obligations contains "noted" if input.device.id == "noted"`, "", []string{"p.rego changed", "data.cordon.obligations removed p.rego:7"}},
		{"a role's operations", "data.yaml", "[read, write]", "[read, notify]",
			[]string{"data.yaml changed", "role nurse may no longer write on monitor/*", "role nurse may notify on monitor/*"}},
		{"a role more", "data.yaml", "roles: {", "roles: {biomed: {\"*\": [read]}, ", []string{"data.yaml changed", "role biomed may read on *"}},
		{"a role less", "data.yaml", "nurse: {\"monitor/*\": [read, write]}", "", []string{"data.yaml changed", "role nurse may no longer read on monitor/*", "role nurse may no longer write on monitor/*"}},
		{"a number", "data.yaml", "limit: 5", "limit: 6", []string{"data.yaml changed", "limit is 6 instead of 5"}},
		{"a value less", "data.yaml", "limit: 5", "", []string{"data.yaml changed", "limit is no longer 5"}},
		{"an entry of a list", "data.yaml", "{a: 1}", "{a: 2}", []string{"data.yaml changed", `list has no longer {"a":1}`, `list has {"a":2}`}},
		{"another kind of value", "data.yaml", "[{a: 1}]", "word", []string{"data.yaml changed", `list is "word" instead of [{"a":1}]`}},
		{"an order", "data.yaml", "[read, write]", "[write, read]", []string{"data.yaml changed", `roles.nurse.monitor/* is ["write","read"] instead of ["read","write"]`}},
	} {
		files := map[string]string{}
		for name, text := range base {
			if name == c.file && c.old != "" {
				if !strings.Contains(text, c.old) {
					t.Fatalf("%s: %q is not in %s", c.name, c.old, name)
				}
				text = strings.Replace(text, c.old, c.new, 1)
			}
			files[name] = text
		}
		d := Diff(a, load(t, files))
		var got []string
		for _, f := range d.Files {
			got = append(got, f.Name+" "+f.Change)
		}
		for _, r := range d.Rules {
			got = append(got, fmt.Sprintf("%s %s %s:%d", r.Rule, r.Change, r.File, r.Line))
		}
		for _, x := range d.Data {
			got = append(got, x.Words)
		}
		for _, r := range d.Tests {
			got = append(got, fmt.Sprintf("test %s %s %s:%d", r.Rule, r.Change, r.File, r.Line))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if d := Diff(a, a); d.Tests == nil {
		t.Error("that no test changed is not known")
	}
	kept, err := LoadFiles(a.Sources())
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(kept, a); d.Tests != nil {
		t.Errorf("what is kept has no tests, and they are %+v", d.Tests)
	}
}

// TestDiffHides finds what an edit could hide in: an import, a null, the end of a long value, the order of a list that grows.
func TestDiffHides(t *testing.T) {
	long := strings.Repeat("x", 1000)
	base := map[string]string{
		"p.rego":    "package cordon\n\nimport data.few as them\nimport data.kinds\n\ndefault allow := false\n\nallow if {\n\tinput.subject.id in them\n} else := false if {\n\tkinds.a\n}\n",
		"data.yaml": "few: [a, b]\nkinds: {a: {}}\nmany: [a, b, c]\nlong: \"" + long + "1\"\n",
	}
	a := load(t, base)
	for _, c := range []struct {
		name, file, old, new string
		want                 []string
	}{
		{"an import", "p.rego", "data.few as", "data.many as", []string{"data.cordon.allow changed: import data.many as them"}},
		{"an import that is unused there", "p.rego", "import data.kinds\n", "import data.kinds\n# import data.few\n", nil},
		{"an else", "p.rego", "kinds.a\n", "kinds.b\n", []string{"data.cordon.allow changed: kinds.b"}},
		{"a null", "data.yaml", "kinds: {a: {}}", "kinds: {a: {}, b: null}", []string{"kinds.b is null"}},
		{"a null below what is new", "data.yaml", "kinds: {a: {}}", "kinds: {a: {}, c: {b: null}}", []string{"kinds.c.b is null"}},
		{"a null in place of a value", "data.yaml", "kinds: {a: {}}", "kinds: {a: null}", []string{"kinds.a is null instead of {}"}},
		{"the end of a long value", "data.yaml", long + "1", long + "2", []string{`long is "` + long + `2" instead of "` + long + `1"`}},
		{"an order, and one more", "data.yaml", "few: [a, b]", "few: [b, a, c]", []string{`few is ["b","a","c"] instead of ["a","b"]`}},
		{"one twice, and one more", "data.yaml", "few: [a, b]", "few: [a, b, b, c]", []string{`few is ["a","b","b","c"] instead of ["a","b"]`}},
		{"one less, and one more", "data.yaml", "few: [a, b]", "few: [b, c]", []string{`few has no longer "a"`, `few has "c"`}},
	} {
		files := maps.Clone(base)
		if files[c.file] = strings.Replace(base[c.file], c.old, c.new, 1); files[c.file] == base[c.file] {
			t.Fatalf("%s: %q is not in %s", c.name, c.old, c.file)
		}
		d := Diff(a, load(t, files))
		var got []string
		for _, r := range d.Rules {
			text := r.Rule + " " + r.Change
			for line := range strings.Lines(r.After) {
				if !strings.Contains(r.Before, line) {
					text += ": " + strings.TrimSpace(line)
				}
			}
			got = append(got, text)
		}
		for _, x := range d.Data {
			got = append(got, x.Words)
		}
		for _, r := range d.Tests {
			got = append(got, fmt.Sprintf("test %s %s %s:%d", r.Rule, r.Change, r.File, r.Line))
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDiffParentheses tells rules apart that differ in parentheses only.
func TestDiffParentheses(t *testing.T) {
	rules := func(body string) []Source {
		return []Source{{"p.rego", []byte("package p\n\nallow if {\n\tsome _ in input\n\t" + body + "\n}\n")}}
	}
	if d := diffRules(rules("input.a == (input.b in input.c)"), rules("(input.a == input.b) in input.c")); len(d) != 1 || d[0].Change != Changed {
		t.Errorf("%+v", d)
	}
}

// TestDiffWildcards finds a rule unchanged behind another one that has a wildcard.
func TestDiffWildcards(t *testing.T) {
	a := []Source{{"p.rego", []byte("package p\n\nx if input.a[_]\n")}}
	b := []Source{{"p.rego", []byte("package p\n\ny if input.b[_]\n\nx if input.a[_]\n")}}
	if d := diffRules(a, b); len(d) != 1 || d[0].Rule != "data.p.y" || d[0].Change != Added {
		t.Errorf("%+v", d)
	}
}

// TestListing holds the digests of a listing to those of its engine, which its files make again.
func TestListing(t *testing.T) {
	e := patient(t, shippedDir(t))
	granted, err := e.With(grantTo("user/dr.kim", 5))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Engine{e, granted} {
		l, err := ReadListing(FormatListing(x.Sources()))
		if err != nil || l.Revision != x.Revision() || l.Data != x.Data() || l.Folder != e.Data() {
			t.Fatalf("%+v %v", l, err)
		}
		if f, ok := l.Access(); ok != (x.Access() != nil) || ok && f.SHA256 != digestOf(x.Access()) {
			t.Errorf("access is listed as %+v", f)
		}
		if again, err := LoadFiles(x.Sources()); err != nil || again.Revision() != x.Revision() || again.Data() != x.Data() || !bytes.Equal(again.Access(), x.Access()) {
			t.Errorf("its files make another policy: %v", err)
		}
	}
	whole := string(FormatListing(granted.Sources()))
	for _, bad := range []string{"", "no listing", whole[:len(whole)-1], whole[1:], strings.ToUpper(whole), whole + strings.Repeat("0", 64) + "  README.md\n"} {
		if l, err := ReadListing([]byte(bad)); err == nil {
			t.Errorf("%.40q… lists %+v", bad, l)
		}
	}
}
