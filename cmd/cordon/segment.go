package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/segment"
)

func segmentCommand(a *app) *cobra.Command {
	c := group("segment", "The isolated networks that devices live in")
	c.AddCommand(segmentShowCommand(a), segmentUpCommand(a), segmentDownCommand(a), segmentGuardCommand(a), segmentFindingsCommand(a))
	return c
}

// chosenPlans are the plans of the segments named, or all of them.
func (a *app) chosenPlans(names []string) ([]segment.Plan, error) {
	c, err := config.Load(a.config())
	if err != nil {
		return nil, err
	}
	all, err := keeper.Plans(c)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var chosen []segment.Plan
	for _, name := range names {
		i := slices.IndexFunc(all, func(p segment.Plan) bool { return p.Name == name })
		if i < 0 {
			var known []string
			for _, p := range all {
				known = append(known, p.Name)
			}
			f := exit.Error{Code: "segment.unknown", Message: fmt.Sprintf("no segment %q in %s", name, a.config()), Exit: exit.NotFound, Try: []string{"cordon segment show"}}
			if near := config.Nearest(name, known); near != "" {
				f.Message += fmt.Sprintf(", did you mean %q?", near)
			}
			return nil, f
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func (a *app) completeSegment(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	c, err := config.Load(a.config())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, s := range c.Segments {
		if strings.HasPrefix(s.Name, prefix) {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// segmentJSON is a segment for programs.
type segmentJSON struct {
	segment.Plan
	Steps []string `json:"steps"` // what "segment up" does, for people
}

// showPlans writes what setting plans up would do.
func (a *app) showPlans(all []segment.Plan) error {
	if a.json {
		out := struct {
			Schema   string        `json:"schema"`
			Segments []segmentJSON `json:"segments"`
		}{"cordon.segments/v1", []segmentJSON{}}
		for _, p := range all {
			_, steps, _ := strings.Cut(strings.TrimSpace(p.String()), "\n")
			j := segmentJSON{Plan: p}
			for line := range strings.Lines(steps) {
				j.Steps = append(j.Steps, strings.TrimSpace(line))
			}
			out.Segments = append(out.Segments, j)
		}
		return a.object(out)
	}
	if len(all) == 0 {
		a.remark("no segments in %s", a.config())
	}
	for _, p := range all {
		if _, err := fmt.Fprint(a.stdout, p.String()); err != nil {
			return err
		}
	}
	return nil
}

func segmentShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME…]", Short: "Show what a segment is made of, step by step, without doing it",
		ValidArgsFunction: a.completeSegment,
		RunE: func(_ *cobra.Command, names []string) error {
			chosen, err := a.chosenPlans(names)
			if err != nil {
				return cannot("show segments", err)
			}
			return a.showPlans(chosen)
		},
	}
}

func segmentUpCommand(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use: "up [NAME…]", Short: "Make segments, or make them again where something differs; all if none is named",
		Long: `Make segments, or make them again where something differs from the configuration. Sessions
in a segment that is as it should be are not touched. It needs root, and is done at the start
of the gateway too.`,
		ValidArgsFunction: a.completeSegment,
		RunE: func(c *cobra.Command, names []string) error {
			chosen, err := a.chosenPlans(names)
			if err != nil {
				return cannot("set up segments", err)
			}
			if dryRun {
				return a.showPlans(chosen)
			}
			for _, p := range chosen {
				if err := (segment.Local{}).Setup(c.Context(), p); err != nil {
					return segmentFailure(err)
				}
				a.remark("segment %s is up: %d device(s) on %s", p.Name, len(p.Devices), p.Interface.Name)
			}
			return a.changed("up", chosen)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show the steps, do nothing")
	return c
}

// changed tells programs which segments were changed.
func (a *app) changed(state string, all []segment.Plan) error {
	if !a.json {
		return nil
	}
	names := []string{}
	for _, p := range all {
		names = append(names, p.Name)
	}
	return a.object(struct {
		Schema   string   `json:"schema"`
		State    string   `json:"state"`
		Segments []string `json:"segments"`
	}{"cordon.segment.changed/v1", state, names})
}

// segmentFailure says how to do what needs privileges.
func segmentFailure(err error) error {
	f := exit.Error{Code: "segment.failed", Message: err.Error(), Err: err, Try: []string{"cordon segment findings"}}
	if errors.Is(err, fs.ErrPermission) && !keeper.CanNetAdmin() {
		f.Code, f.Try = "segment.privilege", []string{"the same command as root", "systemctl start cordon-segment.socket"}
	}
	return f
}

func segmentDownCommand(a *app) *cobra.Command {
	var yes, release bool
	c := &cobra.Command{
		Use: "down NAME", Short: "End a segment and every connection in it; its wire stays closed",
		Long: `End a segment and every connection in it. The interface comes back to the host, where
everything from and to it is still dropped; with --release that ends as well, and the host may
use the interface. A running gateway cannot reach the segment's devices, nor they it, until
"cordon segment up"; then it does by itself.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSegment,
		RunE: func(c *cobra.Command, names []string) error {
			doing := "take segment " + names[0] + " down"
			chosen, err := a.chosenPlans(names)
			if err != nil {
				return cannot(doing, err)
			}
			p, local := chosen[0], segment.Local{}
			if !yes {
				return a.confirmDown(p)
			}
			if err := local.Teardown(c.Context(), p); err != nil {
				return segmentFailure(err)
			}
			if release {
				if err := local.Release(c.Context(), p); err != nil {
					return segmentFailure(err)
				}
			}
			a.remark("segment %s is down", p.Name)
			return a.changed("down", chosen)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it; without this, it is only shown whom it concerns")
	c.Flags().BoolVar(&release, "release", false, "let the host use the interface again")
	return c
}

// confirmDown shows which devices and connections a segment's end would cut.
func (a *app) confirmDown(p segment.Plan) error {
	open, err := (segment.Local{}).Connections(p)
	if err != nil {
		return segmentFailure(err)
	}
	if a.json {
		if err := a.object(struct {
			Schema      string               `json:"schema"`
			Segment     string               `json:"segment"`
			Devices     []segment.Device     `json:"devices"`
			Connections []segment.Connection `json:"connections"`
		}{"cordon.segment.down/v1", p.Name, append([]segment.Device{}, p.Devices...), append([]segment.Connection{}, open...)}); err != nil {
			return err
		}
	}
	for _, d := range p.Devices {
		n := 0
		for _, c := range open {
			if c.Device == d.ID {
				n++
			}
		}
		a.remark("cuts off %s at %v, %d connection(s)", d.ID, d.Addresses[0], n)
	}
	return exit.Error{Code: "segment.unconfirmed", Message: fmt.Sprintf("segment %s was not taken down", p.Name), Exit: exit.Usage, Try: []string{"the same command with --yes"}}
}

func segmentGuardCommand(a *app) *cobra.Command {
	var memory string
	c := &cobra.Command{
		Use: "guard", Short: "Drop everything from and to the segments' interfaces, before the network comes up",
		Long: `Load the rules by which the host neither hears nor speaks to the interfaces of segments,
and nothing else: for the moment at boot before the network comes up. The interfaces need not
exist yet. Where the configuration cannot be read, those of the segments are closed that --remember has
kept, and the command fails all the same. It needs root.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, unread := a.chosenPlans(nil)
			if unread != nil {
				var err error
				if all, err = segmentMemory(memory).plans(); err != nil {
					return errors.Join(cannot("guard segments", unread), err)
				}
			} else if err := segmentMemory(memory).keep(all); err != nil {
				a.newLogger(a.stderr).Warn("segment guard", "error", err)
			}
			if err := (segment.Local{}).Guard(c.Context(), all...); err != nil {
				return errors.Join(cannot("guard segments", unread), segmentFailure(err))
			}
			a.remark("%d segment(s) guarded", len(all))
			if unread != nil {
				return cannot("guard segments by anything but what was declared last", unread)
			}
			return a.changed("guarded", all)
		},
	}
	memoryFlag(c, &memory)
	return c
}

// memoryFlag is where guard and helper keep what is declared.
func memoryFlag(c *cobra.Command, memory *string) {
	c.Flags().StringVar(memory, "remember", "", "keep which segments are declared in `FILE`, for a start at which the configuration cannot be read")
}

func segmentFindingsCommand(a *app) *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use: "findings [NAME…]", Short: "Prove from the kernel's own answers that segments are isolated",
		Long: `Read the rules, routes, neighbours, switches, interfaces and sockets of segments back from
the kernel and compare them with the configuration. It needs root, or the segment helper.
Exit code 8 if anything differs.`,
		ValidArgsFunction: a.completeSegment,
		RunE: func(c *cobra.Command, names []string) error {
			chosen, err := a.chosenPlans(names)
			if err != nil {
				return cannot("examine segments", err)
			}
			x := &examination{findings: []finding{}}
			for _, p := range chosen {
				x.looked = append(x.looked, "segment "+p.Name)
				x.segment(c.Context(), keeper.For(socket), p)
			}
			return a.report(x)
		},
	}
	segmentSocketFlag(c, &socket)
	return c
}

// segment asks keep what is wrong with a segment.
func (x *examination) segment(ctx context.Context, keep segment.Keeper, p segment.Plan) {
	found, err := keep.Findings(ctx, p)
	if err != nil {
		x.find("high", "segment "+p.Name, "it could not be examined: "+err.Error(), "run this as root, or start cordon-segment.socket: what cannot be seen is not proven")
	}
	for _, f := range found {
		x.find(f.Severity, "segment "+p.Name, f.Code+": "+f.Evidence, f.Remedy)
	}
}

// lookAtSegments is the doctor's part.
func lookAtSegments(ctx context.Context, x *examination) {
	all, err := keeper.Plans(x.config)
	if err != nil {
		x.find("high", "segments", err.Error(), "cordon check shows where")
	}
	for _, p := range all {
		x.segment(ctx, keeper.For(keeper.DefaultSocket), p)
	}
}
