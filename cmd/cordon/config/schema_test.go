package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// required and allowed are what the schema knows beside the types and their comments;
// TestSchemaFits checks each against Load.
var (
	required = map[string][]string{
		"Config": {"version", "gateway", "identity"}, "Gateway": {"name"}, "Identity": {"trust_domain"},
		"Profile": {"version", "title", "class", "services"}, "Plugin": {"path", "sha256"}, "Device": {"address"}, "Service": {"proto", "port", "listen"},
		"Approval": {"authors", "approvers"},
		"Segment":  {"interface", "addresses"}, "Interface": {"kind", "name"}, "CallOut": {"proto", "catch", "to"}, "Webhook": {"url", "secret_file"},
		"Bundle": {"from", "key", "signer"}, "Metrics": {"listen"},
	}
	allowed = map[string][]any{
		"Config.version": {1}, "Profile.version": {1}, "CA.mode": {"embedded"}, "Device.criticality": {"low", "medium", "high"},
		"Device.source": {"gateway", "client"}, "Interface.kind": {"nic", "vlan", "macvlan"}, "Device.state": {"active", "quarantined", "maintenance"},
	}
)

// TestSchema holds the schemas to the types and their comments.
func TestSchema(t *testing.T) {
	holdSchema(t, "config.go", "Config", "Cordon gateway configuration", "schema.json", Schema())
	holdSchema(t, "profile.go", "Profile", "Cordon device profile", "profile.schema.json", ProfileSchema())
}

func holdSchema(t *testing.T, source, name, title, schema string, text []byte) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				types[spec.Name.Name] = s
			}
		}
		return true
	})
	root := structSchema(t, types, name)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = title
	want, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schema, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s differs from %s; go test -run TestSchema -update rewrites it", schema, source)
	}
}

func structSchema(t *testing.T, types map[string]*ast.StructType, name string) map[string]any {
	properties := map[string]any{}
	for _, field := range types[name].Fields.List {
		goName := field.Names[0].Name
		if !ast.IsExported(goName) || name == "Device" && goName == "ID" || name == "Plugin" && goName == "Protocol" || (name == "Service" || name == "CallOut") && (goName == "Name" || goName == "Settings") || name == "Segment" && goName == "Name" ||
			name == "Profile" && goName == "Name" || name == "ProfileService" && (goName == "Proto" || goName == "Settings") {
			continue // the key itself, or the keys beside
		}
		if field.Comment == nil {
			t.Errorf("%s.%s has no comment", name, goName)
			continue
		}
		key := snake(goName)
		p := typeSchema(t, types, field.Type)
		p["description"] = strings.TrimSpace(field.Comment.Text())
		if values := allowed[name+"."+key]; values != nil {
			p["enum"] = values
		}
		properties[key] = p
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": name == "Service" || name == "CallOut" || name == "ProfileService"}
	if required[name] != nil {
		out["required"] = required[name]
	}
	return out
}

func typeSchema(t *testing.T, types map[string]*ast.StructType, expr ast.Expr) map[string]any {
	switch e := expr.(type) {
	case *ast.Ident:
		switch e.Name {
		case "string", "Listen":
			return map[string]any{"type": "string"}
		case "bool":
			return map[string]any{"type": "boolean"}
		case "int", "uint16":
			return map[string]any{"type": "integer"}
		case "int64":
			return map[string]any{"type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$"}
		}
		return structSchema(t, types, e.Name)
	case *ast.SelectorExpr:
		if e.Sel.Name == "Duration" {
			return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
		}
		return map[string]any{"type": "string"} // netip.Addr, netip.AddrPort
	case *ast.MapType:
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
	case *ast.ArrayType:
		item := typeSchema(t, types, e.Elt)
		if item["type"] == "object" { // devices and services are keyed by name in the file
			return map[string]any{"type": "object", "additionalProperties": item}
		}
		return map[string]any{"type": "array", "items": item}
	}
	t.Fatalf("no schema for %T", expr)
	return nil
}

var hump = regexp.MustCompile(`([a-z]|CRL)([A-Z])`)

func snake(s string) string { return strings.ToLower(hump.ReplaceAllString(s, "${1}_$2")) }

// TestSchemaFits asks Load about every key of the schema: it knows it, wants what the
// schema calls required, and refuses what the schema does not allow.
func TestSchemaFits(t *testing.T) {
	for text, load := range map[string]loader{
		string(Schema()):        func(text []byte) error { _, err := parse("cordon.yaml", text); return err },
		string(ProfileSchema()): func(text []byte) error { _, err := parseProfile("x.yaml", "x", text); return err },
	} {
		var root map[string]any
		if err := json.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		load.check(t, root, nil)
	}
}

type loader func(text []byte) error

func (load loader) check(t *testing.T, schema map[string]any, path []string) {
	properties, _ := schema["properties"].(map[string]any)
	for key, p := range properties {
		p := p.(map[string]any)
		here := append(path[:len(path):len(path)], key)
		wrong := "[[]]"
		if load.codes(t, nest(here, wrong))["config.key.unknown"] {
			t.Errorf("%s: in the schema, but Load does not know it", strings.Join(here, "."))
		}
		if load.codes(t, nest(here, wrong))["config.type"] == false {
			t.Errorf("%s: Load takes a list of lists", strings.Join(here, "."))
		}
		if p["enum"] != nil && !load.codes(t, nest(here, `"other"`))["config.value"] && key != "version" {
			t.Errorf("%s: Load takes a value that is not allowed", strings.Join(here, "."))
		}
		if p["type"] == "object" {
			load.check(t, p, here)
		}
	}
	if inner, ok := schema["additionalProperties"].(map[string]any); ok && inner["properties"] != nil {
		load.check(t, inner, append(path[:len(path):len(path)], "x"))
	}
	if schema["additionalProperties"] == false && !load.codes(t, nest(append(path[:len(path):len(path)], "zzz"), "1"))["config.key.unknown"] {
		t.Errorf("%s: Load takes an unknown key", strings.Join(path, "."))
	}
	if list, ok := schema["required"].([]any); ok && properties != nil {
		text := nest(path, "{ }")
		err := load([]byte(text))
		for _, key := range list {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(" has no %s", key)) {
				t.Errorf("%s.%s: required, but Load does not miss it: %v", strings.Join(path, "."), key, err)
			}
		}
	}
}

// nest writes a file in which path has a value.
func nest(path []string, value string) string {
	if len(path) == 0 {
		return value
	}
	return "{ " + path[0] + ": " + nest(path[1:], value) + " }"
}

func (load loader) codes(t *testing.T, text string) map[string]bool {
	err := load([]byte(text))
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("%s: got %v, want faults", text, err)
	}
	out := map[string]bool{}
	for _, f := range faults {
		out[f.Code] = true
	}
	return out
}
