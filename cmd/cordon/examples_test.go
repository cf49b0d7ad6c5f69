package main

import (
	"path/filepath"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/keeper"
)

// Every example is a configuration whose segments can be made.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "deploy", "examples", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		c, err := config.Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		all, err := keeper.Plans(c)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, p := range all {
			if inline := p.Inline != ""; inline != (filepath.Base(file) == "inline.yaml") {
				t.Errorf("%s: segment %s, inline: %v", file, p.Name, inline)
			}
		}
	}
}
