package plugins

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"cordon/plugins/sdk"
)

// Plugin keeps one plugin process running. Its sessions end with the process; new ones
// wait for the next. Run must be running for Open to succeed.
type Plugin struct {
	config Config

	mu      sync.Mutex
	current *process
	changed chan struct{} // closed and replaced when current or status changes
	crashes int
	held    error // why no process is being started for a while

	asked chan struct{} // by Turns
}

// New returns a plugin that is not started.
func New(c Config) *Plugin {
	return &Plugin{config: c.withDefaults(), changed: make(chan struct{}), asked: make(chan struct{})}
}

// A process that ends is started again at once. One that ended crashLoop times within
// crashWindow is held off for crashHold: starting it over and over helps nobody.
const (
	crashLoop   = 5
	crashWindow = time.Minute
	crashHold   = 30 * time.Second
	retryPause  = 100 * time.Millisecond
)

// Run starts the plugin, keeps it running and ends it when ctx is done. It returns an
// error only if the first start does not succeed.
func (p *Plugin) Run(ctx context.Context) error {
	runtime.LockOSThread() // for launch; the thread ends with this goroutine
	var crashes []time.Time
	for first := true; ; first = false {
		proc, err := launch(ctx, p.config)
		if err != nil && first && ctx.Err() == nil {
			return err
		}
		if err == nil {
			err = p.serve(ctx, proc, first)
		}
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		crashes = append(crashes, now)
		for now.Sub(crashes[0]) > crashWindow {
			crashes = crashes[1:]
		}
		pause := retryPause
		if len(crashes) >= crashLoop {
			pause, crashes = crashHold, nil
			err = fmt.Errorf("held off for %v after %d ends within %v: %w", crashHold, crashLoop, crashWindow, err)
		}
		p.config.Logger.Error("plugin ended", "plugin", p.config.Protocol, "error", err, "restart_in", pause)
		p.change(nil, err)
		if p.config.Ended != nil {
			p.config.Ended(err, p.Status().Crashes, pause)
		}
		for paused := time.After(pause); paused != nil; {
			select {
			case <-ctx.Done():
				return nil
			case <-p.asked:
			case <-paused:
				paused = nil
			}
		}
	}
}

// Turns returns nil once the supervisor has taken notice, or says that it had not when ctx
// was done. It is for a watchdog: while a process is being started the supervisor is busy, for
// 20 s at most.
func (p *Plugin) Turns(ctx context.Context) error {
	select {
	case p.asked <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask the supervisor of plugin %s: %w", p.config.Protocol, ctx.Err())
	}
}

// serve makes proc the current process until it or ctx ends.
func (p *Plugin) serve(ctx context.Context, proc *process, first bool) error {
	for _, m := range proc.measures {
		if !m.Applied {
			p.config.Logger.Warn("plugin not fully confined", "plugin", p.config.Protocol, "measure", m.Name, "reason", m.Detail)
		}
	}
	p.config.Logger.Debug("plugin started", "plugin", p.config.Protocol, "version", proc.version, "again", !first)
	p.change(proc, nil)
	for running := true; running; {
		select {
		case <-p.asked:
			continue
		case <-proc.done:
		case <-ctx.Done():
			proc.kill(errClosed)
		}
		running = false
	}
	p.change(nil, nil)
	proc.bury()
	return proc.cause
}

func (p *Plugin) change(current *process, held error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held != nil {
		p.crashes++
	}
	p.current, p.held = current, held
	close(p.changed)
	p.changed = make(chan struct{})
}

// Open begins a session of a configured service and returns the plugin's first steps. If
// no process is running it waits for one until ctx is done. Close the Inspection when the
// session ends.
func (p *Plugin) Open(ctx context.Context, service uint32, owner Owner) (*Inspection, []sdk.Step, error) {
	for {
		p.mu.Lock()
		proc, changed, held := p.current, p.changed, p.held
		p.mu.Unlock()
		if proc != nil {
			i, steps, err := proc.open(service, owner)
			if err == nil {
				return i, steps, nil
			}
			held = err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, errors.Join(fmt.Errorf("open an inspection: plugin %s is not running", p.config.Protocol), held)
		}
	}
}

// Status is what operators are told about a plugin.
type Status struct {
	Protocol string    `json:"protocol"`
	Version  string    `json:"version,omitempty"`
	Running  bool      `json:"running"`
	Crashes  int       `json:"crashes"`
	Sessions int       `json:"sessions"`
	Windows  int       `json:"windows"` // in use
	Measures []Measure `json:"confinement,omitempty"`
	Held     string    `json:"held,omitempty"` // why it is not running
}

// Windows is how many windows there may be in use at a time.
func (p *Plugin) Windows() int { return p.config.Windows }

// Status returns the plugin's state now.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Protocol: p.config.Protocol, Crashes: p.crashes}
	if p.held != nil {
		s.Held = p.held.Error()
	}
	if p.current != nil {
		s.Running, s.Version, s.Measures = true, p.current.version, p.current.measures
		p.current.mu.Lock()
		s.Sessions = len(p.current.sessions)
		p.current.mu.Unlock()
		s.Windows = len(p.current.pool.places)
	}
	return s
}

// WaitRunning waits until a process is running or ctx is done, and reports which.
func (p *Plugin) WaitRunning(ctx context.Context) bool {
	for {
		p.mu.Lock()
		running, changed := p.current != nil, p.changed
		p.mu.Unlock()
		if running {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
