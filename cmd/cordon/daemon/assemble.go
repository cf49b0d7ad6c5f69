package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway"
	"cordon/gateway/alarm"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
	"cordon/plugins"
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
	if err := home.CheckWhole(path); err != nil {
		return nil, err
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return assembleFrom(ctx, c, nil, nil, log)
}

// assembleFrom is assemble for a process that takes over from old, if that is not nil: the log
// is not opened yet, and listeners that old has passed on are taken, and the policy that it has proven.
func assembleFrom(ctx context.Context, c *config.Config, old *handover.Predecessor, proven *revision.Digests, log *slog.Logger) (*Assembly, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Assembly{Config: c, log: handover.NewLog(), background: background, stop: stop, logger: log, broken: make(chan error, 1),
		raised: newRaised(), outcomes: newOutcomes(c, time.Now()), troubles: make(chan trouble, maxTroubles)}
	if err := a.build(ctx, background, old, proven, log); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Assembly) build(ctx, background context.Context, old *handover.Predecessor, proven *revision.Digests, log *slog.Logger) error {
	var err error
	if proven != nil {
		a.source, err = revision.OpenProven(a.Config, *proven)
	} else {
		a.source, err = revision.Start(ctx, a.Config, true)
	}
	if err != nil {
		return err
	}
	a.Policy = a.source.Current
	if a.source.Refused != nil {
		a.refusedFolder(a.source.Refused)
	}
	authority, err := home.OpenAuthority(a.Config)
	if err != nil {
		return err
	}
	if a.certs, err = authority.Source(ctx, ca.SourceConfig{Names: serverNames(a.Config), TrustFile: a.Config.Identity.CA.TrustFile, CRLFile: a.Config.Identity.CA.CRLFile, Tried: a.triedCertificates, Log: log}); err != nil {
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
	a.remember(a.Config)
	return a.source.Keep(a.Config, control.Operator(), a.record)
}

// refusedFolder tells that the gateway began by what the policy folder held before.
func (a *Assembly) refusedFolder(why error) {
	text := exit.Errors(why)[0].Message
	a.outcomes.note(fromFolder, why)
	a.logger.Error("the policy folder is refused, the policy that was in force before decides", "error", text)
	a.later(trouble{audit.Entry{Kind: kindFolder, Note: "refused at the start, what was in force before decides: " + text}, true})
}

// remember has the next start know what is in force, of what a configuration names.
func (a *Assembly) remember(c *config.Config) {
	if err := a.source.Remember(c); err != nil {
		a.logger.Warn("remember what the policy folder held", "error", err)
	}
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

// DeviceFacts are a device as policy sees it.
func DeviceFacts(d *config.Device) policy.Device {
	return policy.Device{ID: d.ID, Class: d.Class, Profile: d.Profile, Segment: d.Segment, Labels: orNone(d.Labels), State: d.State}
}

func orNone(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}
