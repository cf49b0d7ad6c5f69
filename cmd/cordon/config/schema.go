package config

import _ "embed"

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It knows
// less than Load: neither conflicts between listeners nor a plugin's settings.
func Schema() []byte { return append([]byte(nil), schema...) }

//go:embed profile.schema.json
var profileSchema []byte

// ProfileSchema returns the JSON Schema of a device profile, for editors.
func ProfileSchema() []byte { return append([]byte(nil), profileSchema...) }
