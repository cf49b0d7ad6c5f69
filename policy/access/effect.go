package access

import (
	"encoding/json"
	"fmt"

	"cordon/policy"
)

// State is the device's state under the facts in force: quarantine before maintenance before
// learning before what the configuration says. What the configuration quarantines stays so.
func (l Ledger) State(device, configured string) string {
	state := configured
	for i := range l.Facts {
		f := &l.Facts[i]
		switch {
		case f.Device != device || f.Phase() != InForce || f.Kind == Grant || f.Kind == Emergency:
		case f.Kind == Quarantine || configured == policy.StateQuarantined:
			return policy.StateQuarantined
		case f.Kind == Maintenance:
			state = policy.StateMaintenance
		case f.Kind == Learning && state == policy.StateActive:
			state = policy.StateLearning
		}
	}
	return state
}

// What data.access has.
const (
	Grants      = "grants"
	Emergencies = "emergencies"
)

// granted is a grant as policy sees it, below data.access.grants[subject][id]. One of device and
// device_class is empty.
type granted struct {
	Device      string         `json:"device"`
	DeviceClass string         `json:"device_class"`
	Classes     []policy.Class `json:"classes"`
	UntilNs     int64          `json:"until_ns"`
}

// opened is an emergency as policy sees it, below data.access.emergencies[subject][id].
type opened struct {
	Device  string `json:"device"`
	UntilNs int64  `json:"until_ns"`
}

// Document is data.access as policy sees it: the grants and emergencies in force, by subject and id, and when
// learning ends, in ns, by device. It is nil if there are none. The same facts give the same bytes.
//
// What has not begun is not in it, and what is over neither, so rules need not
// read the clock, and their answers can be given again.
func (l Ledger) Document() []byte {
	grants := map[string]map[string]granted{}
	emergencies := map[string]map[string]opened{}
	learning := map[string]int64{}
	for i := range l.Facts {
		f := &l.Facts[i]
		switch {
		case f.Phase() != InForce:
		case f.Kind == Learning:
			learning[f.Device] = max(learning[f.Device], f.Until.UnixNano())
		case f.Kind == Grant:
			add(grants, f, granted{f.Device, f.DeviceClass, f.Classes, f.Until.UnixNano()})
		case f.Kind == Emergency:
			add(emergencies, f, opened{f.Device, f.Until.UnixNano()})
		}
	}
	facts := map[string]any{}
	if len(grants) > 0 {
		facts[Grants] = grants
	}
	if len(emergencies) > 0 {
		facts[Emergencies] = emergencies
	}
	if len(learning) > 0 {
		facts["learning"] = learning
	}
	if len(facts) == 0 {
		return nil
	}
	b, err := json.Marshal(facts)
	if err != nil {
		panic(fmt.Sprintf("access: encode the document: %v", err)) // strings and numbers have a JSON form
	}
	return b
}

// add puts what policy sees of f below its subject.
func add[T any](part map[string]map[string]T, f *Fact, seen T) {
	if part[f.Subject] == nil {
		part[f.Subject] = map[string]T{}
	}
	part[f.Subject][f.ID] = seen
}
