package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

func policyFmtCommand(a *app) *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use: "fmt [DIR]", Short: "List the rule files that are not formatted as usual, or format them",
		Long: `List the rule and test files that OPA's formatter would write otherwise, and exit with 8 if
there are any. With --write they are written. A file of which the formatter would not only
change the layout is left as it is, with a warning.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return cannot("format the policy", a.formatPolicy(args, write))
		},
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "write the files")
	return c
}

func (a *app) formatPolicy(args []string, write bool) error {
	c, err := a.policyFolder(args)
	if err != nil {
		return err
	}
	changed, kept, err := rego.Format(c.Policy.Dir)
	if err != nil {
		return revision.Placed(err)
	}
	names := []string{}
	for _, s := range changed {
		path := filepath.Join(c.Policy.Dir, filepath.FromSlash(s.Name))
		if write {
			if err := disk.Edit(path, s.Text); err != nil {
				return err
			}
		}
		names = append(names, path)
	}
	if a.json {
		err = a.object(struct {
			Schema  string         `json:"schema"`
			Files   []string       `json:"files"`
			Written bool           `json:"written"`
			Kept    []rego.Problem `json:"kept"` // as they are, for the formatter would rewrite them
		}{"cordon.policy.fmt/v1", names, write, append([]rego.Problem{}, kept...)})
	} else {
		for _, p := range kept {
			a.remark("warning: %s (%s)", filepath.Join(c.Policy.Dir, p.String()), p.Hint)
		}
		for _, name := range names {
			fmt.Fprintln(a.stdout, name)
		}
	}
	if err == nil && len(names) > 0 && !write {
		err = exit.Error{Code: "policy.format", Exit: exit.Findings, Message: fmt.Sprintf("%d files are not formatted as usual", len(names)), Try: []string{"cordon policy fmt -w"}}
	}
	return err
}
