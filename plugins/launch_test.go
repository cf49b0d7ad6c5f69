package plugins

import (
	"log/slog"
	"strings"
	"testing"
)

// A program that does not start as a plugin is told with what it said: where "cordon check" asks, nobody reads its log.
func TestLastWords(t *testing.T) {
	p := New(Config{Protocol: "hl7", Command: []string{"/bin/sh", "-c", "echo first >&2; echo the manual is missing >&2; exit 3"}, RuntimeDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `it said last: "the manual is missing"`) {
		t.Errorf("got %v", err)
	}
}
