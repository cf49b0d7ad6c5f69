package daemon

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/alarm"
	"cordon/gateway/audit"
	"cordon/gateway/metrics"
	"cordon/plugins"
	"cordon/policy"
	"cordon/policy/access"
)

// Status is how a running gateway does, for "cordon status" and for metrics. Gathering it waits for no
// change that is under way.
type Status struct {
	Schema  string        `json:"schema"`
	Gateway string        `json:"gateway"`
	Version string        `json:"version"`
	PID     int           `json:"pid"`
	Began   time.Time     `json:"began"` // this process
	Ready   bool          `json:"ready"`
	Checks  []checkStatus `json:"checks"`

	Policy   string           `json:"policy"` // in force
	Data     string           `json:"data"`
	Source   origin           `json:"source"`
	Since    time.Time        `json:"since"`              // this process decides by it
	Stage    string           `json:"rollout,omitempty"`  // of a candidate beside it
	Bundle   *revision.Chosen `json:"bundle,omitempty"`   // the one in force
	Trial    time.Time        `json:"trial_end,omitzero"` // of a configuration on trial
	Outcomes []sourceOutcome  `json:"reloads"`

	Sessions int              `json:"sessions"`
	Staying  int              `json:"sessions_staying"` // with processes that have handed over
	Plugins  []plugins.Status `json:"plugins"`
	Segments []segmentState   `json:"segments"`
	Devices  map[string]int   `json:"devices"` // by state

	Audit        auditStatus          `json:"audit"`
	Certificates map[string]time.Time `json:"certificates"` // when they end
	Alarms       alarmStatus          `json:"alarms"`
	BreakGlass   glassStatus          `json:"break_glass"`
}

type checkStatus struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

type auditStatus struct {
	Entries int64  `json:"entries"`
	Waiting int    `json:"waiting"`
	Refused int64  `json:"refused"` // that could not be recorded, since this process began
	Fault   string `json:"fault,omitempty"`
}

type alarmStatus struct {
	Waiting map[string]int `json:"waiting"` // by channel
	Oldest  time.Time      `json:"oldest,omitzero"`
	Fault   string         `json:"fault,omitempty"`
}

type glassStatus struct {
	Open       int `json:"open"`
	Unreviewed int `json:"unreviewed"` // overdue ones included
	Overdue    int `json:"overdue"`
}

// shown is what decisions rest on, for who looks and does not wait for a change.
type shown struct {
	inForce
	origin  origin
	since   time.Time
	stage   string // of a candidate
	bundles *revision.Bundles
}

// show makes it known. standing.mu is held, but for the start.
func (a *Assembly) show(ground inForce) {
	s := &shown{inForce: ground, origin: policyOrigin(a.Config), since: time.Now(), bundles: a.source.Bundles}
	if was := a.shown.Load(); was != nil && revision.DigestsOf(was.policy) == revision.DigestsOf(ground.policy) {
		s.since = was.since
	}
	if a.source.State != nil && a.source.State.Candidate != nil {
		s.stage = string(a.source.State.Candidate.Stage)
	}
	a.shown.Store(s)
}

// status gathers it.
func (r *reloader) status(ctx context.Context) *Status {
	p := r.parts
	in, b := p.shown.Load(), Build()
	s := &Status{
		Schema: "cordon.status/v1", Gateway: p.Config.Gateway.Name, Version: b.Version, PID: os.Getpid(), Began: r.began, Ready: true,
		Policy: in.policy.Revision(), Data: in.policy.Data(), Source: in.origin, Since: in.since, Stage: in.stage, Outcomes: p.outcomes.all(),
		Plugins: []plugins.Status{}, Devices: map[string]int{}, Certificates: p.certs.Ends(), BreakGlass: glassOf(p.standing.shown.Load()),
	}
	s.Segments = p.segmentStates(ctx)
	for _, c := range p.ready(ctx, s.Segments) {
		s.Checks = append(s.Checks, checkStatusOf(c))
		s.Ready = s.Ready && c.Err == nil
	}
	if in.bundles != nil {
		s.Bundle, _ = in.bundles.Kept.InForce() // doctor says what is wrong with the file
	}
	if ends := r.trialEnds.Load(); ends != 0 {
		s.Trial = time.Unix(0, ends)
	}
	for _, x := range p.plugins {
		s.Plugins = append(s.Plugins, x.Status())
	}
	for _, state := range []string{policy.StateActive, policy.StateMaintenance, policy.StateLearning, policy.StateQuarantined} {
		s.Devices[state] = 0
	}
	for _, d := range in.devices {
		s.Devices[d.State]++
	}
	s.Sessions = p.Gateway.Sessions()
	s.Audit = auditStatusOf(p.log.Stats())
	s.Alarms = p.alarmStatus()
	return s
}

func checkStatusOf(c metrics.Check) checkStatus {
	s := checkStatus{Name: c.Name, OK: c.Err == nil}
	if c.Err != nil {
		s.Why = c.Err.Error()
	}
	return s
}

func auditStatusOf(s audit.Stats, _ bool) auditStatus {
	a := auditStatus{Entries: s.Entries, Waiting: s.Waiting, Refused: s.Refused}
	if s.Err != nil {
		a.Fault = s.Err.Error()
	}
	return a
}

func (a *Assembly) alarmStatus() alarmStatus {
	channels, err := AlarmChannels(a.Config)
	var s alarmStatus
	if err == nil {
		s.Waiting, s.Oldest, err = alarm.Waiting(filepath.Join(a.Config.Gateway.State, AlarmDir), channels)
	}
	if err != nil {
		s.Fault = err.Error()
	}
	return s
}

func glassOf(l *access.Ledger) (g glassStatus) {
	for i := range l.Facts {
		switch f := &l.Facts[i]; {
		case f.Kind != access.Emergency:
		case f.Phase() == access.InForce:
			g.Open++
		case f.Unreviewed():
			g.Unreviewed++
			if f.Overdue {
				g.Overdue++
			}
		}
	}
	return g
}

// answerStatus is the verb of the control socket.
func (r *reloader) answerStatus(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	if r.handedOver() {
		return nil, control.ErrMoved
	}
	ctx, cancel := context.WithTimeout(ctx, control.Timeout)
	defer cancel()
	return r.status(ctx), nil
}
