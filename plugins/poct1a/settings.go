package poct1a

import (
	"encoding/json"

	"cordon/plugins/sdk"
)

// Protocol returns the POCT1-A plugin.
//
// Its settings, all optional:
//
//	max_message   bytes of one document, 1KiB to 240KiB; default 128KiB. Longer ones are
//	              refused and end the session: a document is held whole until it is decided
//	max_refusals  refusals in a row after which a side is told END.R01, 1 to 256; default 16.
//	              An acknowledgement that reaches the side begins a new row
//	refuse        anomalies to be refused instead of tolerated: ["nul"]
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "poct1a",
		Version: "1.0.0",
		// Both sides ask: the analyser reports, the manager directs.
		Modes: [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held},
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			return func() sdk.Inspector { return newSession(set) }, nil
		},
	}
}

const (
	minMessage     = 1 << 10
	maxMessage     = 240 << 10 // below sdk.WindowSize, with room for what stands before a document
	defaultMessage = 128 << 10
)

// settings are one service's; read-only once parsed.
type settings struct {
	maxMessage  int
	maxRefusals int
	refuse      anomaly
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxMessage: defaultMessage, maxRefusals: 16}
	err := sdk.Settings{
		"max_message":  sdk.Size(&set.maxMessage, minMessage, maxMessage),
		"max_refusals": sdk.Int(&set.maxRefusals, 1, 256),
		"refuse":       sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	return set, err
}
