package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

// bundleJSON is a bundle for programs.
type bundleJSON struct {
	Schema   string    `json:"schema"`
	File     string    `json:"file"`
	Revision uint64    `json:"revision"`
	Label    string    `json:"label"`
	Digest   string    `json:"sha256"`
	Made     time.Time `json:"made"`
	Until    time.Time `json:"until"`
	Policy   string    `json:"policy"`
	Data     string    `json:"data"`
	Tests    int       `json:"tests"`
}

func bundleVerifyCommand(a *app) *cobra.Command {
	var key, id, signer string
	c := &cobra.Command{
		Use: "verify FILE", Short: "See whether a gateway would take a bundle",
		Long: `Verify both signatures of a bundle, compile its policy and run its tests, as a gateway does
before it takes it. The keys are those of the configuration, unless others are given. Whether
it is newer than what is in force is for the gateway: cordon policy bundle load.`,
		Example: "  cordon policy bundle verify ward-12.tar.gz --key bundle.pub --signer signer.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("verify "+args[0], a.bundleVerify(c.Context(), args[0], key, id, signer))
		},
	}
	f := c.Flags()
	f.StringVar(&key, "key", "", "`FILE` with the public key of OPA's signature")
	f.StringVar(&id, "key-id", "", "what bundles call that key (default made from it)")
	f.StringVar(&signer, "signer", "", "`FILE` with the public key of the detached signature")
	c.MarkFlagsRequiredTogether("key", "signer")
	return c
}

func (a *app) bundleVerify(ctx context.Context, file, key, id, signer string) error {
	c := &config.Config{} // without devices, which may need patches
	if key != "" {
		c.Policy.Bundle = config.Bundle{From: file, Key: key, KeyID: id, Signer: signer}
	} else {
		var err error
		if c, err = bundleConfig(a.config()); err != nil {
			return err
		}
	}
	b, err := revision.OpenBundles(c)
	if err != nil {
		return err
	}
	d, err := revision.ReadDelivery(file)
	if err != nil {
		return err
	}
	opened, err := rego.OpenBundle(d.Name, d.Bundle, d.Signature, b.Keys, time.Now())
	if err != nil {
		return revision.Placed(err)
	}
	tests, err := b.Prove(ctx, c, d, opened)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(bundleJSON{"cordon.policy.bundle/v1", file, opened.Revision, opened.Label, opened.Digest, opened.Made, opened.Until, opened.Engine.Revision(), opened.Engine.Data(), tests})
	}
	fmt.Fprintf(a.stdout, "ok: revision %d %s, made %s, to be taken until %s, policy %.19s with %d tests passed\n",
		opened.Revision, cmp.Or(opened.Label, "-"), opened.Made.Local().Format(time.DateTime), opened.Until.Local().Format(time.DateTime), opened.Engine.Revision(), tests)
	return nil
}

// bundleConfig loads a configuration that uses bundles.
func bundleConfig(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err == nil && !c.Policy.Bundle.Used() {
		err = config.Faults{c.Fault("bundle.unused", "policies of this gateway do not come as bundles", "add bundle: { from: …, key: …, signer: … }", "policy")}
	}
	return c, err
}

