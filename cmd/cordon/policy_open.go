package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/policy/rego"
)

// openPolicy opens the policy in use ("") or in a folder, or one that decided here before,
// by the beginning of its digest; two that differ in data only by both digests, joined by +.
func openPolicy(c *config.Config, name string) (*rego.Engine, error) {
	if name == "" {
		return loadPolicy(c)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		there := *c
		there.Policy.Dir = name
		return loadPolicy(&there)
	}
	files, err := filepath.Glob(filepath.Join(c.Gateway.State, revisionDir, "*.tar"))
	if err != nil {
		return nil, err
	}
	revision, data, _ := strings.Cut(name, "+")
	var found []byte
	var names []string
	for _, file := range files {
		archive, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r, d, err := rego.ArchiveDigests(archive)
		if err != nil {
			return nil, fmt.Errorf("open %q: %w", file, err)
		}
		if begins(r, revision) && begins(d, data) {
			found, names = archive, append(names, r[:19]+"+"+d[:19])
		}
	}
	switch len(names) {
	case 0:
		return nil, failure{Code: "policy.missing", Exit: exitNotFound, Message: fmt.Sprintf("%q is neither a folder nor the digest of a policy that decided here", name), Try: []string{"cordon audit show CODE tells which policy decided"}}
	case 1:
		return rego.LoadArchive(found)
	}
	return nil, failure{Code: "policy.ambiguous", Exit: exitUsage, Message: fmt.Sprintf("%q is the beginning of %d policies' digests", name, len(names)), Try: names}
}

// begins reports whether a digest begins with what a person wrote of it.
func begins(digest, written string) bool {
	return strings.HasPrefix(strings.TrimPrefix(digest, "sha256:"), strings.TrimPrefix(written, "sha256:"))
}
