package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/alarm"
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// alarmDir is where alarms wait for their delivery, in gateway.state.
const alarmDir = "alarms"

// alarmer tells people of what an entry says at once, if it is worth it. f is the fact it is
// about, nil if none is.
type alarmer func(e audit.Entry, f *access.Fact)

// severities of what is an alarm. What has none here is for the log alone.
var severities = map[audit.Kind]alarm.Severity{
	audit.KindBreakGlassOpened: alarm.Alert, audit.KindBreakGlassClosed: alarm.Notice, audit.KindBreakGlassReviewed: alarm.Notice,
	audit.KindBreakGlassOverdue: alarm.Alert, audit.KindBreakGlassRefused: alarm.Warning,
	audit.KindQuarantine: alarm.Warning, audit.KindRelease: alarm.Notice,
	kindSegment: alarm.Warning, kindUnwritable: alarm.Alert,
	kindPlugin: alarm.Warning, kindPluginHeld: alarm.Alert, kindCertificates: alarm.Warning,
	audit.KindBreakGlassDrill: alarm.Alert, // it takes the way that an emergency takes
}

// newRaised counts alarms by kind.
func newRaised() map[audit.Kind]*atomic.Uint64 {
	raised := map[audit.Kind]*atomic.Uint64{}
	for kind := range severities {
		raised[kind] = new(atomic.Uint64)
	}
	return raised
}

// kindUnwritable is the alarm about a log that cannot be written. There is no such entry.
const kindUnwritable audit.Kind = "log-unwritable"

// alarmChannels are those of a configuration.
func alarmChannels(c *config.Config) ([]alarm.Channel, error) {
	var list []alarm.Channel
	if c.Alarms.Syslog != "" {
		s, err := alarm.ParseSyslog(c.Alarms.Syslog)
		if err != nil {
			return nil, config.Faults{c.Fault("config.value", fmt.Sprintf("alarms.syslog is %q, %v", c.Alarms.Syslog, err), "such as unix:///dev/log", "alarms", "syslog")}
		}
		list = append(list, s)
	}
	if w := c.Alarms.Webhook; w.URL != "" {
		list = append(list, &alarm.Webhook{URL: w.URL, SecretFile: w.SecretFile, TrustFile: w.TrustFile})
	}
	return list, nil
}

// openAlarms starts to deliver alarms until ctx is done, those from before the start first. A channel that
// cannot be told anything is no reason not to start.
func (a *assembly) openAlarms(ctx context.Context) error {
	channels, err := alarmChannels(a.config)
	if err != nil || len(channels) == 0 {
		return err
	}
	spool, err := alarm.Open(filepath.Join(a.config.Gateway.State, alarmDir), channels, a.logger)
	if err != nil {
		return err
	}
	a.alarms.Store(spool)
	a.owned.Go(func() { spool.Run(ctx) })
	return nil
}

// alarm tells of e, in the gateway's own log in any case.
func (a *assembly) alarm(e audit.Entry, f *access.Fact) {
	severity, known := severities[e.Kind]
	if !known {
		return
	}
	a.raised[e.Kind].Add(1)
	a.logger.Warn("alarm", "name", e.Kind, "text", e.Note)
	spool := a.alarms.Load()
	if spool == nil {
		return
	}
	if err := spool.Raise(a.alarmOf(e, severity, f)); err != nil {
		a.logger.Error("an alarm is lost", "name", e.Kind, "error", err)
	}
}

// alarmOf is the alarm about an entry.
func (a *assembly) alarmOf(e audit.Entry, severity alarm.Severity, f *access.Fact) *alarm.Alarm {
	al := newAlarm(a.config, string(e.Kind), severity, e.Note)
	if f != nil {
		al.Subject, al.Device = f.Subject, f.Device
	}
	return al
}

// followLog tells that the log cannot be written, until ctx is done.
func (a *assembly) followLog(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case cause := <-a.broken:
			a.alarm(audit.Entry{Kind: kindUnwritable, Note: fmt.Sprintf("the audit log cannot be written, operations are refused: %v", cause)}, nil)
		}
	}
}

// unwritable has followLog tell of it, and does not wait.
func (a *assembly) unwritable(cause error) {
	select {
	case a.broken <- cause:
	default: // that it is so is about to be told
	}
}

func newAlarm(c *config.Config, name string, severity alarm.Severity, text string) *alarm.Alarm {
	return &alarm.Alarm{ID: "alarm_" + rand.Text(), Time: time.Now().UTC(), Gateway: c.Gateway.Name, Name: name, Severity: severity, Text: text}
}

func alarmCommand(a *app) *cobra.Command {
	c := group("alarm", "Who is told at once: syslog and a webhook")
	c.AddCommand(alarmTestCommand(a))
	return c
}

func alarmTestCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "test", Short: "Send an alarm over every channel, and say what came back",
		Long: `Send an alarm named "test" over every channel of alarms in the configuration, at once and once, and say what
came back. Syslog has no answer: look whether it arrived. A webhook has to answer with 2xx; its signature is that
of Standard Webhooks.`,
		Example: "  cordon alarm test --dir DIR",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return cannot("send an alarm", a.testAlarm(c.Context())) },
	}
}

// told is what a channel said.
type told struct {
	Channel string `json:"channel"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
}

func (a *app) testAlarm(ctx context.Context) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	channels, err := alarmChannels(c)
	if err != nil {
		return err
	}
	if len(channels) == 0 {
		return exit.Error{Code: "alarm.none", Message: "no channel is configured", Exit: exit.NotFound, Try: []string{"alarms: { syslog: \"unix:///dev/log\" } in " + a.config()}}
	}
	al := newAlarm(c, "test", alarm.Notice, "a test by "+control.Operator()+": nothing is amiss")
	var list []told
	for _, channel := range channels {
		ctx, cancel := context.WithTimeout(ctx, alarm.SendTimeout)
		list = append(list, toldBy(channel.Name(), channel.Send(ctx, al)))
		cancel()
	}
	if a.json {
		err = a.object(struct {
			Schema   string `json:"schema"`
			ID       string `json:"id"`
			Channels []told `json:"channels"`
		}{"cordon.alarm.test/v1", al.ID, list})
	} else {
		err = a.showTold(list)
	}
	if err == nil {
		err = untold(list)
	}
	return err
}

// toldBy is what came of a channel.
func toldBy(channel string, err error) told {
	t := told{Channel: channel, OK: err == nil}
	if err != nil {
		t.Error = err.Error()
	}
	return t
}

func (a *app) showTold(list []told) error {
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{t.Channel, map[bool]string{true: "sent", false: "failed"}[t.OK], cmp.Or(t.Error, "-")})
	}
	return a.table([]string{"CHANNEL", "RESULT", "ERROR"}, rows)
}

// untold is a failure if a channel failed.
func untold(list []told) error {
	failed := 0
	for _, t := range list {
		if !t.OK {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return exit.Error{Code: "alarm.failed", Message: fmt.Sprintf("%d of %d channels failed", failed, len(list)), Exit: exit.Unreachable, Try: []string{"what the channel's error says"}}
}
