package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/deploy/demo"
	"cordon/gateway/audit"
)

func demoCommand(a *app) *cobra.Command {
	var length time.Duration
	var keep string
	c := &cobra.Command{
		Use: "demo", Short: "Watch a simulated ward behind a real gateway",
		Long: `Run a gateway with its own CA, policy, plugins and log in front of simulated devices,
and let simulated people use them. Everything stays on loopback, needs no root and is
removed at the end. Each outcome is compared with the one it must have: a difference
ends the demo with exit code 5.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("run the demo", a.demo(c.Context(), length, keep))
		},
	}
	f := c.Flags()
	f.DurationVar(&length, "for", 0, "how long, from when the ward is ready (default until interrupted)")
	f.StringVar(&keep, "keep", "", "make the ward in `DIR` and leave it there")
	return c
}

func (a *app) demo(ctx context.Context, length time.Duration, keep string) (err error) {
	dir, clean, err := demoDir(keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clean()) }()
	playing, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	devices, stopDevices, err := demo.Serve(playing, demo.Devices())
	if err != nil {
		hangUp()
		return err
	}
	defer func() { hangUp(); stopDevices() }()

	began := time.Now()
	s, err := a.setStage(ctx, dir, devices)
	if err != nil {
		return err
	}
	listeners, err := s.Gateway.Listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	for i, l := range listeners {
		s.visits[s.Gateway.Routes[i].Device.ID] = l.Addr().String()
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.Gateway.Serve(serving, listeners) }()
	reader, err := audit.OpenReader(s.Config.Audit.Dir)
	if err != nil {
		stopServing()
		return errors.Join(err, <-served, s.Close())
	}
	a.remark("ward of %d devices, ready in %d ms, policy %.19s, everything on loopback",
		len(devices), time.Since(began).Milliseconds(), s.Policy.Revision())

	scrolling, stopScrolling := context.WithCancel(context.WithoutCancel(ctx))
	scrolled := make(chan error, 1)
	go func() { scrolled <- a.scroll(scrolling, reader) }()
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	s.play(ctx)
	time.Sleep(300 * time.Millisecond) // the scroll looks for entries five times a second
	stopScrolling()
	err = <-scrolled
	stopServing()
	err = errors.Join(err, <-served, s.Close())
	if err != nil {
		return err
	}
	return a.curtain(s)
}

// demoDir makes the ward's directory and returns how to remove it again.
func demoDir(keep string) (string, func() error, error) {
	if keep == "" {
		dir, err := os.MkdirTemp("", "cordon-demo-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if _, err := os.Lstat(filepath.Join(keep, config.FileName)); err == nil {
		return "", nil, exit.Error{Code: "demo.exists", Message: keep + " holds a gateway already", Exit: exit.Conflict, Try: []string{"--keep with a new directory"}}
	}
	return keep, func() error { return nil }, os.MkdirAll(keep, 0o755)
}

// scroll shows decisions as they are recorded; connecting is only worth a line if it
// was refused.
func (a *app) scroll(ctx context.Context, r *audit.Reader) error {
	for e, err := range r.Follow(ctx, 0) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Decision.Allow && strings.Contains(string(e.Input), `"phase":"connect"`) && a.verbose == 0 {
			continue
		}
		if err := a.showEntry(&e); err != nil {
			return err
		}
	}
	return nil
}

// curtain says how the play went.
func (a *app) curtain(s *stage) error {
	if a.json {
		err := a.line(struct {
			Schema  string   `json:"schema"`
			Acts    int      `json:"acts"`
			Allowed int      `json:"allowed"`
			Refused int      `json:"refused"`
			Stopped int      `json:"stopped"`
			Failed  []string `json:"failed"`
		}{"cordon.demo/v1", s.acts, s.outcome[demo.Allowed], s.outcome[demo.Refused], s.outcome[demo.Stopped], append([]string{}, s.failed...)})
		if err != nil {
			return err
		}
	}
	a.remark("%d acts: %d allowed, %d refused in their protocol, %d stopped at the handshake", s.acts, s.outcome[demo.Allowed], s.outcome[demo.Refused], s.outcome[demo.Stopped])
	if len(s.failed) > 0 {
		return exit.Error{Code: "demo.outcome", Message: fmt.Sprintf("%d of %d acts ended otherwise than they must", len(s.failed), s.acts), Exit: exit.Checks, Try: s.failed[:min(5, len(s.failed))]}
	}
	return nil
}
