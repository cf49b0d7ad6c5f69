package modbus

import (
	"encoding/json"

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
	err := sdk.Settings{
		"max_outstanding": sdk.Int(&set.maxOutstanding, 1, mostOutstanding),
		"broadcast":       sdk.OneOf(&set.broadcast, "admin", "allow", "none"),
		"shared_ids":      sdk.Flag(&set.sharedIDs),
		"loose_responses": sdk.Flag(&set.loose),
		"refuse":          sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	return set, err
}
