package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// SECURITY.md names a test for each threat, as `package` TestName; each exists.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile("`([a-z0-9/]+)`|\\b((?:Test|Fuzz)[A-Za-z0-9]+)\\b")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| T") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		var folder string
		named := 0
		for _, m := range words.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			if m[1] != "" {
				folder = m[1]
				continue
			}
			named++
			if !testsOf(t, folder)[m[2]] {
				t.Errorf("%s: there is no %s in %s", strings.TrimSpace(cells[0]), m[2], folder)
			}
		}
		if named == 0 {
			t.Errorf("%s: no test", strings.TrimSpace(cells[0]))
		}
	}
	if rows < 10 {
		t.Errorf("%d rows found", rows)
	}
}

// testsOf returns the tests and fuzz targets of a folder.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// The README's links lead somewhere.
func TestReadmeLinks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("%s leads nowhere", m[1])
		}
	}
}
