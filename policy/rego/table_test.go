package rego

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the truth table of the shipped policy")

// TestTable holds the documented truth table to what the shipped policy answers.
func TestTable(t *testing.T) {
	e := patient(t, shippedDir(t))
	cells, err := e.Table(t.Context(), e.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	got := TableMarkdown(cells)
	const file = "shipped/" + TableFile
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the policy answers (%v); -update writes it:\n%s", file, err, got)
	}
}
