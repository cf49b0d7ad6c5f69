package config

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cordon/policy"
)

// decoder turns values into types. It goes on after a fault, so that a person sees
// all of them at once; what it returns then is of no use.
type decoder struct {
	src *source
	dir string // what relative paths are relative to
}

// fields names the keys of a mapping and what to do with each value.
type fields map[string]func(*node)

func (d *decoder) config(n *node) *Config {
	c := &Config{}
	c.Gateway = d.gateway(nil)
	c.Policy, c.Limits = d.policy(nil), d.limits(nil)
	c.Identity.CA = d.ca(nil)
	var audit *node
	d.object(n, fields{
		"version":  func(n *node) { c.Version = d.version(n) },
		"gateway":  func(n *node) { c.Gateway = d.gateway(n) },
		"identity": func(n *node) { c.Identity = d.identity(n) },
		"devices":  func(n *node) { c.Devices = d.devices(n) },
		"policy":   func(n *node) { c.Policy = d.policy(n) },
		"audit":    func(n *node) { audit = n },
		"limits":   func(n *node) { c.Limits = d.limits(n) },
	}, "version", "gateway", "identity")
	c.Audit = d.audit(audit, filepath.Join(c.Gateway.State, "audit"))
	for i := range c.Devices {
		for j := range c.Devices[i].Services {
			if s := &c.Devices[i].Services[j]; s.IdleTimeout == 0 {
				s.IdleTimeout = c.Limits.IdleTimeout
			}
		}
	}
	return c
}

func (d *decoder) version(n *node) int {
	if d.is(n, number) && n.text != "1" {
		d.src.fault(n, "config.version", fmt.Sprintf("version %s is not known, this cordon reads version 1", n.text), "write version: 1, or use the cordon the file was written for")
	}
	return 1
}

