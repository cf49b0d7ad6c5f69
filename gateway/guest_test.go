package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/plugins"
	"cordon/policy"
)

// admit adds a route to w's gateway for the length of a test: a plugin that behaves as
// named, for whose answers the gateway waits as long, and a device of its own. What it returns
// stands for that route.
func (w *ward) admit(t *testing.T, behaviour string, wait time.Duration) *ward {
	t.Helper()
	g := *w
	g.t, g.plugin, g.device = t, startHostile(t, behaviour, wait, w.gateway.Logger), newRecorder(t, nil)
	g.address = w.attach(t, behaviour, g.plugin, g.device.address())
	t.Cleanup(g.device.close)
	return &g
}

// hostilePlugin is a plugin that is not running yet.
func hostilePlugin(t *testing.T, behaviour string, wait time.Duration, log *slog.Logger) *plugins.Plugin {
	return plugins.New(plugins.Config{
		Protocol: "hostile", Command: []string{"/proc/self/exe", "plugin", behaviour}, Services: map[uint32][]byte{1: []byte("{}")},
		RuntimeDir: t.TempDir(), Patience: wait, Windows: 32, Logger: log,
	})
}

func startHostile(t *testing.T, behaviour string, wait time.Duration, log *slog.Logger) *plugins.Plugin {
	t.Helper()
	p := hostilePlugin(t, behaviour, wait, log)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !p.WaitRunning(starting) {
		t.Fatalf("plugin %q does not start", behaviour)
	}
	return p
}

// attach adds a route for p to w's gateway, until the test ends, and returns the address
// clients connect to.
func (w *ward) attach(t *testing.T, id string, p *plugins.Plugin, device string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	route := &Route{
		Device:  policy.Device{ID: id, Class: "test", Labels: map[string]string{}, State: policy.StateActive},
		Service: policy.Service{Name: "hostile", Protocol: "hostile"}, Address: device, Plugin: p, Number: 1,
		IdleTimeout: 3 * time.Second,
		Answer: func(b []byte) error {
			if string(b) != "refused\n" {
				return errors.New("it is no refusal")
			}
			return nil
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	var accepting sync.WaitGroup
	accepting.Go(func() { w.gateway.accept(ctx, ctx, route, &door{Listener: l, asked: make(chan struct{}, 1)}) })
	t.Cleanup(func() {
		stop()
		l.Close()
		accepting.Wait()
	})
	return l.Addr().String()
}

// endings keeps why sessions ended, by device, from the gateway's one line for each.
type endings struct {
	mu   sync.Mutex
	list map[string][]string
}

func (e *endings) Enabled(context.Context, slog.Level) bool { return true }
func (e *endings) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e *endings) WithGroup(string) slog.Handler            { return e }

func (e *endings) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "session" {
		return nil
	}
	var device, end string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "device":
			device = a.Value.String()
		case "end":
			end = a.Value.String()
		}
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.list == nil {
		e.list = map[string][]string{}
	}
	e.list[device] = append(e.list[device], end)
	return nil
}

// of waits for n sessions with a device to have ended, and says why they did.
func (e *endings) of(t *testing.T, device string, n int) []string {
	t.Helper()
	var list []string
	if !eventually(func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		list = e.list[device]
		return len(list) >= n
	}) {
		t.Fatalf("%d of %d sessions have ended", len(list), n)
	}
	return list
}

// sessionWith waits for an established session with a device.
func (w *ward) sessionWith(device string) (found *session) {
	w.t.Helper()
	if !eventually(func() bool {
		w.gateway.each(func(s *session) {
			if s.route.Device.ID == device {
				found = s
			}
		})
		return found != nil
	}) {
		w.t.Fatalf("there is no session with %s", device)
	}
	return found
}

// eventually waits for ok to hold.
func eventually(ok func() bool) bool {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

// holdings is what this process holds that a session or a plugin could leave behind.
type holdings struct{ goroutines, descriptors, windows int }

func held(t *testing.T) holdings {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return holdings{runtime.NumGoroutine(), len(fds), bytes.Count(maps, []byte("memfd:cordon-window")) / 2}
}

// letGo waits for this process to hold no more than before. windows is how many the
// plugins that remain may have made meanwhile.
func letGo(t *testing.T, before holdings, windows int) {
	t.Helper()
	var now holdings
	if eventually(func() bool {
		now = held(t)
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.windows <= max(before.windows, windows)
	}) {
		return
	}
	var stacks strings.Builder
	if now.goroutines > before.goroutines {
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	}
	t.Errorf("left behind: %s\n%s", fmt.Sprintf("%+v, before %+v", now, before), stacks.String())
}
