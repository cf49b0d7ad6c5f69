package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cordon/gateway/audit"
	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
)

// hostile is a plugin that misbehaves, and the most that may come of it.
type hostile struct {
	name   string
	plugin func()   // in the plugin's process; does not return
	lines  []string // what the client sends, each line once the one before it was answered; default "one\n"
	device string   // what may arrive at the device: this, or the beginning of it
	client string   // and at the client
	ends   string   // why the session ends, which says what guard met it; or one of several reasons, as a|b
	play   func(t *testing.T, g *ward)
	dies   bool // the process must be replaced by another
	owes   bool // an answer, for ever or for long: the gateway waits 2 s, for others it has patience
}

// serveHostile is the process of the plugin so named.
func serveHostile(name string) {
	for _, table := range [][]hostile{
		hostileFrames(), hostileInspectors(), hostileDescriptions(), prisoners(),
		{newWhim().named("whim", hostile{}), (&puppet{deaf: true}).named("deaf", hostile{})},
	} {
		for _, h := range table {
			if h.name == name {
				h.plugin()
			}
		}
	}
	fmt.Fprintf(os.Stderr, "no plugin is called %q\n", name)
	os.Exit(2)
}

func (p *puppet) named(name string, h hostile) hostile {
	h.name, h.plugin = name, p.serve
	return h
}

// Whatever a plugin answers, the device receives nothing but allowed spans of what the
// client sent, the client nothing but what the device sent and refusals, and the gateway
// goes on serving others and keeps nothing.
func TestHostilePlugin(t *testing.T) {
	t.Run("frames", func(t *testing.T) { beHostile(t, hostileFrames()) })
	t.Run("inspector", func(t *testing.T) { beHostile(t, hostileInspectors()) })
}

func beHostile(t *testing.T, table []hostile) {
	ends := &endings{}
	w := newWard(t, wardConfig{logger: slog.New(ends), limits: Limits{StallTimeout: 2 * time.Second, PluginTimeout: time.Second}})
	var visits atomic.Int64
	neighbour := func(t *testing.T) {
		visits.Add(1)
		on := *w
		on.t = t
		c := on.dial()
		defer c.Close()
		c.send("ping\n")
		c.expect("ok ping")
		c.send("no\n") // only now: a device that is slow to answer would make it a stall
		c.expect("refused *")
	}
	neighbour(t)
	ends.of(t, "dev-1", 1)
	before := held(t)
	var rows sync.WaitGroup
	places := make(chan struct{}, atATime)
	for _, h := range table {
		places <- struct{}{}
		rows.Go(func() {
			defer func() { <-places }()
			t.Run(h.name, func(t *testing.T) {
				wait := patience
				if h.owes {
					wait = 2 * time.Second
				}
				g := w.admit(t, h.name, wait)
				if h.play != nil {
					h.play(t, g)
				} else {
					h.talk(t, g)
				}
				for _, end := range ends.of(t, h.name, 1) {
					// Who first finds that a process has gone may be who wants a window of it, or
					// another session of it.
					want := append(strings.Split(h.ends, "|"), "take a window", "is not running")
					if !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(end, s) }) {
						t.Errorf("the session ended for %q, want %q", end, h.ends)
					}
				}
				if h.dies && !eventually(func() bool { return g.plugin.Status().Crashes > 0 }) {
					t.Error("the plugin runs on")
				}
				if got := g.device.all(); h.play == nil && !strings.HasPrefix(h.device, got) {
					t.Errorf("the device received %q, want no more than %q", got, h.device)
				}
				neighbour(t)
			})
		})
	}
	rows.Wait()
	ends.of(t, "dev-1", int(visits.Load()))
	letGo(t, before, 2*atATime)
	if got, want := w.device.all(), strings.Repeat("ping\n", int(visits.Load())); got != want {
		t.Errorf("the neighbour's device received %q", got)
	}
	verifyLog(t, w)
}

// atATime is how many plugins are hostile at a time: some are so by making others wait.
const atATime = 8

// talk is the client's part: it says its lines until the session ends.
func (h *hostile) talk(t *testing.T, g *ward) {
	c := g.dial()
	lines := h.lines
	if lines == nil {
		lines = []string{"one\n"}
	}
	var got strings.Builder
	for i, line := range lines {
		io.WriteString(c, line) // the session may have ended
		if i < len(lines)-1 {
			got.WriteString(c.line() + "\n")
		}
	}
	got.WriteString(c.ends())
	c.Close() // or the gateway waits for it
	if !strings.HasPrefix(h.client, got.String()) {
		t.Errorf("the client received %q, want no more than %q", got.String(), h.client)
	}
}

func verifyLog(t *testing.T, w *ward) {
	t.Helper()
	r, err := audit.OpenReader(w.logDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(w.logDir, r.VerifierKey(), audit.Options{}); err != nil {
		t.Error(err)
	}
}

// served makes a row of a hostile inspector in the sdk's own runtime.
func served(name string, inspector func() sdk.Inspector, h hostile) hostile {
	h.name = name
	h.plugin = func() { serve.Serve(hostileProtocol(inspector)) }
	return h
}
