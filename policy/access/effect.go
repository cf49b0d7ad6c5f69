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
		case f.Device != device || f.Phase() != InForce || f.Kind == Grant:
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

// granted is a grant as policy sees it, below data.access.grants[subject][id]. One of device and
// device_class is empty.
type granted struct {
	Device      string         `json:"device"`
	DeviceClass string         `json:"device_class"`
	Classes     []policy.Class `json:"classes"`
	UntilNs     int64          `json:"until_ns"`
}

// Document is data.access as policy sees it: the grants in force, and when learning ends, in ns, by device. It is nil if there are none. The same facts
// give the same bytes.
//
// Grants that have not begun are not in it, and those that are over neither, so rules need not
// read the clock, and their answers can be given again.
func (l Ledger) Document() []byte {
	grants := map[string]map[string]granted{}
	learning := map[string]int64{}
	for i := range l.Facts {
		f := &l.Facts[i]
		if f.Kind == Learning && f.Phase() == InForce {
			learning[f.Device] = max(learning[f.Device], f.Until.UnixNano())
		}
		if f.Kind != Grant || f.Phase() != InForce {
			continue
		}
		if grants[f.Subject] == nil {
			grants[f.Subject] = map[string]granted{}
		}
		grants[f.Subject][f.ID] = granted{f.Device, f.DeviceClass, f.Classes, f.Until.UnixNano()}
	}
	facts := map[string]any{}
	if len(grants) > 0 {
		facts["grants"] = grants
	}
	if len(learning) > 0 {
		facts["learning"] = learning
	}
	if len(facts) == 0 {
		return nil
	}
	b, err := json.Marshal(facts)
	if err != nil {
		panic(fmt.Sprintf("access: encode grants: %v", err)) // strings and numbers have a JSON form
	}
	return b
}
