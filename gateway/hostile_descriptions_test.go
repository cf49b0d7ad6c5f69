package gateway

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
)

// hostileDescriptions are plugins that lie about themselves; ends is why they are not
// started.
func hostileDescriptions() []hostile {
	long := described("hostile", sdk.Held, sdk.Observed)
	long.Version = strings.Repeat("1", 8<<20)
	var many []*control.Measure
	for range 100_000 {
		many = append(many, &control.Measure{Name: "invented", Applied: true})
	}
	measured := described("hostile", sdk.Held, sdk.Observed)
	measured.Confinement = many
	return []hostile{
		(&puppet{description: described("lines", sdk.Held, sdk.Observed)}).named("described with another name", hostile{ends: `it speaks "lines"`}),
		(&puppet{description: described("", sdk.Held, sdk.Observed)}).named("described without a name", hostile{ends: `it speaks ""`}),
		(&puppet{description: described("hostile", 7, sdk.Observed)}).named("described with no mode there is", hostile{ends: "modes 7 and 1"}),
		(&puppet{description: described("hostile", sdk.Held, 200)}).named("described with no mode there is for replies", hostile{ends: "modes 0 and 200"}),
		(&puppet{description: long}).named("described at length", hostile{ends: "larger than max"}),
		(&puppet{description: measured}).named("described with many measures", hostile{ends: "larger than max"}),
	}
}

// A plugin that is not what it should be is not started, and not left running either.
func TestHostileDescription(t *testing.T) {
	for _, h := range hostileDescriptions() {
		t.Run(h.name, func(t *testing.T) {
			before := held(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := hostilePlugin(t, h.name, patience, slog.New(slog.DiscardHandler)).Run(ctx)
			if err == nil || !strings.Contains(err.Error(), h.ends) {
				t.Errorf("the start gives %v, want %s", err, h.ends)
			}
			if !eventually(func() bool {
				return !slices.ContainsFunc(processes(), func(p process) bool { return p.parent == os.Getpid() })
			}) {
				t.Error("the plugin runs on")
			}
			letGo(t, before, 0)
		})
	}
}
