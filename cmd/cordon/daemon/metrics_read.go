package daemon

import (
	"context"
	"time"

	"cordon/gateway"
	"cordon/gateway/audit"
	"cordon/gateway/metrics"
)

// readTimeout bounds what a scrape waits for: who makes sockets in segments, and the policy.
const readTimeout = 2 * time.Second

// read fills in what there is to be seen.
func (r *reloader) read(m *metrics.Reading) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	s, p := r.status(ctx), r.parts
	b := Build()
	m.Add(metrics.BuildInfo, 1, b.Version, b.Revision, b.Go)
	for _, c := range s.Checks {
		m.Mark(metrics.Ready, c.OK, c.Name)
	}
	r.readTraffic(m, p.Gateway.Counts())
	if book, own := p.log.Stats(); own {
		readAudit(m, &book)
	}
	for i, plugin := range s.Plugins {
		m.Mark(metrics.PluginUp, plugin.Running, plugin.Protocol)
		m.Add(metrics.PluginEnds, float64(plugin.Crashes), plugin.Protocol)
		m.Add(metrics.PluginSessions, float64(plugin.Sessions), plugin.Protocol)
		m.Add(metrics.PluginWindows, float64(plugin.Windows), plugin.Protocol)
		m.Add(metrics.PluginWindowsMost, float64(p.plugins[i].Windows()), plugin.Protocol)
	}
	readPolicy(m, s)
	for name, ends := range s.Certificates {
		m.Time(metrics.CertificateEnds, ends, name)
	}
	for _, x := range s.Segments {
		m.Mark(metrics.SegmentUp, x.Up, x.Name)
	}
	for state, n := range s.Devices {
		m.Add(metrics.Devices, float64(n), state)
	}
	m.Add(metrics.BreakGlassOpen, float64(s.BreakGlass.Open))
	m.Add(metrics.BreakGlassUnreviewed, float64(s.BreakGlass.Unreviewed))
	m.Add(metrics.BreakGlassOverdue, float64(s.BreakGlass.Overdue))
	p.readAlarms(m, s)
}

// readTraffic sums up routes that have the same labels.
func (r *reloader) readTraffic(m *metrics.Reading, c gateway.Counts) {
	criticality := map[string]string{}
	for i := range r.parts.Config.Devices {
		d := &r.parts.Config.Devices[i]
		criticality[d.ID] = d.Criticality
	}
	verdict := map[bool]string{true: "allow", false: "deny"}
	for _, x := range c.Routes {
		// As it was when this process began: a counter must not move from one series to another.
		class, protocol := x.Route.Device.Class, x.Route.Service.Protocol
		for _, d := range x.Decisions {
			m.Add(metrics.Decisions, float64(d.N), verdict[d.Allow], string(d.Cause), protocol, string(d.Class), class, criticality[x.Route.Device.ID])
		}
		m.Add(metrics.Sessions, float64(x.Sessions), protocol)
		for reason, n := range x.Ends {
			m.Add(metrics.SessionEnds, float64(n), protocol, reason)
		}
		m.Add(metrics.DeviceFailures, float64(x.Unreachable), class, "unreachable")
		m.Add(metrics.DeviceFailures, float64(x.Busy), class, "busy")
	}
	for reason, n := range c.Handshakes {
		m.Add(metrics.HandshakesRefused, float64(n), reason)
	}
	m.Add(metrics.SourcesCrowded, float64(c.Crowded))
	m.Add(metrics.SessionsStaying, float64(c.Elsewhere))
	m.Timing(metrics.DecisionDuration, c.Decide)
	m.Timing(metrics.RecordDuration, c.Record)
}

func readAudit(m *metrics.Reading, s *audit.Stats) {
	m.Mark(metrics.AuditWritable, s.Err == nil)
	m.Add(metrics.AuditEntries, float64(s.Entries))
	m.Add(metrics.AuditEntriesRefused, float64(s.Refused))
	m.Add(metrics.AuditWaiting, float64(s.Waiting))
	m.Add(metrics.AuditUnsigned, float64(s.Unsigned))
	m.Timing(metrics.AuditCommitDuration, s.Commits)
}

func readPolicy(m *metrics.Reading, s *Status) {
	m.Add(metrics.PolicyInfo, 1, s.Policy, string(s.Source))
	m.Time(metrics.PolicySince, s.Since)
	if s.Stage != "" {
		m.Add(metrics.PolicyRollout, 1, s.Stage)
	}
	if s.Bundle != nil {
		m.Add(metrics.BundleRevision, float64(s.Bundle.Revision))
		m.Time(metrics.BundleMade, s.Bundle.Made)
	}
	for _, o := range s.Outcomes {
		m.Add(metrics.Reloads, float64(o.Successes), string(o.Source), "success")
		m.Add(metrics.Reloads, float64(o.Failures), string(o.Source), "failure")
		m.Mark(metrics.ReloadSuccessful, o.OK, string(o.Source))
		m.Time(metrics.ReloadSuccessTime, o.Success, string(o.Source))
	}
	m.Time(metrics.TrialEnds, s.Trial)
}

func (a *Assembly) readAlarms(m *metrics.Reading, s *Status) {
	for kind, n := range a.raised {
		m.Add(metrics.AlarmsRaised, float64(n.Load()), string(kind))
	}
	for channel, n := range s.Alarms.Waiting {
		m.Add(metrics.AlarmsWaiting, float64(n), channel)
	}
	m.Time(metrics.AlarmsOldest, s.Alarms.Oldest)
	if spool := a.alarms.Load(); spool != nil {
		for channel, n := range spool.Attempts() {
			m.Add(metrics.AlarmsDeliveries, float64(n.Sent), channel, "success")
			m.Add(metrics.AlarmsDeliveries, float64(n.Failed), channel, "failure")
		}
	}
}
