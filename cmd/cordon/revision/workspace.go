package revision

import (
	"fmt"

	"cordon/cmd/cordon/config"
	"cordon/policy/rego"
)

// Workspace says how the policy folder, where policies are written, stands to what decides; "" if it is the same, or
// decides itself.
func Workspace(c *config.Config) string {
	if !c.Policy.Elsewhere() {
		return ""
	}
	f, err := Open(c)
	if err != nil {
		return ""
	}
	return f.Beside(c)
}

// Beside is workspace for a source that is open.
func (f *Source) Beside(c *config.Config) string {
	name := f.Name()
	folder, err := rego.Load(c.Policy.Dir)
	switch {
	case name == "":
		return ""
	case err != nil:
		return fmt.Sprintf("what the policy folder %s holds cannot be used, and is not in force: %s is", c.Policy.Dir, name)
	case DigestsOf(folder) == DigestsOf(f.Current):
		return ""
	}
	return fmt.Sprintf("the policy folder %s differs from %s, which is in force, and is not taken: %s", c.Policy.Dir, name, PublishCommand(c, c.Policy.Dir))
}

// PublishCommand is the command by which an edited folder is on its way into force.
func PublishCommand(c *config.Config, dir string) string {
	switch {
	case c.Policy.Bundle.Used():
		return fmt.Sprintf("cordon policy bundle build %s --revision N", dir)
	case !c.Policy.Approval.Needed():
		return "cordon reload"
	case dir == c.Policy.Dir:
		return "cordon policy submit"
	}
	return "cordon policy submit " + dir
}
