package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/revision"
)

func bundleStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show which bundle is in force and how looking for newer ones goes",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return cannot("show the bundles", a.bundleStatus()) },
	}
}

func (a *app) bundleStatus() error {
	c, err := bundleConfig(a.config())
	if err != nil {
		return err
	}
	b, err := revision.OpenBundles(c)
	if err != nil {
		return err
	}
	in, err := b.Kept.InForce()
	if err != nil {
		return err
	}
	out := struct {
		Schema  string           `json:"schema"`
		From    string           `json:"from"`
		InForce *revision.Chosen `json:"in_force"`
		Kept    []uint64         `json:"kept"`
		revision.BundleStatus
	}{Schema: "cordon.policy.bundle.status/v1", From: b.From, InForce: in, Kept: append([]uint64{}, b.Kept.Revisions()...)}
	if out.BundleStatus, err = b.Kept.Status(); err != nil {
		return err
	}
	if a.json {
		return a.object(out)
	}
	p := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	if in == nil {
		p("in force", "none yet")
	} else {
		p("in force", "revision %d %s, made %s, taken %s from %s", in.Revision, cmp.Or(in.Label, "-"), in.Made.Local().Format(time.DateTime), in.Taken.Local().Format(time.DateTime), in.From)
		p("sha256", "%s", in.Digest)
		if in.Highest > in.Revision {
			p("rollback", "from revision %d; only a newer one than that is taken from the source", in.Highest)
		}
	}
	p("kept", "%v", out.Kept)
	asked := "never"
	if !out.Asked.IsZero() {
		asked = out.Asked.Local().Format(time.DateTime)
	}
	p("source", "%s, answered last %s", b.From, asked)
	if out.Unreachable != "" {
		p("", "now: %s", out.Unreachable)
	}
	p("refused", "%d since the start", out.Refused)
	if last := out.Last; last != nil {
		still := "no longer offered"
		if last.Pending {
			still = "still offered"
		}
		p("", "%s %s: %s (%s, %s)", last.Time.Local().Format(time.DateTime), last.From, last.Message, last.Code, still)
	}
	p("folder", "%s decides nothing until it is in a bundle", c.Policy.Dir)
	return nil
}
