package revision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

const (
	BundleDir   = "bundles" // inside gateway.state
	inForceFile = "in-force.json"
	BundleExt   = ".tar.gz"

	keptMost = 10 // bundles, to go back to by name
)

// KeptBundles are the bundles that were in force here, each with its detached signature: the
// newest is what decides after a restart, whether or not their source can be reached.
type KeptBundles struct{ Dir string }

// Chosen says which bundle decides, and below what no other is taken from the source.
type Chosen struct {
	Schema        string    `json:"schema"` // cordon.policy.bundle.inforce/v1
	Revision      uint64    `json:"revision"`
	Label         string    `json:"label,omitempty"`
	Digest        string    `json:"sha256"`
	Made          time.Time `json:"made"`
	From          string    `json:"from"`
	Taken         time.Time `json:"taken"`
	Highest       uint64    `json:"highest"` // that ever decided; more than revision after a rollback
	HighestDigest string    `json:"highest_sha256"`
	Restored      bool      `json:"restored,omitempty"` // it came back with a backup, and highest decided here after that: nobody went back from it
}

// InForce returns nil if no bundle was ever in force.
func (k KeptBundles) InForce() (*Chosen, error) {
	text, err := os.ReadFile(filepath.Join(k.Dir, inForceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var in Chosen
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err == nil && (in.Revision == 0 || in.Highest < in.Revision) {
		err = fmt.Errorf("revision %d of at most %d", in.Revision, in.Highest)
	}
	if err != nil {
		return nil, exit.Error{Code: "bundle.state", Exit: exit.Checks, Message: fmt.Sprintf("read which bundle is in force from %q: %v", k.Dir, err), Err: err,
			Try: []string{"restore gateway.state from its backup"}}
	}
	return &in, nil
}

func (k KeptBundles) path(revision uint64) string {
	return filepath.Join(k.Dir, strconv.FormatUint(revision, 10)+BundleExt)
}

// Delivery reads a kept bundle.
func (k KeptBundles) Delivery(revision uint64) (rego.Delivery, error) {
	d, err := ReadDelivery(k.path(revision))
	if errors.Is(err, fs.ErrNotExist) {
		err = exit.Error{Code: "bundle.missing", Exit: exit.NotFound, Message: fmt.Sprintf("bundle revision %d is not kept in %s", revision, k.Dir), Err: err,
			Try: []string{"cordon policy bundle status shows which are", "cordon policy bundle load FILE --rollback-to " + strconv.FormatUint(revision, 10)}}
	}
	return d, err
}

// keep writes a bundle that is about to be in force.
func (k KeptBundles) keep(d rego.Delivery, b *rego.Bundle) error {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	path := k.path(b.Revision)
	return errors.Join(disk.Write(path+rego.DetachedSuffix, d.Signature, 0o600), disk.Write(path, d.Bundle, 0o600))
}

// Enter makes in the answer of inForce.
func (k KeptBundles) Enter(in *Chosen) error {
	text, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Write(filepath.Join(k.Dir, inForceFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	for i, revision := range k.Revisions() {
		if i >= keptMost && revision != in.Revision {
			os.Remove(k.path(revision)) // what stays only takes space
			os.Remove(k.path(revision) + rego.DetachedSuffix)
		}
	}
	return nil
}

// Revisions lists what is kept, the newest first.
func (k KeptBundles) Revisions() (all []uint64) {
	names, _ := filepath.Glob(filepath.Join(k.Dir, "*"+BundleExt)) // the pattern is well formed
	for _, name := range names {
		if n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), BundleExt), 10, 64); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}
