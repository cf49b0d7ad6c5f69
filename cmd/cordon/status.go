package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"

	"github.com/spf13/cobra"
)

func statusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the running gateway does",
		Long: `Ask the running gateway how it does: whether it is ready (clients are accepted, the policy
answers, entries become durable, every plugin runs, every segment is up), what is in force and since when,
how bringing in what is new went, what waits and what ends. Exit code 8 if something of it is not as it
should be, 7 if no gateway runs. "cordon doctor" looks at the machine as well, and at a gateway that does not run.`,
		Example: "  cordon status --dir DIR\n  cordon status --json --dir DIR | jq .ready",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return cannot("show the status", a.status(c.Context())) },
	}
}

func (a *app) status(ctx context.Context) error {
	var s daemon.Status
	state := a.state()
	err := control.Ask(ctx, state, "status", struct{}{}, &s, 2*control.Timeout)
	if errors.Is(err, control.ErrNoGateway) {
		err = exit.Error{Code: "control.unreachable", Message: "no gateway runs with the state in " + state, Exit: exit.Unreachable, Err: err, Try: []string{"start it: cordon run", "run this as the user the gateway runs as"}}
	}
	if err != nil {
		return err
	}
	if a.json {
		err = a.object(&s)
	} else {
		err = a.table([]string{"SUBJECT", "STATE", "DETAIL"}, statusRows(&s, time.Now()))
	}
	if wrong := wrong(&s); err == nil && len(wrong) > 0 {
		err = exit.Error{Code: "status.findings", Message: fmt.Sprintf("%d thing(s) are not as they should be: %s", len(wrong), strings.Join(wrong, ", ")), Exit: exit.Findings, Try: []string{"cordon doctor", "the gateway's log"}}
	}
	return err
}

// age is how long something is ago, as people say it.
func age(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// wrong names what somebody should look at.
func wrong(s *daemon.Status) (list []string) {
	for _, c := range s.Checks {
		if !c.OK {
			list = append(list, c.Name)
		}
	}
	for _, o := range s.Outcomes {
		if !o.OK {
			list = append(list, "reload from "+string(o.Source))
		}
	}
	if s.BreakGlass.Overdue > 0 {
		list = append(list, "break-glass")
	}
	if oldest := s.Alarms.Oldest; s.Alarms.Fault != "" || !oldest.IsZero() && time.Since(oldest) > alarmWaits {
		list = append(list, "alarms")
	}
	return list
}

// statusRows are for people.
func statusRows(s *daemon.Status, now time.Time) [][]string {
	good := map[bool]string{true: "ok", false: "FAILED"}
	rows := [][]string{{"gateway", map[bool]string{true: "ready", false: "NOT READY"}[s.Ready], fmt.Sprintf("%s, cordon %s, pid %d, for %s", s.Gateway, s.Version, s.PID, age(now, s.Began))}}
	for _, c := range s.Checks {
		rows = append(rows, []string{c.Name, good[c.OK], cmp.Or(c.Why, "-")})
	}
	policy := fmt.Sprintf("%.19s, for %s", s.Policy, age(now, s.Since))
	if s.Bundle != nil {
		policy += fmt.Sprintf(", bundle revision %d", s.Bundle.Revision)
	}
	if s.Stage != "" {
		policy += ", a candidate at stage " + s.Stage
	}
	rows = append(rows, []string{"policy in force", string(s.Source), policy})
	for _, o := range s.Outcomes {
		detail := fmt.Sprintf("%d ok, %d failed, last ok %s ago", o.Successes, o.Failures, age(now, o.Success))
		if o.Why != "" {
			detail += ": " + o.Why
		}
		rows = append(rows, []string{"reload " + string(o.Source), good[o.OK], detail})
	}
	if !s.Trial.IsZero() {
		rows = append(rows, []string{"configuration", "on trial", "undone in " + age(s.Trial, now) + " unless confirmed: cordon confirm"})
	}
	rows = append(rows, []string{"sessions", fmt.Sprint(s.Sessions), fmt.Sprintf("%d more stay with processes that have handed over", s.Staying)})
	for _, p := range s.Plugins {
		rows = append(rows, []string{"plugin " + p.Protocol, map[bool]string{true: "runs", false: "DOWN"}[p.Running], fmt.Sprintf("%d sessions, %d windows in use, ended %d times", p.Sessions, p.Windows, p.Crashes)})
	}
	for _, x := range s.Segments {
		rows = append(rows, []string{"segment " + x.Name, map[bool]string{true: "up", false: "DOWN"}[x.Up], cmp.Or(x.Why, "-")})
	}
	rows = append(rows, []string{"audit log", cmp.Or(s.Audit.Fault, "ok"), fmt.Sprintf("%d entries, %d waiting, %d refused", s.Audit.Entries, s.Audit.Waiting, s.Audit.Refused)})
	var states []string
	for _, state := range slices.Sorted(maps.Keys(s.Devices)) {
		if n := s.Devices[state]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, state))
		}
	}
	rows = append(rows, []string{"devices", "-", cmp.Or(strings.Join(states, ", "), "-")})
	for _, name := range slices.Sorted(maps.Keys(s.Certificates)) {
		rows = append(rows, []string{"certificate " + name, "ends", s.Certificates[name].Local().Format(time.DateTime)})
	}
	for _, channel := range slices.Sorted(maps.Keys(s.Alarms.Waiting)) {
		rows = append(rows, []string{"alarms over " + channel, fmt.Sprintf("%d waiting", s.Alarms.Waiting[channel]), cmp.Or(s.Alarms.Fault, "-")})
	}
	return append(rows, []string{"break-glass", fmt.Sprintf("%d open", s.BreakGlass.Open), fmt.Sprintf("%d to be reviewed, %d of them overdue", s.BreakGlass.Unreviewed, s.BreakGlass.Overdue)})
}
