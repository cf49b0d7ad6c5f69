package main

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"cordon/cmd/cordon/revision"

	"github.com/spf13/cobra"
)

func policyHistoryCommand(a *app) *cobra.Command {
	var since string
	c := &cobra.Command{
		Use: "history", Short: "Tell who brought which policy into force, when and why",
		Long: `List the steps of policies into force and back, from the audit log: submissions, approvals
and rejections by those who signed them, stages and rollbacks by the user of this machine
who asked for them, and steps that were refused. Where the gateway died in the middle of a
step, its next start says what was in force. Which policy decided an operation is in
that operation's own entry.`,
		Example: "  cordon policy history --since 30d",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cannot("tell the policy's history", a.policyHistory(since))
		},
	}
	c.Flags().StringVar(&since, "since", "90d", "steps recorded from `TIME` on, as of policy replay")
	return c
}

func (a *app) policyHistory(since string) error {
	from, err := moment("since", since, time.Now())
	if err != nil {
		return err
	}
	log, _, err := a.openLog()
	if err != nil {
		return err
	}
	extent, err := log.Since(from)
	if err != nil {
		return err
	}
	steps := []revision.HistoryStep{}
	for _, span := range extent.Spans {
		for e, err := range log.Decisions(span) {
			if err != nil {
				return err
			}
			if s, ok := revision.ReadHistory(e); ok && !e.Time.Before(from) {
				steps = append(steps, s)
			}
		}
	}
	if a.json {
		return a.object(struct {
			Schema string                 `json:"schema"`
			Steps  []revision.HistoryStep `json:"steps"`
		}{"cordon.policy.history/v1", steps})
	}
	var rows [][]string
	for _, s := range steps {
		rev, by := "-", cmp.Or(s.By, "-")
		if s.Number > 0 {
			rev = strconv.Itoa(s.Number)
		}
		if !s.Done {
			by = "refused"
		}
		rows = append(rows, []string{s.Time.Local().Format("2006-01-02 15:04:05"), s.Code, rev, s.Step, by, s.Text})
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.stdout, "no policy was brought into force by steps since "+from.Local().Format("2006-01-02 15:04"))
		return nil
	}
	return a.table([]string{"WHEN", "CODE", "REV", "STEP", "BY", "WHAT"}, rows)
}
