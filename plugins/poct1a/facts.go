package poct1a

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// identities are what an analyser says about itself in HEL.R01, repeated with all that follows.
var identities = [...]field{deviceID, modelID, serialID, vendorID}

var identityFacts = [len(identities)]string{"device_id", "model_id", "serial_id", "vendor_id"}

// finish checks what can be said of a message as a whole, which has size bytes.
func (m *message) finish(size int) {
	m.size = size
	if m.single[version] != "POCT1" {
		m.quirks |= otherVersion
	}
	switch {
	case !isID(m.single[controlID]):
		m.wrong = noControlID // whatever else is wrong: it cannot be answered
	case m.root == ackRoot && (!isID(m.single[ackControlID]) || m.single[ackType] != "AA" && m.single[ackType] != "AE"):
		m.fault(badAck)
	case m.root != ackRoot && m.found[messageType] && m.single[messageType] != m.root:
		m.fault(otherType)
	}
}

// operation puts a message's facts together.
func (s *session) operation(d *side, m *message, class policy.Class) policy.Operation {
	op := policy.Operation{Name: m.name(), Class: class, Attributes: make(policy.Attributes, 0, 24)}
	text := func(name, v string) {
		if v != "" {
			op.Attributes.Set(name, v)
		}
	}
	list := func(name string, v []string) {
		if len(v) > 0 {
			op.Attributes.Set(name, v)
		}
	}
	for f := range fields {
		if name := fields[f].fact; name != "" {
			text(name, m.single[f])
			if m.wrong == nil {
				list(name, m.lists[f]) // else there may be too many
			}
		}
	}
	for i, n := range m.objects {
		if n > 0 {
			op.Attributes.Set(counted[i].fact, int64(n))
		}
	}
	text("command_system", m.system)
	if s.state != idle {
		for i, name := range identityFacts {
			text(name, s.identity[i])
		}
		text("sender", s.sender(d.dir))
	}
	list("anomalies", m.quirks.names())
	op.Attributes.Set("size", int64(m.size))
	return op
}

// sender says as what a direction's side takes part.
func (s *session) sender(dir sdk.Direction) string {
	if dir == s.analyser {
		return "analyser"
	}
	return "manager"
}
