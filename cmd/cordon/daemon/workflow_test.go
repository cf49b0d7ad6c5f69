package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/handover"
)

// TestNoStep asks a gateway for what is no step.
func TestNoStep(t *testing.T) {
	_, file, err := home.Init(filepath.Join(t.TempDir(), "gw"), "cordon", "cordon.internal", "state")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("policy:\n"), []byte("policy:\n  approval: { authors: [security], approvers: [lead] }\n"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	parts := &Assembly{Config: c, log: handover.NewLog(), standing: &standing{}}
	if parts.source, err = revision.Open(c); err == nil {
		err = parts.log.Open(home.LogConfig(c, quiet))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer parts.log.Take()
	authority, err := home.OpenAuthority(c)
	if err == nil {
		parts.certs, err = authority.Source(t.Context(), ca.SourceConfig{Names: []string{"localhost"}, Log: quiet})
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &reloader{config: c, log: quiet, parts: parts}
	for _, text := range []string{"", "{", "[]", `{"do":"rollback","more":1}`, `{"do":"submit"}`, `{"do":"submit","signed":{"words":{},"statement":{}}}`} {
		if done, err := control.Asked(r.policyStep)(t.Context(), "root", json.RawMessage(text)); err == nil {
			t.Errorf("%q: %+v", text, done)
		}
	}
}
