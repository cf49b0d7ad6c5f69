package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/policy"
	"cordon/policy/rego"
)

// tableOptions are the flags of "policy table".
type tableOptions struct {
	roles, devices []string
	write          bool
}

func policyTableCommand(a *app) *cobra.Command {
	var o tableOptions
	c := &cobra.Command{
		Use: "table [DIR]", Short: "Tell who may do what: every role, class of device and class of operation",
		Long: `Ask the policy that decides about every role × class of device × class of operation × state × direction,
and show the answers as tables. Roles and classes are those that its data speak of; --role
and --device-class add others. DIR is a folder to ask instead, or the digest of a policy that
decided here. With --write they are written to TABLE.md in the folder, which is the policy
folder if none is named.`,
		Example: "  cordon policy table\n  cordon policy table next/ --device-class pump/infusion\n  cordon policy table -w && git diff policy/TABLE.md",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("make the table", a.policyTable(c.Context(), append(args, "")[0], o))
		},
	}
	c.Flags().StringSliceVar(&o.roles, "role", nil, "ask about `ROLE`, too")
	c.Flags().StringSliceVar(&o.devices, "device-class", nil, "ask about `CLASS` of device, too")
	c.Flags().BoolVarP(&o.write, "write", "w", false, "write TABLE.md")
	return c
}

func (a *app) policyTable(ctx context.Context, name string, o tableOptions) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	if o.write {
		name = cmp.Or(name, c.Policy.Dir) // what it holds, whether or not that decides
	}
	engine, err := openPolicy(c, name)
	if err != nil {
		return err
	}
	asked := rego.Vocabulary{Roles: map[string][]string{}, Devices: o.devices}
	for _, role := range o.roles {
		asked.Roles[role] = []string{policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice}
	}
	cells, err := engine.Table(ctx, engine.Vocabulary().With(asked))
	if err != nil {
		return err
	}
	if o.write {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			return exit.Error{Code: "usage.table", Exit: exit.Usage, Message: fmt.Sprintf("%q is no folder to write %s to", name, rego.TableFile)}
		}
		path := filepath.Join(name, rego.TableFile)
		if err := writeText(path, rego.TableMarkdown(cells)); err != nil {
			return err
		}
		if !a.json {
			fmt.Fprintln(a.stdout, path)
			return nil
		}
	}
	beside := a.beside(c, name)
	if a.json {
		return a.object(struct {
			Schema string      `json:"schema"`
			Policy string      `json:"policy"`
			Data   string      `json:"data"`
			Beside string      `json:"workspace,omitempty"` // how the policy folder differs from it
			Cells  []rego.Cell `json:"cells"`
		}{"cordon.policy.table/v1", engine.Revision(), engine.Data(), beside, cells})
	}
	return a.printTable(rego.Sections(cells))
}

func (a *app) printTable(sections []rego.TableSection) error {
	for i, s := range sections {
		if !a.quiet {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			fmt.Fprintln(a.stdout, s.Title)
		}
		var rows [][]string
		for _, r := range s.Rows {
			rows = append(rows, append([]string{r.Role, strings.Join(r.Devices, " "), r.Protocols}, r.Cells...))
		}
		heads := []string{"ROLE", "DEVICE", "PROTOCOL"}
		for _, o := range s.Operations {
			heads = append(heads, strings.ToUpper(o))
		}
		if err := a.table(heads, rows); err != nil {
			return err
		}
	}
	a.remark("what has no row is refused; yes is while the device is active and in maintenance, but never in quarantine")
	return nil
}

// writeText replaces a file's contents in one step, or makes the file.
func writeText(path string, text []byte) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return disk.Create(path, text, 0o644)
	}
	return disk.Edit(path, text)
}
