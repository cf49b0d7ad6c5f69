package daemon

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
)

// What somebody says of an emergency, see certs.Statement. The digest is that of the words.
const (
	PurposeOpen   = "break-glass-open"
	PurposeReview = "break-glass-review"
	PurposeDrill  = "break-glass-drill"
)

// Opening is what a person wants who opens a device, and what they sign.
type Opening struct {
	Gateway string `json:"gateway"`
	Device  string `json:"device"`
	Seconds int64  `json:"seconds"` // 0: as configured
	Reason  string `json:"reason"`
	Once    string `json:"once"` // a random text: no two are the same
}

// Review is what a person found who looked at an emergency, and what they sign.
type Review struct {
	Gateway string `json:"gateway"`
	ID      string `json:"id"`
	Note    string `json:"note"`
}

// EmergencyRequest is what crosses the control socket.
type EmergencyRequest struct {
	Do      string        `json:"do"`               // open, by what is signed or by sealed codes; review; seal
	Signed  *signed.Words `json:"signed,omitempty"` // an opening or a review
	Opening Opening       `json:"opening"`          // by sealed codes

	Codes  []string `json:"codes,omitempty"`
	Person string   `json:"person,omitempty"` // who uses them: "nurse.ito"

	Make int `json:"make,omitempty"` // codes to seal
	Need int `json:"need,omitempty"`
}

// EmergencyAnswer is what was done.
type EmergencyAnswer struct {
	Fact   access.Fact
	Issued *ca.Issued // for whom sealed codes let in
	Codes  []string   // newly sealed
	changed
}

// emergencies opens devices for those who may, whatever the command that asks has checked.
// It is the running gateway's. What it refuses is recorded and an alarm.
type emergencies struct {
	config   *config.Config
	standing *standing
	verifier *certs.Verifier
	issue    func(context.Context, ca.Request) (*ca.Issued, error)
	log      *slog.Logger

	mu sync.Mutex // one use of the sealed codes at a time
}

func (a *Assembly) answerEmergency(ctx context.Context, by string, r *EmergencyRequest) (any, error) {
	return a.emergencies.do(ctx, r, by, time.Now())
}

// do does what is asked. by is who asks, as the kernel says.
func (m *emergencies) do(ctx context.Context, r *EmergencyRequest, by string, now time.Time) (answer EmergencyAnswer, err error) {
	switch {
	case r.Do == "seal":
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.standing.moved() {
			return answer, control.ErrMoved
		}
		answer.Codes, err = SealCodes(m.config.Gateway.State, m.standing.record, r, by, now)
		return answer, err
	case r.Do == "open" && r.Signed != nil:
		answer, err = m.openSigned(r.Signed, now)
	case r.Do == "open":
		answer, err = m.openSealed(ctx, r, now)
	case r.Do == "review" && r.Signed != nil:
		return m.review(r.Signed, now)
	default:
		return answer, fmt.Errorf("%.20q is nothing to do with break-glass", r.Do)
	}
	if err != nil && !errors.Is(err, control.ErrMoved) {
		m.refused(r, by, err)
	}
	return answer, err
}

// refused tells of somebody who is not let in.
func (m *emergencies) refused(r *EmergencyRequest, by string, why error) {
	who, device := "user/"+r.Person, r.Opening.Device
	if r.Signed != nil {
		var o Opening
		signed.Read(r.Signed.Words, &o)
		who, device = "somebody with a certificate", o.Device
	}
	e := audit.Entry{Kind: audit.KindBreakGlassRefused, Note: fmt.Sprintf("refused: %.140q on %.70q, asked for by %s: %s", who, device, by, exit.Errors(why)[0].Message)}
	if err := m.standing.record(e); err != nil {
		m.log.Error("record a refused break-glass", "error", err)
	}
	if m.standing.alarm != nil {
		m.standing.alarm(e, nil)
	}
}

// openSigned opens a device for whoever signed that.
func (m *emergencies) openSigned(s *signed.Words, now time.Time) (answer EmergencyAnswer, err error) {
	f, _, err := m.signedFor(PurposeOpen, s, now)
	if err != nil {
		return answer, err
	}
	return m.open(f, now)
}

// signedFor is the emergency that somebody asks for by what they signed for a purpose, and who that is.
func (m *emergencies) signedFor(purpose string, s *signed.Words, now time.Time) (f access.Fact, id *certs.Identity, err error) {
	var o Opening
	if err := signed.Read(s.Words, &o); err != nil {
		return f, nil, err
	}
	if id, err = m.verifier.Accept(&s.Statement, purpose, sha256.Sum256(s.Words)); err != nil {
		return f, nil, signed.Refused(err)
	}
	b := &m.config.BreakGlass
	if err := person(id, "break_glass.roles and break_glass.groups", b.Roles, b.Groups); err != nil {
		return f, nil, err
	}
	if f, err = m.fact(&o, now); err != nil {
		return f, nil, err
	}
	f.Subject = id.Kind + "/" + id.ID
	f.By, f.Proof = f.Subject, "statement sha256:"+signed.Digest(s.Words)
	return f, id, nil
}

