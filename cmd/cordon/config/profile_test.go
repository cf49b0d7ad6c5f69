package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestShippedProfiles(t *testing.T) {
	names := ShippedProfiles()
	if len(names) < 10 {
		t.Errorf("only %q", names)
	}
	for _, name := range names {
		p, text, err := LoadProfile(filepath.Join(t.TempDir(), FileName), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Name != name || len(p.Services) == 0 || len(p.References) == 0 || !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s: says too little: %+v", name, p)
		}
	}
}

// profileSite is a folder with a configuration of one device and profiles beside it.
func profileSite(t *testing.T, device string, profiles map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := Initial("ward", "hospital.example", "state")
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "devices: {}", "devices:\n  mon-7: "+device, 1))
	if err := os.Mkdir(filepath.Join(dir, ProfileDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, p := range profiles {
		if err := os.WriteFile(filepath.Join(dir, ProfileDir, name), []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

const ownProfile = `version: 1
title: Acme ventilator
class: ventilator/icu
services:
  hl7: { port: 4001, sessions: 2, idle_timeout: 5m, allow_unknown: ["hl7:ZZZ^Z01"], max_message: 64KiB, refuse: [lf_ends] }
closed_ports: [23]
patches: [acme-1]
`

func TestInherit(t *testing.T) {
	own := map[string]string{"acme.yaml": ownProfile}
	c, err := Load(profileSite(t, `{ address: 10.0.0.1, profile: acme, services: { hl7: { proto: hl7, port: 2575, listen: ":12575" } } }`, own))
	if err != nil {
		t.Fatal(err)
	}
	d, s := c.Devices[0], c.Devices[0].Services[0]
	if d.Profile != "acme" || d.Class != "ventilator/icu" || s.Port != 2575 || s.Sessions != 2 || s.IdleTimeout != 5*time.Minute ||
		!slices.Equal(s.AllowUnknown, []string{"hl7:ZZZ^Z01"}) || string(s.Settings) != `{"max_message":"64KiB","refuse":["lf_ends"]}` {
		t.Errorf("%+v", d)
	}
	// What the configuration says itself counts.
	c, err = Load(profileSite(t, `{ address: 10.0.0.1, profile: acme, class: ventilator/home, services: { x: { proto: hl7, port: 2575, listen: ":12575",
    sessions: 1, idle_timeout: 1m, allow_unknown: [], max_message: 1MiB, deny_code: AE } } }`, own))
	if err != nil {
		t.Fatal(err)
	}
	d, s = c.Devices[0], c.Devices[0].Services[0]
	if d.Class != "ventilator/home" || s.Sessions != 1 || s.IdleTimeout != time.Minute || len(s.AllowUnknown) != 0 ||
		string(s.Settings) != `{"deny_code":"AE","max_message":"1MiB","refuse":["lf_ends"]}` {
		t.Errorf("%+v", d)
	}
	// A device can be added to it, and stays as short as it was written.
	file := profileSite(t, `{ address: 10.0.0.1, profile: acme, services: { hl7: { proto: hl7, port: 2575, listen: ":12575" } } }`, own)
	added := Device{ID: "mon-8", Address: d.Address, Profile: "acme", Services: []Service{{Name: "hl7", Proto: "hl7", Port: 2575, Listen: Listen{Port: 12576}, Sessions: 3}}}
	if lines, err := AddDevice(file, added, false); err != nil || strings.Contains(lines, "class") || !strings.Contains(lines, "profile: acme") {
		t.Errorf("added %q, %v", lines, err)
	}
	if c, err = Load(file); err != nil || c.Devices[1].Class != "ventilator/icu" || c.Devices[1].Services[0].Sessions != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestBadProfiles(t *testing.T) {
	const device = `{ address: 10.0.0.1, profile: acme, services: { hl7: { proto: hl7, port: 2575, listen: ":12575" } } }`
	for name, row := range map[string]struct{ device, profile, code, message string }{
		"none":             {strings.Replace(device, "acme", "acne", 1), ownProfile, "profile.unknown", `did you mean "acme"?`},
		"path":             {strings.Replace(device, "acme", "../acme", 1), ownProfile, "config.value", "expected the name of a profile"},
		"protocol":         {strings.Replace(device, "proto: hl7", "proto: stream", 1), ownProfile, "profile.protocol", "devices.mon-7.services.hl7.proto: a device of profile acme speaks hl7"},
		"closed port":      {strings.Replace(device, "port: 2575", "port: 23", 1), ownProfile, "profile.port", "keeps port 23 closed"},
		"neither":          {strings.Replace(device, "profile: acme, ", "", 1), ownProfile, "config.key.missing", "devices.mon-7 has no class"},
		"empty":            {device, "", "config.file.empty", ""},
		"no YAML":          {device, "version: [", "config.yaml.syntax", ""},
		"version":          {device, strings.Replace(ownProfile, "version: 1", "version: 2", 1), "config.version", "version 2 is not known"},
		"no title":         {device, strings.Replace(ownProfile, "title: Acme ventilator\n", "", 1), "config.key.missing", "has no title"},
		"misspelt":         {device, strings.Replace(ownProfile, "closed_ports", "closed_port", 1), "config.key.unknown", `did you mean "closed_ports"?`},
		"class":            {device, strings.Replace(ownProfile, "ventilator/icu", "Ventilator", 1), "config.value", "expected a class"},
		"no protocol":      {device, strings.Replace(ownProfile, "  hl7:", "  HL7:", 1), "config.value", `"HL7" cannot be a protocol's name`},
		"port":             {device, strings.Replace(ownProfile, "[23]", "[70000]", 1), "config.value", "from 1 to 65535"},
		"patch":            {device, strings.Replace(ownProfile, "acme-1", "Acme 1", 1), "config.value", "expected the name of a patch"},
		"two ways":         {device, strings.Replace(ownProfile, "64KiB", "no", 1), "config.value", "can be read in two ways"},
		"invisible":        {device, ownProfile + "# \u202e\n", "config.file.encoding", "U+202E"},
		"misspelt setting": {device, strings.Replace(ownProfile, "sessions: 2", "sesions: 2", 1), "config.key.unknown", `did you mean "sessions"?`},
	} {
		_, err := Load(profileSite(t, row.device, map[string]string{"acme.yaml": row.profile}))
		faults, ok := errors.AsType[Faults](err)
		if !ok || faults[0].Code != row.code || !strings.Contains(faults[0].Message, row.message) || faults[0].Try[0] == "" {
			t.Errorf("%s: got %v, want %s: %s", name, err, row.code, row.message)
		}
	}
	_, err := Load(profileSite(t, strings.Replace(device, "acme", "orthanc", 1), map[string]string{"orthanc.yaml": ownProfile}))
	if faults, ok := errors.AsType[Faults](err); !ok || faults[0].Code != "profile.exists" {
		t.Errorf("a site's file takes the place of a shipped profile: %v", err)
	}
}
