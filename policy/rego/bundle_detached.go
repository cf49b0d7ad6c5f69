package rego

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// The file beside a bundle, named like it with ".sig" behind: our own signature, over every
// byte of the bundle. It says what OPA's does not: how new the bundle is, without unpacking
// it, and how long it may be taken. Who holds back a newer bundle can offer an old one so long.

// DetachedSuffix is what the detached signature's name has behind the bundle's.
const DetachedSuffix = ".sig"

const (
	// MaxDetached is the longest detached signature, in bytes.
	MaxDetached = 4 << 10
	// MaxBundleAge is the longest time for which a bundle may be taken after it was signed.
	MaxBundleAge = 366 * 24 * time.Hour

	detachedSchema = "cordon.policy.bundle.signature/v1"
	clockSkew      = 5 * time.Minute // between the signer's clock and the gateway's
)

// detached is the file's content.
type detached struct {
	Schema    string    `json:"schema"`
	Key       string    `json:"key"`    // KeyID of the signer
	Digest    string    `json:"sha256"` // of the bundle, in hexadecimal
	Revision  uint64    `json:"revision"`
	Made      time.Time `json:"made"`  // UTC, whole seconds
	Until     time.Time `json:"until"` // UTC, whole seconds
	Signature []byte    `json:"signature"`
}

// signed is what the signature is over. No value in it can hold a newline.
func (d *detached) signed() []byte {
	return fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%d\n%d\n", detachedSchema, d.Key, d.Digest, d.Revision, d.Made.Unix(), d.Until.Unix())
}

// openDetached verifies that text is our signature over tarball.
func (k *BundleKeys) openDetached(tarball, text []byte, now time.Time) (*detached, *Problem) {
	d, p := k.readDetached(text)
	if p != nil {
		return nil, p
	}
	if !now.IsZero() {
		switch {
		case d.Made.After(now.Add(clockSkew)):
			return nil, &Problem{Code: "bundle.detached.future", Message: fmt.Sprintf("signed at %s, which is not yet", d.Made.Format(time.RFC3339)), Hint: "set the clock of this machine, or the signer's"}
		case !d.Until.After(now):
			return nil, &Problem{Code: "bundle.detached.expired", Message: fmt.Sprintf("was to be taken until %s", d.Until.Format(time.RFC3339)), Hint: "sign it again: cordon policy bundle sign; or set this machine's clock"}
		}
	}
	if got := digestOf(tarball); d.Digest != got {
		return nil, &Problem{Code: "bundle.detached.file", Message: fmt.Sprintf("the detached signature is for a file with the digest %.16s…, not for this one, %.16s…", d.Digest, got),
			Hint: "transfer both files again"}
	}
	return d, nil
}

// readDetached verifies the signature itself, before anything in it is believed.
func (k *BundleKeys) readDetached(text []byte) (*detached, *Problem) {
	malformed := func(message string) (*detached, *Problem) {
		return nil, &Problem{Code: "bundle.detached", Message: "the detached signature is malformed: " + message, Hint: "transfer both files again"}
	}
	var d detached
	switch {
	case len(text) == 0:
		return nil, &Problem{Code: "bundle.detached.missing", Message: "there is no detached signature", Hint: "put it beside the bundle under the same name with " + DetachedSuffix + " behind; cordon policy bundle sign makes it"}
	case len(text) > MaxDetached:
		return malformed(fmt.Sprintf("more than %d bytes", MaxDetached))
	}
	if err := strictJSON(text, &d); err != nil {
		return malformed(err.Error())
	}
	own := KeyID(k.signer)
	switch {
	case d.Schema != detachedSchema:
		return malformed(fmt.Sprintf("its schema is %.60q", d.Schema))
	case d.Key != own:
		return nil, &Problem{Code: "bundle.detached.key", Message: fmt.Sprintf("signed with the key %.64q, want %q", d.Key, own), Hint: "policy.bundle.signer is the key whose bundles are taken"}
	case d.Revision < 1 || d.Revision > MaxBundleRevision:
		return malformed(fmt.Sprintf("its revision is %d", d.Revision))
	case !ed25519.Verify(k.signer, d.signed(), d.Signature):
		return nil, &Problem{Code: "bundle.detached.wrong", Message: "the detached signature is not the signer's", Hint: "transfer both files again"}
	}
	return &d, nil
}

// errPeriod is a time for which nobody may sign a bundle.
var errPeriod = errors.New("a bundle can be taken for 1m to 8784h after it was signed")

// newDetached signs tarball, a bundle of that revision.
func newDetached(tarball []byte, revision uint64, key []byte, made time.Time, period time.Duration) (*detached, error) {
	private, err := privateKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the signer's key: %w", err)
	}
	signer, ok := private.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the signer's key: not an Ed25519 key, but %T", private)
	}
	if period < time.Minute || period > MaxBundleAge {
		return nil, errPeriod
	}
	made = made.UTC().Truncate(time.Second)
	d := &detached{Schema: detachedSchema, Key: KeyID(signer.Public()), Digest: digestOf(tarball), Revision: revision, Made: made, Until: made.Add(period)}
	d.Signature = ed25519.Sign(signer, d.signed())
	return d, nil
}
