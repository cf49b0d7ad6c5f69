package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// openPolicy opens the policy folder ("") or another one, or with policy.approval a revision by its number, under
// what is granted now; or one that decided here
// before, by the beginning of its digest. That is under what was granted then if its data's digest is given, joined
// by +, and under what is granted now if not, and it decided under several grants.
func openPolicy(c *config.Config, name string) (*rego.Engine, error) {
	if name == "" {
		return granted(c)(loadPolicy(c))
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		there := *c
		there.Policy.Dir = name
		return granted(c)(loadPolicy(&there))
	}
	if n, err := strconv.Atoi(name); err == nil && c.Policy.Approval.Needed() {
		return granted(c)(openNumber(c, n))
	}
	files, err := filepath.Glob(filepath.Join(c.Gateway.State, revisionDir, "*.tar"))
	if err != nil {
		return nil, err
	}
	revision, data, _ := strings.Cut(name, "+")
	var found []byte
	var names []string
	folders := map[string]bool{} // by their digests without grants
	for _, file := range files {
		archive, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		x, err := rego.ReadDigests(archive)
		if err != nil {
			return nil, fmt.Errorf("open %q: %w", file, err)
		}
		if begins(x.Revision, revision) && begins(x.Data, data) {
			found, names = archive, append(names, x.Revision[:19]+"+"+x.Data[:19])
			folders[x.Revision+x.Folder] = true
		}
	}
	switch {
	case len(names) == 0:
		return nil, failure{Code: "policy.missing", Exit: exitNotFound, Message: fmt.Sprintf("%q is neither a folder nor the digest of a policy that decided here", name), Try: []string{"cordon audit show CODE tells which policy decided"}}
	case len(names) == 1:
		return rego.LoadArchive(found)
	case len(folders) == 1:
		return granted(c)(rego.LoadArchive(found))
	}
	return nil, failure{Code: "policy.ambiguous", Exit: exitUsage, Message: fmt.Sprintf("%q is the beginning of %d policies' digests", name, len(names)), Try: names}
}

// granted puts a policy under what is granted now.
func granted(c *config.Config) func(*rego.Engine, error) (*rego.Engine, error) {
	return func(e *rego.Engine, err error) (*rego.Engine, error) {
		if err != nil {
			return nil, err
		}
		l, err := standingNow(c)
		if err != nil {
			return nil, err
		}
		return e.With(l.Document())
	}
}

// ungranted takes away from a policy what was granted.
func ungranted(e *rego.Engine, err error) (*rego.Engine, error) {
	if err != nil {
		return nil, err
	}
	return e.With(nil)
}

// openNumber opens what was submitted under a number, or is or was in force under it.
func openNumber(c *config.Config, number int) (*rego.Engine, error) {
	sub, err := readSubmission(c, number)
	if err == nil {
		return sub.open(c)
	}
	if f, err := openSource(c); err == nil {
		for _, r := range slices.Concat([]rollout.Revision{f.state.Current}, f.state.Past, f.state.Undone) {
			if r.Number == number {
				return openRevision(c, r)
			}
		}
	}
	return nil, err
}

// begins reports whether a digest begins with what a person wrote of it.
func begins(digest, written string) bool {
	return strings.HasPrefix(strings.TrimPrefix(digest, "sha256:"), strings.TrimPrefix(written, "sha256:"))
}
