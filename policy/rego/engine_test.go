package rego

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// load makes an Engine of a folder with these files.
func load(t testing.TB, files map[string]string) *Engine {
	t.Helper()
	return patient(t, write(t, files))
}

// patient loads a policy that is given a minute for what takes microseconds, so
// that a busy machine is not taken for an endless rule.
func patient(t testing.TB, dir string) *Engine {
	t.Helper()
	e, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	e.limit = time.Minute
	return e
}

func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func shippedDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "policy")
	if err := WriteShipped(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// request is an ORU^R01 of a person to a bedside monitor.
func request(role string) *policy.Request {
	r := &policy.Request{
		Phase:   policy.PhaseOperation,
		Subject: policy.Subject{ID: "dr.kim", Kind: policy.KindUser, Roles: []string{role}, Groups: []string{}, MFA: true},
		Device:  policy.Device{ID: "mon-7", Class: "monitor/bedside", Labels: map[string]string{"ward": "icu"}, State: policy.StateActive},
		Service: policy.Service{Name: "results", Protocol: "hl7"},
		Session: policy.Session{ID: "s-1", Direction: policy.Inbound, Client: "10.1.2.3", TLS: "1.3"},
		NowNs:   1_900_000_000_000_000_000,
	}
	r.Operation.Name, r.Operation.Class = "hl7:ORU^R01", policy.ClassWrite
	r.Operation.Attributes.Set("control_id", "MSG00001")
	r.Operation.Attributes.Set("patient_id", "4711")
	r.Operation.Attributes.Set("version", "2.5.1")
	return r
}

func TestShipped(t *testing.T) {
	dir := shippedDir(t)
	results, err := Test(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 15 {
		t.Errorf("%d tests", len(results))
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s:%d: %s: %s", r.File, r.Line, r.Name, r.Message)
		}
	}
	e := patient(t, dir)
	for role, allow := range map[string]bool{"radiologist": true, "physician": true, "nurse": false, "vendor": false, "janitor": false} {
		d := e.Decide(t.Context(), request(role))
		if d.Allow != allow || d.Cause != policy.CausePolicy {
			t.Errorf("%s: %+v", role, d)
		}
		if !d.Allow && d.Reason == "" || d.Revision != e.Revision() || d.Data != e.Data() {
			t.Errorf("%s: %+v", role, d)
		}
	}
	if err := WriteShipped(dir); err == nil {
		t.Error("overwrote a policy")
	}
}

const trivial = "package cordon\ndefault allow := false\nallow if input.operation.class == \"write\"\n"

func BenchmarkDecide(b *testing.B) {
	engines := map[string]*Engine{"trivial": load(b, map[string]string{"p.rego": trivial}), "shipped": patient(b, shippedDir(b))}
	for _, name := range []string{"trivial", "shipped"} {
		for _, role := range []string{"radiologist", "nurse"} {
			e, r := engines[name], request(role)
			b.Run(name+"/"+role+"/uncached", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					e.evaluate(context.Background(), input(r), r.NowNs)
				}
			})
			b.Run(name+"/"+role+"/cached", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					e.Decide(context.Background(), r)
				}
			})
		}
	}
}

