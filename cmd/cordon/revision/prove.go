package revision

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// Test runs the policy's own tests; a failing one is an error.
func Test(ctx context.Context, c *config.Config) (rego.Results, error) {
	if _, err := Load(c); err != nil { // for its better errors
		return nil, err
	}
	results, err := rego.Test(ctx, c.Policy.Dir)
	if err != nil {
		return nil, err
	}
	return results, Failed(c, results)
}

// Failed is an error if one of the policy's tests failed.
func Failed(c *config.Config, results rego.Results) error {
	n := results.Failed()
	if n == 0 {
		return nil
	}
	f := exit.Error{Code: "policy.test", Message: fmt.Sprintf("%d of %d policy tests fail", n, len(results)), Exit: exit.Checks}
	for _, r := range results {
		if !r.Passed && !r.Skipped && len(f.Try) < 10 {
			f.Try = append(f.Try, fmt.Sprintf("%s/%s:%d: %s %s", c.Policy.Dir, r.File, r.Line, r.Name, strings.TrimSpace(r.Message)))
		}
	}
	return f
}

// Prove loads a policy that has every patch the devices need and passes its own
// tests, and returns how many those are.
func Prove(ctx context.Context, c *config.Config) (*rego.Engine, int, error) {
	engine, err := Load(c)
	if err != nil {
		return nil, 0, err
	}
	tests, err := provenEngine(ctx, c, engine)
	return engine, tests, err
}

// provenEngine sees that a policy has every patch the devices need and passes its own tests,
// and returns how many those are.
func provenEngine(ctx context.Context, c *config.Config, engine *rego.Engine) (int, error) {
	if err := CheckPatches(c, engine); err != nil {
		return 0, err
	}
	results, err := engine.Test(ctx) // of the very files that were loaded
	if err == nil {
		err = Failed(c, results)
	}
	return len(results), Placed(err)
}

// CheckPatches refuses a policy that lacks a patch which a device's profile names: the
// device would be thought guarded.
func CheckPatches(c *config.Config, engine *rego.Engine) error {
	have := engine.Patches()
	for i := range c.Devices {
		d := &c.Devices[i]
		for _, name := range d.Patches() {
			if !slices.ContainsFunc(have, func(p rego.Patch) bool { return p.Name == name }) {
				return config.Faults{c.Fault("policy.patch.missing", fmt.Sprintf("device %q needs the virtual patch %q of profile %s, which the policy in %s does not have", d.ID, name, d.Profile, c.Policy.Dir),
					"copy patches.rego from a policy that cordon init writes, and let allow ask for unpatched", "devices", d.ID, "profile")}
			}
		}
	}
	return nil
}

// Unsigned names the patches some device relies on that nobody signed off as they stand.
func Unsigned(c *config.Config, engine *rego.Engine) (names []string) {
	for _, p := range engine.Patches() {
		if p.SignedOff == "" && slices.ContainsFunc(c.Devices, func(d config.Device) bool { return slices.Contains(d.Patches(), p.Name) }) {
			names = append(names, p.Name)
		}
	}
	return names
}
