package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cordon/cmd/cordon/config"
)

// key is what the schema says of a key of cordon.yaml.
type key struct {
	Description          string
	Type                 string
	Enum                 []any
	Required             []string
	Properties           map[string]key
	AdditionalProperties json.RawMessage // false, or what each key of a table with free names has
	Items                *key
}

// configPage is cordon.yaml(5), of the schema that the configuration is read by.
func configPage(at time.Time) ([]byte, error) {
	var top key
	if err := json.Unmarshal(config.Schema(), &top); err != nil {
		return nil, fmt.Errorf("read the configuration's schema: %w", err)
	}
	p := newPage(config.FileName, 5, at, "the configuration of a Cordon gateway")
	p.section("DESCRIPTION")
	p.text(`One file of YAML 1.2 says all of a gateway but its policy. Keys that are unknown or given twice are errors. Paths are
relative to the file. Durations are written 500ms, 30s, 5m or 8h, sizes 64MiB. After a change, cordon check shows what
is wrong with it, and cordon apply brings it into force.

In the names below, NAME stands for one that is chosen freely.`)
	for _, name := range slices.Sorted(maps.Keys(top.Properties)) {
		p.section(strings.ToUpper(strings.ReplaceAll(name, "_", " ")))
		if err := p.key(name, top.Properties[name], slices.Contains(top.Required, name)); err != nil {
			return nil, err
		}
	}
	p.section("SEE ALSO")
	p.text("cordon(1),\ncordon-check(1),\ncordon-apply(1),\ncordon-device-add(1)")
	return p.Bytes(), nil
}

// key writes a key and those below it.
func (p *page) key(path string, k key, required bool) error {
	text := k.Description
	if k.Enum != nil && !strings.Contains(text, fmt.Sprint(k.Enum[0])) {
		text += " One of " + strings.Trim(fmt.Sprint(k.Enum), "[]") + "."
	}
	if required {
		text += " Needed."
	}
	if k.Type == "array" {
		path += " [...]"
	}
	if text = strings.TrimSpace(text); text == "" {
		text = "A table."
	}
	p.item(path, text)
	if k.Items != nil && k.Items.Properties != nil {
		k.Properties, k.Required = k.Items.Properties, k.Items.Required
	}
	for _, name := range slices.Sorted(maps.Keys(k.Properties)) {
		if err := p.key(path+"."+name, k.Properties[name], slices.Contains(k.Required, name)); err != nil {
			return err
		}
	}
	if len(k.AdditionalProperties) == 0 || k.AdditionalProperties[0] != '{' {
		return nil
	}
	var each key
	if err := json.Unmarshal(k.AdditionalProperties, &each); err != nil {
		return fmt.Errorf("read the configuration's schema at %s: %w", path, err)
	}
	if each.Properties == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(each.Properties)) {
		if err := p.key(path+".NAME."+name, each.Properties[name], slices.Contains(each.Required, name)); err != nil {
			return err
		}
	}
	return nil
}
