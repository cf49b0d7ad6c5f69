package hl7

import (
	"encoding/json"
	"fmt"

	"cordon/plugins/sdk"
)

// Protocol returns the HL7 plugin.
//
// Its settings, all optional:
//
//	max_message      bytes of one message, 1KiB to 1GiB, "64MiB" or a number; default 1MiB
//	deny_code        "AR" (default) or "AE": the answer to what the policy refuses
//	no_ack           true: senders expect no answers; refusals are silent
//	batch            "refuse" (default) or "allow": FHS/BHS batches
//	assumed_charset  character set of messages that declare none in MSH-18
//	allow_control    control characters allowed in a message: ["TAB", "LF"]
//	commit           true: MLLP release 2 commit acknowledgements; one that a client sends
//	                 before it has an answer ends the session
//	loose_segments   true: lines without a segment name are tolerated
//	loose_ack        true: an answer with a foreign MSA-2 belongs to the oldest message
//	refuse           anomalies to be refused instead of tolerated: ["lf_ends"]
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "hl7",
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
	minMessage     = 1 << 10
	maxMessage     = 1 << 30
	defaultMessage = 1 << 20
)

// settings are one service's; read-only once parsed.
type settings struct {
	maxMessage    int64
	denyCode      string
	noAck         bool
	batch         bool
	commit        bool
	looseSegments bool
	looseAck      bool
	tab, lf       bool // allowed as data
	assumed       encoding
	refuse        anomaly
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxMessage: defaultMessage, denyCode: "AR"}
	batch := "refuse"
	var control uint32 // TAB, LF
	err := sdk.Settings{
		"max_message":     sdk.Size(&set.maxMessage, minMessage, maxMessage),
		"deny_code":       sdk.OneOf(&set.denyCode, "AR", "AE"),
		"no_ack":          sdk.Flag(&set.noAck),
		"batch":           sdk.OneOf(&batch, "refuse", "allow"),
		"assumed_charset": set.readCharset,
		"allow_control":   sdk.SomeOf(&control, "TAB", "LF"),
		"commit":          sdk.Flag(&set.commit),
		"loose_segments":  sdk.Flag(&set.looseSegments),
		"loose_ack":       sdk.Flag(&set.looseAck),
		"refuse":          sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	set.batch = batch == "allow"
	set.tab, set.lf = control&1 != 0, control&2 != 0
	return set, err
}

func (set *settings) readCharset(value json.RawMessage) error {
	var v string
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	set.assumed = encodingOf(v)
	if v != "" && (set.assumed == unknownSet || set.assumed == wideSet) {
		return fmt.Errorf("%q is not a character set this plugin reads, try \"UNICODE UTF-8\", \"8859/1\" or \"SHIFT_JIS\"", v)
	}
	return nil
}
