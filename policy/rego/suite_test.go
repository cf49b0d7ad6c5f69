package rego

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestSuite runs a folder's tests: those that pass, fail, err and wait.
func TestSuite(t *testing.T) {
	dir := write(t, map[string]string{"p.rego": small, "lib/p_test.rego": `package cordon_test

import data.cordon

test_yes if cordon.allow with input as {"subject": {"mfa": true}}

test_no if {
	print("seen by the author")
	cordon.allow with input as {"subject": {"mfa": false}}
}

todo_test_later if cordon.allow

test_conflict if f(1) == 1

f(x) := x if x > 0

f(x) := x + 1 if x < 2
`})
	results, err := Test(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Result{
		{Name: "data.cordon_test.test_yes", Line: 5, Passed: true},
		{Name: "data.cordon_test.test_no", Line: 7, Message: "seen by the author"},
		{Name: "data.cordon_test.todo_test_later", Line: 12, Skipped: true},
		{Name: "data.cordon_test.test_conflict", Line: 14, Message: "conflict"},
	}
	if len(results) != len(want) || results.Failed() != 2 {
		t.Fatalf("%+v", results)
	}
	for i, w := range want {
		g := results[i]
		if g.Name != w.Name || g.File != "lib/p_test.rego" || g.Line != w.Line || g.Passed != w.Passed || g.Skipped != w.Skipped || !strings.Contains(g.Message, w.Message) {
			t.Errorf("got %+v\nwant %+v", g, w)
		}
	}
}

// TestSuiteProblems are found before any test runs.
func TestSuiteProblems(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"the clock, in a test":   {"p.rego": small, "p_test.rego": "package t\ntest_x if time.now_ns() > 1\n"},
		"a slip, in a test":      {"p.rego": small, "p_test.rego": "package t\ntest_x if input.opration\n"},
		"syntax, in a test":      {"p.rego": small, "p_test.rego": "package t\ntest_x {\n"},
		"a slip, in the policy":  {"p.rego": "package cordon\nallow if input.x\n"},
		"a policy only in tests": {"p.rego": "package lib\nx := 1\n", "p_test.rego": small},
	} {
		var p *Problems
		if _, err := Test(t.Context(), write(t, files)); !errors.As(err, &p) || p.List[0].Line == 0 && name != "a policy only in tests" {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Test(gone, shippedDir(t)); err == nil {
		t.Error("cancelled, but no error")
	}
}
