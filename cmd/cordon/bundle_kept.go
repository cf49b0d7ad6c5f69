package main

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
	bundleDir   = "bundles" // inside gateway.state
	inForceFile = "in-force.json"
	bundleExt   = ".tar.gz"

	keptMost = 10 // bundles, to go back to by name
)

// keptBundles are the bundles that were in force here, each with its detached signature: the
// newest is what decides after a restart, whether or not their source can be reached.
type keptBundles struct{ dir string }

// chosen says which bundle decides, and below what no other is taken from the source.
type chosen struct {
	Schema        string    `json:"schema"` // cordon.policy.bundle.inforce/v1
	Revision      uint64    `json:"revision"`
	Label         string    `json:"label,omitempty"`
	Digest        string    `json:"sha256"`
	Made          time.Time `json:"made"`
	From          string    `json:"from"`
	Taken         time.Time `json:"taken"`
	Highest       uint64    `json:"highest"` // that ever decided; more than revision after a rollback
	HighestDigest string    `json:"highest_sha256"`
}

// inForce returns nil if no bundle was ever in force.
func (k keptBundles) inForce() (*chosen, error) {
	text, err := os.ReadFile(filepath.Join(k.dir, inForceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var in chosen
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err == nil && (in.Revision == 0 || in.Highest < in.Revision) {
		err = fmt.Errorf("revision %d of at most %d", in.Revision, in.Highest)
	}
	if err != nil {
		return nil, exit.Error{Code: "bundle.state", Exit: exit.Checks, Message: fmt.Sprintf("read which bundle is in force from %q: %v", k.dir, err), Err: err,
			Try: []string{"restore gateway.state from its backup"}}
	}
	return &in, nil
}

func (k keptBundles) path(revision uint64) string {
	return filepath.Join(k.dir, strconv.FormatUint(revision, 10)+bundleExt)
}

// delivery reads a kept bundle.
func (k keptBundles) delivery(revision uint64) (rego.Delivery, error) {
	d, err := readDelivery(k.path(revision))
	if errors.Is(err, fs.ErrNotExist) {
		err = exit.Error{Code: "bundle.missing", Exit: exit.NotFound, Message: fmt.Sprintf("bundle revision %d is not kept in %s", revision, k.dir), Err: err,
			Try: []string{"cordon policy bundle status shows which are", "cordon policy bundle load FILE --rollback-to " + strconv.FormatUint(revision, 10)}}
	}
	return d, err
}

// keep writes a bundle that is about to be in force.
func (k keptBundles) keep(d rego.Delivery, b *rego.Bundle) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	path := k.path(b.Revision)
	return errors.Join(disk.Write(path+rego.DetachedSuffix, d.Signature, 0o600), disk.Write(path, d.Bundle, 0o600))
}

// enter makes in the answer of inForce.
func (k keptBundles) enter(in *chosen) error {
	text, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Write(filepath.Join(k.dir, inForceFile), append(text, '\n'), 0o600); err != nil {
		return err
	}
	for i, revision := range k.revisions() {
		if i >= keptMost && revision != in.Revision {
			os.Remove(k.path(revision)) // what stays only takes space
			os.Remove(k.path(revision) + rego.DetachedSuffix)
		}
	}
	return nil
}

// revisions lists what is kept, the newest first.
func (k keptBundles) revisions() (all []uint64) {
	names, _ := filepath.Glob(filepath.Join(k.dir, "*"+bundleExt)) // the pattern is well formed
	for _, name := range names {
		if n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), bundleExt), 10, 64); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}
