package revision

import (
	"context"
	"fmt"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
)

// openTaken opens the bundle that was taken last, as the policy that decides.
func openTaken(c *config.Config) (*Source, error) {
	b, err := OpenBundles(c)
	if err != nil {
		return nil, err
	}
	last, err := b.Last()
	if err == nil && last == nil {
		err = exit.Error{Code: "bundle.none", Exit: exit.NotFound, Message: "no bundle was taken yet, so there is no policy", Try: []string{"cordon run fetches one", "cordon policy bundle load FILE"}}
	}
	if err != nil {
		return nil, err
	}
	return &Source{Current: last.Engine, Bundles: b}, CheckPatches(c, last.Engine)
}

// Start is Open for a start, which proves what comes from the policy folder. Where no bundle was taken yet, or the
// last one is no longer signed by the configured keys, one is fetched and proven; and taken, unless it is
// only to be seen whether a start would succeed.
func Start(ctx context.Context, c *config.Config, take bool) (*Source, error) {
	if !c.Policy.Elsewhere() {
		return startFolder(ctx, c)
	}
	f, err := Open(c)
	if err == nil && f.Begun {
		_, err = provenEngine(ctx, c, f.Current)
	}
	if err == nil || !c.Policy.Bundle.Used() {
		return f, err
	}
	b, failed := OpenBundles(c)
	if failed != nil {
		return nil, failed
	}
	source, failed := OpenBundleSource(&c.Policy.Bundle, b.Keys)
	if failed != nil {
		return nil, failed
	}
	defer source.Close()
	d, failed := source.Fetch(ctx)
	if failed != nil {
		return nil, fmt.Errorf("start without a bundle (%w): %w", Unreachable(failed), err)
	}
	opened, news, failed := b.Open(d, 0)
	if failed == nil && !news && b.RolledBackFrom(opened) {
		return nil, err
	}
	if failed == nil {
		_, failed = b.Prove(ctx, c, d, opened)
	}
	if failed == nil && take {
		failed = b.Take(d, opened)
	}
	if failed != nil {
		return nil, failed
	}
	return &Source{Current: opened.Engine, Bundles: b}, nil
}

// startingBundle is Starting for a gateway that takes bundles.
func startingBundle(ctx context.Context, c *config.Config) (*Source, int, error) {
	f, err := Start(ctx, c, false)
	if err != nil {
		return nil, 0, err
	}
	there := *c
	there.Policy.Dir = "the bundle" // where messages say it is
	tests, err := provenEngine(ctx, &there, f.Current)
	return f, tests, err
}

// BundleWords say to people where the policy comes from.
func (f *Source) BundleWords(c *config.Config) string {
	revision := "none yet"
	if in, err := f.Bundles.Kept.InForce(); err == nil && in != nil {
		revision = fmt.Sprintf("revision %d", in.Revision)
	}
	return fmt.Sprintf("the policy comes from signed bundles (%s); what is edited in %s decides nothing until it is in one", revision, c.Policy.Dir)
}
