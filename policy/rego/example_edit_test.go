package rego

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cordon/policy"
)

// exampleEdit is the edit that the policy's README shows: for each file, the line before and
// the line added.
var exampleFiles = []string{"data.yaml", "data.yaml", "cordon_test.rego"}

// makeExample makes the README's edit in dir and returns how many lines each file got.
func makeExample(t *testing.T, dir string) map[string]int {
	t.Helper()
	text, err := os.ReadFile("shipped/README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```diff\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != len(exampleFiles) {
		t.Fatalf("the README shows %d differences", len(blocks))
	}
	added := map[string]int{}
	for i, b := range blocks {
		lines := strings.Split(strings.TrimSuffix(b[1], "\n"), "\n")
		file := filepath.Join(dir, exampleFiles[i])
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := len(lines) - 1
		if !strings.HasPrefix(lines[n], "+") || slices.ContainsFunc(lines[:n], func(l string) bool { return !strings.HasPrefix(l, " ") }) {
			t.Fatalf("a difference that adds not one line at its end: %q", lines)
		}
		indent := func(l string) string { // the README shows a tab as two blanks
			if strings.HasSuffix(file, ".rego") {
				return strings.Replace(l[1:], "  ", "\t", 1)
			}
			return l[1:]
		}
		var before []string
		for _, l := range lines[:n] {
			before = append(before, indent(l))
		}
		place := "\n" + strings.Join(before, "\n") + "\n"
		if strings.Count(string(whole), place) != 1 {
			t.Fatalf("%s does not have %q once", file, place)
		}
		edited := strings.Replace(string(whole), place, place+indent(lines[n])+"\n", 1)
		if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
			t.Fatal(err)
		}
		added[exampleFiles[i]]++
	}
	return added
}

// TestExampleEdit makes the edit that the README shows in the folder that cordon init writes:
// two lines and one of the tests. It changes what it is about, and nothing else.
func TestExampleEdit(t *testing.T) {
	dir := shippedDir(t)
	before := patient(t, dir)
	tests, err := os.ReadFile(filepath.Join(dir, "cordon_test.rego"))
	if err != nil {
		t.Fatal(err)
	}
	if added := makeExample(t, dir); !maps.Equal(added, map[string]int{"data.yaml": 2, "cordon_test.rego": 1}) {
		t.Errorf("lines added: %v", added)
	}
	results, err := Test(t.Context(), dir)
	if err != nil || len(results) == 0 || results.Failed() > 0 {
		t.Errorf("the tests: %+v, %v", results, err)
	}

	after := patient(t, dir)
	changed, err := DiffTables(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range ChangesInWords(changed) {
		if c.Role != "nurse" || c.Before != "–" || c.After != "yes" {
			t.Errorf("changed: %+v", c)
		}
		got = append(got, c.Device+", "+c.From+", "+c.Protocols+": "+c.Operation)
	}
	want := []string{
		"imaging/ct, client, any but dicom: query", "imaging/ct, client, any but dicom: session",
		"imaging/ct, client, any: connect",
		"imaging/ct, client, dicom: association", "imaging/ct, client, dicom: echo", "imaging/ct, client, dicom: find",
		"imaging/ct, device, any but dicom: session",
		// Services belong to the role: where nurses may query already, they may now do it over DICOM.
		"monitor/*, client, dicom: find",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("cells that changed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	titled, err := after.titled()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range dicomServices {
		if s.from != FromClient {
			continue
		}
		r := request("nurse")
		r.Subject.ID, r.Device.ID, r.Device.Class, r.Service.Protocol = "example", "ct-2", "imaging/ct", "dicom"
		r.Operation = policy.Operation{Name: s.operation, Class: s.class}
		r.Operation.Attributes.Set("calling_ae", exampleTitle)
		r.Operation.Attributes.Set("sop_class_uid", s.sopClass)
		r.Operation.Attributes.Set("move_destination", exampleTitle)
		d := titled.Decide(t.Context(), r)
		if want := slices.Contains([]string{"association", "echo", "find"}, s.name); d.Allow != want {
			t.Errorf("%s: %+v", s.name, d)
		}
		if d := after.Decide(t.Context(), r); s.name == "get" && d.Reason != "DICOM service get is not permitted for role nurse" {
			t.Errorf("get is refused because %q", d.Reason)
		}
	}

	// Without its line the tests notice.
	if err := os.WriteFile(filepath.Join(dir, "cordon_test.rego"), tests, 0o644); err != nil {
		t.Fatal(err)
	}
	if results, err := Test(t.Context(), dir); err != nil || results.Failed() != 3 {
		t.Errorf("%d tests fail without the line, %v", results.Failed(), err)
	}
}
