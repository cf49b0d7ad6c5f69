package config

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ProfileDir is the folder beside the configuration that holds the site's own profiles.
const ProfileDir = "profiles"

// Profile is what is known of a type of device: its quirks, its limits and what must not
// reach it, so that a site adds a device of that type without knowing them.
type Profile struct {
	Version     int              // The version of this format. Must be 1.
	Name        string           // The file's name without .yaml: contec-cms8000.
	Title       string           // Maker and product, as people say it.
	Class       string           // What kind of device it is, from general to special: monitor/bedside.
	References  []string         // Where what the profile says is written: advisories, manuals.
	Services    []ProfileService // What the device speaks, by protocol. It is given no other.
	ClosedPorts []int            // Ports of the device that no service may use, such as 23. Default: none.
	Patches     []string         // Virtual patches that the policy must have for this device, by name. Default: none.
}

// ProfileService is one protocol of a type of device. Keys beside those below are settings
// of the protocol's plugin. What a service of the configuration says itself counts instead.
type ProfileService struct {
	Proto        string          // The key in the file: the protocol, which names the plugin.
	Port         uint16          // The TCP port as the maker delivers it. Default: not said.
	Sessions     int             // Sessions the device takes at a time, 1 to 1000000. Default: no limit of its own.
	IdleTimeout  time.Duration   // How long a session may carry nothing, 1s to 168h. Default: limits.idle_timeout.
	AllowUnknown []string        // Operations of class unknown that policy may allow, by name. Default: none.
	Settings     json.RawMessage // The plugin's settings as a JSON object, never nil.
}

// Service returns what the profile says of a protocol, or nil.
func (p *Profile) Service(proto string) *ProfileService {
	for i := range p.Services {
		if p.Services[i].Proto == proto {
			return &p.Services[i]
		}
	}
	return nil
}

// Protocols are those the type of device speaks, in the order of the file.
func (p *Profile) Protocols() []string {
	var names []string
	for _, s := range p.Services {
		names = append(names, s.Proto)
	}
	return names
}

//go:embed profiles/*.yaml
var shipped embed.FS

// ShippedProfiles are the names of the profiles that come with cordon, sorted.
func ShippedProfiles() []string {
	files, _ := fs.Glob(shipped, "profiles/*.yaml") // the pattern is a good one
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files
}

// SiteProfiles are the names of the profiles in the folder beside a configuration, sorted.
func SiteProfiles(configFile string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(configFile)), ProfileDir, "*.yaml"))
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
	}
	return files, err
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// LoadProfile reads the profile of that name: a shipped one, or one of the site's, in the
// folder beside the configuration. It returns the file's text with it. Its error is a Faults
// that says what is wrong with the file, with code "profile.unknown" if there is none, or
// "profile.exists" if both have one: a site does not change what a shipped name means.
func LoadProfile(configFile, name string) (*Profile, []byte, error) {
	if !identifier.MatchString(name) {
		return nil, nil, Faults{{Code: "profile.unknown", Message: fmt.Sprintf("%q cannot be a profile's name", name), Try: []string{"cordon profile list"}}}
	}
	own := filepath.Join(filepath.Dir(configFile), ProfileDir, name+".yaml")
	text, missing := shipped.ReadFile("profiles/" + name + ".yaml")
	_, err := os.Lstat(own)
	switch {
	case missing == nil && err == nil:
		return nil, nil, Faults{{Code: "profile.exists", Message: fmt.Sprintf("profile %q comes with cordon, and %s is a file of that name", name, own),
			File: own, Try: []string{"give the file another name", "write what differs under the device's service"}}}
	case missing == nil:
		p, err := parseProfile(name+".yaml", name, text)
		return p, text, err
	case errors.Is(err, fs.ErrNotExist):
		f := Fault{Code: "profile.unknown", Message: fmt.Sprintf("no profile %q, neither shipped nor in %s", name, own), Try: []string{"cordon profile list"}}
		site, _ := SiteProfiles(configFile) // only to guess
		if near := Nearest(name, append(site, ShippedProfiles()...)); near != "" {
			f.Message += fmt.Sprintf(", did you mean %q?", near)
		}
		return nil, nil, Faults{f}
	}
	return ReadProfile(own)
}

// ReadProfile reads a profile from any file. It is named as the file.
func ReadProfile(path string) (*Profile, []byte, error) {
	text, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	p, err := parseProfile(path, strings.TrimSuffix(filepath.Base(path), ".yaml"), text)
	return p, text, err
}

