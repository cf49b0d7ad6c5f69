package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/daemon"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
)

func breakGlassListCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List emergencies that are open or to be reviewed",
		Long:    "List emergencies that are open or to be reviewed; with --all also those of the last week that were reviewed. The audit log has all of them.",
		Example: "  cordon break-glass list --all",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("list emergencies", a.listEmergencies(c.Context(), all))
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that were reviewed, too")
	return c
}

func (a *app) listEmergencies(ctx context.Context, all bool) error {
	l, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	list := []factJSON{}
	var rows [][]string
	for i := range l.Facts {
		f := &l.Facts[i]
		if f.Kind != access.Emergency || !all && !f.Reviewed.IsZero() {
			continue
		}
		list = append(list, newFactJSON(f))
		rows = append(rows, []string{f.ID, f.Phase(), f.By, f.Device, left(f, time.Now()), reviewWords(f, time.Now()), f.Reason})
	}
	if a.json {
		return a.object(struct {
			Schema      string     `json:"schema"`
			Emergencies []factJSON `json:"emergencies"`
		}{"cordon.break_glass.list/v1", list})
	}
	if len(rows) == 0 {
		a.remark("nothing is open, and nothing is to be reviewed")
		return nil
	}
	return a.table([]string{"ID", "PHASE", "BY", "DEVICE", "WHEN", "REVIEW", "REASON"}, rows)
}

// glassWords say, behind a device's state, what is open on it.
func glassWords(l access.Ledger, device string) string {
	words := ""
	for i := range l.Facts {
		if f := &l.Facts[i]; f.Kind == access.Emergency && f.Device == device && f.Phase() == access.InForce {
			words += ", break-glass " + f.ID + " for " + f.Subject
		}
	}
	return words
}

// reviewWords say how far the review of an emergency has got.
func reviewWords(f *access.Fact, now time.Time) string {
	const layout = "2006-01-02 15:04"
	switch {
	case !f.Reviewed.IsZero():
		return "by " + f.ReviewedBy
	case now.After(f.ReviewBy()):
		return "OVERDUE since " + f.ReviewBy().Local().Format(layout)
	}
	return "due " + f.ReviewBy().Local().Format(layout)
}

// emergencyJSON is an emergency and what was done in it, for programs.
type emergencyJSON struct {
	factJSON
	ReviewBy   string      `json:"review_by"`
	Operations []operated  `json:"operations"`
	Entries    []entryJSON `json:"entries"` // about itself
}

// operated is how often one operation was permitted by an emergency.
type operated struct {
	Operation string    `json:"operation"`
	Class     string    `json:"class"`
	Count     int       `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Code      string    `json:"code"` // of the first
}

func breakGlassShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one emergency and what was done in it",
		Long:              "Show one emergency, and the operations that were permitted only by it, counted, each with the code of its first entry. The audit log has every one: its rule has the emergency's id.",
		Example:           "  cordon break-glass show E-7QF2K",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeEmergency(func(*access.Fact) bool { return true }),
		RunE: func(c *cobra.Command, args []string) error {
			id := strings.ToUpper(args[0])
			return cannot("show "+id, a.showEmergency(c.Context(), id))
		},
	}
}

func (a *app) showEmergency(ctx context.Context, id string) error {
	l, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	f, known := l.Find(id)
	if !known || f.Kind != access.Emergency {
		return daemon.RefusedFact(access.ErrNoFact)
	}
	r, _, err := a.openLog()
	if err != nil {
		return err
	}
	out := emergencyJSON{factJSON: newFactJSON(&f), ReviewBy: f.ReviewBy().UTC().Format(time.RFC3339), Operations: []operated{}, Entries: []entryJSON{}}
	if err := out.collect(ctx, r, &f); err != nil {
		return err
	}
	if a.json {
		return a.object(out)
	}
	rows := [][]string{{"id", f.ID}, {"what", f.String()}, {"phase", f.Phase()}, {"when", left(&f, time.Now())}, {"opened", f.From.UTC().Format(time.RFC3339) + " by " + f.By}, {"with", f.Proof}, {"reason", f.Reason}}
	if f.EndedBy != "" {
		rows = append(rows, []string{"closed", f.Ended.UTC().Format(time.RFC3339) + " by " + f.EndedBy})
	}
	rows = append(rows, []string{"review", reviewWords(&f, time.Now())})
	if f.ReviewNote != "" {
		rows = append(rows, []string{"found", f.ReviewNote})
	}
	for _, o := range out.Operations {
		rows = append(rows, []string{"done", fmt.Sprintf("%d %s, %s to %s, first %s", o.Count, o.Operation, o.First.Local().Format("15:04:05"), o.Last.Local().Format("15:04:05"), o.Code)})
	}
	if len(out.Operations) == 0 {
		rows = append(rows, []string{"done", "nothing that was not permitted anyway"})
	}
	return a.table([]string{"FACT", "VALUE"}, rows)
}

// collect reads what the log has about an emergency.
func (x *emergencyJSON) collect(ctx context.Context, r *audit.Reader, f *access.Fact) error {
	extent, err := r.Since(f.From.Add(-time.Second)) // an entry's time is its own
	if err != nil {
		return err
	}
	byName := map[string]int{}
	for _, s := range extent.Spans {
		for e, err := range r.Entries(s.From, s.To) {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if strings.HasPrefix(e.Note, f.ID+" ") {
				x.Entries = append(x.Entries, newEntryJSON(&e))
			}
			if e.Kind != audit.KindDecision || !e.Decision.Allow || !under(e.Decision.Rule, f.ID) {
				continue
			}
			var q policy.Request
			if err := json.Unmarshal(e.Input, &q); err != nil {
				return fmt.Errorf("read entry %d: %w", e.Index, err)
			}
			name := cmp.Or(q.Operation.Name, "connect")
			i, seen := byName[name]
			if !seen {
				i = len(x.Operations)
				byName[name] = i
				x.Operations = append(x.Operations, operated{Operation: name, Class: string(q.Operation.Class), First: e.Time, Code: e.Code})
			}
			x.Operations[i].Count++
			x.Operations[i].Last = e.Time
		}
	}
	return nil
}

// under reports whether a decision's rule, "break-glass E-1, E-2", names an emergency.
func under(rule, id string) bool {
	ids, ok := strings.CutPrefix(rule, "break-glass ")
	return ok && slices.Contains(strings.Split(ids, ", "), id)
}

// completeEmergency completes the ids of those emergencies.
func (a *app) completeEmergency(which func(*access.Fact) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		l, err := a.ledger(c.Context())
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for i := range l.Facts {
			if f := &l.Facts[i]; f.Kind == access.Emergency && which(f) && strings.HasPrefix(f.ID, strings.ToUpper(prefix)) {
				ids = append(ids, cobra.CompletionWithDesc(f.ID, f.String()))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
