package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
)

func breakGlassDrillCommand(a *app) *cobra.Command {
	var device string
	var by badge
	c := &cobra.Command{
		Use: "drill", Short: "Try how an emergency would go, up to where a device would be opened",
		Long: `Try how an emergency would go: the running gateway makes an entry, and an alarm named "break-glass-drill" that
begins with DRILL, which goes the way of every alarm, over every channel, with the severity of an emergency. The
command waits until both are delivered, 20 s at most. Nothing is opened, and nothing is to be reviewed.

With --device and --cert it is also seen whether that person would be let in: certificate, roles, the class of the
device, quarantine, and the policy's own answer.`,
		Example: "  cordon break-glass drill\n  cordon break-glass drill --device ct-2 --cert ito.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("drill", a.drill(c.Context(), device, &by))
		},
	}
	f := c.Flags()
	f.StringVar(&device, "device", "", "the device's id")
	f.StringVar(&by.cert, "cert", "", "the certificate of who would open it, with its chain, `FILE`.pem")
	f.StringVar(&by.key, "key", "", "its key (default: FILE.key beside it)")
	c.MarkFlagsRequiredTogether("device", "cert")
	mustComplete(c.RegisterFlagCompletionFunc("device", a.completeDevice))
	mustComplete(c.MarkFlagFilename("cert", "pem"))
	mustComplete(c.MarkFlagFilename("key", "key"))
	return c
}

func (a *app) drill(ctx context.Context, device string, by *badge) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	var r daemon.DrillRequest
	if device != "" {
		d, err := c.Device(device)
		if err != nil {
			return err
		}
		cert, err := by.load()
		if err != nil {
			return err
		}
		// The purpose is signed too: nobody can open a device with it.
		said, err := signed.Sign(cert, daemon.PurposeDrill, daemon.Opening{Gateway: c.ID(), Device: d.ID, Reason: "a drill", Once: rand.Text()})
		if err != nil {
			return err
		}
		r.Signed = &said
	}
	a.remark("waiting for the channels to deliver, %v at most …", daemon.DrillTimeout)
	var done daemon.DrillAnswer
	err = control.Ask(ctx, c.Gateway.State, "drill", r, &done, daemon.ReloadTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		err = exit.Error{Code: "control.unreachable", Message: "no gateway runs with the state in " + c.Gateway.State, Exit: exit.Unreachable, Err: err, Try: []string{"start it: cordon run", "run this as the user the gateway runs as"}}
	}
	if err != nil {
		return err
	}
	return a.showDrill(&done)
}

func (a *app) showDrill(done *daemon.DrillAnswer) error {
	var err error
	if a.json {
		err = a.object(done)
	} else {
		err = a.showTold(done.Channels)
	}
	if err != nil {
		return err
	}
	if done.Subject != "" {
		a.remark("%s could open %s; nothing was opened", done.Subject, done.Device)
	} else {
		a.remark("nothing was opened")
	}
	if err := untold(done.Channels); err != nil {
		return err
	}
	if n := len(done.Channels); n < 2 {
		return exit.Error{Code: "alarm.few", Message: fmt.Sprintf("%d of the two channels for alarms is configured", n), Exit: exit.Findings, Try: []string{"alarms: { syslog: …, webhook: … } in " + a.config()}}
	}
	return nil
}