func parseProfile(path, name string, text []byte) (*Profile, error) {
	src := newSource(path, text)
	root := src.tree(text)
	if root == nil {
		return nil, src.err()
	}
	d := &decoder{src: src, dir: filepath.Dir(path)}
	p := d.profile(root)
	p.Name = name
	return p, src.err()
}

func (d *decoder) profile(n *node) *Profile {
	p := &Profile{}
	d.object(n, fields{
		"version":    func(n *node) { p.Version = d.version(n) },
		"title":      func(n *node) { p.Title = d.text(n, 128) },
		"class":      func(n *node) { p.Class = d.word(n, deviceClass, "a class such as monitor/bedside or imaging/ct") },
		"references": func(n *node) { p.References = each(d, n, func(n *node) string { return d.text(n, 256) }) },
		"services": func(n *node) {
			for _, e := range d.named(n, "protocol") {
				p.Services = append(p.Services, d.profileService(e))
			}
		},
		"closed_ports": func(n *node) { p.ClosedPorts = each(d, n, func(n *node) int { return d.integer(n, 1, 65535) }) },
		"patches": func(n *node) {
			p.Patches = each(d, n, func(n *node) string {
				return d.word(n, hostLabel, "the name of a patch in lower-case letters, digits and hyphens")
			})
		},
	}, "version", "title", "class", "services")
	return p
}

func (d *decoder) profileService(n *node) ProfileService {
	s := ProfileService{Proto: n.key.text}
	if identifier.MatchString(s.Proto) && !protocol.MatchString(s.Proto) {
		d.bad(n.key, fmt.Sprintf("%q cannot be a protocol's name", s.Proto), "such as hl7")
	}
	own, settings := d.divide(n, fields{
		"port":         func(n *node) { s.Port = uint16(d.integer(n, 1, 65535)) },
		"sessions":     func(n *node) { s.Sessions = d.integer(n, 1, 1_000_000) },
		"idle_timeout": func(n *node) { s.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"allow_unknown": func(n *node) {
			s.AllowUnknown = each(d, n, func(n *node) string { return d.text(n, 128) })
		},
	})
	own()
	s.Settings = d.settings(settings)
	return s
}

// inherit gives every device with a profile what it says.
func (s *source) inherit(c *Config) error {
	read := map[string]*Profile{}
	devices := c.root.get("devices")
	for i := range c.Devices {
		dev := &c.Devices[i]
		if dev.Profile == "" {
			continue
		}
		n := devices.get(dev.ID)
		p := read[dev.Profile]
		if p == nil {
			var err error
			p, _, err = LoadProfile(s.file, dev.Profile)
			faults, ok := errors.AsType[Faults](err)
			switch {
			case ok && faults[0].Line == 0: // there is none: that is the configuration's fault
				s.fault(n.get("profile"), faults[0].Code, faults[0].Message, faults[0].Try[0])
				continue
			case err != nil:
				return err
			}
			read[dev.Profile] = p
		}
		dev.patches = p.Patches
		if dev.Class == "" {
			dev.Class = p.Class
		}
		for j := range dev.Services {
			s.inheritService(&dev.Services[j], p, n.get("services").get(dev.Services[j].Name))
		}
	}
	return nil
}

func (s *source) inheritService(service *Service, p *Profile, n *node) {
	if service.Proto == "" {
		return // missing, and reported
	}
	from := p.Service(service.Proto)
	if from == nil {
		s.fault(n.get("proto"), "profile.protocol", fmt.Sprintf("%s: a device of profile %s speaks %s", n.get("proto").path, p.Name, strings.Join(p.Protocols(), ", ")),
			"cordon profile show "+p.Name)
		return
	}
	if slices.Contains(p.ClosedPorts, int(service.Port)) {
		s.fault(n.get("port"), "profile.port", fmt.Sprintf("%s: profile %s keeps port %d closed", n.get("port").path, p.Name, service.Port),
			"cordon profile show "+p.Name)
	}
	if service.Sessions == 0 {
		service.Sessions = from.Sessions
	}
	if service.IdleTimeout == 0 {
		service.IdleTimeout = from.IdleTimeout
	}
	if n.get("allow_unknown") == nil {
		service.AllowUnknown = from.AllowUnknown
	}
	service.Settings = overlay(from.Settings, service.Settings)
}

// overlay returns the settings of both, those of own where both have one.
func overlay(below, own json.RawMessage) json.RawMessage {
	all := map[string]json.RawMessage{}
	for _, layer := range []json.RawMessage{below, own} {
		if json.Unmarshal(layer, &all) != nil {
			return own // never: both were written by settings
		}
	}
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.Write(quoted(key))
		out.WriteByte(':')
		out.Write(all[key])
	}
	return json.RawMessage("{" + out.String() + "}")
}
