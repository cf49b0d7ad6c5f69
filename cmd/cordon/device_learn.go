package main

import (
	"context"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/access"
)

func deviceLearnCommand(a *app) *cobra.Command {
	var t termFlags
	var end bool
	c := &cobra.Command{
		Use: "learn ID", Short: "Put a device in learning mode for a time",
		Long: `Put a device in learning mode: policy sees its state so, for --for, at most 90 days. The shipped policy then permits
whoever has a role what its tables do not, except what controls or configures a device, and except
on the classes of devices in data.yaml, learning.never. Every such decision is recorded with the rule "learning";
"cordon policy learn" makes a proposal of them. It ends by itself, or with --end, and live
sessions that need it end within a second.

To learn without permitting anything, do not use this: "cordon policy learn" proposes from what is refused, too.`,
		Example: `  cordon device learn mon-7 --for 14d --reason 'new ward, CHG-204'
  cordon device learn mon-7 --end --reason 'seen enough'`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeDevice,
		RunE: func(c *cobra.Command, args []string) error {
			if end {
				return cannot("end the learning of "+args[0], a.endLearning(c.Context(), args[0], &t))
			}
			return cannot("have "+args[0]+" learn", a.beginLearning(c.Context(), args[0], &t))
		},
	}
	t.add(c, true)
	c.Flags().BoolVar(&end, "end", false, "end it before its time")
	c.MarkFlagsOneRequired("for", "end")
	c.MarkFlagsMutuallyExclusive("for", "end")
	c.MarkFlagsMutuallyExclusive("from", "end")
	return c
}

// beginLearning refuses where the policy does not know of learning: the device would be in a
// state in which nothing is permitted.
func (a *app) beginLearning(ctx context.Context, id string, t *termFlags) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	d, err := c.Device(id)
	if err != nil {
		return err
	}
	f, err := revision.Open(c)
	if err != nil {
		return err
	}
	if !f.Current.Learns() {
		return exit.Error{Code: "access.no_learning", Exit: exit.Conflict, Message: "the policy has no rule learning: the device would be cut off", Try: []string{"copy learning.rego, its test, and the table learning of data.yaml from a folder of cordon init", "cordon policy learn proposes from what is refused, without learning mode"}}
	}
	if d.Criticality == "high" {
		a.remark("warning: %s is of high criticality", d.ID)
	}
	return a.setDevice(ctx, access.Learning, d.ID, t)
}

// endLearning ends all there is of a device, also what has not begun.
func (a *app) endLearning(ctx context.Context, id string, t *termFlags) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	d, err := c.Device(id)
	if err != nil {
		return err
	}
	l, err := daemon.StandingNow(c)
	if err != nil {
		return err
	}
	ended := false
	for _, f := range l.Facts {
		if f.Kind != access.Learning || f.Device != d.ID || f.Phase() == access.Over {
			continue
		}
		if err := a.carryOut(ctx, c, &daemon.AccessRequest{Do: "end", ID: f.ID, Reason: t.reason}, f.ID, t.yes); err != nil {
			return err
		}
		ended = true
	}
	if !ended {
		return exit.Error{Code: "access.not_learning", Exit: exit.NotFound, Message: "device " + d.ID + " is not in learning mode", Try: []string{"cordon device show " + d.ID}}
	}
	return nil
}
