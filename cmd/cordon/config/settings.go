package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// settings writes the plugin's keys as one JSON object, in the order of the file.
func (d *decoder) settings(entries []*node) json.RawMessage {
	var out bytes.Buffer
	d.members(&out, entries)
	return out.Bytes()
}

func (d *decoder) members(out *bytes.Buffer, entries []*node) {
	out.WriteByte('{')
	for i, e := range entries {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(quoted(e.key.text))
		out.WriteByte(':')
		d.setting(out, e)
	}
	out.WriteByte('}')
}

func (d *decoder) setting(out *bytes.Buffer, n *node) {
	switch n.kind {
	case mapping:
		d.members(out, n.entries)
	case list:
		out.WriteByte('[')
		for i, item := range n.entries {
			if i > 0 {
				out.WriteByte(',')
			}
			d.setting(out, item)
		}
		out.WriteByte(']')
	case null:
		out.WriteString("null")
	case boolean:
		out.WriteString(strings.ToLower(n.text))
	case number:
		out.WriteString(d.jsonNumber(n))
	default:
		if n.plain && ambiguous.MatchString(n.text) {
			d.bad(n, fmt.Sprintf("%s can be read in two ways", n.path), `for text use quotes, for truth true or false, for a number plain digits`)
		}
		out.Write(quoted(n.text))
	}
}

// ambiguous is what YAML 1.1 and 1.2 read differently: truth values, sexagesimal,
// digits in groups, binary.
var ambiguous = regexp.MustCompile(`^((?i:y|n|yes|no|on|off)|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9]*)?|[-+]?[0-9][0-9_]*_[0-9_.]*|0b[01_]+)$`)

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (d *decoder) jsonNumber(n *node) string {
	s := n.text
	if jsonNumber.MatchString(s) {
		return s
	}
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0o") {
		if v, err := strconv.ParseInt(s, 0, 64); err == nil {
			return strconv.FormatInt(v, 10)
		}
	}
	d.bad(n, fmt.Sprintf("%s is a number in a form that is read in two ways or in none", n.path), "write plain digits without leading zeros or signs, or put it in quotes")
	return "0"
}

// quoted writes JSON text, which is YAML text too.
func quoted(s string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string always has a JSON form, and a Buffer takes it
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