func (d *decoder) gateway(n *node) Gateway {
	g := Gateway{State: filepath.Join(d.dir, "state")}
	d.object(n, fields{
		"name":      func(n *node) { g.Name = d.word(n, hostLabel, "a name of lower-case letters, digits and hyphens") },
		"state":     func(n *node) { g.State = d.path(n) },
		"names":     func(n *node) { g.Names = each(d, n, d.hostName) },
		"addresses": func(n *node) { g.Addresses = each(d, n, d.address) },
	}, "name")
	if g.Names == nil && g.Addresses == nil {
		g.Names = []string{"localhost"}
		g.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return g
}

func (d *decoder) identity(n *node) Identity {
	id := Identity{CA: d.ca(nil)}
	d.object(n, fields{
		"trust_domain": func(n *node) {
			id.TrustDomain = d.word(n, trustDomain, "a trust domain of lower-case letters, digits, dots, hyphens and underscores, such as ward.hospital.example")
		},
		"ca": func(n *node) { id.CA = d.ca(n) },
	}, "trust_domain")
	return id
}

func (d *decoder) ca(n *node) CA {
	ca := CA{Mode: "embedded", LeafTTL: 8 * time.Hour}
	d.object(n, fields{
		"mode":       func(n *node) { ca.Mode = d.choice(n, "embedded") },
		"leaf_ttl":   func(n *node) { ca.LeafTTL = d.duration(n, 5*time.Minute, 168*time.Hour) },
		"trust_file": func(n *node) { ca.TrustFile = d.path(n) },
	})
	return ca
}

func (d *decoder) devices(n *node) []Device {
	var out []Device
	if n.kind == null { // "devices:" with nothing below is how an empty list of them looks
		return nil
	}
	for _, e := range d.named(n, "device") {
		out = append(out, d.device(e))
	}
	return out
}

func (d *decoder) device(n *node) Device {
	dev := Device{ID: n.key.text, State: policy.StateActive}
	d.object(n, fields{
		"address":     func(n *node) { dev.Address = d.deviceAddress(n) },
		"class":       func(n *node) { dev.Class = d.word(n, deviceClass, "a class such as monitor/bedside or imaging/ct") },
		"criticality": func(n *node) { dev.Criticality = d.choice(n, "low", "medium", "high") },
		"labels":      func(n *node) { dev.Labels = d.labels(n) },
		"state": func(n *node) {
			dev.State = d.choice(n, policy.StateActive, policy.StateQuarantined, policy.StateMaintenance)
		},
		"services": func(n *node) { dev.Services = d.services(n) },
	}, "address", "class", "services")
	return dev
}

func (d *decoder) services(n *node) []Service {
	var out []Service
	entries := d.named(n, "service")
	for _, e := range entries {
		out = append(out, d.service(e))
	}
	if n.kind == mapping && len(n.entries) == 0 {
		d.src.fault(n, "config.value", n.path+" is empty, a device has at least one service", "hl7: { proto: hl7, port: 2575, listen: 127.0.0.1:12575 }")
	}
	return out
}

func (d *decoder) service(n *node) Service {
	s := Service{Name: n.key.text}
	known := fields{
		"proto":        func(n *node) { s.Proto = d.word(n, protocol, "a protocol such as hl7 or stream") },
		"port":         func(n *node) { s.Port = uint16(d.integer(n, 1, 65535)) },
		"listen":       func(n *node) { s.Listen = d.listen(n) },
		"idle_timeout": func(n *node) { s.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"allow_unknown": func(n *node) {
			s.AllowUnknown = each(d, n, func(n *node) string { return d.text(n, 128) })
		},
		"unseen_replies": func(n *node) { s.UnseenReplies = d.boolean(n) },
	}
	// Every other key is the plugin's, so a misspelt one shows only by what is missing.
	own, settings := *n, []*node{}
	own.entries = nil
	for _, e := range n.entries {
		if known[e.key.text] == nil && !d.misspelt(n, e, known) {
			settings = append(settings, e)
			continue
		}
		own.entries = append(own.entries, e)
	}
	d.object(&own, known, "proto", "port", "listen")
	s.Settings = d.settings(settings)
	return s
}

// misspelt reports whether a key that is not known resembles a known one that is missing.
func (d *decoder) misspelt(n, e *node, known fields) bool {
	near := Nearest(e.key.text, slices.Sorted(maps.Keys(known)))
	return near != "" && n.get(near) == nil
}

func (d *decoder) policy(n *node) Policy {
	p := Policy{Dir: filepath.Join(d.dir, "policy")}
	d.object(n, fields{"dir": func(n *node) { p.Dir = d.path(n) }})
	return p
}

func (d *decoder) audit(n *node, dir string) Audit {
	a := Audit{Dir: dir, Checkpoint: time.Minute}
	d.object(n, fields{
		"dir":        func(n *node) { a.Dir = d.path(n) },
		"checkpoint": func(n *node) { a.Checkpoint = d.duration(n, time.Second, time.Hour) },
	})
	return a
}

func (d *decoder) limits(n *node) Limits {
	l := Limits{Sessions: 4096, SessionsPerSource: 256, HandshakeTimeout: 5 * time.Second,
		DialTimeout: 5 * time.Second, DecisionTimeout: 500 * time.Millisecond, DrainTimeout: 10 * time.Second, WindowMemory: 256 << 20}
	d.object(n, fields{
		"sessions":            func(n *node) { l.Sessions = d.integer(n, 1, 1_000_000) },
		"sessions_per_source": func(n *node) { l.SessionsPerSource = d.integer(n, 1, 1_000_000) },
		"handshake_timeout":   func(n *node) { l.HandshakeTimeout = d.duration(n, 100*time.Millisecond, time.Minute) },
		"idle_timeout":        func(n *node) { l.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"dial_timeout":        func(n *node) { l.DialTimeout = d.duration(n, 100*time.Millisecond, time.Minute) },
		"decision_timeout":    func(n *node) { l.DecisionTimeout = d.duration(n, time.Millisecond, 10*time.Second) },
		"drain_timeout":       func(n *node) { l.DrainTimeout = d.duration(n, 0, 10*time.Minute) },
		"window_memory":       func(n *node) { l.WindowMemory = d.size(n, 1<<20, 64<<30) },
	})
	return l
}

// object calls the function of every key n has. A nil n has none, and lacks none.
func (d *decoder) object(n *node, known fields, required ...string) {
	if n == nil || !d.is(n, mapping) {
		return
	}
	meant := map[string]bool{}
	for _, e := range n.entries {
		use := known[e.key.text]
		if use == nil {
			names := slices.Sorted(maps.Keys(known))
			message, try := fmt.Sprintf("unknown key %q", e.path), "known here: "+strings.Join(names, ", ")
			if near := Nearest(e.key.text, names); near != "" {
				message, try = fmt.Sprintf("unknown key %q, did you mean %q?", e.path, near), "write "+near+":"
				meant[near] = true
			}
			d.src.fault(e.key, "config.key.unknown", message, try)
			continue
		}
		use(e)
	}
	for _, name := range required {
		if n.get(name) == nil && !meant[name] {
			at, where := n, "the configuration"
			if n.key != nil {
				at, where = n.key, n.path
			}
			d.src.fault(at, "config.key.missing", fmt.Sprintf("%s has no %s", where, name), "add "+name+": "+examples[name])
		}
	}
}

var examples = map[string]string{
	"version": "1", "gateway": "{ name: radiology-east }", "identity": "{ trust_domain: ward.hospital.example }",
	"name": "radiology-east", "trust_domain": "ward.hospital.example", "address": "10.20.0.12", "class": "monitor/bedside",
	"services": "{ hl7: { proto: hl7, port: 2575, listen: 127.0.0.1:12575 } }", "proto": "hl7", "port": "2575", "listen": "127.0.0.1:12575",
}

// named returns the entries of a mapping whose keys the site chooses.
func (d *decoder) named(n *node, what string) []*node {
	if !d.is(n, mapping) {
		return nil
	}
	for _, e := range n.entries {
		if !identifier.MatchString(e.key.text) {
			d.src.fault(e.key, "config.value", fmt.Sprintf("%q cannot be a %s's name", e.key.text, what), "use letters, digits, dot, hyphen and underscore, at most 63, the first a letter or digit")
		}
	}
	return n.entries
}

func (d *decoder) labels(n *node) map[string]string {
	out := map[string]string{}
	for _, e := range d.named(n, "label") {
		out[e.key.text] = d.text(e, 256)
	}
	return out
}

// is reports whether n has a kind, and a fault if it has not.
func (d *decoder) is(n *node, want kind) bool {
	if n.kind == want {
		return true
	}
	seen := string(n.kind)
	if n.kind == number || n.kind == boolean {
		seen += " " + n.text
	}
	name, try := n.path, "give it one value"
	if name == "" {
		name = "the configuration"
	}
	switch {
	case want == text && (n.kind == number || n.kind == boolean):
		try = fmt.Sprintf("put it in quotes: %q", n.text)
	case want == mapping:
		try = "write key: value on the lines below, indented by two spaces"
	case want == list:
		try = "write [first, second]"
	case want == boolean:
		try = "write true or false"
	case want == number:
		try = "write the digits without quotes"
	}
	d.src.fault(n, "config.type", fmt.Sprintf("%s is %s, expected %s", name, seen, strings.Replace(string(want), "the ", "a ", 1)), try)
	return false
}

func each[T any](d *decoder, n *node, one func(*node) T) []T {
	if !d.is(n, list) {
		return nil
	}
	out := make([]T, 0, len(n.entries))
	for _, item := range n.entries {
		out = append(out, one(item))
	}
	return out
}

// text returns a text of 1 to limit bytes that fits on one line.
func (d *decoder) text(n *node, limit int) string {
	if !d.is(n, text) {
		return ""
	}
	if n.text == "" || len(n.text) > limit || strings.ContainsFunc(n.text, func(r rune) bool { return r < ' ' || r == 0x7f || hidesText(r) }) {
		d.bad(n, fmt.Sprintf("%s is not one line of 1 to %d bytes", n.path, limit), "shorten it, or remove what is not printable")
	}
	return n.text
}

func (d *decoder) bad(n *node, message, try string) { d.src.fault(n, "config.value", message, try) }

var (
	hostLabel   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	identifier  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	deviceClass = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,3}$`)
	protocol    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`) // SPIFFE-ID, section 2.1
	hostName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
)

func (d *decoder) word(n *node, form *regexp.Regexp, expected string) string {
	s := d.text(n, 255)
	if s != "" && !form.MatchString(s) {
		d.bad(n, fmt.Sprintf("%s is %q, expected %s", n.path, s, expected), "such as "+examples[n.key.text])
	}
	return s
}

func (d *decoder) choice(n *node, allowed ...string) string {
	s := d.text(n, 255)
	if s == "" || slices.Contains(allowed, s) {
		return s
	}
	try := "write " + n.key.text + ": " + allowed[0]
	if near := Nearest(s, allowed); near != "" {
		try = "did you mean " + near + "?"
	}
	d.bad(n, fmt.Sprintf("%s is %q, expected %s", n.path, s, strings.Join(allowed, ", ")), try)
	return s
}

func (d *decoder) path(n *node) string {
	p := d.text(n, 1024)
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

func (d *decoder) integer(n *node, low, high int) int {
	if !d.is(n, number) {
		return 0
	}
	if len(n.text) > 1 && n.text[0] == '0' {
		d.bad(n, fmt.Sprintf("%s is %s, which some read as octal", n.path, n.text), "write it in decimal, without leading zeros")
		return 0
	}
	v, err := strconv.Atoi(n.text)
	if err != nil || v < low || v > high {
		d.bad(n, fmt.Sprintf("%s is %s, expected a whole number from %d to %d", n.path, n.text, low, high), "write a whole number in that range")
	}
	return v
}

func (d *decoder) boolean(n *node) bool {
	return d.is(n, boolean) && strings.EqualFold(n.text, "true")
}

func (d *decoder) duration(n *node, low, high time.Duration) time.Duration {
	s := n.text
	if n.kind != text {
		d.src.fault(n, "config.type", fmt.Sprintf("%s is %s, expected a duration", n.path, strings.TrimSpace(string(n.kind)+" "+s)), "write the unit: 500ms, 30s, 5m, 8h")
		return 0
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		d.bad(n, fmt.Sprintf("%s is %q, expected a duration", n.path, s), "write 500ms, 30s, 5m or 8h")
		return 0
	}
	if v < low || v > high {
		d.bad(n, fmt.Sprintf("%s is %s, expected %s to %s", n.path, s, short(low), short(high)), "write a duration in that range")
	}
	return v
}

// short writes a duration without its zero parts: 5m, not 5m0s.
func short(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizeUnits = map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

func (d *decoder) size(n *node, low, high int64) int64 {
	const try = "write 512KiB, 64MiB or 2GiB"
	if n.kind != text {
		d.src.fault(n, "config.type", fmt.Sprintf("%s is %s, expected a size", n.path, strings.TrimSpace(string(n.kind)+" "+n.text)), try)
		return 0
	}
	digits := strings.TrimRight(n.text, "KMGiB")
	unit := sizeUnits[n.text[len(digits):]]
	v, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || unit == 0 || v < 0 {
		d.bad(n, fmt.Sprintf("%s is %q, expected a size", n.path, n.text), try)
		return 0
	}
	if v*unit < low || v*unit > high {
		d.bad(n, fmt.Sprintf("%s is %s, expected %dMiB to %dMiB", n.path, n.text, low>>20, high>>20), "write a size in that range")
	}
	return v * unit
}
