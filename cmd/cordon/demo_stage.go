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

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/home"
	"cordon/deploy/demo"
	"cordon/gateway/audit"
)

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

// setStage makes the gateway as "init", "device add" and "cert issue" would.
func (a *app) setStage(ctx context.Context, dir string, devices map[string]string) (*stage, error) {
	const name, domain = "demo-ward", "ward.demo"
	s := &stage{dir: dir, visits: map[string]string{}, badges: map[string]*tls.Config{}, outcome: map[demo.Outcome]int{}}
	_, file, err := home.Init(dir, name, domain, "state")
	if err != nil {
		return nil, err
	}
	if err := bindAETitles(filepath.Join(dir, "policy", "data.yaml")); err != nil {
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
