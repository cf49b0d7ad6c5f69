package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrChanged says that someone else changed the file during an edit.
var ErrChanged = errors.New("the file was changed meanwhile")

// AddDevice adds a device to the file at path and returns the lines it wrote. Only
// they are new: every other byte, comments included, stays as it is. An error leaves
// the file untouched; faults of the device itself are marked Proposed. With dryRun
// nothing is written at all. Two edits at a time wait for each other, up to 5 s.
func AddDevice(path string, device Device, dryRun bool) (added string, err error) {
	path, err = filepath.EvalSymlinks(path) // the link stays, what it names is replaced
	if err != nil {
		return "", notThere(path, err)
	}
	if !dryRun {
		unlock, err := lock(filepath.Dir(path), 5*time.Second)
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	old, err := read(path)
	if err != nil {
		return "", err
	}
	before, err := parse(path, old)
	if err != nil {
		return "", err
	}
	added, text, err := before.with(device, old)
	if err != nil || dryRun {
		return added, err
	}
	return added, replace(path, old, text)
}

func notThere(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		_, err = read(path)
	}
	return err
}

// with returns the text of the file with one device more, and what was put in.
func (c *Config) with(device Device, old []byte) (added string, text []byte, err error) {
	for _, s := range device.Services {
		if len(s.Settings) > 0 && !json.Valid(s.Settings) {
			return "", nil, fmt.Errorf("settings of service %q are not JSON", s.Name)
		}
	}
	if slices.ContainsFunc(c.Devices, func(d Device) bool { return d.ID == device.ID }) {
		f := c.Fault("config.device.exists", fmt.Sprintf("device %q exists already", device.ID), "choose another id, or edit the device in "+c.src.file, "devices", device.ID)
		return "", nil, Faults{f}
	}
	added, text = c.splice(device, old)
	after, err := parse(c.src.file, text)
	var faults Faults
	if errors.As(err, &faults) {
		for i := range faults {
			faults[i].Proposed = true
		}
		return "", nil, faults
	}
	if err != nil {
		return "", nil, err
	}
	// The text was edited as text. What it means must be what it meant, and the device.
	if len(after.Devices) != len(c.Devices)+1 || !sameBut(c, after, device.ID) {
		f := c.Fault("config.edit", fmt.Sprintf("cannot put device %q into the file without changing what other lines mean, do it by hand", device.ID), "end "+c.src.file+" with an empty line, or add the device with an editor", "devices")
		return "", nil, Faults{f}
	}
	return added, text, nil
}

// sameBut reports whether b is a with one more device, of that id.
func sameBut(a, b *Config, id string) bool {
	x, y := *a, *b
	x.src, x.root, y.src, y.root = nil, nil, nil, nil
	y.Devices = slices.DeleteFunc(slices.Clone(y.Devices), func(d Device) bool { return d.ID == id })
	if len(y.Devices) == 0 {
		y.Devices = x.Devices // nil or empty
	}
	return reflect.DeepEqual(x, y)
}

// splice finds the place for a device and puts it there.
func (c *Config) splice(device Device, old []byte) (added string, text []byte) {
	eol := "\n"
	if bytes.Contains(old, []byte("\r\n")) {
		eol = "\r\n"
	}
	devices := c.root.get("devices")
	indent := strings.Repeat(" ", max(0, c.root.col-1))
	switch {
	case devices == nil && c.root.flow:
		return insertFlow(old, c.root, "devices: { "+device.flow()+" }")
	case devices == nil:
		return insertLines(old, len(old), indent+"devices:"+eol+device.block(indent+"  ", eol), eol)
	case devices.flow && (c.root.flow || !blankBetween(old, devices)):
		return insertFlow(old, devices, device.flow())
	case devices.flow || devices.text != "": // the placeholder goes, a comment behind it stays
		from, to := offset(old, devices.line, devices.col), offset(old, devices.line, devices.col+devices.width)
		if devices.flow {
			to = offset(old, devices.endLine, devices.endCol) + 1
		}
		old = replaceBytes(old, from, to, "")
		return insertLines(old, lineStart(old, devices.line+1), device.block(indent+"  ", eol), eol)
	}
	if len(devices.entries) > 0 {
		indent = strings.Repeat(" ", devices.entries[0].key.col-1)
	} else {
		indent += "  "
	}
	return insertLines(old, lineStart(old, c.endOf(devices)), device.block(indent, eol), eol)
}

// blankBetween reports whether a mapping in braces has nothing in them.
func blankBetween(text []byte, n *node) bool {
	from, to := offset(text, n.line, n.col)+1, offset(text, n.endLine, n.endCol)
	return from <= to && len(bytes.TrimSpace(text[from:to])) == 0
}

