package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

func policyNewCommand(a *app) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "new DIR", Short: "Make a folder to edit the policy in, with what an editor needs",
		Long: `Copy the policy that decides into DIR, which is made: rules, tests and data, the table of
who may do what, JSON Schemas of the input and the data with settings for editors that read
.vscode, a configuration for regal, and a README that goes through an edit from beginning
to end. Nothing that exists is overwritten, and nothing is put into force.`,
		Example: "  cordon policy new next/\n  cordon policy new before/ --from sha256:9b1e",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("make a folder for a policy", a.newPolicy(c.Context(), args[0], from))
		},
	}
	c.Flags().StringVar(&from, "from", inForceName, "copy what decides, a folder, or the digest of one that decided here: `DIR|REVISION`")
	return c
}

func (a *app) newPolicy(ctx context.Context, dir, from string) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	engine, err := openPolicy(c, from)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return exit.Error{Code: "policy.exists", Exit: exit.Conflict, Message: fmt.Sprintf("%s is not empty, and nothing is overwritten", dir), Err: fs.ErrExist, Try: []string{"choose another directory"}}
	}
	cells, err := engine.Table(ctx, engine.Vocabulary())
	if err != nil {
		return err
	}
	if err := engine.WriteWorkspace(dir); err != nil {
		return err
	}
	if err := writeText(filepath.Join(dir, rego.TableFile), rego.TableMarkdown(cells)); err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema string `json:"schema"`
			Dir    string `json:"dir"`
			Policy string `json:"policy"`
			Data   string `json:"data"`
		}{"cordon.policy.new/v1", dir, engine.Revision(), engine.Data()})
	}
	fmt.Fprintln(a.stdout, dir)
	a.remark(`next: edit %[1]s/data.yaml; %[1]s/README.md goes through an edit
      cordon policy check %[1]s
      cordon policy replay --since 7d --against %[1]s`, filepath.Clean(dir))
	return nil
}
