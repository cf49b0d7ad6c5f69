package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestShippedMutants changes the shipped policy in one place at a time. The Rego
// tests that come with it must notice each change.
func TestShippedMutants(t *testing.T) {
	f, err := readFolder(shippedDir(t))
	if err != nil {
		t.Fatal(err)
	}
	if (mutant{"unchanged", f}).noticed(t.Context()) {
		t.Fatal("the tests fail, so nothing is to be noticed")
	}
	mutants := slices.Concat(dropConditions(f), changeTables(t, f), changeServices(t, f))
	if len(mutants) < 250 {
		t.Errorf("only %d mutants", len(mutants))
	}
	var wg sync.WaitGroup
	next := make(chan mutant)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for m := range next {
				if !m.noticed(t.Context()) {
					t.Errorf("no test notices: %s", m.what)
				}
			}
		})
	}
	for _, m := range mutants {
		next <- m
	}
	close(next)
	wg.Wait()
}

type mutant struct {
	what   string
	folder *folder
}

// noticed runs the tests of one file after the other until one fails.
func (m mutant) noticed(ctx context.Context) bool {
	file, _, _ := strings.Cut(m.what, ".rego:")
	order := slices.Clone(m.folder.tests)
	slices.SortStableFunc(order, func(a, b Source) int { // its own first
		return strings.Index(b.Name, file+"_test") - strings.Index(a.Name, file+"_test")
	})
	for _, one := range order {
		some := *m.folder
		some.tests = slices.Clone(some.tests)
		for i, s := range some.tests { // they use each other's functions, so all are there
			if s.Name != one.Name {
				some.tests[i].Text = bytes.ReplaceAll(s.Text, []byte("\ntest_"), []byte("\ntodo_test_"))
			}
		}
		if results, err := some.test(ctx, ""); err != nil || results.Failed() > 0 {
			return true
		}
	}
	return false
}

// dropConditions removes or negates one condition of a rule each.
func dropConditions(f *folder) (mutants []mutant) {
	oneLine := regexp.MustCompile(`^(\w+) if .*[^{]$`)
	for n, source := range f.rules {
		lines := strings.Split(string(source.Text), "\n")
		with := func(what string, i int, text ...string) {
			rules := slices.Clone(f.rules)
			rules[n].Text = []byte(strings.Join(slices.Concat(lines[:i], text, lines[i+1:]), "\n"))
			mutants = append(mutants, mutant{fmt.Sprintf("%s:%d %q: %s", source.Name, i+1, strings.TrimSpace(lines[i]), what),
				&folder{rules: rules, tests: f.tests, data: f.data}})
		}
		for i, l := range lines {
			condition := strings.HasPrefix(l, "\t")
			switch {
			case condition && strings.HasSuffix(l, ","):
				with("left out", i)
			case condition:
				with("left out", i, "\ttrue")
				if !strings.HasPrefix(l, "\tsome ") && !strings.HasPrefix(l, "\tnot ") {
					with("negated", i, "\tnot "+strings.TrimSpace(l))
				}
			case oneLine.MatchString(l):
				with("always", i, oneLine.FindStringSubmatch(l)[1]+" := true")
				with("never", i, oneLine.FindStringSubmatch(l)[1]+" if 1 == 2")
			}
		}
	}
	return mutants
}

