package dicom

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cordon/plugins/sdk"
)

// Protocol returns the DICOM plugin.
//
// Its settings, all optional:
//
//	called_ae      AE titles the device answers to, "CT7" or ["CT7", "CT7_QR"]; a call of
//	               another is rejected; default: any
//	denied_status  "0124" (default) not authorized, or "A700" out of resources, for
//	               consoles that know only the classic codes: the answer to a C-STORE or
//	               C-FIND the policy refuses
//	max_pdu        bytes of the longest PDU that passes, 4096 to 16777216; default 1048576
//	head_limit     bytes of a data set that are read for its decision, 4096 to 131072,
//	               which is the default
//	refuse         anomalies to be refused instead of tolerated: ["role_missing"]
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "dicom",
		Version: "1.0.0",
		Modes:   [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held},
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
	minPDU     = 4 << 10
	maxPDU     = 16 << 20
	defaultPDU = 1 << 20
	minHead    = 4 << 10
	maxHead    = 128 << 10
)

// settings are one service's; read-only once parsed.
type settings struct {
	calledAE     []string
	deniedStatus uint16
	maxPDU       int64
	headLimit    int
	refuse       anomaly
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{deniedStatus: statusNotAuthorized, maxPDU: defaultPDU, headLimit: maxHead}
	var keys map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &keys); err != nil {
			return nil, fmt.Errorf("read dicom settings: %w", err)
		}
	}
	for key, value := range keys {
		if err := set.key(key, value); err != nil {
			return nil, fmt.Errorf("dicom setting %q: %w", key, err)
		}
	}
	return set, nil
}

func (set *settings) key(key string, value json.RawMessage) error {
	switch key {
	case "called_ae":
		var one string
		if json.Unmarshal(value, &one) == nil {
			set.calledAE = []string{one}
		} else if err := json.Unmarshal(value, &set.calledAE); err != nil {
			return err
		}
		for _, title := range set.calledAE {
			if got, _, ok := aeTitle([]byte(title)); !ok || got != title || len(title) > 16 {
				return fmt.Errorf("%q is not an AE title, which has 1 to 16 characters and no space at its ends", title)
			}
		}
	case "denied_status":
		var v string
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		if v != "0124" && v != "A700" {
			return fmt.Errorf(`%q is neither "0124" nor "A700"`, v)
		}
		n, _ := strconv.ParseUint(v, 16, 16)
		set.deniedStatus = uint16(n)
	case "max_pdu":
		return inRange(value, &set.maxPDU, minPDU, maxPDU)
	case "head_limit":
		var n int64
		err := inRange(value, &n, minHead, maxHead)
		set.headLimit = int(n)
		return err
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

// inRange reads a number of bytes.
func inRange(value json.RawMessage, to *int64, low, high int64) error {
	if err := json.Unmarshal(value, to); err != nil {
		return err
	}
	if *to < low || *to > high {
		return fmt.Errorf("%d is not between %d and %d bytes", *to, low, high)
	}
	return nil
}
