package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
)

// DrillTimeout is for the channels to deliver. Who drills waits for it.
const DrillTimeout = 20 * time.Second

// DrillRequest asks for a drill. With a signed opening it is also seen whether that person would be let in.
type DrillRequest struct {
	Signed *signed.Words `json:"signed,omitempty"`
}

// DrillAnswer is how it went.
type DrillAnswer struct {
	Schema   string `json:"schema"`
	ID       string `json:"id,omitempty"`      // of the alarm; none was sent if there is no channel
	Subject  string `json:"subject,omitempty"` // who would have been let in,
	Device   string `json:"device,omitempty"`  // to what
	Channels []Told `json:"channels"`
}

// answerDrill is the verb of the control socket. Everything happens that an emergency needs, up to where a
// device would be opened.
func (a *Assembly) answerDrill(ctx context.Context, by string, r *DrillRequest) (any, error) {
	if a.standing.moved() {
		return nil, control.ErrMoved
	}
	done := DrillAnswer{Schema: "cordon.break_glass.drill/v1", Channels: []Told{}}
	e := audit.Entry{Kind: audit.KindBreakGlassDrill, Note: "DRILL: nothing is opened, and nobody has to act; asked for by " + by}
	f := &access.Fact{}
	if r.Signed != nil {
		var err error
		if f, err = a.emergencies.rehearse(ctx, r.Signed, time.Now()); err != nil {
			e.Note += fmt.Sprintf("; refused: %s", exit.Errors(err)[0].Message)
			if unrecorded := a.record(e); unrecorded != nil {
				a.logger.Error("record a drill", "error", unrecorded)
			}
			return nil, err
		}
		done.Subject, done.Device = f.Subject, f.Device
		e.Note += fmt.Sprintf("; %s could open %s", f.Subject, f.Device)
	}
	if err := a.record(e); err != nil {
		return nil, exit.Error{Code: "break_glass.unrecorded", Message: "the audit log cannot be written, so no emergency could be opened", Exit: exit.Failed, Err: err, Try: []string{"cordon doctor", "free space where the log is"}}
	}
	a.raised[e.Kind].Add(1)
	a.logger.Warn("alarm", "name", e.Kind, "text", e.Note)
	spool := a.alarms.Load()
	if spool == nil {
		return done, nil
	}
	al := a.alarmOf(e, severities[e.Kind], f)
	ctx, cancel := context.WithTimeout(ctx, DrillTimeout)
	defer cancel()
	came, err := spool.Tell(ctx, al)
	if err != nil {
		return nil, fmt.Errorf("keep the alarm of a drill: %w", err)
	}
	done.ID = al.ID
	for _, channel := range slices.Sorted(maps.Keys(came)) {
		done.Channels = append(done.Channels, ToldBy(channel, came[channel]))
	}
	return done, nil
}

// rehearse is openSigned up to where it would count, and asks the policy what would come of it.
func (m *emergencies) rehearse(ctx context.Context, s *signed.Words, now time.Time) (*access.Fact, error) {
	f, id, err := m.signedFor(PurposeDrill, s, now)
	if err != nil {
		return nil, err
	}
	m.standing.mu.Lock()
	defer m.standing.mu.Unlock()
	next, _, _, err := m.made(m.standing.ledger, f, now)
	if err != nil {
		return nil, err
	}
	next, _ = next.Advance(now)
	ground, err := m.standing.parts.configured.over(next, m.standing.damage)
	if err != nil {
		return nil, err
	}
	subject := policy.Subject{ID: id.ID, Kind: id.Kind, Roles: append([]string{}, id.Roles...), Groups: append([]string{}, id.Groups...), MFA: id.MFA}
	return &f, m.permits(ctx, ground, subject, f.Device, now)
}

// permits asks whether somebody may connect to a device on ground, as a session would be asked.
func (m *emergencies) permits(ctx context.Context, ground inForce, who policy.Subject, device string, now time.Time) error {
	i := slices.IndexFunc(m.config.Devices, func(d config.Device) bool { return d.ID == device })
	r := policy.Request{Phase: policy.PhaseConnect, Subject: who, Device: ground.devices[device], Session: policy.Session{Direction: policy.Inbound, TLS: "1.3"}, NowNs: now.UnixNano()}
	if all := ServicesOf(&m.config.Devices[i]); len(all) > 0 {
		r.Service = policy.Service{Name: all[0].Name, Protocol: all[0].Proto}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.config.Limits.DecisionTimeout, time.Second))
	defer cancel()
	if d := ground.policy.Decide(ctx, &r); !d.Allow {
		return exit.Error{Code: "break_glass.policy", Exit: exit.Denied, Message: fmt.Sprintf("the policy would not let %s/%s connect to %s in an emergency: %s", who.Kind, who.ID, device, d.Reason), Try: []string{"break_glass.rego of the policy says what an emergency permits"}}
	}
	return nil
}
