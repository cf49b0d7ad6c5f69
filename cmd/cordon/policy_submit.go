package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

// badge is the certificate that a person signs with.
type badge struct{ cert, key string }

func (b *badge) flags(c *cobra.Command) {
	c.Flags().StringVar(&b.cert, "cert", "", "your certificate with its chain, `FILE`.pem")
	c.Flags().StringVar(&b.key, "key", "", "its key (default: FILE.key beside it)")
	mustComplete(c.MarkFlagRequired("cert"))
	mustComplete(c.MarkFlagFilename("cert", "pem"))
	mustComplete(c.MarkFlagFilename("key", "key"))
}

func (b *badge) load() (tls.Certificate, error) {
	key := b.key
	if key == "" {
		key = strings.TrimSuffix(b.cert, filepath.Ext(b.cert)) + ".key"
	}
	cert, err := tls.LoadX509KeyPair(b.cert, key)
	if err != nil {
		return cert, exit.Error{Code: "cert.unusable", Message: fmt.Sprintf("sign with %s and %s: %v", b.cert, key, err), Exit: exit.Usage, Err: err,
			Try: []string{"--cert FILE.pem --key FILE.key, as cordon cert issue writes them"}}
	}
	return cert, nil
}

func policySubmitCommand(a *app) *cobra.Command {
	var by badge
	var why string
	c := &cobra.Command{
		Use: "submit [DIR]", Short: "Hand in an edited policy for another person to approve",
		Long: `Compile the policy folder (or DIR), run its tests, and show how it differs from what is in
force: in its tables and rules, and in what was decided in the last 24 hours. Then sign it
with your certificate and hand it in under a number. You need one of the roles
policy.approval.authors of the configuration. What is in force stays as it is.`,
		Example: `  cordon policy submit --cert kim.pem -m "nurses query CT images, CR-1120"`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("submit the policy", a.submitPolicy(c.Context(), args, &by, why))
		},
	}
	by.flags(c)
	c.Flags().StringVarP(&why, "message", "m", "", "`WHY`, in a line that the log keeps")
	mustComplete(c.MarkFlagRequired("message"))
	return c
}

// prospect is what a policy would change, for a person who is about to sign.
type prospect struct {
	Difference rego.Difference   `json:"difference"` // to what is in force
	Table      []rego.CellChange `json:"table"`      // cells of the table that they fill differently
	Replay     *replayed         `json:"replay"`     // of the last 24 hours; null if nothing is recorded
}

// lookAhead tells how engine differs from what is in force, and what it would have decided
// otherwise.
func (a *app) lookAhead(ctx context.Context, c *config.Config, inForce, engine *rego.Engine) (*prospect, error) {
	p := &prospect{Difference: rego.Diff(inForce, engine)}
	var err error
	if p.Table, err = rego.DiffTables(ctx, inForce, engine); err != nil {
		return nil, err
	}
	log, err := audit.OpenReader(c.Audit.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	p.Replay, err = a.replayLog(ctx, log, engine, c, now.Add(-24*time.Hour), now)
	return p, err
}

// printProspect shows what would be newly allowed first.
func (a *app) printProspect(p *prospect) error {
	first := func(is bool) int {
		if is {
			return 0
		}
		return 1
	}
	d := p.Difference
	d.Data = slices.Clone(d.Data)
	slices.SortStableFunc(d.Data, func(x, y rego.DataChange) int {
		return first(x.Change == rego.Added) - first(y.Change == rego.Added)
	})
	table := slices.Clone(p.Table)
	slices.SortStableFunc(table, func(x, y rego.CellChange) int {
		return first(len(x.States) > len(x.Before)) - first(len(y.States) > len(y.Before))
	})
	if err := a.printDiff(d, table); err != nil {
		return err
	}
	if p.Replay == nil {
		a.remark("nothing is recorded yet that it could be held against")
		return nil
	}
	r := *p.Replay
	r.Groups = slices.Clone(r.Groups)
	slices.SortStableFunc(r.Groups, func(x, y rego.Group) int {
		return first(x.Change == rego.NewlyAllowed) - first(y.Change == rego.NewlyAllowed)
	})
	return a.printReplay(&r)
}

func (p *prospect) counts() *revision.ReplayCounts {
	if p.Replay == nil {
		return nil
	}
	r := &p.Replay.Report
	return &revision.ReplayCounts{Since: p.Replay.Since, Recorded: r.Recorded, NewlyAllowed: r.Count(rego.NewlyAllowed, false), NewlyDenied: r.Count(rego.NewlyDenied, false),
		Critical: r.Count(rego.NewlyDenied, true), NotReplayed: r.Count(rego.NotReplayed, false)}
}

// submitted is a submission for scripts.
type submitted struct {
	Schema  string `json:"schema"`
	Number  int    `json:"number"`
	Policy  string `json:"policy"`
	Data    string `json:"data"`
	InForce int    `json:"in_force"` // the revision it was compared with
	Tests   int    `json:"tests"`
	prospect
}

func (a *app) submitPolicy(ctx context.Context, args []string, by *badge, why string) error {
	c, err := a.policyFolder(args)
	if err != nil {
		return err
	}
	if !c.Policy.Approval.Needed() {
		return daemon.ApprovalOff()
	}
	if err := revision.CheckWhy(why); err != nil {
		return err
	}
	cert, err := by.load()
	if err != nil {
		return err
	}
	engine, tests, err := revision.Prove(ctx, c)
	if err != nil {
		return err
	}
	own, err := config.Load(a.config()) // with its own folder, not DIR
	if err != nil {
		return err
	}
	f, err := revision.Open(own)
	if err != nil {
		return err
	}
	ahead, err := a.lookAhead(ctx, own, f.Tested(own), engine)
	if err != nil {
		return err
	}
	archive := engine.ArchiveWithTests()
	words := revision.Proposal{Gateway: own.ID(), Digests: revision.DigestsOf(engine), Archive: signed.Digest(archive), InForce: revision.DigestsOf(f.Current), Why: why, Tests: tests, Replay: ahead.counts()}
	said, err := signed.Sign(cert, revision.PurposeSubmit, words)
	if err != nil {
		return err
	}
	done, err := daemon.TakeStep(ctx, own, &revision.Step{Do: "submit", Signed: &said, Archive: archive})
	if err != nil {
		return err
	}
	if a.json {
		return a.object(submitted{"cordon.submission/v1", done.Number, engine.Revision(), engine.Data(), done.Current.Number, tests, *ahead})
	}
	if err := a.printProspect(ahead); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "submission %d: policy %.19s with %d tests passed; revision %d stays in force\n", done.Number, engine.Revision(), tests, done.Current.Number)
	a.remark("another person: cordon policy approve %d --cert FILE.pem", done.Number)
	return nil
}
