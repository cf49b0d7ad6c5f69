package revision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// Bundles are the signed policies of one gateway: where they are offered, whose signatures
// they need, and which were taken.
type Bundles struct {
	Keys *rego.BundleKeys
	Kept KeptBundles
	From string
}

// OpenBundles reads the keys that policy.bundle names.
func OpenBundles(c *config.Config) (*Bundles, error) {
	b := &c.Policy.Bundle
	key, err := os.ReadFile(b.Key)
	if err != nil {
		return nil, fmt.Errorf("read policy.bundle.key: %w", err)
	}
	signer, err := os.ReadFile(b.Signer)
	if err != nil {
		return nil, fmt.Errorf("read policy.bundle.signer: %w", err)
	}
	keys, err := rego.NewBundleKeys(key, b.KeyID, signer)
	if err != nil {
		return nil, exit.Error{Code: "bundle.key", Exit: exit.Checks, Message: err.Error(), Err: err, Try: []string{"cordon policy bundle keygen makes keys of the right kinds"}}
	}
	return &Bundles{keys, KeptBundles{filepath.Join(c.Gateway.State, BundleDir)}, b.From}, nil
}

// Last opens the bundle in force, which was proven when it was taken; nil if there is none.
func (b *Bundles) Last() (*rego.Bundle, error) {
	in, err := b.Kept.InForce()
	if in == nil || err != nil {
		return nil, err
	}
	d, err := b.Kept.Delivery(in.Revision)
	if err != nil {
		return nil, err
	}
	opened, err := rego.OpenBundle(d.Name, d.Bundle, d.Signature, b.Keys, time.Time{})
	if err == nil && opened.Digest != in.Digest {
		err = exit.Error{Code: "bundle.state", Exit: exit.Checks, Message: fmt.Sprintf("%s is not the bundle that was in force: its SHA-256 is %.16s…, not %.16s…", d.Name, opened.Digest, in.Digest)}
	}
	return opened, Placed(err)
}

// Open verifies a delivery and holds it against what was taken before: is it news? rollback
// names an older revision to go back to; 0 is none. One that is kept was taken in time, so it stays good.
func (b *Bundles) Open(d rego.Delivery, rollback uint64) (opened *rego.Bundle, news bool, err error) {
	now, other := time.Now(), false
	if rollback != 0 {
		was, err := b.Kept.Delivery(rollback)
		if other = err == nil && !bytes.Equal(was.Bundle, d.Bundle); err == nil && !other {
			now = time.Time{}
		}
	}
	if opened, err = rego.OpenBundle(d.Name, d.Bundle, d.Signature, b.Keys, now); err != nil {
		return nil, false, Placed(err)
	}
	in, err := b.Kept.InForce()
	if err != nil {
		return nil, false, err
	}
	if rollback != 0 && opened.Revision != rollback {
		return nil, false, exit.Error{Code: "bundle.rollback", Exit: exit.Usage, Message: fmt.Sprintf("%s is revision %d, not %d", d.Name, opened.Revision, rollback), Try: []string{"--rollback-to " + strconv.FormatUint(opened.Revision, 10)}}
	}
	switch {
	case in == nil || opened.Revision > in.Highest:
		return opened, true, nil
	case opened.Revision == in.Revision && opened.Digest == in.Digest:
		return opened, false, nil
	case opened.Revision == in.Highest && opened.Digest != in.HighestDigest, opened.Revision == in.Revision, other:
		return nil, false, exit.Error{Code: "bundle.revision.reused", Exit: exit.Conflict, Message: fmt.Sprintf("%s is another bundle of revision %d, which was taken before", d.Name, opened.Revision),
			Try: []string{"build it anew with --revision " + strconv.FormatUint(in.Highest+1, 10)}}
	case rollback != 0:
		return opened, true, nil
	case opened.Revision == in.Highest: // it was rolled back from, or lost
		return opened, in.Restored, nil
	}
	return nil, false, exit.Error{Code: "bundle.older", Exit: exit.Conflict, Message: fmt.Sprintf("%s is revision %d, older than %d, which was in force", d.Name, opened.Revision, in.Highest),
		Try: []string{"cordon policy bundle load FILE --rollback-to " + strconv.FormatUint(opened.Revision, 10), "or build it anew with --revision " + strconv.FormatUint(in.Highest+1, 10)}}
}

// Prove sees that a bundle has the patches which devices need, and that its tests pass. It
// returns how many those are.
func (b *Bundles) Prove(ctx context.Context, c *config.Config, d rego.Delivery, opened *rego.Bundle) (int, error) {
	there := *c
	there.Policy.Dir = d.Name // where messages say it is
	return provenEngine(ctx, &there, opened.Engine)
}

// Take keeps an opened bundle and makes it the one that decides after a restart.
func (b *Bundles) Take(d rego.Delivery, opened *rego.Bundle) error {
	was, err := b.Kept.InForce()
	if err != nil {
		return err
	}
	in := &Chosen{Schema: "cordon.policy.bundle.inforce/v1", Revision: opened.Revision, Label: opened.Label, Digest: opened.Digest, Made: opened.Made,
		From: d.Name, Taken: time.Now().UTC().Truncate(time.Second), Highest: opened.Revision, HighestDigest: opened.Digest}
	if was != nil && was.Highest > in.Highest {
		in.Highest, in.HighestDigest = was.Highest, was.HighestDigest
	}
	if err := b.Kept.keep(d, opened); err != nil {
		return err
	}
	return b.Kept.Enter(in)
}

// RolledBackFrom reports whether somebody went back from this bundle to an older one.
func (b *Bundles) RolledBackFrom(opened *rego.Bundle) bool {
	in, err := b.Kept.InForce()
	return err != nil || in != nil && in.Highest > in.Revision && opened.Revision == in.Highest && !in.Restored
}

// Unreachable says that a source did not answer.
func Unreachable(err error) error {
	if _, said := errors.AsType[exit.Error](err); said {
		return err
	}
	return exit.Error{Code: "bundle.unreachable", Exit: exit.Unreachable, Message: err.Error(), Err: err, Try: []string{"policy.bundle.from says where bundles are looked for"}}
}
