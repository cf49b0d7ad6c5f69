package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cordon/policy"
)

// Files of a workspace beside the policy. They decide nothing.
const (
	vscodeSettings = `{
  "yaml.schemas": { "./data.schema.json": "data.yaml" },
  "json.schemas": [{ "fileMatch": ["/data.json"], "url": "./data.schema.json" }],
  "opa.schema": "./input.schema.json",
  "opa.roots": ["${workspaceFolder}"],
  "opa.strictMode": true,
  "[rego]": { "editor.insertSpaces": false }
}
`
	vscodeExtensions = `{ "recommendations": ["tsandall.opa", "redhat.vscode-yaml"] }
`
	// What the policy does on purpose, and regal's defaults think otherwise of: its files share
	// one package, tests use helpers of other files, and OPA's formatter is not always right
	// (see cordon policy fmt).
	regalConfig = `rules:
  idiomatic:
    directory-package-mismatch: { level: ignore }
  style:
    opa-fmt: { level: ignore }
    line-length: { level: ignore }
    external-reference: { level: ignore }
  testing:
    test-outside-test-package: { level: ignore }
`
)

// WriteWorkspace writes a folder to edit the policy of e in: its rules, data and tests as they
// were read, and what editors and linters want to know. dir is created if need be; a file that
// is there already is an error, and nothing is written then.
func (e *Engine) WriteWorkspace(dir string) error {
	contents, err := beside()
	if err != nil {
		return err
	}
	for _, s := range slices.Concat(e.folder.rules, e.folder.tests, e.folder.data) {
		if !strings.HasPrefix(s.Name, accessName+"/") { // the gateway's own
			contents[s.Name] = s.Text
		}
	}
	return writeAll(dir, contents)
}

// beside returns what belongs into every folder with a policy.
func beside() (map[string][]byte, error) {
	readme, err := fs.ReadFile(shipped, "shipped/README.md")
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"README.md":               readme,
		"input.schema.json":       []byte(inputSchema),
		"data.schema.json":        DataSchema(),
		".vscode/settings.json":   []byte(vscodeSettings),
		".vscode/extensions.json": []byte(vscodeExtensions),
		".regal/config.yaml":      []byte(regalConfig),
	}, nil
}

// writeAll writes files into dir, unless one of them is there.
func writeAll(dir string, contents map[string][]byte) error {
	for _, name := range sortedNames(contents) {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("write policy: %q exists already", filepath.Join(dir, name))
		}
	}
	for _, name := range sortedNames(contents) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write policy: %w", err)
		}
		if err := writeNew(path, contents[name]); err != nil {
			return fmt.Errorf("write policy: %w", err)
		}
	}
	return nil
}

// schema is as much of JSON Schema as the tables need.
type schema map[string]any

// DataSchema returns the JSON Schema of the shipped policy's data, for editors. Tables that it
// does not know are let be: a policy may have its own.
func DataSchema() []byte {
	words := func(list []string) schema { return schema{"type": "string", "enum": list} }
	list := func(of schema) schema { return schema{"type": "array", "items": of, "uniqueItems": true} }
	table := func(key string, of schema) schema {
		return schema{"type": "object", "propertyNames": schema{"pattern": key}, "additionalProperties": of}
	}
	described := func(s schema, text string) schema { s["description"] = text; return s }

	var classes []string // that a table can permit
	for _, c := range policy.Classes {
		if c != policy.ClassUnknown {
			classes = append(classes, string(c))
		}
	}
	const role, device = `^\S+$`, `^(\*|[^*]+(/\*)?)$`
	holder := "^(" + strings.Join(tableKinds[:], "|") + ")/.+$"
	title := schema{"type": "string", "minLength": 1, "maxLength": 16, "pattern": `^[^\\]+$`}
	permitted := func() schema { return table(role, table(device, list(words(classes)))) }
	whole := schema{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"title":   "Cordon policy data",
		"type":    "object",
		"properties": schema{
			"roles":          described(permitted(), "What each role may do at any time: role, class of device, classes of operation. monitor/* is every class below monitor, * every device."),
			"maintenance":    described(permitted(), "What comes on top while the device is in maintenance."),
			"kinds":          described(table(role, words(tableKinds[:])), "The kind of subject that each role is for. In a certificate of another kind it does not count."),
			"dicom_services": described(table(role, list(words(listedServices()))), "The services of DICOM that each role may use, as far as its classes of operation reach."),
			"ae_titles":      described(table(holder, list(title)), "The AE titles that a certificate may call from, by kind/id. * stands for any."),
			"learning": described(schema{"type": "object", "additionalProperties": false, "properties": schema{
				"never": list(schema{"type": "string", "pattern": device}), "but": list(schema{"type": "string", "minLength": 1}),
			}}, "Classes of device that learning mode is not for, and single devices that it is for all the same."),
			"move_destinations": described(table(role, list(title)), "Where a device may be told to move images to, by the device's id, besides the mover's own AE titles."),
		},
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(whole) // strings, lists and maps always have a JSON form
	return b.Bytes()
}
