package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/gateway/audit"
	"cordon/gateway/segment"
)

// segments are written to a file and looked at.
func lookedAt(t *testing.T, text string, look func(context.Context, *examination)) []finding {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cordon.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	x := &examination{config: c}
	look(t.Context(), x)
	return x.findings
}

// Devices that share a layer-2 network are told, those that have one each are not.
func TestDoctorNetworks(t *testing.T) {
	device := func(id, segment, last string) string {
		return "  " + id + ": { address: 10.20.0." + last + ", segment: " + segment + ", mac: 00:1b:44:11:3a:0" + last + ", class: monitor, services: { hl7: { proto: hl7, port: 2575, listen: \":1257" + last + "\" } } }\n"
	}
	for _, c := range []struct {
		name, text string
		want       []string // the devices of each notice
	}{
		{"two on a NIC", "segments:\n  icu: { interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1] }\ndevices:\n" + device("x", "icu", "2") + device("y", "icu", "3"),
			[]string{"devices x and y share a layer-2 network"}},
		{"three on a VLAN", "segments:\n  icu: { interface: { kind: vlan, name: v, parent: eth1, vlan: 20 }, addresses: [10.20.0.1] }\ndevices:\n" + device("x", "icu", "2") + device("y", "icu", "3") + device("z", "icu", "4"),
			[]string{"devices x, y and z share a layer-2 network"}},
		{"a VLAN each", "segments:\n  a: { interface: { kind: vlan, name: va, parent: eth1, vlan: 20 }, addresses: [10.20.0.1] }\n  b: { interface: { kind: vlan, name: vb, parent: eth1, vlan: 21 }, addresses: [10.20.0.5] }\ndevices:\n" + device("x", "a", "2") + device("y", "b", "3"), nil},
		{"a NIC each", "segments:\n  a: { interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1] }\n  b: { interface: { kind: nic, name: eth2 }, addresses: [10.20.0.5] }\ndevices:\n" + device("x", "a", "2") + device("y", "b", "3"), nil},
		{"a macvlan each, of one interface", "segments:\n  a: { interface: { kind: macvlan, name: ma, parent: eth1 }, addresses: [10.20.0.1] }\n  b: { interface: { kind: macvlan, name: mb, parent: eth1 }, addresses: [10.20.0.5] }\ndevices:\n" + device("x", "a", "2") + device("y", "b", "3"),
			[]string{"devices x and y share a layer-2 network"}},
	} {
		found := lookedAt(t, c.text, lookAtNetworks)
		if len(found) != len(c.want) {
			t.Errorf("%s: %v", c.name, found)
			continue
		}
		for i, want := range c.want {
			if f := found[i]; f.Severity != "notice" || !strings.HasPrefix(f.Evidence, want) || !strings.Contains(f.Remedy, "protected ports") {
				t.Errorf("%s: %+v, want %q", c.name, f, want)
			}
		}
	}
}

// A machine that asked for an address lately is told once.
func TestDoctorRequests(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Dir: dir, Origin: "cordon.test/doctor", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mac, _ := segment.ParseMAC("00:1b:44:11:3a:02")
	for _, protocol := range []string{"dhcp", "dhcp", "udp"} {
		note := daemon.SegmentNote("icu", segment.Event{Kind: segment.Undeclared, Device: "ct-1", MAC: mac, Protocol: protocol, Count: 1})
		if _, err := log.Append(t.Context(), audit.Entry{Kind: daemon.KindSegment, Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	found := lookedAt(t, "audit: { dir: \""+dir+"\" }\nsegments:\n  icu: { interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1] }\n", lookAtRequests)
	if len(found) != 1 || found[0].Severity != "medium" || found[0].Subject != "segment icu: undeclared: 00:1b:44:11:3a:02 (ct-1)" || !strings.Contains(found[0].Remedy, "fixed address") {
		t.Errorf("got %+v", found)
	}
}