// insertFlow puts a member in front of the brace that ends a mapping.
func insertFlow(text []byte, n *node, member string) (string, []byte) {
	at := offset(text, n.endLine, n.endCol)
	if before := bytes.TrimSpace(text[:at]); len(n.entries) > 0 && !bytes.HasSuffix(before, []byte(",")) {
		member = ", " + member
	}
	member += " "
	return member, replaceBytes(text, at, at, member)
}

// insertLines puts lines at the beginning of a line, or at the end of the file.
func insertLines(text []byte, at int, lines, eol string) (string, []byte) {
	lines += eol
	if at > 0 && text[at-1] != '\n' {
		lines = eol + lines
	}
	return lines, replaceBytes(text, at, at, lines)
}

func replaceBytes(text []byte, from, to int, with string) []byte {
	return slices.Concat(text[:from], []byte(with), text[max(from, to):])
}

// lineStart returns the offset of line n, from 1, or the text's length beyond its end.
func lineStart(text []byte, n int) int {
	at := 0
	for ; n > 1; n-- {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	return at
}

// offset returns the offset of a position, whose columns count characters.
func offset(text []byte, line, col int) int {
	at := lineStart(text, line)
	for ; col > 1 && at < len(text) && text[at] != '\n'; col-- {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

// endOf returns the number of the line before which the block of devices ends: after
// its last line that is neither blank nor a comment of what follows.
func (c *Config) endOf(devices *node) int {
	end := len(c.src.lines) + 1
	for _, e := range c.root.entries {
		if e.key.line > devices.key.line {
			end = min(end, e.key.line)
		}
	}
	for end > devices.key.line+1 {
		line := c.src.lines[end-2]
		if strings.TrimSpace(line) != "" && indentOf(line) >= devices.key.col {
			break // indented deeper than "devices" itself
		}
		end--
	}
	return end
}

// block writes the device as lines, without the last line's end.
func (d Device) block(indent, eol string) string {
	lines := []string{scalar(d.ID) + ":", "  address: " + scalar(d.Address.String())}
	if d.Profile != "" {
		lines = append(lines, "  profile: "+scalar(d.Profile))
	}
	if d.Class != "" {
		lines = append(lines, "  class: "+scalar(d.Class))
	}
	if d.Criticality != "" {
		lines = append(lines, "  criticality: "+scalar(d.Criticality))
	}
	if len(d.Labels) > 0 {
		lines = append(lines, "  labels: "+flowLabels(d.Labels))
	}
	if d.State != "" {
		lines = append(lines, "  state: "+scalar(d.State))
	}
	lines = append(lines, "  services:")
	for _, s := range d.Services {
		lines = append(lines, "    "+scalar(s.Name)+": "+s.flow())
	}
	return indent + strings.Join(lines, eol+indent)
}

// flow writes the device on one line.
func (d Device) flow() string {
	b := d.block("", "\n")
	_, rest, _ := strings.Cut(b, "\n")
	head, services, _ := strings.Cut(rest, "  services:\n")
	return fmt.Sprintf("%s: { %s, services: { %s } }", scalar(d.ID), commaLines(head), commaLines(services))
}

func commaLines(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, ", ")
}

func (s Service) flow() string {
	out := fmt.Sprintf("{ proto: %s, port: %d, listen: %q", scalar(s.Proto), s.Port, s.Listen.String())
	if s.Sessions != 0 {
		out += fmt.Sprintf(", sessions: %d", s.Sessions)
	}
	if s.IdleTimeout != 0 {
		out += ", idle_timeout: " + short(s.IdleTimeout)
	}
	if len(s.AllowUnknown) > 0 {
		names := make([]string, len(s.AllowUnknown))
		for i, name := range s.AllowUnknown {
			names[i] = string(quoted(name))
		}
		out += ", allow_unknown: [" + strings.Join(names, ", ") + "]"
	}
	if s.InsecureTLS12 {
		out += ", insecure_tls12: true"
	}
	if s.UnseenReplies {
		out += ", unseen_replies: true"
	}
	return out + s.flowSettings() + " }"
}

// flowSettings writes the plugin's settings beside the service's own keys. Values stay
// JSON, which is YAML's flow style, but for text that needs no quotes.
func (s Service) flowSettings() string {
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(s.Settings, &settings); err != nil {
		return ""
	}
	var out string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := string(settings[name])
		var text string
		if json.Unmarshal(settings[name], &text) == nil && value != "null" {
			value = scalar(text)
		}
		out += ", " + scalar(name) + ": " + value
	}
	return out
}

func flowLabels(labels map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, scalar(k)+": "+string(quoted(labels[k])))
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

// scalar writes text plainly where every YAML reader takes it for text, else in quotes.
func scalar(s string) string {
	if identifier.MatchString(s) || deviceClass.MatchString(s) {
		if coreKind(s) == text && !ambiguous.MatchString(s) {
			return s
		}
	}
	return string(quoted(s))
}
