package hl7

import (
	"strings"
	"testing"

	"cordon/policy"
)

func TestSettings(t *testing.T) {
	for _, good := range []string{"", `{}`, `{"max_message":"64MiB"}`, `{"max_message":67108864,"deny_code":"AE","no_ack":true,"batch":"allow","assumed_charset":"SHIFT_JIS",
		"allow_control":["TAB","LF"],"commit":true,"loose_segments":true,"loose_ack":true,"refuse":["lf_ends"]}`} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"max_mesage":1}`:             `setting "max_mesage": there is no such setting`,
		`{"max_message":1}`:            `setting "max_message": 1 is not between 1024 and 1073741824`,
		`{"max_message":1073741825}`:   "between",
		`{"max_message":"2GiB"}`:       "between",
		`{"max_message":"-1MiB"}`:      "is not a size",
		`{"max_message":true}`:         "is not a size",
		`{"max_message":"1 MiB"}`:      `setting "max_message"`,
		`{"deny_code":"AA"}`:           `setting "deny_code": "AA" is not one of`,
		`{"batch":true}`:               `setting "batch"`,
		`{"assumed_charset":"utf-16"}`: `setting "assumed_charset": "utf-16" is not a character set`,
		`{"assumed_charset":"x"}`:      "is not a character set",
		`{"allow_control":["NUL"]}`:    `"NUL" is not one of`,
		`{"refuse":["lf"]}`:            `"lf" is not one of`,
		`[]`:                           "read settings",
	} {
		if _, err := parseSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

func TestClass(t *testing.T) {
	for _, test := range []struct {
		kind, trigger, structure string
		want                     policy.Class
	}{
		{"ORU", "R01", "ORU_R01", policy.ClassWrite},
		{"ORU", "R40", "ORU_R40", policy.ClassNotify},
		{"ORU", "R42", "", policy.ClassNotify},
		{"RGV", "O15", "RGV_O15", policy.ClassControl},
		{"RGV", "", "", policy.ClassControl},
		{"ORU", "R01", "RGV_O15", policy.ClassUnknown},
		{"ADT", "A04", "ADT_A01", policy.ClassWrite},
		{"QBP", "Q22", "", policy.ClassQuery},
		{"oru", "R01", "", policy.ClassUnknown},
		{"ZZZ", "Z01", "", policy.ClassUnknown},
		{"ACK", "", "ACK", policy.ClassSession},
	} {
		if got := classOf(test.kind, test.trigger, test.structure); got != test.want {
			t.Errorf("%s^%s^%s: %s, want %s", test.kind, test.trigger, test.structure, got, test.want)
		}
	}
}

func TestAnomalyNames(t *testing.T) {
	if valuesCut != 1<<(len(anomalyNames)-1) {
		t.Errorf("%d names for anomalies up to %b", len(anomalyNames), valuesCut)
	}
}
