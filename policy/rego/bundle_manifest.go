package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// Names of OPA's own files in a bundle.
const (
	manifestName   = ".manifest"
	signaturesName = ".signatures.json"
)

// MaxBundleRevision is the highest revision. It leaves room that nobody uses up, so a slip
// that would make every later bundle an older one is refused.
const MaxBundleRevision = 1_000_000_000

// revisionForm is "12", or "12+label".
var revisionForm = regexp.MustCompile(`^([1-9][0-9]{0,9})(?:\+([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?$`)

// manifest is what Cordon reads of a bundle's manifest.
type manifest struct {
	revision uint64
	label    string
}

// manifestJSON is OPA's manifest, without what Cordon does not take. A bundle is the whole of
// a policy, so its only root is the one above all.
type manifestJSON struct {
	Revision         *string         `json:"revision"`
	Roots            *[]string       `json:"roots"`
	RegoVersion      *int            `json:"rego_version,omitempty"`
	FileRegoVersions json.RawMessage `json:"file_rego_versions,omitempty"`
	Wasm             json.RawMessage `json:"wasm,omitempty"`
	Metadata         map[string]any  `json:"metadata,omitempty"` // anybody's notes
}

func readManifest(files []Source) (manifest, *Problem) {
	text, ok := member(files, manifestName)
	if !ok {
		return manifest{}, &Problem{Code: "bundle.manifest.missing", Message: "there is no manifest, so no revision", Hint: "cordon policy bundle build --revision N writes one"}
	}
	bad := func(code, message, hint string) (manifest, *Problem) {
		return manifest{}, &Problem{File: manifestName, Code: code, Message: message, Hint: hint}
	}
	var m manifestJSON
	if err := strictJSON(text, &m); err != nil {
		return bad("bundle.manifest", "not a manifest: "+err.Error(), "")
	}
	switch {
	case m.Revision == nil:
		return bad("bundle.revision", "no revision", `write it as "12" or "12+label"`)
	case m.Roots != nil && (len(*m.Roots) != 1 || (*m.Roots)[0] != ""):
		return bad("bundle.roots", fmt.Sprintf("roots are %.80q, but a bundle is the whole policy", *m.Roots), `leave roots out, or write [""]`)
	case m.RegoVersion != nil && *m.RegoVersion != 1 || m.FileRegoVersions != nil:
		return bad("bundle.rego_version", "not Rego version 1 throughout", "")
	case m.Wasm != nil:
		return bad("bundle.wasm", "compiled policy, which nobody can read", "build the bundle without a target")
	}
	parts := revisionForm.FindStringSubmatch(*m.Revision)
	if parts == nil {
		return bad("bundle.revision", fmt.Sprintf("the revision is %.80q", *m.Revision), `write it as "12" or "12+label", from 1`)
	}
	n, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || n > MaxBundleRevision {
		return bad("bundle.revision", fmt.Sprintf("revision %s is beyond %d", parts[1], MaxBundleRevision), "after it there could be no newer one")
	}
	return manifest{n, parts[2]}, nil
}

func member(files []Source, name string) ([]byte, bool) {
	for _, s := range files {
		if s.Name == name {
			return s.Text, true
		}
	}
	return nil, false
}

// strictJSON reads one value, every key of which is known.
func strictJSON(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errMore
	}
	return nil
}
