package config

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"cordon/policy"
)

// decoder turns values into types. It goes on after a fault, so that a person sees
// all of them at once; what it returns then is of no use.
type decoder struct {
	src *source
	dir string // what relative paths are relative to
}

func (d *decoder) config(n *node) *Config {
	c := &Config{}
	c.Gateway = d.gateway(nil)
	c.Policy, c.Limits = d.policy(nil), d.limits(nil)
	c.BreakGlass = d.breakGlass(nil)
	c.Identity.CA = d.ca(nil)
	var audit *node
	d.object(n, fields{
		"version":  func(n *node) { c.Version = d.version(n) },
		"gateway":  func(n *node) { c.Gateway = d.gateway(n) },
		"identity": func(n *node) { c.Identity = d.identity(n) },
		"plugins":  func(n *node) { c.Plugins = d.plugins(n) },
		"segments": func(n *node) { c.Segments = d.segments(n) },
		"devices":  func(n *node) { c.Devices = d.devices(n) },
		"policy":   func(n *node) { c.Policy = d.policy(n) },
		"audit":    func(n *node) { audit = n },
		"limits":   func(n *node) { c.Limits = d.limits(n) },

		"break_glass": func(n *node) { c.BreakGlass = d.breakGlass(n) },
		"alarms":      func(n *node) { c.Alarms = d.alarms(n) },
		"metrics":     func(n *node) { c.Metrics = d.metrics(n) },
	}, "version", "gateway", "identity")
	c.Audit = d.audit(audit, filepath.Join(c.Gateway.State, "audit"))
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
	var lists *node
	d.object(n, fields{
		"mode":       func(n *node) { ca.Mode = d.choice(n, "embedded") },
		"leaf_ttl":   func(n *node) { ca.LeafTTL = d.duration(n, 5*time.Minute, 168*time.Hour) },
		"trust_file": func(n *node) { ca.TrustFile = d.path(n) },
		"crl_file":   func(n *node) { lists, ca.CRLFile = n, d.path(n) },
	})
	if lists != nil && ca.TrustFile == "" {
		d.src.fault(lists.key, "config.key.missing", n.path+" has a crl_file and no trust_file", "add trust_file: FILE, with the authorities whose lists they are")
	}
	return ca
}

func (d *decoder) plugins(n *node) []Plugin {
	var out []Plugin
	for _, e := range d.named(n, "plugin") {
		p := Plugin{Protocol: e.key.text}
		if identifier.MatchString(p.Protocol) && !protocol.MatchString(p.Protocol) {
			d.src.fault(e.key, "config.value", fmt.Sprintf("%q cannot be a protocol's name", p.Protocol), "use lower-case letters, digits and hyphens, at most 32")
		}
		d.object(e, fields{
			"path":   func(n *node) { p.Path = d.path(n) },
			"sha256": func(n *node) { p.SHA256 = d.word(n, checksum, "a SHA-256 of 64 lower-case hexadecimal digits") },
		}, "path", "sha256")
		out = append(out, p)
	}
	return out
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
		"address":           func(n *node) { dev.Address = d.deviceAddress(n) },
		"segment":           func(n *node) { dev.Segment = d.word(n, segmentName, "the name of one of segments") },
		"mac":               func(n *node) { dev.MAC = d.mac(n) },
		"further_addresses": func(n *node) { dev.FurtherAddresses = each(d, n, d.deviceAddress) },
		"source":            func(n *node) { dev.Source = d.choice(n, "gateway", SourceClient) },
		"source_addresses":  func(n *node) { dev.SourceAddresses = each(d, n, d.deviceAddress) },
		"profile": func(n *node) {
			dev.Profile = d.word(n, identifier, "the name of a profile, which cordon profile list prints")
		},
		"class":       func(n *node) { dev.Class = d.word(n, deviceClass, "a class such as monitor/bedside or imaging/ct") },
		"criticality": func(n *node) { dev.Criticality = d.choice(n, "low", "medium", "high") },
		"labels":      func(n *node) { dev.Labels = d.labels(n) },
		"state": func(n *node) {
			dev.State = d.choice(n, policy.StateActive, policy.StateQuarantined, policy.StateMaintenance)
		},
		"services": func(n *node) { dev.Services = d.services(n) },
		"call_out": func(n *node) { dev.CallOut = d.callOuts(n) },
	}, requiredOf(n)...)
	if n.kind == mapping && n.get("class") == nil && n.get("profile") == nil {
		d.src.fault(n.key, "config.key.missing", n.path+" has no class", "add class: "+examples["class"]+", or the device's profile, if cordon profile list has one")
	}
	return dev
}