func bundleLoadCommand(a *app) *cobra.Command {
	var rollback uint64
	var yes bool
	c := &cobra.Command{
		Use: "load [FILE]", Short: "Put a bundle in force that was carried here, or go back to an older one",
		Long: `Verify a bundle and put it in force: in the running gateway, which asks every live session
again, or in its state directory if none runs. It must be newer than every one before, unless
an older revision is named with --rollback-to; of those the gateway keeps the last ten, so that
FILE is not needed. After a rollback nothing is taken from policy.bundle.from but what is newer
than all before.`,
		Example: `  cordon policy bundle load /media/stick/ward-12.tar.gz
  cordon policy bundle load --rollback-to 11 --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && rollback == 0 {
				return exit.Error{Code: "usage.arguments", Exit: exit.Usage, Message: "no FILE and no --rollback-to", Try: []string{"the same command with --help"}}
			}
			return cannot("load a bundle", a.bundleLoad(c.Context(), append(args, "")[0], rollback, yes))
		},
	}
	f := c.Flags()
	f.Uint64Var(&rollback, "rollback-to", 0, "the older `REVISION` to go back to")
	f.BoolVar(&yes, "yes", false, "do it; without this, it is only shown what a rollback changes")
	mustComplete(c.RegisterFlagCompletionFunc("rollback-to", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if c, err := config.Load(a.config()); err == nil {
			for _, n := range (revision.KeptBundles{Dir: filepath.Join(c.Gateway.State, revision.BundleDir)}).Revisions() {
				names = append(names, strconv.FormatUint(n, 10))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}))
	return c
}

func (a *app) bundleLoad(ctx context.Context, file string, rollback uint64, yes bool) error {
	c, err := bundleConfig(a.config())
	if err != nil {
		return err
	}
	b, err := revision.OpenBundles(c)
	if err != nil {
		return err
	}
	var d rego.Delivery
	if file != "" {
		d, err = revision.ReadDelivery(file)
	} else {
		d, err = b.Kept.Delivery(rollback)
	}
	if err != nil {
		return err
	}
	// Here too, so that what is wrong is said before anything is asked of the gateway.
	opened, news, err := b.Open(d, rollback)
	if err != nil {
		return err
	}
	if !news && b.RolledBackFrom(opened) {
		return exit.Error{Code: "bundle.older", Exit: exit.Conflict, Message: fmt.Sprintf("revision %d was rolled back from", opened.Revision),
			Try: []string{fmt.Sprintf("the same command with --rollback-to %d", opened.Revision)}}
	}
	if !news {
		return a.bundleLoaded(&daemon.Reloaded{Schema: "cordon.reload/v1", Policy: opened.Engine.Revision(), Data: opened.Engine.Data(), Devices: []string{},
			Bundle: &revision.BundleTaken{Revision: opened.Revision, Label: opened.Label, Digest: opened.Digest, New: false}})
	}
	if rollback != 0 && !yes {
		return a.showRollback(b, opened)
	}
	digest, err := b.Kept.Hand(d)
	defer b.Kept.Withdraw(digest)
	if err != nil {
		return err
	}
	done := &daemon.Reloaded{}
	order := revision.BundleOrder{From: d.Name, SHA256: digest, Rollback: rollback}
	err = control.Ask(ctx, c.Gateway.State, "bundle", order, done, 2*daemon.ReloadTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		done, err = a.loadWithoutGateway(ctx, c, b, d, opened, order)
	}
	if err != nil {
		return err
	}
	return a.bundleLoaded(done)
}

// showRollback says what a rollback would change.
func (a *app) showRollback(b *revision.Bundles, to *rego.Bundle) error {
	now, err := b.Last()
	if err != nil {
		return err
	}
	if now != nil {
		d := rego.Diff(now.Engine, to.Engine)
		a.remark("from revision %d %s to %d %s, made %s: %d rule(s) and %d value(s) of data differ; live sessions that are not permitted then end",
			now.Revision, cmp.Or(now.Label, "-"), to.Revision, cmp.Or(to.Label, "-"), to.Made.Local().Format(time.DateTime), len(d.Rules), len(d.Data))
	}
	return exit.Error{Code: "bundle.unconfirmed", Message: "nothing was changed", Exit: exit.Usage, Try: []string{"the same command with --yes"}}
}

// loadWithoutGateway takes a bundle for the next start, unless a gateway has started meanwhile and takes it. The lock on
// the audit log keeps one from starting then.
func (a *app) loadWithoutGateway(ctx context.Context, c *config.Config, b *revision.Bundles, d rego.Delivery, opened *rego.Bundle, order revision.BundleOrder) (done *daemon.Reloaded, err error) {
	tests, err := b.Prove(ctx, c, d, opened)
	if err != nil {
		return nil, err
	}
	done = &daemon.Reloaded{}
	log, err := daemon.AskOrOpen(ctx, c, "bundle", order, done, 2*daemon.ReloadTimeout, quietLogger(a.stderr))
	if log == nil {
		return done, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	// Again: whoever had the log may have taken another.
	opened, news, err := b.Open(d, order.Rollback)
	if err != nil {
		return nil, err
	}
	done = &daemon.Reloaded{Schema: "cordon.reload/v1", Changed: news, Policy: opened.Engine.Revision(), Data: opened.Engine.Data(), Tests: tests, Devices: []string{},
		Bundle: &revision.BundleTaken{Revision: opened.Revision, Label: opened.Label, Digest: opened.Digest, New: news}}
	if !news {
		return done, nil
	}
	if was, err := b.Last(); err == nil && was != nil {
		done.OldPolicy, done.OldData = was.Engine.Revision(), was.Engine.Data()
	}
	e := audit.Entry{Kind: audit.KindReload, Note: done.Note() + "; loaded by " + control.Operator() + " for the next start"}
	e.Decision.Revision, e.Decision.Data = done.Policy, done.Data
	if err := daemon.RecordIn(log)(e); err != nil {
		return nil, fmt.Errorf("record the bundle: %w", err)
	}
	if err := b.Take(d, opened); err != nil {
		return nil, err
	}
	a.remark("no gateway runs; the next start decides by it")
	return done, nil
}

func (a *app) bundleLoaded(done *daemon.Reloaded) error {
	if a.json {
		return a.object(done)
	}
	if done.Bundle == nil || !done.Bundle.New {
		fmt.Fprintf(a.stdout, "nothing has changed: policy %.19s\n", done.Policy)
		return nil
	}
	fmt.Fprintf(a.stdout, "in force: bundle revision %d %s, policy %.19s, %d tests passed, %d live session(s) ended\n", done.Bundle.Revision, cmp.Or(done.Bundle.Label, "-"), done.Policy, done.Tests, done.Ended)
	return nil
}
