package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
)

func profileCommand(a *app) *cobra.Command {
	c := group("profile", "What is known of types of devices")
	c.AddCommand(profileListCommand(a), profileShowCommand(a), profileCheckCommand(a))
	return c
}

// profileJSON is a profile for programs.
type profileJSON struct {
	Schema      string               `json:"schema"`
	Name        string               `json:"name"`
	From        string               `json:"from"` // "shipped" or "site"
	Title       string               `json:"title"`
	Class       string               `json:"class"`
	References  []string             `json:"references,omitempty"`
	Services    []profileServiceJSON `json:"services"`
	ClosedPorts []int                `json:"closed_ports,omitempty"`
	Patches     []string             `json:"patches,omitempty"`
}

type profileServiceJSON struct {
	Protocol     string          `json:"protocol"`
	Port         uint16          `json:"port,omitempty"`
	Sessions     int             `json:"sessions,omitempty"`
	IdleTimeout  string          `json:"idle_timeout,omitempty"`
	AllowUnknown []string        `json:"allow_unknown,omitempty"`
	Settings     json.RawMessage `json:"settings"`
}

func profileForPrograms(p *config.Profile) profileJSON {
	out := profileJSON{"cordon.profile/v1", p.Name, profileFrom(p.Name), p.Title, p.Class, p.References, nil, p.ClosedPorts, p.Patches}
	for _, s := range p.Services {
		j := profileServiceJSON{s.Proto, s.Port, s.Sessions, "", s.AllowUnknown, s.Settings}
		if s.IdleTimeout > 0 {
			j.IdleTimeout = s.IdleTimeout.String()
		}
		out.Services = append(out.Services, j)
	}
	return out
}

func profileFrom(name string) string {
	if slices.Contains(config.ShippedProfiles(), name) {
		return "shipped"
	}
	return "site"
}

// profileNames are those a device of this gateway may have, sorted.
func (a *app) profileNames() []string {
	names := config.ShippedProfiles()
	if site, err := config.SiteProfiles(a.config()); err == nil {
		names = append(names, site...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func profileListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the profiles a device can be given",
		Long: `List the profiles that come with cordon and those in the folder "profiles" beside the
configuration, where a site puts its own.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all := []profileJSON{}
			var rows [][]string
			for _, name := range a.profileNames() {
				p, _, err := config.LoadProfile(a.config(), name)
				if err != nil {
					return cannot("list profiles", err)
				}
				all = append(all, profileForPrograms(p))
				rows = append(rows, []string{p.Name, profileFrom(p.Name), p.Class, strings.Join(p.Protocols(), ","), p.Title})
			}
			if a.json {
				return a.object(all)
			}
			return a.table([]string{"PROFILE", "FROM", "CLASS", "PROTOCOLS", "DEVICE"}, rows)
		},
	}
}

func profileShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Print one profile as its file says it",
		Example: `  cordon profile show contec-cms8000
  cordon profile show orthanc >profiles/our-archive.yaml    # to start one's own from`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.profileNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, text, err := config.LoadProfile(a.config(), args[0])
			switch {
			case err != nil:
				return cannot("show profile", err)
			case a.json:
				return a.object(profileForPrograms(p))
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}

func profileCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Check a profile before a device is given it",
		Long: `Read a profile's file and ask the plugins whether its settings are good. Whether the
policy has the patches it names, cordon check says for the devices that have the profile.`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, _, err := config.ReadProfile(args[0])
			if err != nil {
				return cannot("check profile", err)
			}
			if err := a.checkProfile(args[0], p); err != nil {
				return cannot("check profile", err)
			}
			if a.json {
				return a.object(profileForPrograms(p))
			}
			_, err = fmt.Fprintf(a.stdout, "ok: %s, %s over %s\n", p.Name, p.Title, strings.Join(p.Protocols(), ", "))
			return err
		},
	}
}

// checkProfile lets the protocols that come with cordon read their settings. Those of other
// plugins are read when a device has the profile, by cordon check.
func (a *app) checkProfile(file string, p *config.Profile) error {
	known := a.knownProtocols()
	for _, s := range p.Services {
		if !slices.Contains(known, s.Proto) {
			return config.Faults{{Code: "config.protocol.unknown", File: file, Message: fmt.Sprintf("%s: services.%s: no plugin speaks it, only %s", file, s.Proto, strings.Join(known, ", ")),
				Try: []string{"name one of those, or add the plugin to the configuration"}}}
		}
		protocol, brought := daemon.Builtins()[s.Proto]
		if !brought {
			continue
		}
		if _, err := protocol.Configure(s.Settings); err != nil {
			return config.Faults{{Code: "config.setting", File: file, Message: fmt.Sprintf("%s: services.%s: %v", file, s.Proto, err),
				Try: []string{"see the settings of " + s.Proto + " in the documentation"}}}
		}
	}
	return nil
}
