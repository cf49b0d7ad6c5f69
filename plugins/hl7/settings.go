package hl7

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	refuse        []string // anomalies
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxMessage: defaultMessage, denyCode: "AR"}
	var keys map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &keys); err != nil {
			return nil, fmt.Errorf("read hl7 settings: %w", err)
		}
	}
	for key, value := range keys {
		if err := set.key(key, value); err != nil {
			return nil, fmt.Errorf("hl7 setting %q: %w", key, err)
		}
	}
	return set, nil
}

func (set *settings) key(key string, value json.RawMessage) error {
	switch key {
	case "max_message":
		var err error
		if set.maxMessage, err = size(value); err != nil {
			return err
		}
		if set.maxMessage < minMessage || set.maxMessage > maxMessage {
			return fmt.Errorf("%d is not between %d and %d bytes", set.maxMessage, minMessage, maxMessage)
		}
	case "deny_code":
		err := oneOf(value, &set.denyCode, "AR", "AE")
		return err
	case "batch":
		var v string
		err := oneOf(value, &v, "refuse", "allow")
		set.batch = v == "allow"
		return err
	case "assumed_charset":
		var v string
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		set.assumed = encodingOf(v)
		if v != "" && (set.assumed == unknownSet || set.assumed == wideSet) {
			return fmt.Errorf("%q is not a character set this plugin reads, try \"UNICODE UTF-8\", \"8859/1\" or \"SHIFT_JIS\"", v)
		}
	case "allow_control":
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for i := range list {
			if !slices.Contains([]string{"TAB", "LF"}, list[i]) {
				return fmt.Errorf("%q is neither \"TAB\" nor \"LF\"", list[i])
			}
		}
		set.tab, set.lf = slices.Contains(list, "TAB"), slices.Contains(list, "LF")
	case "refuse":
		if err := json.Unmarshal(value, &set.refuse); err != nil {
			return err
		}
		for _, name := range set.refuse {
			if !slices.Contains(anomalyNames[:], name) {
				return fmt.Errorf("%q is not an anomaly, which are %q", name, anomalyNames)
			}
		}
	case "no_ack":
		return json.Unmarshal(value, &set.noAck)
	case "commit":
		return json.Unmarshal(value, &set.commit)
	case "loose_segments":
		return json.Unmarshal(value, &set.looseSegments)
	case "loose_ack":
		return json.Unmarshal(value, &set.looseAck)
	default:
		return fmt.Errorf("there is no such setting")
	}
	return nil
}

// oneOf reads a string that must be one of the choices.
func oneOf(value json.RawMessage, to *string, choices ...string) error {
	var v string
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	if !slices.Contains(choices, v) {
		return fmt.Errorf("%q is none of %q", v, choices)
	}
	*to = v
	return nil
}

// size reads a number of bytes, or a text such as "64MiB".
func size(value json.RawMessage) (int64, error) {
	var n int64
	if json.Unmarshal(value, &n) == nil {
		return n, nil
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return 0, fmt.Errorf("%.40s is not a size such as 64MiB", value)
	}
	units := map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
	for unit, factor := range units {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			if n, err := strconv.ParseInt(digits, 10, 32); err == nil && n > 0 {
				return n * factor, nil
			}
		}
	}
	return 0, fmt.Errorf("%.40q is not a size such as 64MiB", text)
}
