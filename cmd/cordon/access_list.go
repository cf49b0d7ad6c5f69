package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/policy/access"
)

// factJSON is a fact for programs.
type factJSON struct {
	Schema string `json:"schema"`
	access.Fact
	Phase string `json:"phase"`
}

func newFactJSON(f *access.Fact) factJSON { return factJSON{"cordon.access/v1", *f, f.Phase()} }

func accessListCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List grants, maintenance windows and quarantines",
		Long:    "List the grants, maintenance windows and quarantines that are in force or planned; with --all also those that were over in the last week. The audit log has all of them.",
		Example: "  cordon access list --all",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := a.ledger(c.Context())
			if err != nil {
				return cannot("list what is granted and quarantined", err)
			}
			list := []factJSON{}
			var rows [][]string
			for i := range l.Facts {
				f := &l.Facts[i]
				if f.Phase() == access.Over && !all && !f.Unreviewed() {
					continue
				}
				list = append(list, newFactJSON(f))
				rows = append(rows, []string{f.ID, f.Phase(), f.String(), left(f, time.Now()), f.Reason, f.By})
			}
			if a.json {
				return a.object(list)
			}
			if len(rows) == 0 {
				a.remark("nothing is granted, in maintenance or quarantined for a time")
				return nil
			}
			return a.table([]string{"ID", "PHASE", "WHAT", "WHEN", "REASON", "BY"}, rows)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that are over, too")
	return c
}

// ledger reads what stands for a time.
func (a *app) ledger(ctx context.Context) (access.Ledger, error) {
	c, err := config.Load(a.config())
	if err != nil {
		return access.Ledger{}, err
	}
	return daemon.StandingOf(ctx, c)
}

// left says when a fact ends or begins, as people count it.
func left(f *access.Fact, now time.Time) string {
	const layout = "2006-01-02 15:04"
	switch {
	case f.Phase() == access.Over:
		return "ended " + f.Ended.Local().Format(layout)
	case f.Phase() == access.Planned:
		return fmt.Sprintf("from %s for %v", f.From.Local().Format(layout), f.Until.Sub(f.From).Round(time.Second))
	case f.Until.IsZero():
		return "until released"
	}
	return fmt.Sprintf("until %s (%v left)", f.Until.Local().Format(layout), f.Until.Sub(now).Round(time.Minute))
}

func accessShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one grant, maintenance window or quarantine",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeFact,
		RunE: func(c *cobra.Command, args []string) error {
			l, err := a.ledger(c.Context())
			if err != nil {
				return cannot("show "+args[0], err)
			}
			f, known := l.Find(strings.ToUpper(args[0]))
			if !known {
				return cannot("show "+args[0], daemon.RefusedFact(access.ErrNoFact))
			}
			if a.json {
				return a.object(newFactJSON(&f))
			}
			rows := [][]string{{"id", f.ID}, {"what", f.String()}, {"phase", f.Phase()}, {"when", left(&f, time.Now())}, {"made", f.Made.UTC().Format(time.RFC3339) + " by " + f.By},
				{"from", f.From.UTC().Format(time.RFC3339)}, {"reason", f.Reason}}
			if !f.Until.IsZero() {
				rows = append(rows, []string{"until", f.Until.UTC().Format(time.RFC3339)})
			}
			if f.Sponsor != "" {
				rows = append(rows, []string{"sponsor", f.Sponsor})
			}
			if f.EndedBy != "" {
				rows = append(rows, []string{"ended", f.Ended.UTC().Format(time.RFC3339) + " by " + f.EndedBy}, []string{"because", f.EndedReason})
			} else if f.Phase() == access.Over {
				rows = append(rows, []string{"ended", f.Ended.UTC().Format(time.RFC3339) + " by itself"})
			}
			return a.table([]string{"FACT", "VALUE"}, rows)
		},
	}
}

// completeFact completes the id of what is not over.
func (a *app) completeFact(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	l, err := a.ledger(c.Context())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for i := range l.Facts {
		if f := &l.Facts[i]; f.Phase() != access.Over && f.Kind != access.Quarantine && strings.HasPrefix(f.ID, strings.ToUpper(prefix)) {
			ids = append(ids, cobra.CompletionWithDesc(f.ID, f.String()))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// completeSubject completes whoever has a certificate of the embedded authority.
func (a *app) completeSubject(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	authority, err := a.authority()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	records, err := authority.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	seen := map[string]bool{}
	for _, r := range records {
		if name := r.Kind + "/" + r.ID; strings.HasPrefix(name, prefix) && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
