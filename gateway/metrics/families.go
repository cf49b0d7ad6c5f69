package metrics

// Kind is how a family's values behave.
type Kind string

const (
	Counter   Kind = "counter"   // rises, and begins at 0 with each process: also with one that takes over
	Gauge     Kind = "gauge"     // is what it is at the moment
	Histogram Kind = "histogram" // of durations in seconds; a timing.Snapshot
)

// Family is a metric with all its labels.
type Family struct {
	Name   string
	Kind   Kind
	Help   string // one line
	Labels []string
}

// What there is to be seen. Times are seconds since the Unix epoch, so that who reads can say how long ago
// that is, whatever the gateway's clock says of now.
var (
	BuildInfo = &Family{"cordon_build_info", Gauge, "Which program runs; the value is 1.", []string{"version", "revision", "go_version"}}
	Ready     = &Family{"cordon_ready", Gauge, "Whether this part of the gateway is ready: 1 or 0. /readyz answers with 200 if all are.", []string{"check"}}

	Decisions = &Family{"cordon_decisions_total", Counter, "Decisions, by who settled them: the policy, the protocol's own rules, or doubt. What sessions ask that stayed with an earlier process is not here.",
		[]string{"verdict", "cause", "protocol", "operation_class", "device_class", "criticality"}}
	DecisionDuration = &Family{"cordon_decision_duration_seconds", Histogram, "From a question to the policy's answer.", nil}
	RecordDuration   = &Family{"cordon_record_duration_seconds", Histogram, "From an answer to its durable entry, or to giving up; the operation waits for it.", nil}

	Sessions          = &Family{"cordon_sessions", Gauge, "Established sessions.", []string{"protocol"}}
	SessionsStaying   = &Family{"cordon_sessions_staying", Gauge, "Sessions that earlier processes of this gateway still have after a hand-over, those shaking hands included.", nil}
	SessionEnds       = &Family{"cordon_session_ends_total", Counter, "Sessions that ended.", []string{"protocol", "reason"}}
	HandshakesRefused = &Family{"cordon_handshakes_refused_total", Counter, "TLS handshakes that did not lead to a session.", []string{"reason"}}
	SourcesCrowded    = &Family{"cordon_sources_crowded_total", Counter, "Connections closed at once because their source had limits.sessions_per_source already.", nil}
	DeviceFailures    = &Family{"cordon_device_failures_total", Counter, "Times a device could not be connected to, or had as many sessions as it takes.", []string{"device_class", "reason"}}

	AuditWritable       = &Family{"cordon_audit_writable", Gauge, "Whether the audit log can be written: 1 or 0. Where it is 0, operations are refused.", nil}
	AuditEntries        = &Family{"cordon_audit_entries_total", Counter, "Durable entries of the audit log since it began, over all processes.", nil}
	AuditEntriesRefused = &Family{"cordon_audit_entries_refused_total", Counter, "Entries that could not be made durable; what they speak of was refused.", nil}
	AuditWaiting        = &Family{"cordon_audit_entries_waiting", Gauge, "Entries on their way to the disk.", nil}
	AuditUnsigned       = &Family{"cordon_audit_nodes_unsigned", Gauge, "Nodes of the log's tree that wait for a checkpoint.", nil}
	AuditCommitDuration = &Family{"cordon_audit_commit_duration_seconds", Histogram, "One write to the log with the sync behind it, of one or many entries.", nil}

	PluginUp          = &Family{"cordon_plugin_up", Gauge, "Whether the plugin's process runs: 1 or 0.", []string{"protocol"}}
	PluginEnds        = &Family{"cordon_plugin_ends_total", Counter, "Times the plugin's process ended although it was wanted. It is started again.", []string{"protocol"}}
	PluginSessions    = &Family{"cordon_plugin_sessions", Gauge, "Sessions that the plugin inspects.", []string{"protocol"}}
	PluginWindows     = &Family{"cordon_plugin_windows", Gauge, "Windows in use: memory for bytes in flight.", []string{"protocol"}}
	PluginWindowsMost = &Family{"cordon_plugin_windows_limit", Gauge, "Windows there may be in use; beyond, sessions wait.", []string{"protocol"}}

	PolicyInfo        = &Family{"cordon_policy_info", Gauge, "The policy in force; the value is 1. source is folder, rollout or bundle.", []string{"revision", "source"}}
	PolicySince       = &Family{"cordon_policy_in_force_timestamp_seconds", Gauge, "Since when this process decides by that policy and its data, grants included.", nil}
	PolicyRollout     = &Family{"cordon_policy_rollout", Gauge, "Whether a candidate is being rolled out: 1 for the stage that it is at.", []string{"stage"}}
	BundleRevision    = &Family{"cordon_bundle_revision", Gauge, "The revision of the bundle in force.", nil}
	BundleMade        = &Family{"cordon_bundle_made_timestamp_seconds", Gauge, "When the bundle in force was signed.", nil}
	Reloads           = &Family{"cordon_reloads_total", Counter, "Times something new was looked for or brought in while the gateway ran. A failure changes nothing: what was in force stays.", []string{"source", "result"}}
	ReloadSuccessful  = &Family{"cordon_reload_last_successful", Gauge, "Whether that went well the last time: 1 or 0.", []string{"source"}}
	ReloadSuccessTime = &Family{"cordon_reload_last_success_timestamp_seconds", Gauge, "When it last went well; the start of the process counts.", []string{"source"}}
	TrialEnds         = &Family{"cordon_configuration_trial_end_timestamp_seconds", Gauge, "When the configuration on trial is undone unless somebody confirms it; 0: none is on trial.", nil}

	CertificateEnds = &Family{"cordon_certificate_not_after_timestamp_seconds", Gauge, "When a certificate of the gateway ends: its own, which it renews, and those of its authority, which it cannot.", []string{"certificate"}}

	SegmentUp = &Family{"cordon_segment_up", Gauge, "Whether sockets can be made in the segment: 1 or 0. While it is 0 its devices cannot be reached, by anybody.", []string{"segment"}}
	Devices   = &Family{"cordon_devices", Gauge, "Devices by their state in force.", []string{"state"}}

	BreakGlassOpen       = &Family{"cordon_break_glass_open", Gauge, "Emergencies in force.", nil}
	BreakGlassUnreviewed = &Family{"cordon_break_glass_unreviewed", Gauge, "Emergencies that are over and that nobody else has looked at yet, overdue ones included.", nil}
	BreakGlassOverdue    = &Family{"cordon_break_glass_overdue", Gauge, "Emergencies that nobody has reviewed in time.", nil}

	AlarmsRaised     = &Family{"cordon_alarms_raised_total", Counter, "Alarms, by what happened. They are raised also where no channel is configured.", []string{"name"}}
	AlarmsWaiting    = &Family{"cordon_alarms_waiting", Gauge, "Alarms that are not delivered yet.", []string{"channel"}}
	AlarmsOldest     = &Family{"cordon_alarms_oldest_timestamp_seconds", Gauge, "Since when the oldest of them waits; 0: none does.", nil}
	AlarmsDeliveries = &Family{"cordon_alarm_deliveries_total", Counter, "Attempts to deliver an alarm.", []string{"channel", "result"}}

	LeftOut = &Family{"cordon_metrics_series_left_out", Gauge, "Series beyond what one family may have, which are not shown.", nil}
)

// Families returns all of them, in the order of the documentation.
func Families() []*Family {
	return []*Family{
		BuildInfo, Ready,
		Decisions, DecisionDuration, RecordDuration,
		Sessions, SessionsStaying, SessionEnds, HandshakesRefused, SourcesCrowded, DeviceFailures,
		AuditWritable, AuditEntries, AuditEntriesRefused, AuditWaiting, AuditUnsigned, AuditCommitDuration,
		PluginUp, PluginEnds, PluginSessions, PluginWindows, PluginWindowsMost,
		PolicyInfo, PolicySince, PolicyRollout, BundleRevision, BundleMade, Reloads, ReloadSuccessful, ReloadSuccessTime, TrialEnds,
		CertificateEnds, SegmentUp, Devices,
		BreakGlassOpen, BreakGlassUnreviewed, BreakGlassOverdue,
		AlarmsRaised, AlarmsWaiting, AlarmsOldest, AlarmsDeliveries,
		LeftOut,
	}
}
