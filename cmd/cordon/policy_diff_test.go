package main

import (
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// TestPolicyDiffShows has an author hide an edit from whoever is to approve it: in the body of a rule, behind a comment that
// moves the cursor or turns the order of letters round, in the name of a role, in an import.
func TestPolicyDiffShows(t *testing.T) {
	gw, c := newGateway(t)
	next := filepath.Join(t.TempDir(), "next")
	inProcess(t, exit.Done, "policy", "new", next, "--dir", gw)
	there := *c
	there.Policy.Dir = next
	edit(t, &there, "cordon.rego", "known if input.operation.class != \"unknown\"", "known if { # as before\x1b[2K\u202e\n\tinput.operation.class in {\"unknown\", \"read\"}\n}")
	edit(t, &there, "data.yaml", "kinds:\n", "kinds:\n  \"x\\e[1A\\e[2K\": user\n")
	edit(t, &there, "break_glass.rego", "import data.cordon\n", "import data.access\nimport data.cordon\n")
	edit(t, &there, "break_glass.rego", "data.access.emergencies[cordon.holder]", "access.emergencies[cordon.holder]")
	shown := inProcess(t, exit.Done, "policy", "diff", c.Policy.Dir, next, "--dir", gw)
	for _, want := range []string{
		"rule\tchanged\tcordon.rego:", "\tdata.cordon.known\n",
		"\t\t\t- known if input.operation.class != \"unknown\"\n",
		"\t\t\t+ known if { # as before\\u{1b}[2K\\u{202e}\n",
		"\t\t\t+     input.operation.class in {\"unknown\", \"read\"}\n",
		"data\tadded\tkinds.x\\u{1b}[1A\\u{1b}[2K\t",
		"\t\t\t+ import data.access\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("not shown: %q", want)
		}
	}
	if t.Failed() || strings.ContainsAny(shown, "\x1b\u202e") {
		t.Errorf("shown: %q", shown)
	}
}
