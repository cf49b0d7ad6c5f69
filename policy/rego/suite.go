package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// maxTest bounds one Rego test, generously: a machine that is slow or busy is not a fault of the policy.
const maxTest = time.Minute

// Result is the outcome of one Rego test.
type Result struct {
	Name    string `json:"name"` // "data.cordon_test.test_nurse_cannot_write"
	File    string `json:"file"` // inside the folder
	Line    int    `json:"line"`
	Passed  bool   `json:"passed"`
	Skipped bool   `json:"skipped,omitempty"` // a rule named todo_test_…
	Message string `json:"message,omitempty"` // why it failed, and what it printed
}

// Results are sorted by file and line.
type Results []Result

// Failed returns how many tests did not pass; skipped ones do not count.
func (r Results) Failed() (n int) {
	for _, one := range r {
		if !one.Passed && !one.Skipped {
			n++
		}
	}
	return n
}

// Test runs the Rego tests of the policy below dir, under the same rules that
// Load compiles it with. A policy that does not compile is a *Problems. It
// blocks until all have ended, 10 s each at most.
func Test(ctx context.Context, dir string) (Results, error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	if _, err := newEngine(f, dir); err != nil {
		return nil, err
	}
	return f.test(ctx, dir)
}

// Test runs the tests that were loaded with e, as Test does, but leaves half of the processors
// to whoever is asking another Engine meanwhile.
func (e *Engine) Test(ctx context.Context) (Results, error) {
	return e.folder.testOn(ctx, "", max(1, runtime.NumCPU()/2))
}

func (f *folder) test(ctx context.Context, dir string) (Results, error) {
	return f.testOn(ctx, dir, runtime.NumCPU())
}

// testOn runs so many tests at a time.
func (f *folder) testOn(ctx context.Context, dir string, parallel int) (Results, error) {
	document, problems := readData(f.data)
	if len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	modules, problems := parse(slices.Concat(f.rules, f.tests))
	if len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	c, err := newCompiler(document)
	if err != nil {
		return nil, err
	}
	store := newStore(document)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("test policy: %w", err)
	}
	defer store.Abort(ctx, txn)
	return run(ctx, tester.NewRunner().
		SetCompiler(c.WithEnablePrintStatements(true)).
		SetStore(store).
		SetModules(modules).
		CapturePrintOutput(true).
		RaiseBuiltinErrors(true).
		SetParallel(parallel).
		SetTimeout(maxTest), txn, dir)
}

func run(ctx context.Context, r *tester.Runner, txn storage.Transaction, dir string) (Results, error) {
	done, err := r.RunTests(ctx, txn)
	var errs ast.Errors
	if errors.As(err, &errs) {
		return nil, refuse(dir, fromOPA(errs)...)
	}
	if err != nil {
		return nil, fmt.Errorf("test policy: %w", err)
	}
	var results Results
	for t := range done {
		one := Result{Name: t.Package + "." + t.Name, Passed: t.Pass(), Skipped: t.Skip, Message: failure(t)}
		if t.Location != nil {
			one.File, one.Line = t.Location.File, t.Location.Row
		}
		results = append(results, one)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("test policy: %w", ctx.Err())
	}
	slices.SortFunc(results, func(a, b Result) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Name, b.Name))
	})
	return results, nil
}

// failure says why a test did not pass.
func failure(t *tester.Result) string {
	var parts []string
	if t.Error != nil {
		parts = append(parts, t.Error.Error())
	}
	for name, sub := range t.SubResults.Iter {
		if sub.Fail {
			parts = append(parts, "case "+strings.Join(name, "/")+" failed")
		}
	}
	if out := strings.TrimSpace(string(t.Output)); out != "" && !t.Pass() {
		parts = append(parts, out)
	}
	return strings.Join(parts, "; ")
}
