package home

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// Init makes a gateway in dir that has no devices, and returns its configuration
// and where that is, the file cordon.yaml there. domain is its SPIFFE trust domain; state is the directory for its CA, keys and log, in dir if it is
// relative. An exit.Error with code init.exists says that something is there already; nothing is overwritten.
func Init(dir, name, domain, state string) (c *config.Config, file string, err error) {
	text, err := config.Initial(name, domain, state)
	if err != nil {
		return nil, "", err
	}
	file = filepath.Join(dir, config.FileName)
	if err := CheckWhole(file); err != nil {
		return nil, "", err
	}
	if !filepath.IsAbs(state) {
		state = filepath.Join(dir, state)
	}
	rules, authority := filepath.Join(dir, "policy"), filepath.Join(state, CADir)
	schemas := map[string][]byte{filepath.Join(dir, "cordon.schema.json"): config.Schema(), filepath.Join(dir, "profile.schema.json"): config.ProfileSchema()}
	for _, path := range append(slices.Collect(maps.Keys(schemas)), file, rules, authority, filepath.Join(state, "audit")) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, "", exit.Error{Code: "init.exists", Message: fmt.Sprintf("%s exists already, and nothing is overwritten", path), Exit: exit.Conflict,
				Try: []string{"cordon check --dir " + dir, "choose another directory"}}
		}
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, "", err
	}
	if err := ca.Init(authority, ca.Config{TrustDomain: domain, Name: name}); err != nil {
		return nil, "", err
	}
	if err := rego.WriteShipped(rules); err != nil {
		return nil, "", err
	}
	for path, schema := range schemas {
		if err := disk.Create(path, schema, 0o644); err != nil {
			return nil, "", err
		}
	}
	// The configuration comes last: where it is, the rest is.
	if err := disk.Create(file, text, 0o644); err != nil {
		return nil, "", err
	}
	c, err = config.Load(file)
	return c, file, err
}
