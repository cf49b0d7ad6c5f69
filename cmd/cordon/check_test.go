package main

import (
	"encoding/json"
	"slices"
	"testing"

	"cordon/cmd/cordon/config"
)

func TestAstray(t *testing.T) {
	to := func(name, proto, destination, settings string) config.CallOut {
		return config.CallOut{Name: name, Proto: proto, To: destination, Settings: json.RawMessage(settings)}
	}
	for _, c := range []struct {
		name string
		list []config.CallOut
		want []string
	}{
		{"one destination", []config.CallOut{to("images", "dicom", "pacs:2762", "{}"), to("again", "dicom", "pacs:2762", "{}")}, nil},
		{"two, each with its title", []config.CallOut{to("images", "dicom", "pacs:2762", `{"called_ae": "PACS"}`), to("study", "dicom", "research:2762", `{"called_ae": ["R1", "R2"]}`)}, nil},
		{"two, one open", []config.CallOut{to("images", "dicom", "pacs:2762", `{"called_ae": "PACS"}`), to("study", "dicom", "research:2762", `{"max_pdu": 16384}`)}, []string{"devices.ct-2.call_out.study"}},
		{"two, both open", []config.CallOut{to("images", "dicom", "pacs:2762", "{}"), to("study", "dicom", "research:2762", "{}")}, []string{"devices.ct-2.call_out.images", "devices.ct-2.call_out.study"}},
		{"another protocol", []config.CallOut{to("images", "dicom", "pacs:2762", "{}"), to("results", "hl7", "engine:2575", "{}")}, nil},
	} {
		if got := astray(&config.Config{Devices: []config.Device{{ID: "ct-2", CallOut: c.list}}}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
