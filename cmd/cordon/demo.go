package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/deploy/demo"
	"cordon/gateway/audit"
	"cordon/policy/rego"
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

// stage is the demo's gateway and those who visit it.
type stage struct {
	*daemon.Assembly
	dir     string
	visits  map[string]string      // gateway address by device
	badges  map[string]*tls.Config // TLS configuration by person
	acts    int
	failed  []string
	outcome map[demo.Outcome]int
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

// setStage makes the gateway as "init", "device add" and "cert issue" would.
func (a *app) setStage(ctx context.Context, dir string, devices map[string]string) (*stage, error) {
	const name, domain = "demo-ward", "ward.demo"
	s := &stage{dir: dir, visits: map[string]string{}, badges: map[string]*tls.Config{}, outcome: map[demo.Outcome]int{}}
	text, err := config.Initial(name, domain, "state")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		return nil, err
	}
	if err := ca.Init(filepath.Join(dir, "state", home.CADir), ca.Config{TrustDomain: domain, Name: "Demo Ward"}); err != nil {
		return nil, err
	}
	if err := rego.WriteShipped(filepath.Join(dir, "policy")); err != nil {
		return nil, err
	}
	if err := bindAETitles(filepath.Join(dir, "policy", "data.yaml")); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, config.FileName)
	if err := disk.Create(file, text, 0o644); err != nil {
		return nil, err
	}
	for _, d := range demo.Devices() {
		if err := addDemoDevice(file, d, devices[d.ID]); err != nil {
			return nil, err
		}
	}
	log := a.newLogger(a.stderr)
	if a.verbose == 0 {
		log = quietLogger(a.stderr)
	}
	if s.Assembly, err = daemon.Assemble(ctx, file, log); err != nil {
		return nil, err
	}
	for i := range s.Gateway.Routes { // whichever ports are free
		s.Gateway.Routes[i].Listen = "127.0.0.1:0"
	}
	if err := s.issueBadges(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// bindAETitles writes into the policy's data which certificate may use which AE titles.
func bindAETitles(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	bound, err := json.Marshal(demo.AETitles()) // JSON is YAML
	if err != nil {
		return err
	}
	text := strings.Replace(string(b), "\nae_titles: {}\n", "\nae_titles: "+string(bound)+"\n", 1)
	return os.WriteFile(file, []byte(text), 0o644)
}

// addDemoDevice adds a simulated device. The port to listen on is only a place in the
// file: the demo takes whichever is free.
func addDemoDevice(file string, d demo.Device, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	settings := "{}"
	if class := d.Settings["class"]; class != "" {
		settings = fmt.Sprintf(`{"class":%q}`, class)
	}
	_, err = config.AddDevice(file, config.Device{
		ID: d.ID, Address: at.Addr(), Profile: d.Profile, Class: d.Class, State: d.State,
		Services: []config.Service{{Name: d.Protocol, Proto: d.Protocol, Port: at.Port(),
			Listen: config.Listen{Addr: netip.MustParseAddr("127.0.0.2"), Port: at.Port()}, Settings: []byte(settings)}},
	}, false)
	return err
}

func (s *stage) issueBadges(ctx context.Context) error {
	authority, err := home.OpenAuthority(s.Config)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.RootPEM())
	s.badges["unknown"] = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for _, p := range demo.People() {
		issued, err := authority.Issue(ctx, ca.Request{Kind: p.Kind, ID: p.ID, Roles: p.Roles})
		if err != nil {
			return err
		}
		badge, err := tls.X509KeyPair(issued.Chain, issued.Key)
		if err != nil {
			return err
		}
		s.badges[p.ID] = certs.ClientConfig(roots, badge, "localhost")
	}
	return nil
}

// play lets the visitors act until ctx is done, the whole play at least once.
func (s *stage) play(ctx context.Context) {
	for {
		for _, act := range demo.Play() {
			s.act(act)
			pause := 250 * time.Millisecond
			if s.acts <= len(demo.Play()) {
				pause = 20 * time.Millisecond
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			if ctx.Err() != nil && s.acts >= len(demo.Play()) {
				return
			}
		}
	}
}

func (s *stage) act(act demo.Act) {
	s.acts++
	got, code, err := demo.Visit(context.Background(), s.visits[act.Device], s.badges[act.Who.ID], act, s.acts)
	s.outcome[got]++
	switch {
	case err != nil:
		s.failed = append(s.failed, fmt.Sprintf("%s %s on %s: %v", act.Who.ID, act.What, act.Device, err))
	case got != act.Want:
		s.failed = append(s.failed, fmt.Sprintf("%s %s on %s: %s, want %s", act.Who.ID, act.What, act.Device, got, act.Want))
	case got == demo.Refused && code != "":
		if e, err := s.recorded(code); err != nil || e.Decision.Allow {
			s.failed = append(s.failed, fmt.Sprintf("%s %s on %s: the code it was told, %q, is not that of a refusal in the log", act.Who.ID, act.What, act.Device, code))
		}
	}
}

func (s *stage) recorded(code string) (audit.Entry, error) {
	r, err := audit.OpenReader(s.Config.Audit.Dir)
	if err != nil {
		return audit.Entry{}, err
	}
	return r.ByCode(code)
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
