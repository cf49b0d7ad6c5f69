package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
)

// Each command and each key of the configuration has its place in the manual, in the words of
// its help, and what a page refers to is there.
func TestManual(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	root := newRoot(&app{})
	dir := t.TempDir()
	if err := writeManual(root, dir); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(`\e`, `\`, `\-`, `-`, `\(aq`, `'`, `\(ga`, "`", `\(ha`, `^`, `\(ti`, `~`, `\(dq`, `"`, `\&`, "")
	pages := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(file)] = plain.Replace(string(text))
		for i, line := range strings.Split(string(text), "\n") {
			if control := regexp.MustCompile(`^\.(TH|SH|TP|B|PP|nf|fi)\b`); strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !control.MatchString(line) {
				t.Errorf("%s:%d: text is a command to troff: %s", file, i+1, line)
			}
		}
	}
	for c := range commands(root) {
		text, there := pages[pageName(c)+".1"]
		if there == hidden(c) {
			t.Errorf("%s is hidden: %v, it has a page: %v", c.CommandPath(), hidden(c), there)
			continue
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example + "\n" + c.Short) {
			if there && !strings.Contains(text, strings.TrimRight(line, "\n")) {
				t.Errorf("%s: its page lacks %q", c.CommandPath(), line)
			}
		}
	}
	for name, text := range pages {
		for _, m := range regexp.MustCompile(`(?m)^([a-z.-]+)\(([15])\),?$`).FindAllStringSubmatch(text, -1) {
			if pages[m[1]+"."+m[2]] == "" {
				t.Errorf("%s refers to %s(%s), which is no page", name, m[1], m[2])
			}
		}
		if !strings.HasPrefix(text, `.TH "`) || !strings.Contains(strings.SplitN(text, "\n", 2)[0], "2023-11-14") {
			t.Errorf("%s begins with %.60q", name, text)
		}
	}
	for _, m := range regexp.MustCompile(`"description": (".*")`).FindAllStringSubmatch(string(config.Schema()), -1) {
		text, err := strconv.Unquote(m[1])
		if err != nil || !strings.Contains(pages["cordon.yaml.5"], text) {
			t.Errorf("cordon.yaml(5) lacks %s, %v", m[1], err)
		}
	}
	for _, path := range []string{"devices.NAME.services.NAME.listen", "segments.NAME.interface.kind", "policy.approval.approvers [...]"} {
		if !strings.Contains(pages["cordon.yaml.5"], `.B "`+path+`"`) {
			t.Errorf("cordon.yaml(5) has no key %s", path)
		}
	}
}

// cordon(1) explains every exit code.
func TestManualExits(t *testing.T) {
	source, err := os.ReadFile("failure.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range regexp.MustCompile(`(?m)^\texit\w+ += (\d+)`).FindAllStringSubmatch(string(source), -1) {
		if i >= len(exitMeanings) || m[1] != string(rune('0'+exitMeanings[i].code)) {
			t.Fatalf("exit code %s of failure.go is not explained", m[1])
		}
	}
}
