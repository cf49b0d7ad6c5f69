package dicom

import (
	"encoding/json"
	"fmt"

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
	set := &settings{maxPDU: defaultPDU, headLimit: maxHead}
	denied := "0124"
	err := sdk.Settings{
		"called_ae":     set.readCalledAE,
		"denied_status": sdk.OneOf(&denied, "0124", "A700"),
		"max_pdu":       sdk.Size(&set.maxPDU, minPDU, maxPDU),
		"head_limit":    sdk.Size(&set.headLimit, minHead, maxHead),
		"refuse":        sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	set.deniedStatus = statusNotAuthorized
	if denied == "A700" {
		set.deniedStatus = statusOutOfResources
	}
	return set, err
}

func (set *settings) readCalledAE(value json.RawMessage) error {
	var one string
	if json.Unmarshal(value, &one) == nil {
		set.calledAE = []string{one}
	} else if err := json.Unmarshal(value, &set.calledAE); err != nil {
		return fmt.Errorf("%.40s is neither an AE title nor a list of them", value)
	}
	for _, title := range set.calledAE {
		if got, _, ok := aeTitle([]byte(title)); !ok || got != title || len(title) > 16 {
			return fmt.Errorf("%q is not an AE title, which has 1 to 16 characters and no space at its ends", title)
		}
	}
	return nil
}
