package rego

import (
	"fmt"
	"strings"
	"time"
)

// questions is QUESTIONS.md: the proposal for a person to read and decide on.
func (p *Proposal) questions() []byte {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	kept, apart := 0, 0
	for _, c := range p.list {
		if c.Kept {
			kept++
		} else {
			apart++
		}
	}
	w("# What was learned by %s\n", p.day)
	w("%d recorded decisions were looked at. The policy permits %d as it is; %d it refuses, %d were not a policy's to", p.Recorded, p.Allowed, p.Refused, p.Unasked)
	w("answer. Of what is refused, this folder permits %d kinds; %d are set apart for a person to decide.", kept, apart)
	w("\nOnly what was tried is in here, and that somebody tried it is no reason to permit it. Work that is")
	w("done once a year is missing. `cordon why CODE` tells what a code stands for.")
	if p.Further > 0 {
		w("\n**%d refused operations are missing**, because there are more than %d kinds: learn from one device or", p.Further, maxSeen)
		w("one class of devices at a time.")
	}
	if len(p.SetAside) > 0 {
		w("\n## Tests that say otherwise\n\nThey are set aside as `todo_test_…`. Change each, or what it contradicts, before you use the folder.\n")
		for _, name := range p.SetAside {
			w("- %s", code(name))
		}
	}
	w("\n## Permitted by this folder\n")
	p.sections(w, true)
	w("\n## Questions\n\nNone of them is permitted. Each stands as a comment in `%s`, if its tables can say it. Who answers one with", tablesName)
	w("yes takes the `#` away and deletes its test in `%s`.\n", p.testFile())
	p.sections(w, false)
	return []byte(b.String())
}

// sections lists the groups that are kept, or those that are not.
func (p *Proposal) sections(w func(string, ...any), kept bool) {
	n := 0
	for _, c := range p.list {
		if c.Kept != kept {
			continue
		}
		if n++; n > maxMarkdown {
			continue
		}
		roles := c.Roles
		if roles == "" {
			roles = "without a role"
		}
		head := fmt.Sprintf("- %s on %s by %s", code(c.Operation), code(c.Class), code(roles))
		if c.Does != "" {
			head += ", class " + c.Does
		}
		w("%s: %s", head, c.evidence())
		for _, f := range c.Facts {
			w("  - %s", code(f))
		}
		for _, d := range c.Details {
			w("  - %s", code(d))
		}
		if len(c.Why) > 0 {
			w("  - why it is a question: %s", line(strings.Join(c.Why, "; ")))
		}
		w("  - %s; %d of %d passed in learning mode; first %s, last %s", devices(c.Devices), c.Passed, c.Count, c.First.Local().Format(time.DateTime), c.Last.Local().Format(time.DateTime))
		switch {
		case c.Rule:
			w("  - permitted by a rule in %s", code(p.file("")+".rego"))
		case len(c.Edits) > 0 && kept:
			w("  - permitted by %s", code(strings.Join(c.Edits, ", ")))
		case len(c.Edits) > 0:
			w("  - would take %s", code(strings.Join(c.Edits, ", ")))
		}
	}
	if n == 0 {
		w("None.")
	}
	if n > maxMarkdown {
		w("- and %d more: `cordon policy learn --json`", n-maxMarkdown)
	}
}

func devices(list []string) string {
	if len(list) == maxDevices {
		return fmt.Sprintf("%d devices or more", maxDevices)
	}
	return "on " + strings.Join(list, ", ")
}

// code writes what may come from a client so that Markdown takes it for nothing else.
func code(s string) string { return "`" + strings.ReplaceAll(line(s), "`", "'") + "`" }
