package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// patience bounds every wait. None takes nearly as long.
const patience = time.Minute

// serve serves verbs in a state directory whose path is longer than a socket's may be.
func serve(t *testing.T, verbs map[string]Verb) (state string, s *Server) {
	t.Helper()
	state = filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(state, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(verbs)
	t.Cleanup(func() { s.Close(true) })
	return state, s
}

// What is asked reaches the verb with who asks, and what comes of it reaches whoever asked.
func TestAsk(t *testing.T) {
	moved := 2
	state, _ := serve(t, map[string]Verb{
		"echo": func(_ context.Context, by string, asked json.RawMessage) (any, error) {
			return map[string]any{"by": by, "asked": asked}, nil
		},
		"refuse": func(context.Context, string, json.RawMessage) (any, error) {
			return nil, exit.Error{Code: "x.refused", Message: "not today", Exit: exit.Conflict, Try: []string{"tomorrow"}, Err: errors.New("a secret")}
		},
		"move": func(context.Context, string, json.RawMessage) (any, error) {
			if moved--; moved >= 0 {
				return nil, ErrMoved
			}
			return "done", nil
		},
	})
	if info, err := os.Stat(filepath.Join(state, Name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v): others could ask", info.Mode(), err)
	}
	var got struct{ By, Asked string }
	if err := Ask(t.Context(), state, "echo", "a\nb", &got, patience); err != nil || got.By != Operator() || got.Asked != "a\nb" {
		t.Errorf("asked %+v, %v", got, err)
	}
	var done string
	err := Ask(t.Context(), state, "refuse", nil, &done, patience)
	if f, ok := errors.AsType[exit.Error](err); !ok || f.Code != "x.refused" || f.Exit != exit.Conflict || f.Message != "not today" || len(f.Try) != 1 || f.Err != nil {
		t.Errorf("refused with %+v", err)
	}
	if err := Ask(t.Context(), state, "move", nil, &done, patience); err != nil || done != "done" || moved != -1 {
		t.Errorf("asked until another process answered: %q, %v, %d", done, err, moved)
	}
	err = Ask(t.Context(), state, "no-such-verb", nil, &done, patience)
	if f, ok := errors.AsType[exit.Error](err); !ok || f.Code != "control.unanswered" {
		t.Errorf("what is no verb is answered %v", err)
	}
}

// Who asks where nobody listens is told so, also where a gateway was killed.
func TestNobody(t *testing.T) {
	state := t.TempDir()
	if err := Ask(t.Context(), state, "echo", nil, nil, patience); !errors.Is(err, ErrNoGateway) {
		t.Errorf("without a socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(state, Name), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := Ask(t.Context(), state, "echo", nil, nil, patience); !errors.Is(err, ErrNoGateway) {
		t.Errorf("at a socket that was left behind: %v", err)
	}
	s, err := Listen(state, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("a gateway starts where one was killed: %v", err)
	}
	s.Close(true)
	if _, err := os.Lstat(filepath.Join(state, Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last process leaves its socket behind: %v", err)
	}
}

// A gateway that ends does not wait for what it was asked.
func TestClose(t *testing.T) {
	began := make(chan bool)
	state, s := serve(t, map[string]Verb{"wait": func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	told := make(chan error, 1)
	go func() { told <- Ask(context.Background(), state, "wait", nil, new(string), patience) }()
	<-began
	s.Close(true)
	if err := <-told; err == nil {
		t.Error("what was broken off is told as done")
	}
}

// What a gateway does not know of a request, it must not leave out.
func TestAsked(t *testing.T) {
	type order struct{ Number int }
	done := 0
	verb := Asked(func(_ context.Context, by string, o *order) (any, error) {
		done += o.Number
		return by, nil
	})
	for _, text := range []string{"", "{", "[]", `{"number":1,"only":"mon-7"}`, `{"number":"1"}`} {
		if _, err := verb(t.Context(), "root", json.RawMessage(text)); err == nil || done != 0 {
			t.Errorf("%q: done %d, %v", text, done, err)
		}
	}
	for _, text := range []string{`{"number":2}`, "null"} {
		if by, err := verb(t.Context(), "root", json.RawMessage(text)); err != nil || by != "root" || done != 2 {
			t.Errorf("%q: done %d by %v, %v", text, done, by, err)
		}
	}
}