func TestBadPolicies(t *testing.T) {
	long := strings.Repeat("#", maxRules+1)
	ok := "package cordon\nallow if input.phase == \"connect\"\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // file:line:column: code, then what the hint or message must contain
		says  string
	}{
		{"typo in input", map[string]string{"p.rego": "package cordon\n\nallow if input.opration.class == \"read\"\n"}, "p.rego:3:10 policy.type", `did you mean "operation"`},
		{"typo below input", map[string]string{"p.rego": "package cordon\nallow if \"nurse\" in input.subject.role\n"}, "p.rego:2:21 policy.type", `did you mean "roles"`},
		{"clock", map[string]string{"p.rego": ok + "allow if time.now_ns() > 7\n"}, "p.rego:3:10 policy.type", "time enters only as input.now_ns"},
		{"http", map[string]string{"p.rego": ok + "allow if http.send({\"method\": \"GET\", \"url\": \"http://x/\"}).status_code == 200\n"}, "p.rego:3:10 policy.type", "input and data, nothing else"},
		{"dice", map[string]string{"p.rego": ok + "allow if rand.intn(\"x\", 2) == 1\n"}, "p.rego:3:10 policy.type", "input and data, nothing else"},
		{"certificate clock", map[string]string{"p.rego": ok + "allow if crypto.x509.parse_and_verify_certificates(\"x\")[0]\n"}, "p.rego:3:10 policy.type", "time enters only as input.now_ns"},
		{"no allow", map[string]string{"p.rego": "package cordon\nreason := \"x\"\n"}, "p.rego:0:0 policy.allow", `a rule "allow"`},
		{"wrong package", map[string]string{"p.rego": "package cordn\nallow := true\n"}, "p.rego:1:1 policy.allow", "is cordon, not cordn"},
		{"not boolean", map[string]string{"p.rego": "package cordon\nallow := \"yes\"\n"}, "p.rego:2:1 policy.type", "must be boolean, not string"},
		{"set", map[string]string{"p.rego": "package cordon\nallow contains \"x\" if input.subject.mfa\n"}, "p.rego:2:1 policy.type", "must be boolean, not set"},
		{"function", map[string]string{"p.rego": "package cordon\nallow(x) if x == input.phase\n"}, "p.rego:2:1 policy.type", "function"},
		{"reason is a number", map[string]string{"p.rego": ok + "reason := 7\n"}, "p.rego:3:1 policy.type", "must be string, not number"},
		{"syntax", map[string]string{"p.rego": "package cordon\n\nallow if {\n\tinput.phase = = 1\n}\n"}, "p.rego:4:16 policy.syntax", "unexpected"},
		{"unsafe", map[string]string{"p.rego": ok + "allow if x == 1\n"}, "p.rego:3:10 policy.unsafe", "x"},
		{"unused", map[string]string{"p.rego": ok + "allow if {\n\tx := 1\n\tinput.phase == \"connect\"\n}\n"}, "p.rego:4:2 policy.compile", "x"},
		{"recursion", map[string]string{"p.rego": ok + "allow if not allow\n"}, "p.rego:3:1 policy.recursion", "recursive"},
		{"two defaults", map[string]string{"p.rego": ok + "default allow := false\ndefault allow := true\n"}, "p.rego:1:1 policy.type", "multiple default rules"},
		{"one name, two kinds", map[string]string{"p.rego": ok + "allow contains 1\n"}, "p.rego:2:1 policy.type", "conflicting rules"},
		{"huge", map[string]string{"p.rego": long}, "p.rego:0:0 policy.file.size", "1024 KiB"},
		{"encoding", map[string]string{"p.rego": "package cordon\n# caf\xe9\n"}, "p.rego:2:6 policy.file.encoding", "UTF-8"},
		{"empty folder", nil, ".:0:0 policy.empty", "cordon init"},
		{"tests only", map[string]string{"p_test.rego": ok}, ".:0:0 policy.empty", "cordon init"},
		{"data.yml", map[string]string{"p.rego": ok, "data.yml": "a: 1"}, "data.yml:0:0 policy.file.name", "data.yaml"},
		{"data shadows rules", map[string]string{"p.rego": ok, "data.json": `{"cordon": {"allow": true}}`}, "data.json:0:0 policy.data", "belongs to the rules"},
		{"data in a folder shadows rules", map[string]string{"p.rego": ok, "cordon/data.yaml": "allow: true"}, "cordon/data.yaml:0:0 policy.data", "belongs to the rules"},
		{"data shadows another package", map[string]string{"p.rego": ok, "q.rego": "package lib\nx := 1\n", "data.yaml": "lib: {x: 2}"}, "q.rego:2:1 policy.compile", "conflicting"},
		{"typo in data", map[string]string{"p.rego": "package cordon\nallow if data.rolse[input.subject.id]\n", "data.yaml": "roles: {}"}, "p.rego:2:10 policy.data", "did you mean data.roles"},
		{"no such data", map[string]string{"p.rego": "package cordon\nallow if data.admins[input.subject.id]\n", "data.yaml": "roles: {}"}, "p.rego:2:10 policy.data", "known: data.access, data.cordon, data.roles"},
		{"json syntax", map[string]string{"p.rego": ok, "data.json": "{\n  \"a\": 1,\n}"}, "data.json:3:1 policy.data", "invalid character"},
		{"json cut off", map[string]string{"p.rego": ok, "data.json": "{\n  \"a\": 1"}, "data.json:2:9 policy.data", "unexpected"},
		{"json twice", map[string]string{"p.rego": ok, "data.json": "{}{}"}, "data.json:1:4 policy.data", "more after the end"},
		{"json list", map[string]string{"p.rego": ok, "data.json": "[1]"}, "data.json:1:0 policy.data", "not an object"},
		{"yaml syntax", map[string]string{"p.rego": ok, "data.yaml": "a: 1\nb: [\n"}, "data.yaml:2:4 policy.data", ""},
		{"yaml twice", map[string]string{"p.rego": ok, "data.yaml": "a: 1\nb: 2\na: 3\n"}, "data.yaml:3:1 policy.data", "already defined"},
		{"yaml bomb", map[string]string{"p.rego": ok, "data.yaml": "a: &a [x, x]\nb: [*a, *a]\n"}, "data.yaml:1:4 policy.data", "aliases"},
		{"yaml list", map[string]string{"p.rego": ok, "data.yaml": "- a\n"}, "data.yaml:1:0 policy.data", "not a mapping"},
		{"one value, two files", map[string]string{"p.rego": ok, "data.yaml": "a: 1", "data.json": `{"a": 2}`}, "data.yaml:0:0 policy.data", "data.a is defined in another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, c.files)
			_, err := Load(dir)
			var p *Problems
			if !errors.As(err, &p) || len(p.List) == 0 {
				t.Fatalf("got %v", err)
			}
			first := p.List[0]
			rel, _ := filepath.Rel(dir, first.File)
			got := Problem{File: rel, Line: first.Line, Column: first.Column}
			if at := fmt.Sprintf("%s:%d:%d", got.File, got.Line, got.Column); at+" "+first.Code != c.want {
				t.Errorf("at %s %s, want %s\n%v", at, first.Code, c.want, err)
			}
			if !strings.Contains(first.Message+first.Hint, c.says) {
				t.Errorf("says %q (%s), not %q", first.Message, first.Hint, c.says)
			}
		})
	}
}
