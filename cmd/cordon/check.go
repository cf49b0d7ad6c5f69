package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
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
"cordon run" does short of listening. A running gateway is not disturbed.`,
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
	c, err := config.Load(a.config())
	if err != nil {
		return cannot("check", err)
	}
	report := checked{Schema: "cordon.check/v1", Config: a.config(), Devices: len(c.Devices), Warnings: []string{}}
	parts := &assembly{config: c}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	parts.stop = stop
	defer parts.close()
	if parts.policy, report.Tests, report.Warnings, err = revision.Starting(ctx, c); err != nil {
		return cannot("check", err)
	}
	for _, name := range revision.Unsigned(c, parts.policy) {
		report.Warnings = append(report.Warnings, "virtual patch "+name+" is not as it was signed off")
	}
	if _, err := standingNow(c); err != nil {
		return cannot("check", err)
	}
	if _, err := alarmChannels(c); err != nil {
		return cannot("check", err)
	}
	report.Policy, report.Data = parts.policy.Revision(), parts.policy.Data()
	if _, err := home.OpenAuthority(c); err != nil {
		return cannot("check", err)
	}
	if _, err := parts.startPlugins(ctx, background, slog.New(slog.DiscardHandler)); err != nil {
		return cannot("check", err)
	}
	for _, p := range parts.plugins {
		s := p.Status()
		report.Plugins = append(report.Plugins, s)
		for _, m := range s.Measures {
			if !m.Applied {
				report.Warnings = append(report.Warnings, fmt.Sprintf("plugin %s: %s not applied: %s", s.Protocol, m.Name, m.Detail))
			}
		}
	}
	for _, s := range lowered(c) {
		report.Warnings = append(report.Warnings, s+" admits TLS 1.2: its clients' certificates cross the network in clear")
	}
	if report.Audit, err = lookAtLog(c); err != nil {
		return cannot("check", err)
	}
	if a.json {
		return a.object(report)
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
	return nil
}

// lowered names the services with insecure_tls12.
func lowered(c *config.Config) (names []string) {
	for _, d := range c.Devices {
		for _, s := range d.Services {
			if s.InsecureTLS12 {
				names = append(names, "devices."+d.ID+".services."+s.Name)
			}
		}
	}
	return names
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

// recordTimeout bounds entries about the gateway itself.
func recordTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}