// changeServices permits one DICOM service less, or one more where the role's classes of
// operation reach.
func changeServices(t *testing.T, f *folder) (mutants []mutant) {
	read := func() (all map[string]any, services map[string]any) {
		if err := yaml.Unmarshal(f.data[0].Text, &all); err != nil {
			t.Fatal(err)
		}
		return all, all["dicom_services"].(map[string]any)
	}
	add := func(what string, all map[string]any) {
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		mutants = append(mutants, mutant{what, &folder{rules: f.rules, tests: f.tests, data: []Source{{"data.json", text}}}})
	}
	classes := map[string]string{"find": "query", "worklist": "query", "move": "read", "get": "read", "store": "write", "commit": "write", "mpps": "write", "print": "write"}
	reach := map[string]string{"radiologist": "read query write", "physician": "read query write", "biomed": "read query", "vendor": "read query", "device": "query write"}
	_, original := read()
	for role, list := range original {
		for service, class := range classes {
			all, services := read()
			if i := slices.Index(list.([]any), any(service)); i >= 0 {
				services[role] = slices.Delete(slices.Clone(list.([]any)), i, i+1)
				add(role+": less "+service, all)
			} else if strings.Contains(reach[role], class) {
				services[role] = append(slices.Clone(list.([]any)), service)
				add(role+": more "+service, all)
			}
		}
	}
	return mutants
}

// changeTables takes one permission away or adds one, and flips who may hold a role.
func changeTables(t *testing.T, f *folder) (mutants []mutant) {
	type tables struct {
		Roles       map[string]map[string][]string `json:"roles"`
		Maintenance map[string]map[string][]string `json:"maintenance"`
		Kinds       map[string]string              `json:"kinds"`
	}
	var rest map[string]any // the other tables
	if err := yaml.Unmarshal(f.data[0].Text, &rest); err != nil {
		t.Fatal(err)
	}
	read := func() (x tables) {
		if err := yaml.Unmarshal(f.data[0].Text, &x); err != nil {
			t.Fatal(err)
		}
		return x
	}
	add := func(what string, x tables) {
		rest["roles"], rest["maintenance"], rest["kinds"] = x.Roles, x.Maintenance, x.Kinds
		text, err := json.Marshal(rest)
		if err != nil {
			t.Fatal(err)
		}
		mutants = append(mutants, mutant{what, &folder{rules: f.rules, tests: f.tests, data: []Source{{"data.json", text}}}})
	}
	classes := []string{"read", "query", "write", "control", "admin", "notify"}
	original := read()
	for role, kind := range original.Kinds {
		other := "device"
		if kind == other {
			other = "user"
		}
		x := read()
		x.Kinds[role] = other
		add(role+" held by "+other, x)
		for table, pick := range map[string]func(tables) map[string]map[string][]string{
			"roles":       func(x tables) map[string]map[string][]string { return x.Roles },
			"maintenance": func(x tables) map[string]map[string][]string { return x.Maintenance },
		} {
			for _, devices := range []string{"imaging/*", "monitor/*", "analyser/*", "*"} {
				has := pick(original)[role][devices]
				for _, class := range classes {
					if !slices.Contains(has, class) && covered(original.Roles, original.Maintenance, table, role, devices, class) {
						continue // permitted by another row already
					}
					x := read()
					rows := pick(x)
					if rows[role] == nil {
						rows[role] = map[string][]string{}
					}
					what := "more"
					if i := slices.Index(has, class); i >= 0 {
						what = "less"
						rows[role][devices] = slices.Delete(slices.Clone(has), i, i+1)
					} else {
						rows[role][devices] = append(slices.Clone(has), class)
					}
					add(fmt.Sprintf("%s: %s, %s, %s, %s", table, role, devices, class, what), x)
				}
			}
		}
	}
	return mutants
}

// covered reports whether a row would add nothing, because a wider one has it.
func covered(roles, maintenance map[string]map[string][]string, table, role, devices, class string) bool {
	wide := slices.Contains(roles[role]["*"], class) || slices.Contains(roles[role][devices], class)
	if table == "maintenance" {
		wide = wide || slices.Contains(maintenance[role]["*"], class)
	}
	return wide && devices != "*" || table == "maintenance" && wide
}

func TestWriteShippedNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "data.yaml")
	if err := os.WriteFile(mine, []byte("mine: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteShipped(dir); err == nil || !strings.Contains(err.Error(), "data.yaml") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(mine); !bytes.Equal(b, []byte("mine: true\n")) {
		t.Errorf("now %q", b)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("wrote %v", entries)
	}
}
