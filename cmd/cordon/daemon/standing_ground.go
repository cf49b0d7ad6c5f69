package daemon

import (
	"cordon/cmd/cordon/config"
	"cordon/policy"
	"cordon/policy/access"
	"cordon/policy/rego"
)

// inForce is the policy and the devices as they are configured, which access for a time comes on top of.
type inForce struct {
	policy    *rego.Engine
	candidate *rego.Engine             // of a rollout, or nil
	devices   map[string]policy.Device // by id
}

// over is what decisions rest on when l comes on top of c.
func (c inForce) over(l access.Ledger, damage error) (inForce, error) {
	engine, err := c.policy.With(l.Document())
	if err != nil {
		return c, err
	}
	candidate := c.candidate
	if candidate != nil {
		if candidate, err = candidate.With(l.Document()); err != nil {
			return c, err
		}
	}
	devices := map[string]policy.Device{}
	for id, d := range c.devices {
		if d.State = l.State(id, d.State); damage != nil {
			d.State = policy.StateQuarantined
		}
		devices[id] = d
	}
	return inForce{engine, candidate, devices}, nil
}

// configuredFacts are the devices of a configuration as policy sees them.
func configuredFacts(c *config.Config) map[string]policy.Device {
	devices := map[string]policy.Device{}
	for i := range c.Devices {
		d := DeviceFacts(&c.Devices[i])
		devices[d.ID] = d
	}
	return devices
}
