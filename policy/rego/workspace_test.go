package rego

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/open-policy-agent/opa/v1/rego"
)

// matches asks OPA whether a document is as a JSON Schema says.
func matches(t *testing.T, document any, schema []byte) (bool, any) {
	t.Helper()
	set, err := rego.New(rego.Query("json.match_schema(input.document, input.schema)"),
		rego.Input(map[string]any{"document": document, "schema": string(schema)})).Eval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer := set[0].Expressions[0].Value.([]any)
	return answer[0].(bool), answer[1]
}

// TestDataSchema holds the schema of the data to the shipped data, and to slips in it.
func TestDataSchema(t *testing.T) {
	f, err := readFolder(shippedDir(t))
	if err != nil {
		t.Fatal(err)
	}
	document, _ := readData(f.data)
	if ok, why := matches(t, document, DataSchema()); !ok {
		t.Errorf("the shipped data: %v", why)
	}
	for _, bad := range []string{
		`{"roles": {"nurse": {"monitor/*": ["querry"]}}}`,
		`{"roles": {"nurse": {"monitor/*": ["unknown"]}}}`,
		`{"roles": {"nurse": {"mon*": ["read"]}}}`,
		`{"roles": {"nurse": ["read"]}}`,
		`{"maintenance": {"nurse": {"*": ["read", "read"]}}}`,
		`{"kinds": {"nurse": "person"}}`,
		`{"dicom_services": {"nurse": ["retrieve"]}}`,
		`{"ae_titles": {"dr.kim": ["KIM"]}}`,
		`{"ae_titles": {"user/dr.kim": ["KIM-WORKSTATION-4"]}}`,
		`{"move_destinations": {"pacs-1": "ROOM"}}`,
	} {
		var document any
		if err := json.Unmarshal([]byte(bad), &document); err != nil {
			t.Fatal(err)
		}
		if ok, _ := matches(t, document, DataSchema()); ok {
			t.Errorf("%s is as the schema says", bad)
		}
	}
}

// TestInputSchemaMatches holds the schema of the input to the JSON form of requests.
func TestInputSchemaMatches(t *testing.T) {
	r := request("nurse")
	for _, change := range []func(document map[string]any) (want bool){
		func(map[string]any) bool { return true },
		func(d map[string]any) bool { d["subject"].(map[string]any)["rolse"] = 1; return false },
		func(d map[string]any) bool { d["device"].(map[string]any)["state"] = "aktive"; return false },
		func(d map[string]any) bool { delete(d, "now_ns"); return false },
	} {
		var document map[string]any
		if err := json.Unmarshal(r.AppendJSON(nil), &document); err != nil {
			t.Fatal(err)
		}
		want := change(document)
		if ok, why := matches(t, document, []byte(inputSchema)); ok != want {
			t.Errorf("%v: %v, %v", document, ok, why)
		}
	}
}

// TestWorkspace makes a folder to edit in, and the policy in it is the one it was made of.
func TestWorkspace(t *testing.T) {
	from := shippedDir(t)
	if err := os.WriteFile(filepath.Join(from, "data.yaml"), []byte(strings.Replace(string(mustRead(t, filepath.Join(from, "data.yaml"))), "[read, query, notify]", "[read, query]", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	e := patient(t, from)
	dir := filepath.Join(t.TempDir(), "next")
	if err := e.WriteWorkspace(dir); err != nil {
		t.Fatal(err)
	}
	made := patient(t, dir)
	if made.Revision() != e.Revision() || made.Data() != e.Data() || len(made.folder.tests) != len(e.folder.tests) {
		t.Error("it is another policy")
	}
	if err := e.WriteWorkspace(dir); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("once more: %v", err)
	}
	// What editors read is what it should be, in the folder of a new gateway, too.
	for _, name := range []string{".vscode/settings.json", ".vscode/extensions.json", "data.schema.json", "input.schema.json"} {
		if text := mustRead(t, filepath.Join(dir, name)); !json.Valid(text) || !bytes.Equal(text, mustRead(t, filepath.Join(from, name))) {
			t.Errorf("%s: %s", name, text)
		}
	}
	var regal map[string]any
	if err := yaml.Unmarshal(mustRead(t, filepath.Join(dir, ".regal/config.yaml")), &regal); err != nil || regal["rules"] == nil {
		t.Errorf("regal's configuration: %v, %v", regal, err)
	}
	var settings map[string]any
	if err := json.Unmarshal(mustRead(t, filepath.Join(dir, ".vscode/settings.json")), &settings); err != nil {
		t.Fatal(err)
	}
	for schema := range settings["yaml.schemas"].(map[string]any) {
		if _, err := fs.Stat(os.DirFS(dir), strings.TrimPrefix(schema, "./")); err != nil {
			t.Errorf("the editor is sent to %s: %v", schema, err)
		}
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
