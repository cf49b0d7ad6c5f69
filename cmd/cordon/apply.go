package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

func applyCommand(a *app) *cobra.Command {
	var try time.Duration
	var yes, rollback bool
	c := &cobra.Command{
		Use: "apply FILE", Short: "Bring a configuration into force, for a trial if wanted",
		Long: `Make FILE the configuration and bring it into force, as "cordon reload" does. Without --yes it
shows what would change, and asks. The configuration before is kept beside the file, named
cordon.yaml.previous; --rollback goes back to it.

With --confirm, FILE is in force for a time, and the configuration's file stays as it is. Unless
"cordon confirm" is given in that time, the gateway goes back by itself to what was before: also
when this command was killed, the terminal is cut or nobody reaches the gateway any more. One that
is started again meanwhile runs with the file as well.`,
		Example: `  cordon apply new.yaml                       # shows what would change, and asks
  cordon apply new.yaml --yes --confirm 5m     # tries it; cordon confirm keeps it
  cordon apply --rollback --yes                # back to the configuration before`,
		Args: func(c *cobra.Command, args []string) error {
			if rollback {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(c *cobra.Command, args []string) error {
			if rollback {
				return cannot("roll back", a.takeBack(c.Context(), yes))
			}
			return cannot("apply "+args[0], a.apply(c.Context(), args[0], try, yes))
		},
	}
	c.Flags().DurationVar(&try, "confirm", 0, "go back unless it is confirmed within this `TIME`, 1s to 24h: 5m")
	c.Flags().BoolVar(&rollback, "rollback", false, "go back to the configuration before, or from one on trial")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.MarkFlagsMutuallyExclusive("confirm", "rollback")
	return c
}

func confirmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep the configuration on trial",
		Long: `Make the configuration on trial the one of the file, so that the gateway keeps it. It fails if the
file was edited since the trial began.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return cannot("confirm", a.confirmTrial(c.Context())) },
	}
}

// proposed reads the configuration in force and the one that is to follow, and asks unless yes.
func (a *app) proposed(file string, yes bool) (old, text []byte, err error) {
	if text, err = config.Read(file); err == nil {
		old, err = config.Read(a.config())
	}
	if err == nil && !yes {
		err = a.askFirst(old, text)
	}
	return old, text, err
}

func (a *app) apply(ctx context.Context, file string, try time.Duration, yes bool) error {
	old, text, err := a.proposed(file, yes)
	if err != nil {
		return err
	}
	if try != 0 {
		done, err := a.change(ctx, "try", daemon.ChangeRequest{Config: text, For: try})
		if err != nil {
			return err
		}
		a.remark("on trial until %s: cordon confirm keeps it, or else the gateway goes back", time.Now().Add(try).Format(time.TimeOnly))
		return a.showReloaded(done)
	}
	return a.install(ctx, old, text)
}

// install makes text the file and brings it into force, or leaves everything as it was.
func (a *app) install(ctx context.Context, old, text []byte) error {
	if _, err := config.Parse(a.config(), text); err != nil {
		return proposed(err)
	}
	if err := config.Install(a.config(), old, text); err != nil {
		return err
	}
	done, err := a.change(ctx, "reload", daemon.ChangeRequest{})
	if f, ok := errors.AsType[exit.Error](err); ok && f.Code == "reload.unreachable" {
		a.remark("no gateway is running: it takes effect at the next start")
		return nil
	}
	if err != nil {
		if back := config.Withdraw(a.config(), text, old); back != nil {
			return errors.Join(err, back)
		}
		return err
	}
	return a.showReloaded(done)
}

// proposed marks faults of a text that is not the file's.
func proposed(err error) error {
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for i := range faults {
			faults[i].Proposed = true
		}
	}
	return err
}

func (a *app) takeBack(ctx context.Context, yes bool) error {
	now, err := a.trial(ctx)
	if err == nil && now.Config != nil {
		if !yes {
			if err := a.askFirst(now.Config, now.Before); err != nil {
				return err
			}
		}
		done, err := a.change(ctx, "rollback", daemon.ChangeRequest{})
		if err != nil {
			return err
		}
		return a.showReloaded(done)
	}
	if f, ok := errors.AsType[exit.Error](err); err != nil && !(ok && f.Code == "reload.unreachable") {
		return err
	}
	previous := a.config() + config.PreviousSuffix
	if _, err := os.Stat(previous); err != nil {
		return exit.Error{Code: "apply.first", Exit: exit.NotFound, Message: fmt.Sprintf("there is no configuration before: no file %s", previous), Try: []string{"cordon apply FILE keeps one"}, Err: err}
	}
	old, text, err := a.proposed(previous, yes)
	if err != nil {
		return err
	}
	return a.install(ctx, old, text)
}

// trial asks the running gateway for the configuration on trial.
func (a *app) trial(ctx context.Context) (now daemon.TrialAnswer, err error) {
	err = daemon.AskChange(ctx, a.state(), "trial", nil, &now)
	return now, err
}

func (a *app) confirmTrial(ctx context.Context) error {
	now, err := a.trial(ctx)
	if err != nil {
		return err
	}
	if now.Config == nil {
		return exit.Error{Code: "apply.none", Exit: exit.NotFound, Message: "no configuration is on trial", Try: []string{"cordon audit tail says what became of the last one"}}
	}
	// The file decides: once it is the configuration on trial, the gateway keeps that, also if
	// it hears no more of this command.
	file, err := config.Read(a.config())
	if err != nil {
		return err
	}
	if !bytes.Equal(file, now.Config) {
		before, err := config.Parse(a.config(), file)
		if err != nil {
			return err
		}
		after, err := config.Parse(a.config(), now.Config)
		if err != nil {
			return proposed(err)
		}
		if err := daemon.Triable(before, after); err != nil {
			return fmt.Errorf("what the gateway says is on trial: %w", err)
		}
		if err := config.Install(a.config(), now.Before, now.Config); err != nil {
			return err
		}
	}
	done, err := a.change(ctx, "confirm", daemon.ChangeRequest{})
	if err != nil {
		return err
	}
	if a.json {
		return a.object(done)
	}
	_, err = fmt.Fprintf(a.stdout, "confirmed: %s is what the gateway runs with\n", a.config())
	return err
}

// changeJSON is what applying a configuration would change, for programs.
type changeJSON struct {
	Schema   string   `json:"schema"`
	Handover []string `json:"handover"` // what needs a new process
	Cut      []string `json:"cut"`      // services whose sessions end
	Devices  []string `json:"devices"`  // that policy sees differently
	Lines    []string `json:"lines"`    // of the file, with - or +
}

// askFirst shows what a configuration would change and whom it would cut off, and asks whether to go
// on. An error says that nothing was done.
func (a *app) askFirst(old, text []byte) error {
	before, err := config.Parse(a.config(), old)
	if err != nil {
		return err
	}
	after, err := config.Parse(a.config(), text)
	if err != nil {
		return proposed(err)
	}
	if fixed := daemon.NeedRestart(before, after); len(fixed) > 0 {
		return exit.Error{Code: "reload.restart", Exit: exit.Conflict, Message: "a running gateway cannot change " + strings.Join(fixed, ", "), Try: []string{"stop it, edit " + a.config() + ", start it"}}
	}
	out := changeJSON{Schema: "cordon.change/v1", Handover: append([]string{}, daemon.NeedHandover(before, after)...), Cut: []string{}, Devices: daemon.ChangedDevices(before, after), Lines: lineChanges(old, text)}
	for i := range before.Devices {
		for _, s := range daemon.ServicesOf(&before.Devices[i]) {
			if daemon.Gone(before.Devices, after.Devices)[[2]string{before.Devices[i].ID, s.Name}] {
				out.Cut = append(out.Cut, before.Devices[i].ID+"/"+s.Name)
			}
		}
	}
	if a.json {
		if err := a.object(out); err != nil {
			return err
		}
	} else {
		for _, line := range out.Lines {
			fmt.Fprintln(a.stdout, line)
		}
		if len(out.Devices) > 0 {
			a.remark("policy sees %s differently; sessions that it refuses then end", strings.Join(out.Devices, ", "))
		}
		if len(out.Handover) > 0 {
			a.remark("a new process takes over, for %s", strings.Join(out.Handover, ", "))
		}
		if len(out.Cut) > 0 {
			a.remark("cuts every session of %s", strings.Join(out.Cut, ", "))
		}
	}
	if len(out.Lines) == 0 {
		return exit.Error{Code: "apply.same", Exit: exit.Conflict, Message: "it is the configuration already", Try: []string{"cordon reload"}}
	}
	return a.confirm("This brings it into force.", "apply")
}

// maxLines bounds the part of a file that is compared line by line.
const maxLines = 2000

// lineChanges are the lines that differ.
func lineChanges(old, new []byte) []string {
	was, is := strings.Split(strings.TrimSuffix(string(old), "\n"), "\n"), strings.Split(strings.TrimSuffix(string(new), "\n"), "\n")
	for len(was) > 0 && len(is) > 0 && was[0] == is[0] {
		was, is = was[1:], is[1:]
	}
	for len(was) > 0 && len(is) > 0 && was[len(was)-1] == is[len(is)-1] {
		was, is = was[:len(was)-1], is[:len(is)-1]
	}
	if len(was) > maxLines || len(is) > maxLines {
		return []string{fmt.Sprintf("- %d lines", len(was)), fmt.Sprintf("+ %d lines", len(is))}
	}
	// common[i][j] is the length of the longest common subsequence of was[i:] and is[j:].
	common := make([][]int, len(was)+1)
	for i := range common {
		common[i] = make([]int, len(is)+1)
	}
	for i := len(was) - 1; i >= 0; i-- {
		for j := len(is) - 1; j >= 0; j-- {
			if was[i] == is[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	lines := []string{}
	for i, j := 0, 0; i < len(was) || j < len(is); {
		switch {
		case i < len(was) && j < len(is) && was[i] == is[j]:
			i, j = i+1, j+1
		case j == len(is) || i < len(was) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "- "+was[i])
			i++
		default:
			lines = append(lines, "+ "+is[j])
			j++
		}
	}
	return lines
}
