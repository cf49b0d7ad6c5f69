package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields names the keys of a mapping and what to do with each value.
type fields map[string]func(*node)

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
	"name": "radiology-east", "trust_domain": "ward.hospital.example", "address": "10.20.0.12", "profile": "contec-cms8000", "title": "Contec CMS8000", "class": "monitor/bedside",
	"path": "plugins/acme", "sha256": "what sha256sum prints for the program",
	"services": "{ hl7: { proto: hl7, port: 2575, listen: 127.0.0.1:12575 } }", "proto": "hl7", "port": "2575", "listen": "127.0.0.1:12575",
	"interface": "{ kind: nic, name: eth1 }", "addresses": "[10.20.0.1]", "kind": "nic", "segment": "icu", "mac": "00:1b:44:11:3a:b7",
	"catch": "10.20.0.9:2575", "to": "lis.hospital.example:2575", "server_name": "lis.hospital.example",
	"authors": "[security]", "approvers": "[security-lead]",
	"url": "https://siem.hospital.example/cordon", "secret_file": "alarms.secret",
	"from": "https://policy.hospital.example/cordon.tar.gz", "key": "bundle.pub", "key_id": "clinic-1", "signer": "signer.pub",
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
	if n.text == "" {
		d.bad(n, n.path+" is empty", "give it a value, or remove the line where there is a default")
		return ""
	}
	if len(n.text) > limit || strings.ContainsFunc(n.text, func(r rune) bool { return r < ' ' || r == 0x7f || hidesText(r) }) {
		d.bad(n, fmt.Sprintf("%s is not one line of 1 to %d bytes", n.path, limit), "shorten it, or remove what is not printable")
	}
	return n.text
}

func (d *decoder) bad(n *node, message, try string) { d.src.fault(n, "config.value", message, try) }

var (
	hostLabel   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	identifier  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	deviceClass = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,3}$`)
	checksum    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	protocol    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`) // SPIFFE-ID, section 2.1
	hostName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
)

func (d *decoder) word(n *node, form *regexp.Regexp, expected string) string {
	s := d.text(n, 255)
	if s != "" && !form.MatchString(s) {
		try := "write " + expected
		if n.key != nil { // no item of a list
			try = "such as " + examples[n.key.text]
		}
		d.bad(n, fmt.Sprintf("%s is %q, expected %s", n.path, s, expected), try)
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
