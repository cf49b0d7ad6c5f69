package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rollout"
)

func policyRolloutCommand(a *app) *cobra.Command {
	var stage string
	var devices []string
	var yes, dryRun bool
	c := &cobra.Command{
		Use: "rollout REV", Short: "Bring a submission into force, by stages",
		Long: `Bring a submission to a stage:

  shadow  it is asked beside what is in force, which decides; what it would decide otherwise
          is counted and recorded
  canary  it decides for the devices named
  all     it is in force

Live sessions are asked again at each stage. Before canary and all, those that would end at this
moment are counted and shown, and you are asked; --dry-run only shows them. What another person has approved decides as it
is written. What nobody has approved can only narrow: an operation is allowed only if what
is in force allows it as well, so no refusal becomes an allow.`,
		Example: `  cordon policy rollout 4 --stage shadow
  cordon policy rollout status
  cordon policy rollout 4 --stage canary --devices ct-2,ct-3 --dry-run
  cordon policy rollout 4 --stage all --yes`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSubmissions,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("roll out revision "+args[0], a.rollOut(c.Context(), args[0], rollout.Stage(stage), devices, yes, dryRun))
		},
	}
	var stages []string
	for _, s := range rollout.Stages {
		stages = append(stages, string(s))
	}
	c.Flags().StringVar(&stage, "stage", "", strings.Join(stages, ", "))
	c.Flags().StringSliceVar(&devices, "devices", nil, "of a canary, by id: `A,B`")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only show which live sessions it would end")
	c.MarkFlagsMutuallyExclusive("yes", "dry-run")
	mustComplete(c.MarkFlagRequired("stage"))
	mustComplete(c.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions(stages, cobra.ShellCompDirectiveNoFileComp)))
	mustComplete(c.RegisterFlagCompletionFunc("devices", a.completeDeviceIDs))
	c.AddCommand(&cobra.Command{
		Use: "status", Short: "Show what is in force, and how a candidate compares",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("show the rollout", a.rolloutStatus(c.Context()))
		},
	})
	return c
}

func policyRollbackCommand(a *app) *cobra.Command {
	var to int
	c := &cobra.Command{
		Use: "rollback", Short: "Take the last step of a rollout back",
		Long: `Withdraw the revision that is being rolled out, or else return to the one that was in force
before. It needs no approval: what it returns to had one. With --to it returns to another
revision that was in force. Live sessions are asked again.`,
		Example: "  cordon policy rollback\n  cordon policy rollback --to 2",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("roll back", a.rollBack(c.Context(), to, c.Flags().Changed("to")))
		},
	}
	c.Flags().IntVar(&to, "to", 0, "the number of a revision that was in force: `REV`")
	return c
}

func (a *app) rollOut(ctx context.Context, rev string, stage rollout.Stage, devices []string, yes, dryRun bool) error {
	c, err := a.withApproval()
	if err != nil {
		return err
	}
	n, err := number(rev)
	if err != nil {
		return err
	}
	s := &revision.Step{Do: "rollout", Number: n, Stage: stage, Devices: devices}
	if dryRun || !yes && stage != rollout.Shadow { // a shadow ends nothing
		if err := a.foreseeRollout(ctx, c, s, dryRun); err != nil || dryRun {
			return err
		}
	}
	done, err := daemon.TakeStep(ctx, c, s)
	if err != nil {
		return err
	}
	return a.printStep(&done)
}

func (a *app) rollBack(ctx context.Context, to int, named bool) error {
	c, err := a.withApproval()
	if err != nil {
		return err
	}
	if named && to < 1 {
		_, err := number(strconv.Itoa(to))
		return err
	}
	done, err := daemon.TakeStep(ctx, c, &revision.Step{Do: "rollback", Number: to})
	if err != nil {
		return err
	}
	return a.printStep(&done)
}

func (a *app) rolloutStatus(ctx context.Context) error {
	c, err := a.withApproval()
	if err != nil {
		return err
	}
	done, err := daemon.TakeStep(ctx, c, &revision.Step{Do: "status"})
	if err != nil {
		return err
	}
	if err := a.printStep(&done); err != nil || a.json || done.Comparison == nil {
		return err
	}
	r := done.Comparison
	fmt.Fprintf(a.stdout, "compared since %s: %d decisions the same, %d not compared because too much was asked at once\n", r.Since.Local().Format("2006-01-02 15:04:05"), r.Same, r.Missed)
	if len(r.Groups) == 0 {
		return nil
	}
	var rows [][]string
	for _, g := range r.Groups {
		rows = append(rows, []string{g.Before + " → " + g.After, strconv.FormatInt(g.Count, 10), cmp.Or(g.Class, "-"), cmp.Or(g.Operation, "-"), cmp.Or(g.Roles, "-"),
			strings.Join(g.Devices, ","), g.First.Local().Format("01-02 15:04:05"), g.Last.Local().Format("01-02 15:04:05"), cmp.Or(g.Reason, "-")})
	}
	return a.table([]string{"VERDICT", "COUNT", "DEVICE CLASS", "OPERATION", "ROLES", "DEVICES", "FIRST", "LAST", "WHY"}, rows)
}

// printStep says what is in force.
func (a *app) printStep(done *revision.StepDone) error {
	if a.json {
		return a.object(done)
	}
	f := revision.Source{State: &done.State}
	where := "in the running gateway"
	if !done.Running {
		where = "from the next start; no gateway runs now"
	}
	fmt.Fprintf(a.stdout, "%s, %s\n", f.Describe(), where)
	if done.Step != "status" {
		fmt.Fprintf(a.stdout, "%d live session(s) ended\n", done.Ended)
	}
	if c := done.Candidate; c != nil && c.Narrows() {
		a.remark("nobody has approved revision %d: what it would newly allow stays refused (cordon policy approve %d)", c.Number, c.Number)
	}
	return nil
}

// completeDeviceIDs offers ids of devices, behind those already written.
func (a *app) completeDeviceIDs(_ *cobra.Command, _ []string, written string) (out []string, _ cobra.ShellCompDirective) {
	c, err := config.Load(a.config())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := written[:strings.LastIndexByte(written, ',')+1]
	for _, d := range c.Devices {
		if !slices.Contains(strings.Split(before, ","), d.ID) {
			out = append(out, before+d.ID)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
