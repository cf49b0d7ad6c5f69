package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

// proofTimeout bounds all tests of a bundle together.
const proofTimeout = 30 * time.Second

// slowest is how seldom a source that does not answer is asked, unless policy.bundle.every
// is longer.
const slowest = 5 * time.Minute

// updates bring newer bundles into a running gateway: looked for every so often, at
// "cordon reload", or handed over.
type updates struct {
	*revision.Bundles
	source revision.BundleSource
	every  time.Duration

	mu     sync.Mutex // one at a time
	seen   sighting   // the last
	status revision.BundleStatus
}

// sighting is a delivery that was looked at.
type sighting struct {
	delivery [sha256.Size]byte // the digest of bundle and detached signature
	code     string            // why it was refused; empty: it was not
	told     bool
}

// openUpdates returns nil if the policy does not come as bundles.
func openUpdates(parts *Assembly) (*updates, error) {
	b := parts.source.Bundles
	if b == nil {
		return nil, nil
	}
	c := &parts.Config.Policy.Bundle
	source, err := revision.OpenBundleSource(c, b.Keys)
	if err != nil {
		return nil, err
	}
	return &updates{Bundles: b, source: source, every: c.Every}, nil
}

// followBundles looks for newer bundles until ctx ends.
func (r *reloader) followBundles(ctx context.Context) {
	wait := r.updates.every
	for {
		_, err := r.update(ctx, true)
		switch code := failureCode(err); {
		case ctx.Err() != nil || r.handedOver(): // then another process does it
			return
		case code == "bundle.unreachable" || code == "bundle.none":
			wait = min(2*wait, max(slowest, r.updates.every))
		default:
			wait = r.updates.every
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait - wait/10 + rand.N(wait/5+1)): // many gateways may ask one server
		}
	}
}

func failureCode(err error) string {
	if err == nil {
		return ""
	}
	return exit.Errors(err)[0].Code
}

// update fetches what is offered and puts it in force, if it is newer and good. What was
// refused before is looked at again only if a person asked.
func (r *reloader) update(ctx context.Context, polled bool) (Reloaded, error) {
	u := r.updates
	u.mu.Lock()
	defer u.mu.Unlock()
	d, err := u.source.Fetch(ctx)
	if err != nil {
		err = revision.Unreachable(err)
		if ctx.Err() == nil {
			r.parts.outcomes.note(fromBundle, err)
		}
		if ctx.Err() == nil && u.status.Unreachable == "" {
			r.log.Warn("bundles cannot be fetched, the policy stays as it is", "error", err)
			r.parts.later(trouble{Entry: audit.Entry{Kind: audit.KindReload, Note: "refused: bundles cannot be fetched: " + err.Error()}})
		}
		u.status.Unreachable = err.Error()
		u.tell(r)
		return Reloaded{}, err
	}
	u.status.Asked, u.status.Unreachable = time.Now().UTC().Truncate(time.Second), ""
	sum := sha256.New()
	sum.Write(d.Bundle)
	sum.Write(d.Signature)
	this := [sha256.Size]byte(sum.Sum(nil))
	if polled && u.known(this) {
		if u.seen.code == "" {
			r.parts.outcomes.note(fromBundle, nil) // what is offered is what is in force
		}
		u.tell(r)
		return Reloaded{}, nil
	}
	done, err := r.offer(ctx, d, 0)
	if ctx.Err() != nil || errors.Is(err, control.ErrMoved) {
		return done, err // broken off, which says nothing about the bundle
	}
	counts := u.counts(this, failureCode(err), polled)
	if counts || err == nil {
		r.parts.outcomes.note(fromBundle, err)
	}
	if counts {
		r.refuseBundle(d, err)
	}
	return done, err
}

// known reports whether looking at a delivery again would say nothing new.
func (u *updates) known(delivery [sha256.Size]byte) bool {
	return delivery == u.seen.delivery && u.seen.told && u.seen.code != "bundle.detached.future" // which passes
}

// counts notes what became of a delivery, and reports whether to tell of it: once. Who is just
// publishing has the bundle in place before its signature, or the other way round; that counts
// if it is still so when it is next looked for.
func (u *updates) counts(delivery [sha256.Size]byte, code string, polled bool) bool {
	was := u.seen
	half := code == "bundle.detached.missing" || code == "bundle.detached.file"
	u.seen = sighting{delivery, code, !polled || !half || was.delivery == delivery}
	return u.seen.told && !(polled && was == u.seen)
}

