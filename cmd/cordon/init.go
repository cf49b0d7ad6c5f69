package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cordon/certs/ca"
	"cordon/cmd/cordon/home"
	"cordon/policy"
)

func initCommand(a *app) *cobra.Command {
	var name, domain, operator, state string
	c := &cobra.Command{
		Use: "init DIR", Short: "Make a new gateway: configuration, policy, CA and one operator",
		Long: `Make a new gateway in DIR: cordon.yaml, a policy folder with its tests, an embedded
certificate authority, and one operator's certificate. Nothing that exists is overwritten.`,
		Example: "  cordon init ward-4 --name ward-4 --trust-domain hospital.example",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("init "+args[0], a.init(c, args[0], name, domain, operator, state))
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "cordon", "the gateway's name")
	f.StringVar(&domain, "trust-domain", "cordon.internal", "the SPIFFE trust domain of everybody it will know")
	f.StringVar(&state, "state", "state", "the directory for the CA, keys and log, in DIR if it is relative")
	f.StringVar(&operator, "operator", "operator", "id of the first operator")
	return c
}

func (a *app) init(c *cobra.Command, dir, name, domain, operator, state string) error {
	loaded, file, err := home.Init(dir, name, domain, state)
	if err != nil {
		return err
	}
	authority, err := home.OpenAuthority(loaded)
	if err != nil {
		return err
	}
	issued, err := authority.Issue(c.Context(), ca.Request{Kind: policy.KindUser, ID: operator, Roles: []string{"operator"}})
	if err != nil {
		return err
	}
	files, err := writeIdentity(filepath.Join(dir, operator), issued)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema   string   `json:"schema"`
			Dir      string   `json:"dir"`
			Config   string   `json:"config"`
			Operator []string `json:"operator"`
		}{"cordon.init/v1", dir, file, files})
	}
	fmt.Fprintf(a.stdout, "%s\n", file)
	a.remark(`made a gateway in %[1]s: configuration, policy, CA, and %[2]s for its operator (valid %[3]s)
next: cordon device add mon-7 --dir %[1]s --class monitor/bedside --protocol hl7 --address 127.0.0.1 --port 2575 --listen 127.0.0.1:12575
      cordon cert issue --dir %[1]s --user dr.kim --role radiologist --out kim
      cordon run -c %[4]s`, dir, strings.Join(files, ", "), loaded.Identity.CA.LeafTTL, file)
	return nil
}
