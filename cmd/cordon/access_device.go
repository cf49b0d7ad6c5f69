package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/policy"
	"cordon/policy/access"
)

func deviceQuarantineCommand(a *app) *cobra.Command {
	var t termFlags
	var open bool
	c := &cobra.Command{
		Use: "quarantine ID", Short: "Cut a device off, at once",
		Long: `Cut a device off: its live sessions end within a second, and every operation is refused in its protocol, whatever
policy says. It lasts for --for, or until "cordon device release"; maintenance windows and grants do
not matter meanwhile. It takes effect also when the audit log cannot be written.`,
		Example: `  cordon device quarantine mon-7 --for 24h --reason 'beacons to 202.114.4.119'
  cordon device quarantine mon-7 --until-released --reason INC-17 --yes`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeDevice,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("quarantine "+args[0], a.setDevice(c.Context(), access.Quarantine, args[0], &t))
		},
	}
	t.add(c, false)
	c.Flags().BoolVar(&open, "until-released", false, "it has no end of its own")
	c.MarkFlagsOneRequired("for", "until-released")
	c.MarkFlagsMutuallyExclusive("for", "until-released")
	return c
}

func deviceMaintenanceCommand(a *app) *cobra.Command {
	var t termFlags
	c := &cobra.Command{
		Use: "maintenance ID", Short: "Put a device in maintenance for a time",
		Long: `Put a device in maintenance: policy sees its state so, from --from for --for, at most 14 days. What that permits, and
to whom, is the policy's: the shipped one has a table "maintenance". "cordon access end" ends it before its time.`,
		Example: "  cordon device maintenance ct-2 --for 2h --from 22:00 --reason WO-881",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeDevice,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("put "+args[0]+" in maintenance", a.setDevice(c.Context(), access.Maintenance, args[0], &t))
		},
	}
	t.add(c, true)
	mustComplete(c.MarkFlagRequired("for"))
	return c
}

// setDevice makes a fact about one device.
func (a *app) setDevice(ctx context.Context, kind access.Kind, id string, t *termFlags) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	d, err := c.Device(id)
	if err != nil {
		return err
	}
	f := access.Fact{Kind: kind, Device: d.ID}
	if err := t.term(&f, time.Now()); err != nil {
		return err
	}
	return a.carryOut(ctx, c, &daemon.AccessRequest{Do: "make", Fact: f}, d.ID, t.yes)
}

func deviceReleaseCommand(a *app) *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "release ID", Short: "End the quarantine of a device",
		Example: "  cordon device release mon-7 --reason 'reimaged, INC-17'",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeDevice,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("release "+args[0], a.release(c.Context(), args[0], reason, yes))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, in a line without patient data")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	mustComplete(c.MarkFlagRequired("reason"))
	return c
}

func (a *app) release(ctx context.Context, id, reason string, yes bool) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	d, err := c.Device(id)
	if err != nil {
		return err
	}
	if d.State == policy.StateQuarantined {
		return exit.Error{Code: "access.configured", Message: fmt.Sprintf("device %q is quarantined by %s", d.ID, a.config()), Exit: exit.Conflict,
			Try: []string{"change devices." + d.ID + ".state there", "cordon reload"}}
	}
	return a.carryOut(ctx, c, &daemon.AccessRequest{Do: "release", Device: d.ID, Reason: reason}, d.ID, yes)
}
