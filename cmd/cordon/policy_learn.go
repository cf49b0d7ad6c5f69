package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

// learnOptions are the flags of "policy learn".
type learnOptions struct {
	device, class, since, until, out, oddHours string
}

func policyLearnCommand(a *app) *cobra.Command {
	var o learnOptions
	c := &cobra.Command{
		Use: "learn", Short: "Propose an edit of the policy from what was asked and refused",
		Long: `Read what was asked of a device, a class of devices or all of them, and make a proposal of
what the policy that decides refuses, or would refuse if no device were in learning mode: a folder with an
edited policy, tests made of what was seen, and QUESTIONS.md for a person to read.

Proposed is what changes nothing (read, query, notify), was seen more than once, from more than
one person, and not only at odd hours. Writes, control, configuration, what a device calls out
to do and whatever else is doubtful are questions: they stand in the proposal as comments. The proposal is
checked against the log: it permits what it says, and says what else it would permit.

Nothing of it takes effect by itself. TIME is a duration back from now (90m, 24h, 14d), a day or a moment.`,
		Example: `  cordon policy learn --device mon-7 --out next/
  cordon policy learn --class 'imaging/*' --since 30d --odd-hours 21-5 --out next/`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("learn", a.learn(c.Context(), o))
		},
	}
	f := c.Flags()
	f.StringVar(&o.device, "device", "", "learn from this device: `ID`")
	f.StringVar(&o.class, "class", "", "learn from devices of this class: imaging/ct, or 'imaging/*'")
	f.StringVar(&o.since, "since", "14d", "what was recorded from `TIME` on")
	f.StringVar(&o.until, "until", "", "what was recorded before `TIME`")
	f.StringVar(&o.oddHours, "odd-hours", "22-6", "what is seen at these `HOURS` only is a question; none")
	f.StringVar(&o.out, "out", "", "the folder to write, which does not exist yet: `DIR`")
	mustComplete(c.MarkFlagRequired("out"))
	mustComplete(c.MarkFlagDirname("out"))
	mustComplete(c.RegisterFlagCompletionFunc("device", a.completeDevice))
	c.MarkFlagsMutuallyExclusive("device", "class")
	return c
}

