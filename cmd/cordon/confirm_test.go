package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

// A gateway in wrong hands cannot have its configuration's file say what only root may: confirm writes what the gateway
// says is on trial.
func TestConfirmBelievesNoSegments(t *testing.T) {
	dir := t.TempDir()
	cordon := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(""), &out, &out)
		return out.String(), code
	}
	if said, code := cordon("init", dir); code != exit.Done {
		t.Fatal(said)
	}
	file := filepath.Join(dir, "cordon.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var trial daemon.TrialAnswer
	s, err := control.Listen(filepath.Join(dir, "state"), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(true)
	s.Serve(map[string]control.Verb{"trial": func(context.Context, string, json.RawMessage) (any, error) { return trial, nil }})
	for _, c := range []struct{ name, old, new, says string }{
		{"a segment", "devices: {}\n", wardSegment, "what is in segments cannot be on trial"},
		{"another state", "  state: state", "  state: /etc/", "a running gateway cannot change gateway.state"},
		{"nonsense", "devices: {}\n", "devices: 7\n", "devices"},
	} {
		text := strings.Replace(string(before), c.old, c.new, 1)
		if text == string(before) {
			t.Fatalf("%s: nothing to replace", c.name)
		}
		trial = daemon.TrialAnswer{Config: []byte(text), Before: before, Until: time.Now().Add(time.Hour)}
		said, code := cordon("confirm", "--dir", dir)
		if code == exit.Done || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit code %d, %s", c.name, code, said)
		}
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s is in the file: %v", c.name, err)
		}
	}
}
