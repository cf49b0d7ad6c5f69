package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// Every patch is some shipped profile's, every profile's patches exist, and the plugins like
// what every profile sets.
func TestProfilesAndPatches(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policy")
	if err := rego.WriteShipped(dir); err != nil {
		t.Fatal(err)
	}
	engine, err := rego.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have, named []string
	for _, p := range engine.Patches() {
		have = append(have, p.Name)
	}
	file := filepath.Join(t.TempDir(), config.FileName)
	a := &app{file: file}
	for _, name := range config.ShippedProfiles() {
		p, _, err := config.LoadProfile(file, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.checkProfile(name, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		named = append(named, p.Patches...)
	}
	slices.Sort(named)
	if named = slices.Compact(named); !slices.Equal(named, have) {
		t.Errorf("profiles name the patches %q, the policy has %q", named, have)
	}
}

// tellProfile adds a device of a known type and one of the site's own, as an engineer does.
func tellProfile(t *testing.T, cordon string) {
	s := emptySite(t, cordon)
	if out := s.must(t, "profile", "list", "--dir", s.gw()); !strings.Contains(out, "contec-cms8000\tshipped\tmonitor/bedside\thl7\t") {
		t.Errorf("profile list:\n%s", out)
	}
	// To start one's own from a shipped one.
	own := strings.Replace(s.must(t, "profile", "show", "orthanc", "--dir", s.gw()), "port: 8042", "port: 8043", 1)
	if err := os.Mkdir(filepath.Join(s.gw(), config.ProfileDir), 0o755); err != nil {
		t.Fatal(err)
	}
	file := s.write(t, "gw/profiles/our-archive.yaml", own)
	if out := s.must(t, "profile", "check", file, "--dir", s.gw()); !strings.HasPrefix(out, "ok: our-archive, ") {
		t.Errorf("profile check: %s", out)
	}
	s.must(t, "device", "add", "pacs-1", "--dir", s.gw(), "--profile", "our-archive", "--protocol", "http", "--address", "127.0.0.1", "--listen", s.listen)
	var device struct {
		Profile, Class string
		Services       []struct {
			Port     int
			Settings map[string]any
		}
	}
	s.decode(t, &device, "device", "show", "pacs-1", "--json", "--dir", s.gw())
	if device.Profile != "our-archive" || device.Class != "imaging/archive" || device.Services[0].Port != 8043 || device.Services[0].Settings["max_body"] != "64MiB" {
		t.Errorf("device show: %+v", device)
	}
	s.must(t, "device", "add", "mon-7", "--dir", s.gw(), "--profile", "contec-cms8000", "--protocol", "hl7", "--address", "127.0.0.1", "--port", "2575", "--listen", freeAddress(t))
	var patches []struct {
		Name, SignedOff string
		Devices         []string
	}
	s.decode(t, &patches, "policy", "patches", "--json", "--dir", s.gw())
	guarded := 0
	for _, p := range patches {
		if slices.Contains(p.Devices, "mon-7") {
			guarded++
		}
	}
	if len(patches) != 10 || guarded != 2 {
		t.Errorf("policy patches: %+v", patches)
	}
	s.must(t, "check", "--dir", s.gw())

	// A wrong setting is told with its profile, a changed pack is not signed off any more, and
	// without a patch that a profile names there is no gateway.
	s.write(t, "gw/profiles/our-archive.yaml", strings.Replace(own, "max_body: 64MiB", "max_body: lots", 1))
	for _, args := range [][]string{{"profile", "check", file}, {"check"}} {
		out := s.run(t, append(args, "--dir", s.gw())...)
		if out.code == exit.Done || !strings.Contains(out.stderr, `setting "max_body": "lots" is not a size`) || !strings.Contains(out.stderr, "our-archive") {
			t.Errorf("%v: %d %s", args, out.code, out.stderr)
		}
	}
	s.write(t, "gw/profiles/our-archive.yaml", own)
	pack := filepath.Join(s.gw(), "policy", "patches.rego")
	text, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/policy/patches.rego", string(text)+"\n# changed\n")
	if out := s.run(t, "check", "--dir", s.gw()); out.code != exit.Done || !strings.Contains(out.stderr, "cms8000-call-out is not as it was signed off") || strings.Contains(out.stderr, "dcmtk") {
		t.Errorf("check of a changed pack: %d %s", out.code, out.stderr)
	}
	s.write(t, "gw/policy/patches.rego", strings.Replace(string(text), `"cms8000-call-out"`, `"another"`, 1))
	for _, command := range []string{"run", "check"} {
		if err := os.Remove(filepath.Join(s.gw(), "policy", "patches_test.rego")); command == "run" && err != nil {
			t.Fatal(err)
		}
		if out := s.run(t, command, "--dir", s.gw()); out.code == exit.Done || !strings.Contains(out.stderr, "policy.patch.missing") || !strings.Contains(out.stderr, "profile: contec-cms8000") {
			t.Errorf("%s without a patch: %d %s", command, out.code, out.stderr)
		}
	}
}
