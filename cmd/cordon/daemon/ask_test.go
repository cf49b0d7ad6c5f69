package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/home"
)

// A command that meets another one, or a gateway that is starting, waits for it.
func TestAskOrOpen(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	c := &config.Config{Gateway: config.Gateway{Name: "east", State: dir}, Audit: config.Audit{Dir: filepath.Join(dir, "audit")}}
	other, err := home.OpenLog(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if log, err := AskOrOpen(ctx, c, "x", nil, nil, time.Second, quiet); log != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another has the log: %v, %v", log, err)
	}

	// The other one is a command, which ends.
	time.AfterFunc(200*time.Millisecond, func() { other.Close() })
	mine, err := AskOrOpen(t.Context(), c, "x", nil, nil, time.Second, quiet)
	if err != nil || mine == nil {
		t.Fatalf("when the other has ended: %v, %v", mine, err)
	}
	defer mine.Close()

	// Or it is a gateway, which answers.
	began := make(chan *control.Server, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		s, err := control.Listen(dir, nil, quiet)
		if err == nil {
			s.Serve(map[string]control.Verb{"x": func(context.Context, string, json.RawMessage) (any, error) { return 7, nil }})
		}
		began <- s
	})
	done := 0
	if log, err := AskOrOpen(t.Context(), c, "x", nil, &done, patience, quiet); log != nil || err != nil || done != 7 {
		t.Errorf("when a gateway has started: %v, %v, done %d", log, err, done)
	}
	if s := <-began; s != nil {
		s.Close(true)
	}
}
