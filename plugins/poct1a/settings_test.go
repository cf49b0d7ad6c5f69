package poct1a

import (
	"slices"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, good := range []string{"", `{}`, `{"max_message":"240KiB","max_refusals":1,"refuse":["stx_etx","padded_ack_id"]}`, `{"max_message":1024}`} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"max_mesage":1024}`:      `"max_mesage"`,
		`{"max_message":1023}`:     "between 1024 and 245760",
		`{"max_message":"241KiB"}`: "between 1024 and 245760",
		`{"max_refusals":0}`:       "between 1 and 256",
		`{"max_refusals":"8"}`:     `"max_refusals"`,
		`{"refuse":["comment"]}`:   `"comment"`,
		`[]`:                       "settings",
	} {
		if _, err := parseSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

func TestTables(t *testing.T) {
	if paddedAckID != 1<<(len(anomalyNames)-1) {
		t.Errorf("%d names for anomalies up to %b", len(anomalyNames), paddedAckID)
	}
	if !slices.IsSortedFunc(fields[:], func(a, b rule) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the fields are not sorted by name")
	}
	facts := map[string]bool{}
	for _, f := range fields {
		if f.fact != "" && facts[f.fact] {
			t.Errorf("two fields are the fact %s", f.fact)
		}
		facts[f.fact] = true
	}
}
