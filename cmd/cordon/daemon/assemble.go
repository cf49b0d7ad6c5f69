package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/keeper"
	"cordon/cmd/cordon/revision"
	"cordon/gateway"
	"cordon/gateway/alarm"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
	"cordon/plugins"
	"cordon/plugins/sdk"
	"cordon/policy"
	"cordon/policy/rego"
)

// Assembly is a gateway put together from its configuration. This is the only place
// where the parts meet: OPA, the CA, the log and the plugins know nothing of each other.
type Assembly struct {
	Config  *config.Config
	Policy  *rego.Engine // in force; see put
	certs   *ca.Source
	log     *handover.Log
	plugins []*plugins.Plugin
	Gateway *gateway.Gateway

	candidate   *rego.Engine             // in force beside policy, or nil
	devices     map[string]policy.Device // in force, by id
	source      *revision.Source         // where the policy comes from
	rolling     rolling
	configured  inForce // what standing comes on top of
	standing    *standing
	emergencies *emergencies
	alarms      atomic.Pointer[alarm.Spool]   // nil: there is no channel, or another process has them
	raised      map[audit.Kind]*atomic.Uint64 // alarms
	outcomes    *outcomes
	shown       atomic.Pointer[shown]
	broken      chan error   // why the log cannot be written
	troubles    chan trouble // what else is to be told
	logger      *slog.Logger
	old         *handover.Predecessor // follows what is put; nil: this process took over from none

	segments map[string]*segment.Segment // by name; see enter

	runtime    string // directory of the plugins' control sockets
	background context.Context
	stop       func()         // ends what runs in the background
	disown     func()         // ends what only the process with the log does
	owned      sync.WaitGroup // that
	running    sync.WaitGroup // the plugins' supervisors, the certificates' renewal and the segments' watchers
}

// Assemble builds everything short of listening: an error is what would have kept the
// gateway from starting. Close the assembly.
func Assemble(ctx context.Context, path string, log *slog.Logger) (*Assembly, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return assembleFrom(ctx, c, nil, log)
}

// assembleFrom is assemble for a process that takes over from old, if that is not nil: the log
// is not opened yet, and listeners that old has passed on are taken.
func assembleFrom(ctx context.Context, c *config.Config, old *handover.Predecessor, log *slog.Logger) (*Assembly, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Assembly{Config: c, log: handover.NewLog(), background: background, stop: stop, logger: log, broken: make(chan error, 1),
		raised: newRaised(), outcomes: newOutcomes(c, time.Now()), troubles: make(chan trouble, maxTroubles)}
	if err := a.build(ctx, background, old, log); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Assembly) build(ctx, background context.Context, old *handover.Predecessor, log *slog.Logger) error {
	var err error
	if a.source, err = revision.Start(ctx, a.Config, true); err != nil {
		return err
	}
	a.Policy = a.source.Current
	authority, err := home.OpenAuthority(a.Config)
	if err != nil {
		return err
	}
	if a.certs, err = authority.Source(ctx, ca.SourceConfig{Names: serverNames(a.Config), TrustFile: a.Config.Identity.CA.TrustFile, Tried: a.triedCertificates, Log: log}); err != nil {
		return err
	}
	a.running.Go(func() { a.certs.Run(background) })
	a.running.Go(func() { a.followTroubles(background) })
	if old == nil {
		if err := a.own(); err != nil {
			return err
		}
	}
	routes, err := a.startPlugins(ctx, background, log)
	if err != nil {
		return err
	}
	listeners, err := takenOver(old, routes)
	if err != nil {
		return err
	}
	l := a.Config.Limits
	a.Gateway = gateway.New(gateway.Config{
		Name: a.Config.Gateway.Name, TrustDomain: a.Config.Identity.TrustDomain,
		Certs: a.certs, Policy: a.Policy, Log: a.log, Routes: routes, Listeners: listeners, Logger: log,
		Limits: gateway.Limits{
			Sessions: l.Sessions, SessionsPerSource: l.SessionsPerSource, HandshakeTimeout: l.HandshakeTimeout,
			DialTimeout: l.DialTimeout, DecideTimeout: l.DecisionTimeout, DrainTimeout: l.DrainTimeout,
		},
	})
	return a.stand(log)
}