// learned is a proposal for programs.
type learned struct {
	Schema string    `json:"schema"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Out    string    `json:"out"`                 // "" if nothing was written
	Beside string    `json:"workspace,omitempty"` // how the policy folder differs from what decides, which is what was edited
	*rego.Proposal
	rego.Proven
	Gaps int64    `json:"gaps"`       // times in which the gateway could not record
	Torn int64    `json:"torn_bytes"` // bytes behind the last entry that are no entry
	Next []string `json:"next"`       // commands
}

func (a *app) learn(ctx context.Context, o learnOptions) error {
	now := time.Now()
	since, err := moment("since", o.since, now)
	if err != nil {
		return err
	}
	until := now
	if o.until != "" {
		if until, err = moment("until", o.until, now); err != nil {
			return err
		}
	}
	scope := rego.Scope{Class: o.class}
	if scope.Odd, err = oddHours(o.oddHours); err != nil {
		return badFlag("odd-hours", o.oddHours, err, "--odd-hours 22-6, or --odd-hours none")
	}
	if err := free(o.out); err != nil {
		return err
	}
	log, c, err := a.openLog()
	if err != nil {
		return err
	}
	if o.device != "" {
		d, err := c.Device(o.device)
		if err != nil {
			return err
		}
		scope.Device = d.ID
	}
	out, err := a.propose(ctx, log, c, scope, since, until)
	if damage, ok := errors.AsType[*audit.Damage](err); ok {
		return exit.Error{Code: "audit.damaged", Message: "the audit log is damaged: " + err.Error(), Exit: exit.Checks, Err: damage,
			Try: []string{"cordon audit verify", "learn from a time before it with --until, or after it with --since"}}
	}
	if err != nil {
		return err
	}
	if len(out.Groups) > 0 {
		if err := unpack(o.out, out.Sources); err != nil {
			return err
		}
		out.Out = o.out
		out.Next = []string{
			"read " + filepath.Join(o.out, "QUESTIONS.md"),
			fmt.Sprintf("cordon policy diff %s %s", inForceName, o.out),
			"cordon policy check " + o.out,
			fmt.Sprintf("cordon policy replay --since %s --against %s", o.since, o.out),
			fmt.Sprintf("copy what you want of it to %s, and: %s", c.Policy.Dir, revision.PublishCommand(c, c.Policy.Dir)),
		}
	}
	if a.json {
		return a.object(out)
	}
	return a.printLearned(out)
}

// propose reads the log twice: to gather what was refused, and to see that the proposal is answered as it
// says. What differs is taken into account, and the proof made again.
func (a *app) propose(ctx context.Context, log *audit.Reader, c *config.Config, scope rego.Scope, since, until time.Time) (*learned, error) {
	engine, err := openDeciding(c)
	if err != nil {
		return nil, err
	}
	read := &recordedTime{log: log, since: since, until: until}
	gathered, err := readRecorded(ctx, a, read, func() (*rego.Learner, error) {
		l := engine.NewLearner(scope)
		return l, l.AccessBy(accessThen(c))
	})
	if err != nil {
		return nil, err
	}
	for _, other := range gathered[1:] {
		gathered[0].Join(other)
	}
	p, err := gathered[0].Propose(ctx, until)
	if err != nil {
		return nil, err
	}
	out := &learned{Schema: "cordon.policy.learn/v1", Since: since.UTC(), Until: until.UTC(), Beside: revision.Workspace(c), Proposal: p, Gaps: read.gaps.Load(), Torn: read.torn, Next: []string{}}
	for range maxProofs {
		again := &recordedTime{log: log, since: since, until: until}
		proofs, err := readRecorded(ctx, a, again, p.Proof)
		if err != nil {
			return nil, err
		}
		for _, other := range proofs[1:] {
			proofs[0].Join(other)
		}
		found, ok := proofs[0].Result()
		if ok {
			out.Proven = found
			return out, p.Finish(ctx)
		}
		if err := p.Revise(ctx, proofs[0]); err != nil {
			return nil, err
		}
	}
	return nil, exit.Error{Code: "learn.unproven", Exit: exit.Checks, Message: "the policy answers like questions in different ways, and no proposal fits the log",
		Try: []string{"learn from one device: --device ID"}}
}

// maxProofs is how often a proposal is revised by what the log says otherwise.
const maxProofs = 6

// oddHours reads "22-6": from ten in the evening until six. nil is never.
func oddHours(text string) (func(time.Time) bool, error) {
	if text == "none" {
		return nil, nil
	}
	a, b, ok := strings.Cut(text, "-")
	from, err := strconv.ParseUint(a, 10, 8)
	to, err2 := strconv.ParseUint(b, 10, 8)
	if !ok || err != nil || err2 != nil || from > 24 || to > 24 || from == to {
		return nil, fmt.Errorf("expected two hours of the day from 0 to 24")
	}
	return func(t time.Time) bool {
		h := uint64(t.Local().Hour())
		if from < to {
			return from <= h && h < to
		}
		return h >= from || h < to
	}, nil
}

// free refuses a folder that holds something.
func free(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write to %q: %w", dir, errors.Unwrap(err))
	case len(entries) > 0:
		return exit.Error{Code: "learn.exists", Exit: exit.Conflict, Message: fmt.Sprintf("folder %q is not empty", dir), Try: []string{"--out with a folder that does not exist yet"}}
	}
	return nil
}

// unpack writes the files of a policy to a new folder.
func unpack(dir string, files []rego.Source) error {
	for _, s := range files {
		name := filepath.Join(dir, filepath.FromSlash(s.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(s.Text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// printLearned tells a person what a proposal is made of.
func (a *app) printLearned(l *learned) error {
	const when = "2006-01-02 15:04"
	fmt.Fprintf(a.stdout, "policy %.19s data %.19s, asked what %d decisions from %s to %s were about\n",
		l.Policy, l.Proposal.Data, l.Recorded, l.Since.Local().Format(when), l.Until.Local().Format(when))
	for _, x := range []struct {
		name string
		n    int64
	}{
		{"permitted as it is", l.Allowed},
		{"refused, and permitted by the proposal", l.Proven.Kept},
		{"refused, and set apart", l.Apart},
		{"could not be asked", l.Unasked},
	} {
		fmt.Fprintf(a.stdout, "  %9d  %s\n", x.n, x.name)
	}
	var rows [][]string
	for _, g := range l.Groups {
		word, how := "PROPOSED", strings.Join(g.Edits, ", ")
		switch {
		case !g.Kept:
			word, how = "question", strings.Join(g.Why, "; ")
		case g.Rule:
			how = "a rule"
		case how == "" || how == "[]":
			how = "comes with the others"
		}
		rows = append(rows, []string{word, strconv.FormatInt(g.Count, 10), strconv.Itoa(g.People), g.Class, g.Operation, cmp.Or(g.Roles, "-"), cmp.Or(strings.Join(append(g.Facts, g.Details...), ", "), "-"),
			g.First.Local().Format(when), g.Last.Local().Format(when), strings.Join(g.Examples, ","), how})
	}
	if len(rows) == 0 {
		a.remark("nothing was refused: there is nothing to propose, and nothing was written")
		return nil
	}
	if err := a.table([]string{"", "COUNT", "PEOPLE", "DEVICE CLASS", "OPERATION", "ROLES", "FACTS", "FIRST", "LAST", "EXAMPLES", "HOW OR WHY"}, rows); err != nil {
		return err
	}
	for _, b := range l.Besides {
		a.remark("besides: %s on %s by %s, refused %d times on %s, would be permitted there, too (%s)", b.Operation, b.Class, cmp.Or(b.Roles, "-"), b.Count, strings.Join(b.Devices, ", "), b.Example)
	}
	for _, name := range l.SetAside {
		a.remark("set aside: %s says otherwise; change it, or what it contradicts", name)
	}
	if l.Further > 0 {
		a.remark("warning: %d refused operations are of further kinds and were not looked at: learn from one device at a time, --device ID", l.Further)
	}
	if l.Gaps > 0 {
		a.remark("warning: the gateway could not record %d time(s); what was asked then is not known", l.Gaps)
	}
	if l.Beside != "" {
		a.remark("it edits what is in force; %s", l.Beside)
	}
	a.remark("written to %s; nothing of it is in force. Next:", l.Out)
	for _, next := range l.Next {
		a.remark("  %s", next)
	}
	return nil
}
