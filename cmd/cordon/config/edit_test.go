package config

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func monitor(id string, port uint16) Device {
	return Device{ID: id, Address: netip.MustParseAddr("127.0.0.1"), Class: "monitor/bedside", Labels: map[string]string{"ward": "4"},
		Services: []Service{{Name: "hl7", Proto: "hl7", Port: 2575, Listen: Listen{netip.MustParseAddr("127.0.0.1"), port}, Settings: []byte(`{"max_message":"64MiB"}`)}}}
}

const head = "version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\n"

// TestAddDeviceText shows what an edit looks like. « and » stand around what it puts in,
// ‹ and › around a placeholder that goes.
func TestAddDeviceText(t *testing.T) {
	const (
		block = "mon-7:\n    address: 127.0.0.1\n    class: monitor/bedside\n    labels: { ward: \"4\" }\n    services:\n      hl7: { proto: hl7, port: 2575, listen: \"127.0.0.1:12575\", max_message: 64MiB }\n"
		flow  = `mon-7: { address: 127.0.0.1, class: monitor/bedside, labels: { ward: "4" }, services: { hl7: { proto: hl7, port: 2575, listen: "127.0.0.1:12575", max_message: 64MiB } } }`
		other = "address: 10.0.0.1, class: x, services: { s: { proto: hl7, port: 1, listen: ':9' } }"
	)
	wide := strings.ReplaceAll(block, "\n  ", "\n    ")
	for name, text := range map[string]string{
		"absent":               head + "«devices:\n  " + block + "»",
		"absent, no newline":   strings.TrimSuffix(head, "\n") + "«\ndevices:\n  " + block + "»",
		"empty braces":         head + "devices: ‹{}› # none yet\n«  " + block + "»policy: { dir: p }\n",
		"spread braces":        head + "devices: ‹{\n  }›\n«  " + block + "»",
		"null":                 head + "devices: ‹null›\n«  " + block + "»",
		"nothing":              head + "devices:\n«  " + block + "»",
		"nothing, comment":     head + "devices:\n  # add some\n«  " + block + "»\n# the rules\npolicy: { dir: p }\n",
		"one":                  head + "devices:\n  b: { " + other + " } # the first\n«  " + block + "»\n# the rules\npolicy: { dir: p }\n",
		"one, deep":            head + "devices:\n    b: { " + other + " }\n«    " + wide + "»\n\n",
		"one, not last":        "devices:\n  b: { " + other + " }\n  # its neighbour comes next week\n«  " + block + "»\n" + head,
		"comment in braces":    head + "devices: { # none\n  «" + flow + " »}\n",
		"in braces":            head + "devices: { b: { " + other + " } «, " + flow + " »}\n",
		"in braces, comma":     head + "devices: { b: { " + other + " }, «" + flow + " »}\n",
		"all in braces":        `{ version: 1, gateway: { name: a }, identity: { trust_domain: a.example } «, devices: { ` + flow + " } »}",
		"all in braces, empty": `{ version: 1, gateway: { name: é }, devices: {«` + flow + ` »}, identity: { trust_domain: a.example } }`,
		"header":               "--- # here it begins\n" + head + "«devices:\n  " + block + "»",
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.Replace(text, "name: é", "name: a", 1)
			old := strings.NewReplacer("‹", "", "›", "").Replace(cut(text, "«", "»"))
			want := strings.NewReplacer("«", "", "»", "").Replace(cut(text, "‹", "›"))
			c, err := parse("cordon.yaml", []byte(old))
			if err != nil {
				t.Fatalf("%v\n%s", err, old)
			}
			_, got, err := c.with(monitor("mon-7", 12575), []byte(old))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			crlf := strings.ReplaceAll(old, "\n", "\r\n")
			c, err = parse("cordon.yaml", []byte(crlf))
			if err != nil {
				t.Fatal(err)
			}
			if _, got, err = c.with(monitor("mon-7", 12575), []byte(crlf)); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(crlf, "\r\n") && string(got) != strings.ReplaceAll(want, "\n", "\r\n") {
				t.Errorf("with CRLF: got\n%q\nwant\n%q", got, strings.ReplaceAll(want, "\n", "\r\n"))
			}
		})
	}
}