// offer opens a delivery, and if it is news, proves it and puts it in force. The caller holds
// updates.mu; live sessions wait for nothing but the swap.
func (r *reloader) offer(ctx context.Context, d rego.Delivery, rollback uint64) (done Reloaded, err error) {
	u := r.updates
	opened, news, err := u.Open(d, rollback)
	if err != nil || !news {
		return done, err
	}
	r.mu.Lock()
	c := r.config
	r.mu.Unlock()
	proof, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	tests, err := u.Prove(proof, c, d, opened)
	if proof.Err() != nil && ctx.Err() == nil {
		err = exit.Error{Code: "bundle.tests.slow", Exit: exit.Checks, Message: fmt.Sprintf("%s: its tests take more than %v", d.Name, proofTimeout), Err: proof.Err(), Try: []string{"cordon policy test -v"}}
	}
	if err != nil {
		return done, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handedOver() {
		return done, control.ErrMoved
	}
	if err := revision.CheckPatches(r.config, opened.Engine); err != nil { // meanwhile it may be another
		return done, err
	}
	was, err := u.Kept.InForce()
	if err != nil {
		return done, err
	}
	if err := u.Take(d, opened); err != nil {
		return done, err
	}
	done = Reloaded{Schema: "cordon.reload/v1", Devices: []string{}, Tests: tests, Bundle: &revision.BundleTaken{Revision: opened.Revision, Label: opened.Label, Digest: opened.Digest, New: true}}
	if err := r.replace(&done, &revision.Source{Current: opened.Engine, Bundles: u.Bundles}, r.config); err != nil {
		if was != nil {
			err = errors.Join(err, u.Kept.Enter(was))
		}
		return done, err
	}
	r.log.Info("bundle in force", "revision", opened.Revision, "label", opened.Label, "sha256", opened.Digest, "policy", done.Policy, "data", done.Data, "ended", done.Ended)
	return done, nil
}

// answerBundle is the verb of the control socket: a person has put a bundle where Handed finds it.
func (r *reloader) answerBundle(ctx context.Context, by string, o *revision.BundleOrder) (any, error) {
	u := r.updates
	if u == nil {
		return nil, exit.Error{Code: "bundle.unused", Message: "policies of this gateway do not come as bundles", Exit: exit.Conflict}
	}
	ctx, cancel := context.WithTimeout(ctx, ReloadTimeout)
	defer cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	if r.handedOver() {
		return nil, control.ErrMoved
	}
	d, err := u.Kept.Handed(*o)
	if err != nil {
		return nil, err
	}
	d.Name = o.From + ", loaded by " + by
	done, err := r.offer(ctx, d, o.Rollback)
	if !errors.Is(err, control.ErrMoved) {
		r.parts.outcomes.note(fromBundle, err)
		r.refuseBundle(d, err)
	}
	return done, err
}

// with adds to what was read again what became of looking for a newer bundle.
func (d Reloaded) with(u *updates, taken Reloaded, err error) (Reloaded, error) {
	in, _ := u.Kept.InForce() // read a moment ago
	if err != nil {
		f := exit.Errors(err)[0]
		stays := "nothing is lost: the policy in force stays"
		if in != nil {
			stays = fmt.Sprintf("nothing is lost: bundle revision %d stays in force", in.Revision)
		}
		f.Try = append(f.Try, stays)
		return d, f
	}
	if taken.Changed {
		taken.Devices, taken.Ended = d.Devices, taken.Ended+d.Ended
		return taken, nil
	}
	if in != nil {
		d.Bundle = &revision.BundleTaken{Revision: in.Revision, Label: in.Label, Digest: in.Digest, New: false}
	}
	return d, nil
}

// refuseBundle tells the log and the status what became of a delivery.
func (r *reloader) refuseBundle(d rego.Delivery, err error) {
	u := r.updates
	if u.status.Last != nil {
		u.status.Last.Pending = false
	}
	if err != nil {
		f := exit.Errors(err)[0]
		u.status.Refused++
		u.status.Last = &revision.BundleRefusal{Time: time.Now().UTC().Truncate(time.Second), From: d.Name, Code: f.Code, Message: f.Message, Pending: true}
		r.log.Warn("bundle refused, the policy stays as it was", "from", d.Name, "code", f.Code, "error", f.Message)
		if err := r.parts.record(audit.Entry{Kind: audit.KindReload, Note: fmt.Sprintf("refused: bundle %s: %s (%s)", d.Name, f.Message, f.Code)}); err != nil {
			r.log.Warn("record a refused bundle", "error", err)
		}
	}
	u.tell(r)
}

// tell writes the status for "cordon policy bundle status". It need not survive a power failure.
func (u *updates) tell(r *reloader) {
	text, err := json.Marshal(u.status)
	path := filepath.Join(u.Kept.Dir, revision.StatusFile)
	next := filepath.Join(u.Kept.Dir, ".new-"+revision.StatusFile) // which no backup takes
	if err == nil {
		err = os.MkdirAll(u.Kept.Dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(next, text, 0o600)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		r.log.Warn("write the bundles' status", "error", err)
	}
}
