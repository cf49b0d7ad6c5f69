package rego

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPatches(t *testing.T) {
	dir := shippedDir(t)
	e, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := e.Patches()
	if len(list) != 10 || !slices.IsSortedFunc(list, func(p, q Patch) int { return strings.Compare(p.Name, q.Name) }) {
		t.Errorf("%d patches: %+v", len(list), list)
	}
	cve, advisory := regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`), regexp.MustCompile(`^ICSM?A-\d\d-\d{3}-\d\d$`)
	for _, p := range list {
		if p.Title == "" || len(p.CVE) == 0 || !advisory.MatchString(p.Advisory) || !strings.HasPrefix(p.SignedOff, "cordon 20") || p.File != "patches.rego" || p.Line == 0 {
			t.Errorf("%+v", p)
		}
		for _, name := range p.CVE {
			if !cve.MatchString(name) {
				t.Errorf("%s: %q is no CVE", p.Name, name)
			}
		}
	}

	// A signature holds for the file as it was signed, and a site's own patch has what it says.
	file := filepath.Join(dir, "patches.rego")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "\npatched contains \"ours\" if input.device.id == \"x\"\n"...)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if e, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	list = e.Patches()
	if len(list) != 11 || !slices.ContainsFunc(list, func(p Patch) bool { return p.Name == "ours" }) {
		t.Errorf("%+v", list)
	}
	for _, p := range list {
		if p.SignedOff != "" {
			t.Errorf("%s is signed off in a file that was changed", p.Name)
		}
	}
}
