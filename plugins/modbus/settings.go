package modbus

import (
	"encoding/json"
	"fmt"
	"slices"

	"cordon/plugins/sdk"
)

// Protocol returns the Modbus plugin.
//
// Its settings, all optional:
//
//	max_outstanding  requests without a response at a time, 1 to 128; default 16. One more
//	                 is answered "server device busy"
//	broadcast        what unit 0 is. "admin" (default): every device behind a serial
//	                 gateway; what is more than reading is of the class admin. "allow": the
//	                 same, of the function's own class. "none": a unit like any other
//	shared_ids       true: a read may have the transaction identifier of a read that is not
//	                 answered, for clients that have only one
//	loose_responses  true: a response that fits no request belongs to the oldest one that is
//	                 not answered, for devices that do not return what they should
//	refuse           anomalies to be refused instead of tolerated: ["padding_bits"]
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "modbus",
		Version: "1.0.0",
		Modes:   [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Observed},
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			return func() sdk.Inspector { return &session{set: set} }, nil
		},
	}
}

const (
	defaultOutstanding = 16
	mostOutstanding    = sdk.MaxOpen / 2 // what is older than MaxOpen cannot be answered any more
)

// settings are one service's; read-only once parsed.
type settings struct {
	maxOutstanding int
	broadcast      string
	sharedIDs      bool
	loose          bool
	refuse         anomaly
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxOutstanding: defaultOutstanding, broadcast: "admin"}
	var keys map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &keys); err != nil {
			return nil, fmt.Errorf("read modbus settings: %w", err)
		}
	}
	for key, value := range keys {
		if err := set.key(key, value); err != nil {
			return nil, fmt.Errorf("modbus setting %q: %w", key, err)
		}
	}
	return set, nil
}

func (set *settings) key(key string, value json.RawMessage) error {
	switch key {
	case "max_outstanding":
		if err := json.Unmarshal(value, &set.maxOutstanding); err != nil {
			return err
		}
		if n := set.maxOutstanding; n < 1 || n > mostOutstanding {
			return fmt.Errorf("%d is not between 1 and %d requests", n, mostOutstanding)
		}
	case "broadcast":
		if err := json.Unmarshal(value, &set.broadcast); err != nil {
			return err
		}
		if choices := []string{"admin", "allow", "none"}; !slices.Contains(choices, set.broadcast) {
			return fmt.Errorf("%q is none of %q", set.broadcast, choices)
		}
	case "shared_ids":
		return json.Unmarshal(value, &set.sharedIDs)
	case "loose_responses":
		return json.Unmarshal(value, &set.loose)
	case "refuse":
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for _, name := range list {
			i := slices.Index(anomalyNames[:], name)
			if i < 0 {
				return fmt.Errorf("%q is not an anomaly, which are %q", name, anomalyNames)
			}
			set.refuse |= 1 << i
		}
	default:
		return fmt.Errorf("there is no such setting")
	}
	return nil
}
