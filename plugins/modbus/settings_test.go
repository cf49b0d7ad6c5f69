package modbus

import (
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, good := range []string{"", `{}`, `{"max_outstanding":1,"broadcast":"none","shared_ids":true,"loose_responses":true,"refuse":["padding_bits","shared_id","loose_response"]}`,
		`{"max_outstanding":128,"broadcast":"allow"}`, `{"broadcast":"admin","refuse":[]}`} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"max_outstandig":1}`:     `setting "max_outstandig": there is no such setting`,
		`{"max_outstanding":0}`:    `setting "max_outstanding": 0 is not between 1 and 128`,
		`{"max_outstanding":129}`:  "between",
		`{"max_outstanding":"16"}`: `setting "max_outstanding"`,
		`{"broadcast":true}`:       `setting "broadcast"`,
		`{"broadcast":"deny"}`:     `setting "broadcast": "deny" is not one of`,
		`{"shared_ids":"yes"}`:     `setting "shared_ids"`,
		`{"loose_responses":1}`:    `setting "loose_responses"`,
		`{"refuse":"shared_id"}`:   `setting "refuse"`,
		`{"refuse":["shared"]}`:    `"shared" is not one of`,
		`[]`:                       "read settings",
	} {
		if _, err := parseSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

func TestAnomalyNames(t *testing.T) {
	if looseResponse != 1<<(len(anomalyNames)-1) {
		t.Errorf("%d names for anomalies up to %b", len(anomalyNames), looseResponse)
	}
}
