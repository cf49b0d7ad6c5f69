package main

import "cordon/gateway/metrics"

// of is a family's series of the gateways that were chosen, with further matchers before them.
func of(f *metrics.Family, matchers string) string {
	return f.Name + `{` + matchers + `instance=~"$gateway"}`
}

// perSecond is how fast a counter rises, summed up by labels.
func perSecond(by string, f *metrics.Family, matchers string) string {
	return "sum by (" + by + ") (rate(" + of(f, matchers) + "[5m]))"
}

// slowest is the time within which a share of what a histogram counts was done.
func slowest(share string, f *metrics.Family) string {
	return "histogram_quantile(" + share + ", sum by (le, instance) (rate(" + f.Name + `_bucket{instance=~"$gateway"}[5m])))`
}

// quantiles are the median and the slowest hundredth.
func quantiles(f *metrics.Family) []expression {
	return []expression{{slowest("0.5", f), "p50 {{instance}}"}, {slowest("0.99", f), "p99 {{instance}}"}}
}

// rows are what somebody looks at, in that order: whether it works, what is asked and refused, what is in
// force, what it costs.
var rows = []row{
	{"Does it work", []panel{
		{"Not ready", "short", "stat", 4, []expression{{"sum by (instance) (1 - min by (instance, check) (" + of(metrics.Ready, "") + "))", "{{instance}}"}}},
		{"Audit log writable", "short", "stat", 4, []expression{{"min by (instance) (" + of(metrics.AuditWritable, "") + ")", "{{instance}}"}}},
		{"Plugins up", "short", "stat", 4, []expression{{of(metrics.PluginUp, ""), "{{protocol}}"}}},
		{"Segments up", "short", "stat", 4, []expression{{of(metrics.SegmentUp, ""), "{{segment}}"}}},
		{"Quarantined devices", "short", "stat", 4, []expression{{"sum(" + of(metrics.Devices, `state="quarantined",`) + ")", "devices"}}},
		{"Break-glass", "short", "stat", 4, []expression{
			{"sum(" + of(metrics.BreakGlassOpen, "") + ")", "open"}, {"sum(" + of(metrics.BreakGlassUnreviewed, "") + ")", "to be reviewed"}, {"sum(" + of(metrics.BreakGlassOverdue, "") + ")", "overdue"}}},
	}},
	{"What is asked, and refused", []panel{
		{"Decisions", "ops", "timeseries", 8, []expression{{perSecond("verdict, cause", metrics.Decisions, ""), "{{verdict}} ({{cause}})"}}},
		{"Refused by the policy, by device class and class of operation", "ops", "timeseries", 8, []expression{{perSecond("device_class, operation_class", metrics.Decisions, `verdict="deny",cause="policy",`), "{{operation_class}} on {{device_class}}"}}},
		{"Refused for doubt, and devices that cannot be reached", "ops", "timeseries", 8, []expression{
			{perSecond("protocol", metrics.Decisions, `verdict="deny",cause="doubt",`), "{{protocol}}"}, {perSecond("device_class, reason", metrics.DeviceFailures, ""), "{{device_class}} {{reason}}"}}},
		{"Sessions", "short", "timeseries", 8, []expression{{"sum by (protocol) (" + of(metrics.Sessions, "") + ")", "{{protocol}}"}, {"sum(" + of(metrics.SessionsStaying, "") + ")", "staying with an earlier process"}}},
		{"Sessions' ends", "ops", "timeseries", 8, []expression{{perSecond("reason", metrics.SessionEnds, ""), "{{reason}}"}}},
		{"Handshakes refused", "ops", "timeseries", 8, []expression{{perSecond("reason", metrics.HandshakesRefused, ""), "{{reason}}"}, {"sum(rate(" + of(metrics.SourcesCrowded, "") + "[5m]))", "too many from one source"}}},
	}},
	{"What is in force", []panel{
		{"Policy in force since", "dateTimeFromNow", "stat", 6, []expression{{of(metrics.PolicySince, "") + " * 1000", "{{instance}}"}}},
		{"Revision", "short", "timeseries", 6, []expression{{"count by (revision, source) (" + of(metrics.PolicyInfo, "") + ")", "{{source}} {{revision}}"}, {of(metrics.PolicyRollout, ""), "a candidate at {{stage}}"}}},
		{"Bundle", "short", "stat", 6, []expression{{of(metrics.BundleRevision, ""), "revision"}, {"(time() - " + of(metrics.BundleMade, "") + ") / 86400", "days old"}}},
		{"Reloads that failed", "short", "timeseries", 6, []expression{{"sum by (source) (increase(" + of(metrics.Reloads, `result="failure",`) + "[1h]))", "{{source}}"}, {"1 - " + of(metrics.ReloadSuccessful, ""), "{{source}}, the last one"}}},
		{"Last reload that went well", "dateTimeFromNow", "stat", 8, []expression{{of(metrics.ReloadSuccessTime, "") + " * 1000", "{{source}}"}}},
		{"Certificates end", "dateTimeFromNow", "stat", 8, []expression{{of(metrics.CertificateEnds, "") + " * 1000", "{{certificate}}"}}},
		{"Configuration on trial until", "dateTimeFromNow", "stat", 8, []expression{{"(" + of(metrics.TrialEnds, "") + " > 0) * 1000", "{{instance}}"}}},
	}},
	{"Who is told", []panel{
		{"Alarms raised", "short", "timeseries", 8, []expression{{"sum by (name) (increase(" + of(metrics.AlarmsRaised, "") + "[1h]))", "{{name}}"}}},
		{"Alarms waiting", "short", "timeseries", 8, []expression{{"sum by (channel) (" + of(metrics.AlarmsWaiting, "") + ")", "{{channel}}"}, {"max(time() - (" + of(metrics.AlarmsOldest, "") + " > 0))", "seconds, the oldest"}}},
		{"Deliveries", "ops", "timeseries", 8, []expression{{perSecond("channel, result", metrics.AlarmsDeliveries, ""), "{{channel}} {{result}}"}}},
	}},
	{"What it costs", []panel{
		{"Decision", "s", "timeseries", 8, quantiles(metrics.DecisionDuration)},
		{"Durable record", "s", "timeseries", 8, quantiles(metrics.RecordDuration)},
		{"Write and sync of the log", "s", "timeseries", 8, quantiles(metrics.AuditCommitDuration)},
		{"Audit log", "ops", "timeseries", 8, []expression{{"sum(rate(" + of(metrics.AuditEntries, "") + "[5m]))", "entries"}, {"sum(rate(" + of(metrics.AuditEntriesRefused, "") + "[5m]))", "not recorded, so refused"},
			{"sum(" + of(metrics.AuditWaiting, "") + ")", "waiting for the disk"}, {"sum(" + of(metrics.AuditUnsigned, "") + ")", "nodes waiting for a checkpoint"}}},
		{"Windows in use", "percentunit", "timeseries", 8, []expression{{of(metrics.PluginWindows, "") + " / " + of(metrics.PluginWindowsMost, ""), "{{protocol}}"}}},
		{"Plugins: sessions and ends", "short", "timeseries", 8, []expression{{of(metrics.PluginSessions, ""), "{{protocol}}"}, {"increase(" + of(metrics.PluginEnds, "") + "[1h])", "{{protocol}} ended within an hour"}}},
		{"Memory and CPU of the gateway's process", "short", "timeseries", 12, []expression{{`process_resident_memory_bytes{instance=~"$gateway"} / 2^20`, "MiB {{instance}}"}, {`rate(process_cpu_seconds_total{instance=~"$gateway"}[5m]) * 100`, "% of a core {{instance}}"}}},
		{"Program", "short", "timeseries", 12, []expression{{"count by (version, revision) (" + of(metrics.BuildInfo, "") + ")", "{{version}} {{revision}}"}, {"sum(" + of(metrics.LeftOut, "") + ")", "series not shown"}}},
	}},
}
