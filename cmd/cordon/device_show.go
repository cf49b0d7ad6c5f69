package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/policy/access"
)

// deviceJSON is a device for programs.
type deviceJSON struct {
	Schema      string            `json:"schema"`
	ID          string            `json:"id"`
	Address     netip.Addr        `json:"address"`
	Profile     string            `json:"profile,omitempty"`
	Class       string            `json:"class"`
	Criticality string            `json:"criticality,omitempty"`
	Segment     string            `json:"segment,omitempty"`
	MAC         string            `json:"mac,omitempty"`
	Source      string            `json:"source,omitempty"`           // whose address it sees
	Sources     []netip.Addr      `json:"source_addresses,omitempty"` // of which clients only
	Labels      map[string]string `json:"labels"`
	State       string            `json:"state"`              // in force
	StateBy     []access.Fact     `json:"state_by,omitempty"` // the quarantines or maintenance windows that make it so
	Services    []serviceJSON     `json:"services"`
	CallOut     []callOutJSON     `json:"call_out,omitempty"`
}

type callOutJSON struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Catch    string `json:"catch"`
	To       string `json:"to"`
}

type serviceJSON struct {
	Name          string          `json:"name"`
	Protocol      string          `json:"protocol"`
	Port          uint16          `json:"port"`
	Listen        string          `json:"listen"`
	Sessions      int             `json:"sessions,omitempty"`
	IdleTimeout   string          `json:"idle_timeout,omitempty"`
	AllowUnknown  []string        `json:"allow_unknown,omitempty"`
	InsecureTLS12 bool            `json:"insecure_tls12,omitempty"`
	UnseenReplies bool            `json:"unseen_replies,omitempty"`
	Settings      json.RawMessage `json:"settings"`
}

func forPrograms(d *config.Device, l access.Ledger) deviceJSON {
	state, by := daemon.StateNow(l, d)
	out := deviceJSON{Schema: "cordon.device/v1", ID: d.ID, Address: d.Address, Profile: d.Profile, Class: d.Class, Criticality: d.Criticality,
		Segment: d.Segment, MAC: d.MAC, Source: d.Source, Sources: d.SourceAddresses, Labels: map[string]string{}, State: state, StateBy: by, Services: []serviceJSON{}}
	maps.Copy(out.Labels, d.Labels)
	for _, o := range d.CallOut {
		out.CallOut = append(out.CallOut, callOutJSON{o.Name, o.Proto, o.Catch.String(), o.To})
	}
	for _, s := range d.Services {
		j := serviceJSON{s.Name, s.Proto, s.Port, s.Listen.String(), s.Sessions, "", s.AllowUnknown, s.InsecureTLS12, s.UnseenReplies, s.Settings}
		if s.IdleTimeout > 0 {
			j.IdleTimeout = s.IdleTimeout.String()
		}
		out.Services = append(out.Services, j)
	}
	return out
}

func deviceListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the devices, one line for each service",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(a.config())
			if err != nil {
				return cannot("list devices", err)
			}
			l, err := daemon.StandingOf(cmd.Context(), c)
			if err != nil {
				return cannot("list devices", err)
			}
			if a.json {
				all := []deviceJSON{}
				for i := range c.Devices {
					all = append(all, forPrograms(&c.Devices[i], l))
				}
				return a.object(all)
			}
			var rows [][]string
			for i := range c.Devices {
				d := &c.Devices[i]
				state := daemon.StateWords(l, d) + glassWords(l, d.ID)
				for _, s := range d.Services {
					rows = append(rows, []string{d.ID, d.Class, state, s.Name, s.Proto, s.Listen.String(), netip.AddrPortFrom(d.Address, s.Port).String()})
				}
				for _, o := range d.CallOut {
					rows = append(rows, []string{d.ID, d.Class, state, o.Name, o.Proto, "calls " + o.To, d.Address.String()})
				}
			}
			if len(rows) == 0 {
				a.remark("no devices in %s\n  try:  cordon device add --help", a.config())
				return nil
			}
			return a.table([]string{"DEVICE", "CLASS", "STATE", "SERVICE", "PROTOCOL", "LISTEN", "DEVICE ADDRESS"}, rows)
		},
	}
}

func deviceShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one device; the id may be shortened to a unique beginning",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeDevice,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(a.config())
			if err != nil {
				return cannot("show device", err)
			}
			d, err := c.Device(args[0])
			if err != nil {
				return cannot("show device", err)
			}
			l, err := daemon.StandingOf(cmd.Context(), c)
			if err != nil {
				return cannot("show device", err)
			}
			if a.json {
				return a.object(forPrograms(d, l))
			}
			return a.table([]string{"FACT", "VALUE"}, facts(d, l))
		},
	}
}

func facts(d *config.Device, l access.Ledger) [][]string {
	rows := [][]string{{"device", d.ID}, {"address", d.Address.String()}, {"class", d.Class}, {"state", daemon.StateWords(l, d) + glassWords(l, d.ID)}}
	_, by := daemon.StateNow(l, d)
	for i := range by {
		rows = append(rows, []string{string(by[i].Kind) + " " + by[i].ID, left(&by[i], time.Now()) + ": " + by[i].Reason})
	}
	if d.Profile != "" {
		rows = append(rows, []string{"profile", d.Profile})
	}
	if d.Criticality != "" {
		rows = append(rows, []string{"criticality", d.Criticality})
	}
	if d.Segment != "" {
		rows = append(rows, []string{"segment", fmt.Sprintf("%s, as %s", d.Segment, d.MAC)})
	}
	switch {
	case len(d.SourceAddresses) > 0:
		rows = append(rows, []string{"sees", fmt.Sprintf("clients %v by their own address, others by the gateway's", d.SourceAddresses)})
	case d.Source == config.SourceClient:
		rows = append(rows, []string{"sees", "every client by its own address"})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		rows = append(rows, []string{"label " + name, d.Labels[name]})
	}
	for _, s := range d.Services {
		rows = append(rows, []string{"service " + s.Name, fmt.Sprintf("%s on port %d, clients reach it at %s%s", s.Proto, s.Port, s.Listen, whose(d, s))})
		if len(s.Settings) > len("{}") {
			rows = append(rows, []string{"settings " + s.Name, string(s.Settings)})
		}
	}
	for _, o := range d.CallOut {
		rows = append(rows, []string{"call-out " + o.Name, fmt.Sprintf("%s, caught at %s, to %s", o.Proto, o.Catch, o.To)})
	}
	return rows
}

// whose says that a listener is at the device's own address.
func whose(d *config.Device, s config.Service) string {
	if d.Inline(s.Listen) {
		return ", the device's own address"
	}
	return ""
}
