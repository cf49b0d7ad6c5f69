package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/revision"
)

// patchJSON is a virtual patch for programs.
type patchJSON struct {
	Schema    string   `json:"schema"`
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	CVE       []string `json:"cve"`
	Advisory  string   `json:"advisory"`
	SignedOff string   `json:"signed_off"` // "" if nobody checked the rule as it stands
	File      string   `json:"file"`
	Line      int      `json:"line"`
	Devices   []string `json:"devices"`
}

func policyPatchesCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "patches", Short: "List the virtual patches and the devices they guard",
		Long: `List the virtual patches of the policy: rules that refuse what a known flaw of a type of
device needs, whoever asks. A device has the patches that its profile names.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cannot("list patches", a.showPatches())
		},
	}
}

func (a *app) showPatches() error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	f, err := revision.Open(c)
	if err != nil {
		return err
	}
	engine := f.Current
	all := []patchJSON{}
	var rows [][]string
	for _, p := range engine.Patches() {
		devices := []string{}
		for _, d := range c.Devices {
			if slices.Contains(d.Patches(), p.Name) {
				devices = append(devices, d.ID)
			}
		}
		all = append(all, patchJSON{"cordon.patch/v1", p.Name, p.Title, p.CVE, p.Advisory, p.SignedOff, p.File, p.Line, devices})
		signed := p.SignedOff
		if signed == "" {
			signed = "by nobody"
		}
		rows = append(rows, []string{p.Name, strings.Join(p.CVE, ","), signed, cmp.Or(strings.Join(devices, ","), "-"), p.Title})
	}
	if a.json {
		return a.object(all)
	}
	return a.table([]string{"PATCH", "CVE", "SIGNED OFF", "DEVICES", "WHAT IT HOLDS"}, rows)
}
