package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/plugins"
)

func checkCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check everything a start needs, without listening",
		Long: `Check the configuration, compile the policy and run its tests, open the certificate
authority, start every plugin with its settings, and look at the audit log: all that
"cordon run" does short of listening. A running gateway is not disturbed.

The exit code is 8 if all that is good and a start would still find no good revocation lists
in identity.ca.crl_file: a gateway starts without, and refuses whom they are about.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.check(c.Context()) },
	}
}

// checked is what check reports.
type checked struct {
	Schema   string           `json:"schema"`
	Config   string           `json:"config"`
	Devices  int              `json:"devices"`
	Policy   string           `json:"policy"`
	Data     string           `json:"data"`
	Tests    int              `json:"tests"`
	Plugins  []plugins.Status `json:"plugins"`
	Audit    string           `json:"audit"`
	Warnings []string         `json:"warnings"`
}

func (a *app) check(ctx context.Context) error {
	if err := home.CheckWhole(a.config()); err != nil {
		return err
	}
	c, err := config.Load(a.config())
	if err != nil {
		return cannot("check", err)
	}
	report := checked{Schema: "cordon.check/v1", Config: a.config(), Devices: len(c.Devices), Warnings: []string{}}
	engine, passed, warnings, err := revision.Starting(ctx, c)
	if err != nil {
		return cannot("check", err)
	}
	report.Tests, report.Warnings = passed, warnings
	for _, name := range revision.Unsigned(c, engine) {
		report.Warnings = append(report.Warnings, "virtual patch "+name+" is not as it was signed off")
	}
	if _, err := daemon.StandingNow(c); err != nil {
		return cannot("check", err)
	}
	if _, err := daemon.AlarmChannels(c); err != nil {
		return cannot("check", err)
	}
	report.Policy, report.Data = engine.Revision(), engine.Data()
	authority, err := home.OpenAuthority(c)
	if err != nil {
		return cannot("check", err)
	}
	lists, err := authority.LookAtLists(c.Identity.CA.TrustFile, c.Identity.CA.CRLFile)
	if err != nil {
		return cannot("check", err)
	}
	for _, s := range lists.States {
		if fault := s.Fault(time.Now()); fault != nil {
			report.Warnings = append(report.Warnings, fault.Error())
		}
	}
	if report.Plugins, err = daemon.TryPlugins(ctx, c); err != nil {
		return cannot("check", err)
	}
	for _, s := range report.Plugins {
		for _, m := range s.Measures {
			if !m.Applied {
				report.Warnings = append(report.Warnings, fmt.Sprintf("plugin %s: %s not applied: %s", s.Protocol, m.Name, m.Detail))
			}
		}
	}
	for _, s := range c.InsecureTLS12() {
		report.Warnings = append(report.Warnings, s+" admits TLS 1.2: its clients' certificates cross the network in clear")
	}
	for _, s := range astray(c) {
		report.Warnings = append(report.Warnings, s+" takes any called AE title, and its device has another destination: images that somebody had moved there could go here; name its own in settings.called_ae")
	}
	if report.Audit, err = lookAtLog(c); err != nil {
		return cannot("check", err)
	}
	if a.json {
		return errors.Join(a.object(report), unfollowed(c, lists.Faults))
	}
	for _, w := range report.Warnings {
		a.remark("warning: %s", w)
	}
	tests := fmt.Sprintf("with %d tests passed", report.Tests)
	if c.Policy.Approval.Needed() {
		tests = "as it was rolled out"
	}
	fmt.Fprintf(a.stdout, "ok: %d device(s), policy %.19s %s, %d plugin(s), audit log %s\n",
		report.Devices, report.Policy, tests, len(report.Plugins), report.Audit)
	return unfollowed(c, lists.Faults)
}

// unfollowed is a failure of what comes from outside and not of the configuration: a gateway starts all the same.
func unfollowed(c *config.Config, faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return exit.Error{Code: "check.lists", Exit: exit.Findings, Message: "a gateway would start, and refuse whom it has no list for: " + strings.ReplaceAll(errors.Join(faults...).Error(), "\n", "; "),
		Try: []string{"fetch complete lists of every authority in identity.ca.trust_file, and rename them into place as " + c.Identity.CA.CRLFile}}
}

// astray are DICOM call-outs that may get what was moved to another destination of their device: a C-MOVE names
// an AE title and no host (PS3.7 9.1.4), and which call-out that belongs to only called_ae says.
func astray(c *config.Config) (places []string) {
	for i := range c.Devices {
		d := &c.Devices[i]
		destinations := map[string]bool{}
		var open []string
		for _, o := range d.CallOut {
			if o.Proto != "dicom" {
				continue
			}
			destinations[o.To] = true
			var set map[string]json.RawMessage
			if json.Unmarshal(o.Settings, &set) != nil || set["called_ae"] == nil {
				open = append(open, fmt.Sprintf("devices.%s.call_out.%s", d.ID, o.Name))
			}
		}
		if len(destinations) > 1 {
			places = append(places, open...)
		}
	}
	return places
}

// lookAtLog says in what state the audit log is, without becoming its writer.
func lookAtLog(c *config.Config) (string, error) {
	if _, err := os.Stat(c.Audit.Dir); os.IsNotExist(err) {
		return "not begun", nil
	}
	r, err := audit.OpenReader(c.Audit.Dir)
	if err != nil {
		return "", err
	}
	n, err := r.Size()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("of %d entries", n), nil
}