// cut removes what stands between two marks, and them.
func cut(s, from, to string) string {
	before, rest, found := strings.Cut(s, from)
	if !found {
		return s
	}
	_, after, _ := strings.Cut(rest, to)
	return before + after
}

// TestAddDeviceKeeps adds devices to files of random shape: what was there is still
// there, byte for byte and in order, and the new file means the old one and the device.
func TestAddDeviceKeeps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for round := range 1500 {
		old := []byte(randomFile(r))
		before, err := parse("cordon.yaml", old)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, old)
		}
		device := monitor("new", uint16(20000+r.IntN(1000)))
		added, got, err := before.with(device, old)
		if err != nil && bytes.HasSuffix(old, []byte("devices: {}")) && strings.Contains(err.Error(), "by hand") {
			continue // ends inside a block of text without a line end, to which any line end is a change
		}
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, old)
		}
		i := bytes.Index(got, []byte(added))
		if i < 0 {
			t.Fatalf("round %d: %q is not in\n%s", round, added, got)
		}
		rest := string(got[:i]) + string(got[i+len(added):])
		if rest != string(old) && !isPlaceholderLess(string(old), rest) {
			t.Fatalf("round %d: other bytes changed\n%s\n---\n%s", round, old, got)
		}
		after, err := parse("cordon.yaml", got)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, got)
		}
		d, err := after.Device("new")
		if err != nil || !sameBut(before, after, "new") {
			t.Fatalf("round %d: %v, or the rest means something else\n%s\n---\n%s", round, err, old, got)
		}
		device.State = "active"
		device.Services[0].IdleTimeout = after.Limits.IdleTimeout
		if !reflect.DeepEqual(*d, device) {
			t.Fatalf("round %d: got %+v, want %+v", round, *d, device)
		}
		accepted++
	}
	if accepted < 1400 {
		t.Errorf("only %d files were edited", accepted)
	}
}

// isPlaceholderLess reports whether text is old without one "{}" or null.
func isPlaceholderLess(old, text string) bool {
	for _, placeholder := range []string{"{}", "{ }", "null", "~"} {
		if strings.Replace(old, "devices: "+placeholder, "devices: ", 1) == text {
			return true
		}
	}
	return false
}

func randomFile(r *rand.Rand) string {
	noise := func(indent string) string {
		return []string{"", "", "", "\n", "\n\n", indent + "# a remark: { with: braces }\n", "  \n", "# at the margin\n", indent + "  # deeper\n"}[r.IntN(9)]
	}
	sections := []string{
		"version: 1\n", "gateway:\n  name: a # the name\n  names: [localhost,\n    gw.example]\n", "identity: { trust_domain: a.example }\n",
		"policy:\n  dir: 'rules # not a comment'\n", "limits:\n  sessions: 5\n\n  # how long\n  idle_timeout: 5m\n", devicesSection(r, noise),
	}
	r.Shuffle(len(sections), func(i, j int) { sections[i], sections[j] = sections[j], sections[i] })
	text := noise("")
	for _, s := range sections {
		text += s + noise("")
	}
	if r.IntN(4) == 0 {
		text = strings.TrimRight(text, "\n ")
	}
	if r.IntN(4) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

func devicesSection(r *rand.Rand, noise func(string) string) string {
	switch r.IntN(8) {
	case 0:
		return ""
	case 1:
		return []string{"devices: {}\n", "devices: { } # none\n", "devices:\n", "devices: null\n", "devices: ~\n", "devices:\n  # none\n"}[r.IntN(6)]
	case 2:
		return "devices: { d0: { address: 10.0.0.1, class: x,\n  services: { s: { proto: hl7, port: 1, listen: ':9' } } }\n  }\n"
	}
	indent := strings.Repeat(" ", 1+r.IntN(5))
	text := "devices:" + []string{"", " # the ward"}[r.IntN(2)] + "\n" + noise(indent)
	for i := range 1 + r.IntN(4) {
		text += fmt.Sprintf("%[1]sd%[2]d:\n%[1]s  address: 10.0.0.1\n%[3]s%[1]s  class: \"x\"\n%[1]s  services:\n", indent, i, noise(indent))
		for j := range 1 + r.IntN(2) {
			text += fmt.Sprintf("%[1]s    s%[2]d:\n%[1]s      proto: hl7\n%[1]s      port: 1\n%[1]s      listen: :%[3]d\n", indent, j, 1000+10*i+j)
			text += []string{"", indent + "      note: |\n" + indent + "        # text, not a remark\n" + indent + "        devices: {}\n",
				indent + "      note: \"two\n" + indent + "        lines\"\n", indent + "      map: { a: [1, 2], b: \"é}\" }\n"}[r.IntN(4)]
		}
		text += noise(indent)
	}
	return text
}

func TestAddDeviceFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, FileName)
	if err := os.WriteFile(real, []byte(head), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.yaml", link); err != nil {
		t.Fatal(err)
	}
	if _, err := AddDevice(link, monitor("mon-1", 12001), true); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(link); string(text) != head {
		t.Errorf("a dry run wrote %s", text)
	}
	// Edits at the same time all arrive.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := AddDevice(link, monitor(fmt.Sprintf("mon-%d", i), uint16(12000+i)), false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c, err := Load(link)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Devices) != 8 {
		t.Errorf("%d devices, want 8", len(c.Devices))
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if info, err = os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, %v, want 0640", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("left behind: %v", files)
	}
}

