package main

import (
	"encoding/json"
	"log/slog"
	"testing"

	"cordon/gateway/handover"
)

// TestNoStep asks a gateway for what is no step.
func TestNoStep(t *testing.T) {
	o := newOffice(t)
	book := handover.NewLog()
	book.Pass(o.book)
	r := &reloader{config: o.c, log: slog.New(slog.DiscardHandler), parts: &assembly{config: o.c, certs: o.source, log: book, source: o.open(t).source, standing: &standing{}}}
	for _, text := range []string{"", "{", "[]", `{"do":"rollback","more":1}`, `{"do":"submit"}`, `{"do":"submit","signed":{"words":{},"statement":{}}}`} {
		if done, err := r.policyStep(t.Context(), "root", json.RawMessage(text)); err == nil {
			t.Errorf("%q: %+v", text, done)
		}
	}
}
