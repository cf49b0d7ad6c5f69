package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBad loads every file of testdata/bad and compares what is said about it with
// testdata/bad.golden, the catalogue of this package's faults.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var got bytes.Buffer
	for _, file := range files {
		name := filepath.Base(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(name, text)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 || c != nil {
			t.Errorf("%s: got %v, %v, want faults only", name, c, err)
			continue
		}
		fmt.Fprintf(&got, "== %s\n", name)
		for _, f := range faults {
			if f.Code == "" || f.Message == "" || f.File != name || len(f.Try) == 0 || f.Try[0] == "" {
				t.Errorf("%s: incomplete fault %+v", name, f)
			}
			fmt.Fprintf(&got, "%s\n", f.Message)
			if f.Line > 0 {
				fmt.Fprintf(&got, "  %s:%d:%d\n%s\n", f.File, f.Line, f.Col, f.Excerpt)
			}
			fmt.Fprintf(&got, "  code: %s\n  try:  %s\n", f.Code, strings.Join(f.Try, "\n        "))
		}
	}
	if bytes.Contains(got.Bytes(), []byte("hunter2")) {
		t.Error("a secret is shown")
	}
	const golden = "testdata/bad.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got.Bytes(), want) {
		return
	}
	gs, ws := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(gs), len(ws)) {
		if gs[i] != ws[i] {
			t.Fatalf("%s:%d: got\n%s\nwant\n%s\n(go test -run TestBad -update rewrites it)", golden, i+1, gs[i], ws[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", golden, len(gs), len(ws))
}

func TestLoad(t *testing.T) {
	got, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got.src, got.root = nil, nil
	want := &Config{
		Version: 1,
		Gateway: Gateway{Name: "radiology-east", State: "testdata/var/lib/cordon", Names: []string{"gw.hospital.example"},
			Addresses: []netip.Addr{netip.MustParseAddr("10.20.0.5"), netip.MustParseAddr("fd00::5")}},
		Identity: Identity{TrustDomain: "ward.hospital.example", CA: CA{Mode: "embedded", LeafTTL: 12 * time.Hour, TrustFile: "/etc/ssl/hospital.pem", CRLFile: "testdata/hospital.crl"}},
		Plugins:  []Plugin{{Protocol: "acme-pump", Path: "testdata/plugins/acme", SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},
		Segments: []Segment{{Name: "icu", Interface: Interface{Kind: "vlan", Name: "icu", Parent: "eth1", VLAN: 12},
			Addresses: []netip.Addr{netip.MustParseAddr("10.20.0.1"), netip.MustParseAddr("fd00::1")}, Inline: "eth0"}},
		Devices: []Device{
			{ID: "mon-7", Address: netip.MustParseAddr("10.20.0.31"), Class: "monitor/bedside", Criticality: "high", State: "active",
				Labels: map[string]string{"ward": "4", "owner": "ICU: night shift"},
				Services: []Service{
					{Name: "hl7", Proto: "hl7", Port: 2575, Listen: Listen{Port: 12575}, IdleTimeout: 30 * time.Minute,
						Settings: []byte(`{"max_message":"64MiB","charsets":["UNICODE UTF-8","8859/1"],"ack":{"enhanced":true,"wait":1.5},"note":null,"octal":15}`)},
					{Name: "raw", Proto: "stream", Port: 4001, Listen: Listen{netip.MustParseAddr("fd00::5"), 14001}, IdleTimeout: 2 * time.Hour,
						InsecureTLS12: true, UnseenReplies: true, AllowUnknown: []string{"stream:session"}, Settings: []byte(`{"class":"read"}`)},
				}},
			{ID: "007", Address: netip.MustParseAddr("fd00::7"), Class: "infusion", State: "quarantined",
				Segment: "icu", MAC: "00:1b:44:11:3a:b7", FurtherAddresses: []netip.Addr{netip.MustParseAddr("fe80::7")},
				Source: "client", SourceAddresses: []netip.Addr{netip.MustParseAddr("10.30.0.4")},
				CallOut: []CallOut{
					{Name: "results", Proto: "hl7", Catch: netip.MustParseAddrPort("[fd00::9]:2575"), To: "lis.hospital.example:6661", ServerName: "lis", Sessions: 2,
						IdleTimeout: time.Minute, AllowUnknown: []string{"hl7:ZZZ^Z01"}, Settings: []byte(`{"max_message":"1MiB"}`)},
					{Name: "images", Proto: "dicom", Catch: netip.MustParseAddrPort("10.20.0.9:104"), To: "pacs.hospital.example:2762", ServerName: "pacs.hospital.example",
						IdleTimeout: 2 * time.Hour, Settings: []byte(`{}`)},
				},
				Services: []Service{{Name: "x", Proto: "hl7", Port: 1, Listen: Listen{netip.MustParseAddr("10.20.0.5"), 14001}, IdleTimeout: 2 * time.Hour, Settings: []byte(`{}`)}}},
		},
		Policy: Policy{Dir: "testdata/rules", Approval: Approval{Authors: []string{"security", "biomed"}, Approvers: []string{"security-lead"}}, Keep: 48 * time.Hour},
		Audit:  Audit{Dir: "testdata/log", Checkpoint: 30 * time.Second},
		Limits: Limits{Sessions: 10, SessionsPerSource: 5, HandshakeTimeout: 3 * time.Second, IdleTimeout: 2 * time.Hour, DialTimeout: 2 * time.Second,
			DecisionTimeout: 500 * time.Millisecond, DrainTimeout: 0, HandoverTimeout: time.Hour, WindowMemory: 64 << 20},
		BreakGlass: BreakGlass{Roles: []string{"nurse-manager"}, Groups: []string{"icu-lead"}, Reviewers: []string{"privacy"}, Duration: 15 * time.Minute, Max: 2 * time.Hour,
			DeviceClasses: []string{"imaging/*", "monitor/bedside"}},
		Alarms:  Alarms{Syslog: "unix:///dev/log", Webhook: Webhook{URL: "https://siem.hospital.example/cordon", SecretFile: "testdata/alarms.secret", TrustFile: "testdata/siem.pem"}},
		Metrics: Metrics{Listen: "127.0.0.1:9464"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestDefaults holds the figures that the comments of config.go promise.
func TestDefaults(t *testing.T) {
	got, err := parse("etc/cordon.yaml", []byte("version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\n"))
	if err != nil {
		t.Fatal(err)
	}
	got.src, got.root = nil, nil
	want := &Config{
		Version:  1,
		Gateway:  Gateway{Name: "a", State: "etc/state", Names: []string{"localhost"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}},
		Identity: Identity{TrustDomain: "a.example", CA: CA{Mode: "embedded", LeafTTL: 8 * time.Hour}},
		Policy:   Policy{Dir: "etc/policy", Keep: 9600 * time.Hour},
		Audit:    Audit{Dir: "etc/state/audit", Checkpoint: time.Second},
		Limits: Limits{4096, 256, 5 * time.Second, 0, 5 * time.Second, 500 * time.Millisecond,
			10 * time.Second, time.Hour, 256 << 20},
		BreakGlass: BreakGlass{Duration: 30 * time.Minute, Max: 4 * time.Hour},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestInitial(t *testing.T) {
	text, err := Initial("ward-4", "ward.hospital.example", "state")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("cordon.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Gateway.Name != "ward-4" || c.Identity.TrustDomain != "ward.hospital.example" || len(c.Devices) != 0 {
		t.Errorf("got %+v", c)
	}
	for _, name := range []string{"true", "12", "no"} { // names like others, in quotes
		if _, err := Initial(name, "a.example", "state"); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, name := range []string{"", "Ward 4", "a\nversion: 2", `"`, "TRUST"} {
		if text, err := Initial(name, "a.example", "state"); err == nil {
			t.Errorf("name %q: got %s, want an error", name, text)
		}
	}
}

func TestFaultAt(t *testing.T) {
	c, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := c.Fault("plugin.setting", "max_message is too large", "write 16MiB", "devices", "mon-7", "services", "hl7", "max_message")
	if want := "max_message"; !strings.HasPrefix(c.src.lines[f.Line-1][f.Col-1:], want) {
		t.Errorf("points at %d:%d, want at %s", f.Line, f.Col, want)
	}
	f = c.Fault("plugin.setting", "class is missing", "write class: read", "devices", "mon-7", "services", "raw", "klass")
	if want := "raw:"; !strings.HasPrefix(c.src.lines[f.Line-1][f.Col-1:], want) {
		t.Errorf("points at %d:%d, want at %s", f.Line, f.Col, want)
	}
}

func TestFindDevice(t *testing.T) {
	c := &Config{src: newSource("cordon.yaml", nil), Devices: []Device{{ID: "mon-7"}, {ID: "mon-70"}, {ID: "ct-2"}}}
	for _, tt := range []struct{ prefix, id, code string }{
		{"mon-7", "mon-7", ""}, {"mon-70", "mon-70", ""}, {"ct", "ct-2", ""},
		{"mon", "", "device.ambiguous"}, {"", "", "device.unknown"}, {"cd-2", "", "device.unknown"},
	} {
		d, err := c.Device(tt.prefix)
		var faults Faults
		switch {
		case err == nil && d.ID != tt.id:
			t.Errorf("%q: got %s, want %s", tt.prefix, d.ID, tt.id)
		case err != nil && (!errors.As(err, &faults) || faults[0].Code != tt.code):
			t.Errorf("%q: got %v, want %s", tt.prefix, err, tt.code)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"policy", "audit", "limits", "gateway"}
	for word, want := range map[string]string{"polcy": "policy", "adit": "audit", "limist": "limits", "gatewya": "gateway", "zebra": "", "": "", "Policy": "policy"} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

// TestSize checks the bounds that protect the YAML parser.
func TestSize(t *testing.T) {
	for name, text := range map[string]string{
		"config.file.size":    strings.Repeat("#\n", MaxSize/2) + "#",
		"config.yaml.size":    strings.Repeat("a: b\n", maxKeys+1),
		"config.yaml.nesting": strings.Repeat(strings.Repeat("- ", maxLine/2-1)+"\n", MaxSize/maxLine),
	} {
		_, err := parse("cordon.yaml", []byte(text))
		var faults Faults
		if !errors.As(err, &faults) || faults[0].Code != name {
			t.Errorf("got %.100v, want %s", err, name)
		}
	}
}

// TestFaultStaysInside holds that a position the YAML parser got wrong ends inside the
// file all the same.
func TestFaultStaysInside(t *testing.T) {
	s := newSource("cordon.yaml", []byte("a: 1\nbé"))
	for _, tt := range []struct{ line, col, wantLine, wantCol int }{{0, 0, 1, 1}, {-5, -5, 1, 1}, {99, 99, 2, 3}, {1, 99, 1, 5}, {2, 2, 2, 2}} {
		f := s.at(&node{line: tt.line, col: tt.col, width: 50}, "x", "x", "")
		if f.Line != tt.wantLine || f.Col != tt.wantCol {
			t.Errorf("%d:%d became %d:%d, want %d:%d", tt.line, tt.col, f.Line, f.Col, tt.wantLine, tt.wantCol)
		}
	}
}
