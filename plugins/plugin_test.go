package plugins

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
	"cordon/policy"
)

// patience bounds every wait. None takes nearly as long; a machine may be busy.
const patience = time.Minute

// The test binary is the plugin, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		serve.Serve(sdk.Protocol{Name: os.Args[2], Version: "test", Configure: configureLines})
	}
	os.Exit(m.Run())
}

// lines is a protocol whose operations are lines; the word decides what happens.
type lines struct{}

func configureLines(json.RawMessage) (func() sdk.Inspector, error) {
	return func() sdk.Inspector { return lines{} }, nil
}

func (lines) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	start := 0
	for i, c := range data {
		if c != '\n' {
			continue
		}
		switch string(data[start:i]) {
		case "die":
			os.Exit(3)
		case "hang":
			time.Sleep(time.Hour)
		}
		op := out.Operation(policy.Operation{Name: "lines:" + string(data[start:i]), Class: policy.ClassRead})
		out.Span(op, int64(i+1-start))
		start = i + 1
	}
}

func (lines) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	out.Refusal(op, []byte("no "+why.Code+"\n"))
}

// startLines starts a plugin, for whose answers the gateway waits as long.
func startLines(t *testing.T, wait time.Duration) *Plugin {
	t.Helper()
	p := New(Config{Protocol: "lines", Services: map[uint32][]byte{0: []byte("{}")}, RuntimeDir: t.TempDir(), Patience: wait})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	starting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if !p.WaitRunning(starting) {
		select {
		case err := <-done:
			done <- nil
			t.Fatal(err)
		default:
			t.Fatal("plugin is not running")
		}
	}
	return p
}

func open(t *testing.T, p *Plugin) *Inspection {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	i, _, err := p.Open(ctx, 0, owner{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInspection(t *testing.T) {
	p := startLines(t, patience)
	i := open(t, p)
	defer i.Close()
	w, err := i.TakeWindow(true)
	if err != nil {
		t.Fatal(err)
	}
	defer i.GiveWindow(w)
	copy(w.Bytes(0, 8), "one\ntwo\n")
	steps, _, err := i.Notify(sdk.Forward, w, 8, false, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 4 || steps[0].Operation.Name != "lines:one" || steps[3].N != 4 {
		t.Fatalf("steps = %+v", steps)
	}
	steps, err = i.Refuse(2, 0, sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy})
	if err != nil || len(steps) != 1 || string(steps[0].Bytes) != "no 7QF-21\n" {
		t.Fatalf("refusal = %+v, %v", steps, err)
	}
	for _, m := range p.Status().Measures {
		t.Logf("%+v", m)
		// A kernel may be without Landlock, and a program with cgo cannot use it.
		excused := m.Name == "landlock" && (strings.Contains(m.Detail, "kernel") || strings.Contains(m.Detail, "cgo"))
		if !m.Applied && !excused && os.Geteuid() == 0 {
			t.Errorf("measure %s not applied as root: %s", m.Name, m.Detail)
		}
	}
}

// A plugin that dies or hangs ends its sessions, and another takes its place.
func TestRestart(t *testing.T) {
	for word, wait := range map[string]time.Duration{"die\n": patience, "hang\n": time.Second} {
		p := startLines(t, wait)
		i := open(t, p)
		w, err := i.TakeWindow(true)
		if err != nil {
			t.Fatal(err)
		}
		copy(w.Bytes(0, int64(len(word))), word)
		if _, _, err := i.Notify(sdk.Forward, w, int64(len(word)), false, false); err == nil {
			t.Fatalf("%q: got steps from a dead plugin", word)
		}
		i.GiveWindow(w)
		i.Close()
		open(t, p).Close()
	}
}

// owner is told and does nothing.
type owner struct{}

func (owner) Ended()                 {}
func (owner) Placed(sdk.OpID, int64) {}
