package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/policy/rego"
)

func policyDiffCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "diff [A [B]]", Short: "Tell how two policies differ: files, rules, data in words, and who may do what",
		Long: `Tell how policy B differs from policy A. Each is a folder, the digest of a policy that
decided here, or in-force, which is what decides and what B is if it is not given. Without
either, the policy folder is compared with what decides. Comments and the order of rules are
no difference. Below them are the tests that are gone, new or changed, as far as A's are
known, and the fields of the truth table (cordon policy table) that the two fill differently.`,
		Example: "  cordon policy diff sha256:9b1e\n  cordon policy diff gw/policy next/\n  cordon policy diff in-force next/",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("compare policies", a.diffPolicies(c.Context(), args))
		},
	}
}

func (a *app) diffPolicies(ctx context.Context, names []string) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	before, after := inForceName, c.Policy.Dir
	switch len(names) {
	case 1:
		before, after = names[0], inForceName
	case 2:
		before, after = names[0], names[1]
	}
	x, err := ungranted(openPolicy(c, before))
	if err != nil {
		return err
	}
	y, err := ungranted(openPolicy(c, after))
	if err != nil {
		return err
	}
	d := rego.Diff(x, y)
	table, err := rego.DiffTables(ctx, x, y)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema string `json:"schema"`
			rego.Difference
			Table []rego.CellChange `json:"table"`
		}{"cordon.policy.diff/v1", d, table})
	}
	return a.printDiff(d, table)
}

// ruleLines are the lines of a rule that differ, every one of them: whoever approves an edit has nothing else to go by.
func ruleLines(r rego.RuleChange) []string {
	var lines []string
	for _, line := range lineChanges([]byte(r.Before), []byte(r.After)) {
		if r.Before == "" && line == "- " || r.After == "" && line == "+ " {
			continue // of no text at all
		}
		lines = append(lines, strings.ReplaceAll(line, "\t", "    "))
	}
	return lines
}

// printDiff tells a person how policies differ.
func (a *app) printDiff(d rego.Difference, table []rego.CellChange) error {
	var rows [][]string
	for _, f := range d.Files {
		rows = append(rows, []string{"file", f.Change, f.Name, ""})
	}
	for _, r := range d.Rules {
		rows = append(rows, []string{"rule", r.Change, fmt.Sprintf("%s:%d", r.File, r.Line), r.Rule})
		for _, line := range ruleLines(r) {
			rows = append(rows, []string{"", "", "", line})
		}
	}
	for _, v := range d.Data {
		rows = append(rows, []string{"data", v.Change, strings.Join(v.Path, "."), v.Words})
	}
	for _, r := range d.Tests {
		rows = append(rows, []string{"test", r.Change, fmt.Sprintf("%s:%d", r.File, r.Line), r.Rule})
	}
	for _, t := range rego.ChangesInWords(table) {
		rows = append(rows, []string{"table", t.Before + " → " + t.After, t.Role + " " + t.Device, fmt.Sprintf("%s (%s, %s)", t.Operation, t.From, t.Protocols)})
	}
	if d.Tests == nil {
		a.remark("no tests are known of the policy that it is compared with, so none is shown that changed or is gone: read the *_test.rego files")
	}
	if len(rows) == 0 {
		a.remark("the policies are the same, as far as they decide")
		return nil
	}
	return a.table([]string{"WHAT", "CHANGE", "WHERE", "HOW"}, rows)
}
