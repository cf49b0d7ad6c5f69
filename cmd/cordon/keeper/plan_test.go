package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
)

// What only a segment's plan knows is told where the configuration says it.
func TestPlanFaults(t *testing.T) {
	const head = "version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\n"
	const device = "devices:\n  mon-7:\n    address: 10.20.0.7\n    segment: icu\n    mac: 00:1b:44:11:3a:b7\n    class: monitor\n    services: { hl7: { proto: hl7, port: 2575, listen: \":12575\" } }\n"
	segmentOf := func(s string) string { return "segments:\n  icu: { " + s + " }\n" }
	for name, c := range map[string]struct {
		text, says string
		line       int
	}{
		"nic with parent":     {segmentOf("interface: { kind: nic, name: eth1, parent: eth0 }, addresses: [10.20.0.1]"), "segments.icu.interface.parent: a nic has neither parent nor vlan", 5},
		"vlan without number": {segmentOf("interface: { kind: vlan, name: v, parent: eth0 }, addresses: [10.20.0.1]"), "segments.icu.interface.vlan: 0: expected 1 to 4094", 5},
		"no address":          {segmentOf("interface: { kind: nic, name: eth1 }, addresses: []"), "segments.icu.addresses: 0: expected 1 to 32", 5},
		"same address":        {segmentOf("interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1, 10.20.0.1]"), "segments.icu.addresses: 10.20.0.1: it is there already", 5},
		"another family":      {segmentOf("interface: { kind: nic, name: eth1 }, addresses: [\"fd00::1\"]") + device, "devices.mon-7.address: 10.20.0.7: the gateway has no address of that family in the segment", 8},
		"group MAC":           {segmentOf("interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1]") + strings.Replace(device, "00:1b", "01:1b", 1), "devices.mon-7.mac: 01:1b:44:11:3a:b7: expected the address of one machine", 10},
	} {
		file := filepath.Join(t.TempDir(), "cordon.yaml")
		if err := os.WriteFile(file, []byte(head+c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Load(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = Plans(loaded)
		faults, _ := errors.AsType[config.Faults](err)
		if len(faults) != 1 || faults[0].Message != c.says || faults[0].Line != c.line {
			t.Errorf("%s: got %v, want %q at line %d", name, err, c.says, c.line)
		}
	}
}
