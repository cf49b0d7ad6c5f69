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
	"syscall"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway"
	"cordon/plugins"
	"cordon/plugins/sdk"
	"cordon/policy"
)

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
