package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/envelope"
)

func breakGlassSealCommand(a *app) *cobra.Command {
	var n, need int
	var yes bool
	c := &cobra.Command{
		Use: "seal", Short: "Make one-time codes for sealed envelopes",
		Long: `Make codes for sealed envelopes, of which --need together open a device when nobody can get a certificate. They are
printed once: the gateway keeps what recognises them, not the codes. Codes from before are void. Keep the envelopes
in different places; whoever holds --need of them and may use the gateway's machine opens devices under any name.`,
		Example: "  cordon break-glass seal --codes 5 --need 2 | lp",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("seal codes", a.sealCodes(c.Context(), n, need, yes))
		},
	}
	c.Flags().IntVar(&n, "codes", 5, "how many, at most 20")
	c.Flags().IntVar(&need, "need", 2, "how many open a device together")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before codes from before are void")
	return c
}

func (a *app) sealCodes(ctx context.Context, n, need int, yes bool) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	if old, err := envelope.Read(c.Gateway.State); !errors.Is(err, envelope.ErrNone) && !yes {
		if err == nil {
			a.remark("%d unused codes that %s sealed on %s are void then", old.Unused(), old.By, old.Made.Local().Format(time.DateOnly))
		}
		if err := a.confirm("New envelopes replace all of them.", "seal"); err != nil {
			return err
		}
	}
	r := daemon.EmergencyRequest{Do: "seal", Make: n, Need: need}
	var done daemon.EmergencyAnswer
	log, err := daemon.AskOrOpen(ctx, c, "emergency", &r, &done, daemon.ReloadTimeout, quietLogger(a.stderr))
	if log != nil {
		done.Codes, err = daemon.SealCodes(c.Gateway.State, daemon.RecordIn(log), &r, control.Operator(), time.Now())
		err = errors.Join(err, log.Close())
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema string   `json:"schema"`
			Need   int      `json:"need"`
			Codes  []string `json:"codes"`
		}{"cordon.break_glass.codes/v1", need, done.Codes})
	}
	var rows [][]string
	for i, code := range done.Codes {
		rows = append(rows, []string{strconv.Itoa(i + 1), code})
	}
	if err := a.table([]string{"CODE", fmt.Sprintf("OF %s, %d OPEN A DEVICE TOGETHER, EACH ONCE", c.Gateway.Name, need)}, rows); err != nil {
		return err
	}
	a.remark("they are not shown again; one envelope for each, in different places")
	return nil
}
