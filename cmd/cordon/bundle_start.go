package main

import (
	"context"
	"fmt"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
)

// openTaken opens the bundle that was taken last, as the policy that decides.
func openTaken(c *config.Config) (*policySource, error) {
	b, err := openBundles(c)
	if err != nil {
		return nil, err
	}
	last, err := b.last()
	if err == nil && last == nil {
		err = exit.Error{Code: "bundle.none", Exit: exit.NotFound, Message: "no bundle was taken yet, so there is no policy", Try: []string{"cordon run fetches one", "cordon policy bundle load FILE"}}
	}
	if err != nil {
		return nil, err
	}
	return &policySource{current: last.Engine, bundles: b}, checkPatches(c, last.Engine)
}

// startSource is openSource for a start. Where no bundle was taken yet, or the last one is no
// longer signed by the configured keys, one is fetched and proven; and taken, unless it is
// only to be seen whether a start would succeed.
func startSource(ctx context.Context, c *config.Config, take bool) (*policySource, error) {
	f, err := openSource(c)
	if err == nil || !c.Policy.Bundle.Used() {
		return f, err
	}
	b, failed := openBundles(c)
	if failed != nil {
		return nil, failed
	}
	source, failed := openBundleSource(&c.Policy.Bundle, b.keys)
	if failed != nil {
		return nil, failed
	}
	defer source.Close()
	d, failed := source.Fetch(ctx)
	if failed != nil {
		return nil, fmt.Errorf("start without a bundle (%w): %w", unreachable(failed), err)
	}
	opened, news, failed := b.open(d, 0)
	if failed == nil && !news && b.rolledBackFrom(opened) {
		return nil, err
	}
	if failed == nil {
		_, failed = b.prove(ctx, c, d, opened)
	}
	if failed == nil && take {
		failed = b.take(d, opened)
	}
	if failed != nil {
		return nil, failed
	}
	return &policySource{current: opened.Engine, bundles: b}, nil
}

// startingBundle is startingPolicy for a gateway that takes bundles.
func startingBundle(ctx context.Context, c *config.Config) (*policySource, int, error) {
	f, err := startSource(ctx, c, false)
	if err != nil {
		return nil, 0, err
	}
	there := *c
	there.Policy.Dir = "the bundle" // where messages say it is
	tests, err := provenEngine(ctx, &there, f.current)
	return f, tests, err
}

// bundleWords say to people where the policy comes from.
func (f *policySource) bundleWords(c *config.Config) string {
	revision := "none yet"
	if in, err := f.bundles.kept.inForce(); err == nil && in != nil {
		revision = fmt.Sprintf("revision %d", in.Revision)
	}
	return fmt.Sprintf("the policy comes from signed bundles (%s); what is edited in %s decides nothing until it is in one", revision, c.Policy.Dir)
}
