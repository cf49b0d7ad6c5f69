package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/gateway/audit"
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

// historyStep is a step for scripts.
type historyStep struct {
	Time   time.Time `json:"time"`
	Code   string    `json:"code"`
	Step   string    `json:"step"`             // submit, approve, reject, rollout, rollback or start
	Number int       `json:"number,omitempty"` // of the revision
	By     string    `json:"by,omitempty"`     // "" if it was refused
	Done   bool      `json:"done"`
	Text   string    `json:"text"`
	Policy string    `json:"policy,omitempty"`
	Data   string    `json:"data,omitempty"`
}

// stepForm reads what stepNote and workflow.do write.
var stepForm = regexp.MustCompile(`^(?:revision ([0-9]+) )?(?:by ([^ :]+)|refused): (.*)$`)

func readHistory(e *audit.Entry) (historyStep, bool) {
	name, ok := strings.CutPrefix(string(e.Kind), "policy-")
	if _, decides, starts := strings.Cut(e.Note, "; revision "); e.Kind == audit.KindStart && starts {
		return historyStep{Time: e.Time.UTC(), Code: e.Code, Step: string(e.Kind), Done: true, Text: "revision " + decides, Policy: e.Decision.Revision, Data: e.Decision.Data}, true
	}
	if !ok {
		return historyStep{}, false
	}
	s := historyStep{Time: e.Time.UTC(), Code: e.Code, Step: name, Text: e.Note, Policy: e.Decision.Revision, Data: e.Decision.Data}
	if m := stepForm.FindStringSubmatch(e.Note); m != nil {
		s.Number, _ = strconv.Atoi(m[1])
		s.By, s.Done, s.Text = m[2], m[2] != "", m[3]
	}
	return s, true
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
	steps := []historyStep{}
	for _, span := range extent.Spans {
		for e, err := range log.Decisions(span) {
			if err != nil {
				return err
			}
			if s, ok := readHistory(e); ok && !e.Time.Before(from) {
				steps = append(steps, s)
			}
		}
	}
	if a.json {
		return a.object(struct {
			Schema string        `json:"schema"`
			Steps  []historyStep `json:"steps"`
		}{"cordon.policy.history/v1", steps})
	}
	var rows [][]string
	for _, s := range steps {
		rev, by := "-", orDash(s.By)
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
