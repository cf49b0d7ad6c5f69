package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/gateway/alarm"
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// AlarmDir is where alarms wait for their delivery, in gateway.state.
const AlarmDir = "alarms"

// alarmer tells people of what an entry says at once, if it is worth it. f is the fact it is
// about, nil if none is.
type alarmer func(e audit.Entry, f *access.Fact)

// severities of what is an alarm. What has none here is for the log alone.
var severities = map[audit.Kind]alarm.Severity{
	audit.KindBreakGlassOpened: alarm.Alert, audit.KindBreakGlassClosed: alarm.Notice, audit.KindBreakGlassReviewed: alarm.Notice,
	audit.KindBreakGlassOverdue: alarm.Alert, audit.KindBreakGlassRefused: alarm.Warning,
	audit.KindQuarantine: alarm.Warning, audit.KindRelease: alarm.Notice,
	KindSegment: alarm.Warning, kindUnwritable: alarm.Alert,
	kindPlugin: alarm.Warning, kindPluginHeld: alarm.Alert, kindCertificates: alarm.Warning, kindFolder: alarm.Warning,
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

// AlarmChannels are those of a configuration.
func AlarmChannels(c *config.Config) ([]alarm.Channel, error) {
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
func (a *Assembly) openAlarms(ctx context.Context) error {
	channels, err := AlarmChannels(a.Config)
	if err != nil || len(channels) == 0 {
		return err
	}
	spool, err := alarm.Open(filepath.Join(a.Config.Gateway.State, AlarmDir), channels, a.logger)
	if err != nil {
		return err
	}
	a.alarms.Store(spool)
	a.owned.Go(func() { spool.Run(ctx) })
	return nil
}

// alarm tells of e, in the gateway's own log in any case.
func (a *Assembly) alarm(e audit.Entry, f *access.Fact) {
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
func (a *Assembly) alarmOf(e audit.Entry, severity alarm.Severity, f *access.Fact) *alarm.Alarm {
	al := NewAlarm(a.Config, string(e.Kind), severity, e.Note)
	if f != nil {
		al.Subject, al.Device = f.Subject, f.Device
	}
	return al
}

// followLog tells that the log cannot be written, until ctx is done.
func (a *Assembly) followLog(ctx context.Context) {
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
func (a *Assembly) unwritable(cause error) {
	select {
	case a.broken <- cause:
	default: // that it is so is about to be told
	}
}

// NewAlarm makes an alarm of a gateway, at this moment.
func NewAlarm(c *config.Config, name string, severity alarm.Severity, text string) *alarm.Alarm {
	return &alarm.Alarm{ID: "alarm_" + rand.Text(), Time: time.Now().UTC(), Gateway: c.Gateway.Name, Name: name, Severity: severity, Text: text}
}

// Told is what a channel said.
type Told struct {
	Channel string `json:"channel"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
}

// ToldBy is what came of a channel.
func ToldBy(channel string, err error) Told {
	t := Told{Channel: channel, OK: err == nil}
	if err != nil {
		t.Error = err.Error()
	}
	return t
}