// Close ends what was started, in the opposite order.
func (a *Assembly) Close() error {
	a.stop()
	a.running.Wait()
	a.owned.Wait()
	var err error
	if a.log != nil {
		err = a.log.Take()
	}
	if a.runtime != "" {
		err = errors.Join(err, os.RemoveAll(a.runtime))
	}
	return err
}

// own makes this process the one that writes the audit log and delivers alarms.
func (a *Assembly) own() error {
	ctx, stop := context.WithCancel(a.background)
	a.disown = stop
	if err := a.openAlarms(ctx); err != nil {
		return err
	}
	book := home.LogConfig(a.Config, a.logger)
	book.Unwritable = a.unwritable
	if err := a.log.Open(book); err != nil {
		return err
	}
	a.owned.Go(func() { a.followLog(ctx) })
	return a.source.Keep(a.Config, control.Operator(), a.record)
}

// giveUp is the opposite of own. What is in the log is durable then, and another process may open it.
func (a *Assembly) giveUp() error {
	a.disown()
	a.owned.Wait()
	return a.log.Take()
}

func serverNames(c *config.Config) []string {
	names := slices.Clone(c.Gateway.Names)
	for _, a := range c.Gateway.Addresses {
		names = append(names, a.String())
	}
	for _, a := range keptAddresses(c) {
		names = append(names, a.String())
	}
	return names
}

// service is a service of a device together with the number its plugin knows it by.
type service struct {
	device *config.Device
	*config.Service
	number  uint32
	callOut *config.CallOut // it is the device that connects
}

// startPlugins starts one plugin process per protocol and returns the routes, in the
// order of the file.
func (a *Assembly) startPlugins(ctx, background context.Context, log *slog.Logger) ([]gateway.Route, error) {
	if _, err := keeper.Plans(a.Config); err != nil {
		return nil, err
	}
	programs, err := a.programs()
	if err != nil {
		return nil, err
	}
	var services []service
	byProtocol := map[string]map[uint32][]byte{}
	for i := range a.Config.Devices {
		d := &a.Config.Devices[i]
		for _, s := range ServicesOf(d) {
			s.number = uint32(len(services))
			if known := Protocols(a.Config.Plugins); !slices.Contains(known, s.Proto) {
				return nil, config.Faults{a.Config.Fault("config.protocol.unknown", fmt.Sprintf("no plugin speaks %q, only %s", s.Proto, strings.Join(known, ", ")),
					"proto: hl7", append(s.path(), "proto")...)}
			}
			if byProtocol[s.Proto] == nil {
				byProtocol[s.Proto] = map[uint32][]byte{}
			}
			byProtocol[s.Proto][s.number] = s.Settings
			services = append(services, s)
		}
	}
	if a.runtime, err = MakeRuntime(); err != nil {
		return nil, err
	}
	windows := int(a.Config.Limits.WindowMemory / sdk.WindowSize)
	started := map[string]*plugins.Plugin{}
	for protocol, settings := range byProtocol {
		c := plugins.Config{Protocol: protocol, Services: settings, RuntimeDir: a.runtime, Windows: windows, Logger: log, Ended: a.pluginEnded(protocol)}
		if program, ok := programs[protocol]; ok {
			c.Command, c.SHA256 = []string{program.Path}, program.SHA256
		}
		p := plugins.New(c)
		if err := a.startPlugin(ctx, background, p); err != nil {
			if refused, ok := errors.AsType[*plugins.SettingsError](err); ok {
				return nil, a.settingsFault(services[refused.Service], refused.Message)
			}
			if program, ok := programs[protocol]; ok {
				return nil, a.programFault(program, err)
			}
			return nil, err
		}
		started[protocol] = p
		a.plugins = append(a.plugins, p)
	}
	for _, s := range a.Config.InsecureTLS12() {
		log.Warn("TLS 1.2 admitted: clients' certificates cross the network in clear", "service", s)
	}
	var routes []gateway.Route
	for _, s := range services {
		idle := s.IdleTimeout
		if idle == 0 {
			idle = a.Config.Limits.IdleTimeout
		}
		routes = append(routes, gateway.Route{
			Listen:   s.Listen.String(),
			Device:   DeviceFacts(s.device),
			Service:  policy.Service{Name: s.Name, Protocol: s.Proto},
			Address:  s.address().String(),
			Listener: a.listener(s), Dial: a.dialer(s),
			CallOut: a.callOut(s, log),
			Plugin:  started[s.Proto], Number: s.number,
			Sessions: s.Sessions, IdleTimeout: idle, AllowUnknown: s.AllowUnknown, UnseenReply: s.UnseenReplies, InsecureTLS12: s.InsecureTLS12,
			Answer: s.answer(),
		})
	}
	return routes, nil
}

