package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

func deviceCommand(a *app) *cobra.Command {
	c := group("device", "The devices behind this gateway")
	c.AddCommand(deviceAddCommand(a), deviceListCommand(a), deviceShowCommand(a),
		deviceQuarantineCommand(a), deviceReleaseCommand(a), deviceMaintenanceCommand(a), deviceLearnCommand(a))
	return c
}

// knownProtocols are those of the configuration, if it can be read; what is wrong with it is
// said where it is edited.
func (a *app) knownProtocols() []string {
	c, err := config.Load(a.config())
	if err != nil {
		return daemon.Protocols(nil)
	}
	return daemon.Protocols(c.Plugins)
}

// newDevice is a device as the flags of "device add" give it.
type newDevice struct {
	profile, class, criticality, protocol, address, listen, service string
	port                                                            int
	labels, settings                                                []string
	tls12                                                           bool
}

func deviceAddCommand(a *app) *cobra.Command {
	var flags newDevice
	var dryRun bool
	c := &cobra.Command{
		Use: "add ID", Short: "Add a device to the configuration",
		Long: `Add a device with one service to the configuration. The file is edited in place:
every other line, comments included, stays as it is. Nothing is written if the file
would be faulty afterwards. A running gateway reads it at its next start.`,
		Example: `  cordon device add mon-7 --dir DIR --class monitor/bedside --protocol hl7 \
    --address 10.20.0.31 --port 2575 --listen :12575 --label ward=4 --set max_message=16MiB`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			doing := fmt.Sprintf("add device %q", args[0])
			known := a.knownProtocols()
			if !slices.Contains(known, flags.protocol) {
				return cannot(doing, badFlag("protocol", flags.protocol, fmt.Errorf("no plugin speaks it, only %s", strings.Join(known, ", ")), "--protocol hl7"))
			}
			if err := a.fromProfile(&flags); err != nil {
				return cannot(doing, err)
			}
			device, err := flags.device(args[0])
			if err != nil {
				return cannot(doing, err)
			}
			added, err := config.AddDevice(a.config(), device, dryRun)
			if err != nil {
				return cannot(doing, err)
			}
			return a.showAdded(device, added, dryRun)
		},
	}
	f := c.Flags()
	f.StringVar(&flags.profile, "profile", "", "its type, which says what else is to be known of it (see cordon profile list)")
	f.StringVar(&flags.class, "class", "", "what kind of device it is: monitor/bedside (default the profile's)")
	f.StringVar(&flags.criticality, "criticality", "", "how much harm its loss does: low, medium or high")
	f.StringVar(&flags.address, "address", "", "the device's IP address")
	f.StringVar(&flags.protocol, "protocol", "", "what it speaks: "+strings.Join(daemon.Protocols(nil), ", "))
	f.IntVar(&flags.port, "port", 0, "the device's TCP port (default the profile's)")
	f.StringVar(&flags.listen, "listen", "", "where the gateway listens for it: `ADDRESS:PORT`, or :PORT")
	f.StringVar(&flags.service, "service", "", "the service's name (default the protocol)")
	f.StringArrayVar(&flags.labels, "label", nil, "a fact for the policy, `NAME=VALUE`; may be repeated")
	f.StringArrayVar(&flags.settings, "set", nil, "a setting of the protocol, `NAME=VALUE`, the value being text or JSON; may be repeated")
	f.BoolVar(&flags.tls12, "insecure-tls12", false, "admit clients that know nothing newer than TLS 1.2; their certificates cross the network in clear")
	f.BoolVar(&dryRun, "dry-run", false, "show the lines, write nothing")
	for _, name := range []string{"address", "protocol", "listen"} {
		mustComplete(c.MarkFlagRequired(name))
	}
	mustComplete(c.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions(daemon.Protocols(nil), cobra.ShellCompDirectiveNoFileComp)))
	mustComplete(c.RegisterFlagCompletionFunc("profile", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.profileNames(), cobra.ShellCompDirectiveNoFileComp
	}))
	mustComplete(c.RegisterFlagCompletionFunc("criticality", cobra.FixedCompletions([]string{"low", "medium", "high"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// fromProfile fills in what only the profile has said. The class stays there.
func (a *app) fromProfile(n *newDevice) error {
	if n.profile == "" {
		if n.class == "" {
			return badFlag("class", "", fmt.Errorf("expected a class, or --profile with the device's type"), "--class monitor/bedside")
		}
		return nil
	}
	p, _, err := config.LoadProfile(a.config(), n.profile)
	if err != nil {
		return err
	}
	if s := p.Service(n.protocol); s != nil && n.port == 0 {
		n.port = int(s.Port)
	}
	return nil
}

// device checks what only a command line can get wrong; the rest is for the
// configuration to say.
func (n newDevice) device(id string) (config.Device, error) {
	var d config.Device
	address, err := config.ParseDeviceAddress(n.address)
	if err != nil {
		return d, badFlag("address", n.address, err, "--address 10.20.0.31")
	}
	listen, err := config.ParseListen(n.listen)
	if err != nil {
		return d, badFlag("listen", n.listen, err, "--listen 127.0.0.1:12575, or --listen :12575 for every address")
	}
	if n.port < 1 || n.port > 65535 {
		return d, badFlag("port", strconv.Itoa(n.port), fmt.Errorf("expected a port from 1 to 65535"), "--port 2575")
	}
	labels, err := pairs("label", n.labels)
	if err != nil {
		return d, err
	}
	settings, err := pairs("set", n.settings)
	if err != nil {
		return d, err
	}
	if n.service == "" {
		n.service = n.protocol
	}
	d = config.Device{ID: id, Address: address, Profile: n.profile, Class: n.class, Criticality: n.criticality, Labels: labels}
	d.Services = []config.Service{{Name: n.service, Proto: n.protocol, Port: uint16(n.port), Listen: listen, InsecureTLS12: n.tls12, Settings: settingsJSON(settings)}}
	return d, nil
}

func badFlag(name, value string, why error, try string) error {
	return exit.Error{Code: "usage.flag", Exit: exit.Usage, Message: fmt.Sprintf("--%s %q: %v", name, value, why), Try: []string{try}, Err: why}
}

func pairs(flag string, texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		_, twice := out[name]
		switch {
		case !found || name == "":
			return nil, badFlag(flag, text, fmt.Errorf("expected NAME=VALUE"), "--"+flag+" name=value")
		case twice:
			return nil, badFlag(flag, text, fmt.Errorf("%s is given twice", name), "give it once")
		}
		out[name] = value
	}
	return out, nil
}

// settingsJSON takes a value as JSON if it is, else as text: 5, true, [1,2], 64MiB.
func settingsJSON(settings map[string]string) json.RawMessage {
	var members []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		if !json.Valid([]byte(value)) || strings.ContainsAny(value, "\n\r") {
			value = jsonText(value)
		}
		members = append(members, jsonText(name)+": "+value)
	}
	return json.RawMessage("{" + strings.Join(members, ", ") + "}")
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // never: a string has a JSON form
	}
	return string(b)
}

func (a *app) showAdded(d config.Device, added string, dryRun bool) error {
	if a.json {
		return a.object(addedJSON{"cordon.device.added/v1", d.ID, a.config(), added, !dryRun})
	}
	if dryRun {
		_, err := fmt.Fprint(a.stdout, strings.TrimLeft(added, "\r\n"))
		return err
	}
	a.remark("added %s to %s: clients reach it at %s", d.ID, a.config(), d.Services[0].Listen)
	return nil
}

type addedJSON struct {
	Schema  string `json:"schema"`
	Device  string `json:"device"`
	File    string `json:"file"`
	Lines   string `json:"lines"`
	Written bool   `json:"written"`
}

// completeDevice completes a device's id. A faulty configuration completes nothing.
func (a *app) completeDevice(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := config.Load(a.config())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, d := range c.Devices {
		if strings.HasPrefix(d.ID, prefix) {
			ids = append(ids, cobra.CompletionWithDesc(d.ID, d.Class+" at "+d.Address.String()))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