// fact is the emergency that o asks for, but for whom.
func (m *emergencies) fact(o *Opening, now time.Time) (f access.Fact, err error) {
	if o.Gateway != m.config.ID() {
		return f, exit.Error{Code: "break_glass.gateway", Exit: exit.Conflict, Message: fmt.Sprintf("it is meant for gateway %.80q, this is %q", o.Gateway, m.config.ID())}
	}
	i := slices.IndexFunc(m.config.Devices, func(d config.Device) bool { return d.ID == o.Device })
	if i < 0 {
		return f, exit.Error{Code: "device.unknown", Exit: exit.NotFound, Message: fmt.Sprintf("there is no device %.70q", o.Device), Try: []string{"cordon device list"}}
	}
	b := &m.config.BreakGlass
	d := DeviceFacts(&m.config.Devices[i])
	covered := len(b.DeviceClasses) == 0 || slices.ContainsFunc(b.DeviceClasses, func(class string) bool { return (&access.Fact{DeviceClass: class}).Covers(d) })
	if !covered {
		return f, exit.Error{Code: "break_glass.class", Exit: exit.Denied, Message: fmt.Sprintf("%s is %s; break-glass is for %s", d.ID, d.Class, strings.Join(b.DeviceClasses, ", ")), Try: []string{"break_glass.device_classes of the configuration names them"}}
	}
	length := time.Duration(min(max(o.Seconds, -1), 1<<30)) * time.Second
	if length == 0 {
		length = b.Duration
	}
	if length < 0 || length > b.Max {
		return f, exit.Error{Code: "break_glass.long", Exit: exit.Usage, Message: fmt.Sprintf("for %v: break-glass lasts %v at most", length, b.Max), Try: []string{"open it again when it has ended"}}
	}
	return access.Fact{Kind: access.Emergency, Device: d.ID, From: now, Until: now.Add(length), Reason: o.Reason}, nil
}

// open brings an emergency into force.
func (m *emergencies) open(f access.Fact, now time.Time) (answer EmergencyAnswer, err error) {
	answer.Fact, answer.changed, err = m.standing.apply(now, func(l access.Ledger) (access.Ledger, access.Fact, note, error) { return m.made(l, f, now) })
	return answer, err
}

// made is l with an emergency, if it may be opened. standing.mu is held.
func (m *emergencies) made(l access.Ledger, f access.Fact, now time.Time) (access.Ledger, access.Fact, note, error) {
	parts := m.standing.parts
	if l.State(f.Device, parts.configured.devices[f.Device].State) == policy.StateQuarantined {
		return l, f, note{}, exit.Error{Code: "break_glass.quarantined", Exit: exit.Denied, Message: fmt.Sprintf("%s is quarantined, which no emergency overrides", f.Device), Try: []string{"cordon device show " + f.Device, "cordon device release " + f.Device + " --reason …"}}
	}
	if !parts.configured.policy.ReadsAccess(access.Emergencies) {
		return l, f, note{}, exit.Error{Code: "access.unread", Exit: exit.Conflict, Message: "no rule of the policy reads data.access.emergencies, so break-glass would permit nothing",
			Try: []string{"copy break_glass.rego from a policy that cordon init writes, and its lines of cordon.rego"}}
	}
	next, f, err := l.Make(f, now)
	if err != nil {
		return l, f, note{}, RefusedFact(err)
	}
	return next, f, madeNote(&f), nil
}

// review takes what somebody else found.
func (m *emergencies) review(s *signed.Words, now time.Time) (answer EmergencyAnswer, err error) {
	var v Review
	if err := signed.Read(s.Words, &v); err != nil {
		return answer, err
	}
	id, err := m.verifier.Accept(&s.Statement, PurposeReview, sha256.Sum256(s.Words))
	if err != nil {
		return answer, signed.Refused(err)
	}
	b := &m.config.BreakGlass
	keys, roles, groups := "break_glass.reviewers", b.Reviewers, []string(nil)
	if len(roles) == 0 {
		keys, roles, groups = "break_glass.roles and break_glass.groups", b.Roles, b.Groups
	}
	if err := person(id, keys, roles, groups); err != nil {
		return answer, err
	}
	by := id.Kind + "/" + id.ID
	answer.Fact, answer.changed, err = m.standing.apply(now, func(l access.Ledger) (access.Ledger, access.Fact, note, error) {
		f, known := l.Find(v.ID)
		switch {
		case v.Gateway != m.config.ID():
			return l, f, note{}, exit.Error{Code: "break_glass.gateway", Exit: exit.Conflict, Message: fmt.Sprintf("it is meant for gateway %.80q, this is %q", v.Gateway, m.config.ID())}
		case !known || f.Kind != access.Emergency:
			return l, f, note{}, RefusedFact(access.ErrNoFact)
		case certs.SamePerson(by, f.By) || certs.SamePerson(by, f.Subject):
			return l, f, note{}, exit.Error{Code: "break_glass.own", Exit: exit.Denied, Message: fmt.Sprintf("%s was opened by %s: another person reviews it", f.ID, by), Try: []string{keys + " of the configuration names who may"}}
		}
		next, f, err := l.Review(v.ID, by, v.Note, now)
		if err != nil {
			return l, f, note{}, RefusedFact(err)
		}
		n := noteOf(&f, "reviewed by "+by)
		n.Kind = audit.KindBreakGlassReviewed
		n.Note += ", found: " + f.ReviewNote
		return next, f, n, nil
	})
	return answer, err
}

// person reports whether id is a person in one of the roles or groups, which keys of the
// configuration name.
func person(id *certs.Identity, keys string, roles, groups []string) error {
	has := func(want, have []string) bool {
		return slices.ContainsFunc(want, func(s string) bool { return slices.Contains(have, s) })
	}
	if id.Kind == policy.KindUser && (has(roles, id.Roles) || has(groups, id.Groups)) {
		return nil
	}
	f := exit.Error{Code: "break_glass.role", Exit: exit.Denied, Message: fmt.Sprintf("%s/%s has roles %s and groups %s; it takes a person with one of %s", id.Kind, id.ID, cmp.Or(strings.Join(id.Roles, ", "), "-"),
		cmp.Or(strings.Join(id.Groups, ", "), "-"), cmp.Or(strings.Join(slices.Concat(roles, groups), ", "), "-")), Try: []string{keys + " of the configuration"}}
	return f
}