func TestAddDeviceRefuses(t *testing.T) {
	file := head + "devices:\n  mon-7:\n    address: 10.0.0.1\n    class: x\n    services: { s: { proto: hl7, port: 1, listen: 127.0.0.1:12575 } }\n"
	bad := func(change func(*Device)) Device {
		d := monitor("new", 13000)
		change(&d)
		return d
	}
	for _, tt := range []struct {
		name, code string
		device     Device
		proposed   bool
	}{
		{"exists", "config.device.exists", monitor("mon-7", 13000), false},
		{"listener", "config.listener.conflict", monitor("new", 12575), true},
		{"loop", "config.listener.loop", bad(func(d *Device) { d.Services[0].Port = 13000 }), true},
		{"id", "config.value", bad(func(d *Device) { d.ID = "a b" }), true},
		{"id that is YAML", "config.value", bad(func(d *Device) { d.ID = "a: {}\nversion" }), true},
		{"class", "config.value", bad(func(d *Device) { d.Class = "a\nstate: active" }), true},
		{"label", "config.value", bad(func(d *Device) { d.Labels["a b"] = "c" }), true},
		{"no service", "config.type", bad(func(d *Device) { d.Services = nil }), true},
		{"state", "config.value", bad(func(d *Device) { d.State = "off" }), true},
		{"setting twice", "config.key.duplicate", bad(func(d *Device) { d.Services[0].Settings = []byte(`{"port":5}`) }), true},
	} {
		path := filepath.Join(t.TempDir(), FileName)
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := AddDevice(path, tt.device, false)
		var faults Faults
		if !errors.As(err, &faults) || faults[0].Code != tt.code || faults[0].Proposed != tt.proposed {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.code)
		}
		if text, _ := os.ReadFile(path); string(text) != file {
			t.Errorf("%s: the file became\n%s", tt.name, text)
		}
	}
	var faults Faults
	if _, err := AddDevice(filepath.Join(t.TempDir(), FileName), monitor("a", 1), false); !errors.As(err, &faults) || faults[0].Code != "config.file.missing" {
		t.Errorf("missing file: got %v", err)
	}
}

// TestReplaceNotices holds that an editor's save between our read and our write stays.
func TestReplaceNotices(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, []byte("old"), []byte("ours")); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "theirs" {
		t.Errorf("the file holds %q", text)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestLockGivesUp(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir, 10*time.Millisecond); err == nil {
		t.Error("locked twice")
	}
	unlock()
	if unlock, err = lock(dir, time.Second); err != nil {
		t.Fatal(err)
	}
	unlock()
}
