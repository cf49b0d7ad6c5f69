package rego

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every example works beside the shipped policy: it compiles, its tests pass, and those of the
// policy still do.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.rego")
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		dir := shippedDir(t)
		for _, name := range []string{file, strings.TrimSuffix(file, ".rego") + "_test.rego"} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		results, err := Test(t.Context(), dir)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		own := 0
		for _, r := range results {
			if !r.Passed {
				t.Errorf("%s: %s %s", file, r.Name, r.Message)
			}
			if strings.TrimSuffix(r.File, "_test.rego") == strings.TrimSuffix(filepath.Base(file), ".rego") {
				own++
			}
		}
		if own == 0 {
			t.Errorf("%s has no tests", file)
		}
	}
}