// TryPlugins starts every plugin of a configuration with its settings, and ends it again. It returns how each ran.
func TryPlugins(ctx context.Context, c *config.Config) ([]plugins.Status, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Assembly{Config: c, stop: stop}
	defer a.Close()
	if _, err := a.startPlugins(ctx, background, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	var all []plugins.Status
	for _, p := range a.plugins {
		all = append(all, p.Status())
	}
	return all, nil
}

// DeviceFacts are a device as policy sees it.
func DeviceFacts(d *config.Device) policy.Device {
	return policy.Device{ID: d.ID, Class: d.Class, Profile: d.Profile, Segment: d.Segment, Labels: orNone(d.Labels), State: d.State}
}

// startPlugin starts p and waits until it runs or has said why it cannot.
func (a *Assembly) startPlugin(ctx, background context.Context, p *plugins.Plugin) error {
	failed := make(chan error, 1)
	a.running.Go(func() { failed <- p.Run(background) })
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	up := make(chan bool, 1)
	go func() { up <- p.WaitRunning(wait) }()
	select {
	case err := <-failed:
		cancel()
		<-up
		return err
	case running := <-up:
		if !running {
			return ctx.Err()
		}
		return nil
	}
}

// settingsFault points at the setting a plugin refused. Plugins name the key in quotes
// where they can.
func (a *Assembly) settingsFault(s service, message string) error {
	path := s.path()
	if _, rest, ok := strings.Cut(message, `"`); ok {
		if key, _, ok := strings.Cut(rest, `"`); ok {
			path = append(path, key)
		}
	}
	try := "see the settings of " + s.Proto + " in the documentation"
	if s.device.Profile != "" {
		try += "; what does not stand here comes from the profile: cordon profile show " + s.device.Profile
	}
	return config.Faults{a.Config.Fault("config.setting", fmt.Sprintf("%s: %s", s.Proto, message), try, path...)}
}

// MakeRuntime makes the directory for the control sockets, and removes those of gateways that
// were killed. It is under the temporary directory because a socket's path may be 107
// bytes long at most, and open to be passed through, because a plugin may run as
// another user.
func MakeRuntime() (string, error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "cordon-*-*"))
	if err != nil {
		return "", fmt.Errorf("look for directories of control sockets: %w", err)
	}
	for _, dir := range left {
		var pid int
		if n, _ := fmt.Sscanf(filepath.Base(dir), "cordon-%d-", &pid); n == 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.RemoveAll(dir) // if it is another user's, it stays
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("cordon-%d-", os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make a directory for control sockets: %w", err)
	}
	return dir, os.Chmod(dir, 0o711)
}

func orNone(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}