// requiredOf are the keys a device must have: one that only calls out offers no service.
func requiredOf(n *node) []string {
	if n.get("call_out") != nil {
		return []string{"address"}
	}
	return []string{"address", "services"}
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
	own, settings := d.divide(n, fields{
		"proto":        func(n *node) { s.Proto = d.word(n, protocol, "a protocol such as hl7 or stream") },
		"port":         func(n *node) { s.Port = uint16(d.integer(n, 1, 65535)) },
		"listen":       func(n *node) { s.Listen = d.listen(n) },
		"sessions":     func(n *node) { s.Sessions = d.integer(n, 1, 1_000_000) },
		"idle_timeout": func(n *node) { s.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"allow_unknown": func(n *node) {
			s.AllowUnknown = each(d, n, func(n *node) string { return d.text(n, 128) })
		},
		"insecure_tls12": func(n *node) { s.InsecureTLS12 = d.boolean(n) },
		"unseen_replies": func(n *node) { s.UnseenReplies = d.boolean(n) },
	})
	own("proto", "port", "listen")
	s.Settings = d.settings(settings)
	return s
}

// divide separates a service's own keys, which the function it returns reads, from its
// plugin's: every key that is not known, so a misspelt one shows only by what is missing.
func (d *decoder) divide(n *node, known fields) (read func(required ...string), settings []*node) {
	own := *n
	own.entries = nil
	for _, e := range n.entries {
		if known[e.key.text] == nil && !d.misspelt(n, e, known) {
			settings = append(settings, e)
			continue
		}
		own.entries = append(own.entries, e)
	}
	return func(required ...string) { d.object(&own, known, required...) }, settings
}

// misspelt reports whether a key that is not known resembles a known one that is missing.
func (d *decoder) misspelt(n, e *node, known fields) bool {
	near := Nearest(e.key.text, slices.Sorted(maps.Keys(known)))
	return near != "" && n.get(near) == nil
}

func (d *decoder) policy(n *node) Policy {
	p := Policy{Dir: filepath.Join(d.dir, "policy"), Keep: 400 * 24 * time.Hour}
	d.object(n, fields{
		"dir":      func(n *node) { p.Dir = d.path(n) },
		"approval": func(n *node) { p.Approval = d.approval(n) },
		"bundle":   func(n *node) { p.Bundle = d.bundle(n) },
		"keep":     func(n *node) { p.Keep = d.duration(n, 24*time.Hour, 10*365*24*time.Hour) },
	})
	if p.Approval.Needed() && p.Bundle.Used() {
		d.src.fault(n.key, "config.value", n.path+" has both approval and bundle, but one place decides which policy is in force", "remove one of them")
	}
	return p
}

func (d *decoder) approval(n *node) (a Approval) {
	d.object(n, fields{
		"authors":   func(n *node) { a.Authors = d.roles(n) },
		"approvers": func(n *node) { a.Approvers = d.roles(n) },
	}, "authors", "approvers")
	return a
}

func (d *decoder) roles(n *node) []string {
	if n.kind == list && len(n.entries) == 0 {
		d.src.fault(n, "config.value", n.path+" is empty, nobody could bring a policy into force", "name a role: [security]")
	}
	return each(d, n, func(n *node) string { return d.word(n, identifier, "a role, as in certificates: security") })
}

func (d *decoder) audit(n *node, dir string) Audit {
	a := Audit{Dir: dir, Checkpoint: time.Second}
	d.object(n, fields{
		"dir":        func(n *node) { a.Dir = d.path(n) },
		"checkpoint": func(n *node) { a.Checkpoint = d.duration(n, time.Second, time.Minute) },
	})
	return a
}

func (d *decoder) limits(n *node) Limits {
	l := Limits{Sessions: 4096, SessionsPerSource: 256, HandshakeTimeout: 5 * time.Second,
		DialTimeout: 5 * time.Second, DecisionTimeout: 500 * time.Millisecond, DrainTimeout: 10 * time.Second, HandoverTimeout: time.Hour, WindowMemory: 256 << 20}
	d.object(n, fields{
		"sessions":            func(n *node) { l.Sessions = d.integer(n, 1, 1_000_000) },
		"sessions_per_source": func(n *node) { l.SessionsPerSource = d.integer(n, 1, 1_000_000) },
		"handshake_timeout":   func(n *node) { l.HandshakeTimeout = d.duration(n, 100*time.Millisecond, time.Minute) },
		"idle_timeout":        func(n *node) { l.IdleTimeout = d.duration(n, time.Second, 168*time.Hour) },
		"dial_timeout":        func(n *node) { l.DialTimeout = d.duration(n, 100*time.Millisecond, time.Minute) },
		"decision_timeout":    func(n *node) { l.DecisionTimeout = d.duration(n, time.Millisecond, 10*time.Second) },
		"drain_timeout":       func(n *node) { l.DrainTimeout = d.duration(n, 0, 10*time.Minute) },
		"handover_timeout":    func(n *node) { l.HandoverTimeout = d.duration(n, 0, 168*time.Hour) },
		"window_memory":       func(n *node) { l.WindowMemory = d.size(n, 1<<20, 64<<30) },
	})
	return l
}
