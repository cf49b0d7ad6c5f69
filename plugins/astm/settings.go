package astm

import (
	"encoding/json"

	"cordon/plugins/sdk"
)

// Protocol returns the ASTM plugin. Its settings, all optional:
//
//	max_frame  bytes of a frame's text, and of a record that several frames carry: 240 to
//	           64000, which is the default. With bare, of a message
//	frame_end  "crlf" (default): a frame ends with CR LF behind its checksum. "checksum": it
//	           ends with the checksum, and CR, LF or both may follow
//	bare       true: messages come as records alone, without frames and acknowledgements.
//	           There is no refusal then: it ends the session
//	refuse     anomalies to be refused instead of tolerated: ["lf_ends"]
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "astm",
		Version: "1.0.0",
		Modes:   [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held}, // either side may ask
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			if set.bare {
				return func() sdk.Inspector { return &bareSession{set: set} }, nil
			}
			return func() sdk.Inspector { return newSession(set) }, nil
		},
	}
}

// Lengths of a frame's text: that of E1381-95 6.3.1, and the one LIS01-A2 raised it to.
const (
	shortestLimit = 240
	longestLimit  = 64000
)

// settings are one service's; read-only once parsed.
type settings struct {
	maxFrame int
	frameEnd string
	bare     bool
	refuse   anomaly
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxFrame: longestLimit, frameEnd: "crlf"}
	err := sdk.Settings{
		"max_frame": sdk.Size(&set.maxFrame, shortestLimit, longestLimit),
		"frame_end": sdk.OneOf(&set.frameEnd, "crlf", "checksum"),
		"bare":      sdk.Value(&set.bare),
		"refuse":    sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	if err != nil {
		return nil, err
	}
	return set, nil
}
