package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// inForceName names what decides, where a command takes a policy's name.
const inForceName = "in-force"

// openPolicy opens what decides ("" or in-force), a folder, or with policy.approval a revision by its number, under
// what is granted now; or one that decided here
// before, by the beginning of its digest. That is under what was granted then if its data's digest is given, joined
// by +, and under what is granted now if not, and it decided under several grants.
func openPolicy(c *config.Config, name string) (*rego.Engine, error) {
	if name == "" || name == inForceName {
		return granted(c)(openDeciding(c))
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		there := *c
		there.Policy.Dir = name
		return granted(c)(revision.Load(&there))
	}
	if n, err := strconv.Atoi(name); err == nil && c.Policy.Approval.Needed() {
		return granted(c)(openNumber(c, n))
	}
	kept := revision.KeptIn(c)
	files, err := kept.List()
	if err != nil {
		return nil, err
	}
	rules, data, _ := strings.Cut(name, "+")
	var found revision.Digests
	var names []string
	folders := map[string]bool{} // by their digests without grants
	for _, file := range files {
		x, err := kept.Read(file.Path)
		if err != nil {
			return nil, err
		}
		if begins(x.Revision, rules) && begins(x.Data, data) {
			found, names = revision.Digests{Policy: x.Revision, Data: x.Data}, append(names, x.Revision[:19]+"+"+x.Data[:19])
			folders[x.Revision+x.Folder] = true
		}
	}
	switch {
	case len(names) == 0:
		return nil, exit.Error{Code: "policy.missing", Exit: exit.NotFound, Message: fmt.Sprintf("%q is neither a folder nor the digest of a policy that decided here within %s (policy.keep)", name, c.Policy.Keep), Try: []string{"cordon audit show CODE tells which policy decided"}}
	case len(names) == 1:
		return kept.Open(found)
	case len(folders) == 1:
		return granted(c)(kept.Open(found))
	}
	return nil, exit.Error{Code: "policy.ambiguous", Exit: exit.Usage, Message: fmt.Sprintf("%q is the beginning of %d policies' digests", name, len(names)), Try: names}
}

// openDeciding opens what decides: the policy folder as it stands now, which a reload takes, unless policies come as
// bundles or take two people. Every command that asks a policy begins here, unless another one is named.
func openDeciding(c *config.Config) (*rego.Engine, error) {
	if !c.Policy.Elsewhere() {
		return revision.Load(c)
	}
	f, err := revision.Open(c)
	if err != nil {
		return nil, err
	}
	return f.Tested(c), nil
}

// beside tells somebody who has asked what decides that the policy folder holds something else, and returns that.
func (a *app) beside(c *config.Config, name string) string {
	if name != "" && name != inForceName {
		return ""
	}
	text := revision.Workspace(c)
	if text != "" {
		a.remark("%s", text)
	}
	return text
}

// granted puts a policy under what is granted now.
func granted(c *config.Config) func(*rego.Engine, error) (*rego.Engine, error) {
	return func(e *rego.Engine, err error) (*rego.Engine, error) {
		if err != nil {
			return nil, err
		}
		l, err := daemon.StandingNow(c)
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
	sub, err := revision.ReadSubmission(c, number)
	if err == nil {
		return sub.Open(c)
	}
	if f, err := revision.Open(c); err == nil {
		for _, r := range slices.Concat([]rollout.Revision{f.State.Current}, f.State.Past, f.State.Undone) {
			if r.Number == number {
				return revision.OpenRevision(c, r)
			}
		}
	}
	return nil, err
}

// begins reports whether a digest begins with what a person wrote of it.
func begins(digest, written string) bool {
	return strings.HasPrefix(strings.TrimPrefix(digest, "sha256:"), strings.TrimPrefix(written, "sha256:"))
}
