package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cordon/policy"
)

// Kind says what a fact does.
type Kind string

const (
	Grant       Kind = "grant"       // lets a subject do classes of operation on a device, or on devices of a class
	Maintenance Kind = "maintenance" // puts a device in maintenance
	Learning    Kind = "learning"    // puts a device in learning mode
	Quarantine  Kind = "quarantine"  // cuts a device off
	Emergency   Kind = "emergency"   // lets a person do what care needs on a device, and is reviewed: break-glass
)

// Bounds of what a fact may say.
const (
	MaxGrant       = 72 * time.Hour
	MaxMaintenance = 14 * 24 * time.Hour
	MaxLearning    = 90 * 24 * time.Hour
	MaxQuarantine  = 365 * 24 * time.Hour
	MaxEmergency   = 4 * time.Hour
	ReviewWithin   = 24 * time.Hour      // from when an emergency begins
	MaxAhead       = 90 * 24 * time.Hour // from when it is made to when it begins
	MaxReason      = 200                 // bytes
	maxName        = 128                 // bytes of a subject's id and of who made a fact
	maxDevice      = 63                  // bytes of a device's id
	maxClass       = 128                 // bytes of a device class
)

// Fact is one grant, maintenance window, quarantine or emergency.
type Fact struct {
	ID          string         `json:"id"` // "G-7QF2K"; assigned by Ledger.Make
	Kind        Kind           `json:"kind"`
	Subject     string         `json:"subject,omitempty"`      // of a grant and an emergency: "vendor/acme"
	Device      string         `json:"device,omitempty"`       // the device's id, or
	DeviceClass string         `json:"device_class,omitempty"` // of a grant, the class of devices: "imaging/ct", "imaging/*"
	Classes     []policy.Class `json:"classes,omitempty"`      // of a grant: of operations, in the order of policy.Classes; session is implied

	From    time.Time `json:"from"`
	Until   time.Time `json:"until,omitzero"`    // zero: until it is ended by hand, which only a quarantine may be
	Reason  string    `json:"reason"`            // one line, no patient data
	Sponsor string    `json:"sponsor,omitempty"` // of a grant: who answers for the subject, "user/dr.kim"
	By      string    `json:"by"`                // who made it
	Proof   string    `json:"proof,omitempty"`   // of an emergency: what showed that they may
	Made    time.Time `json:"made"`

	Begun       bool      `json:"begun,omitempty"` // it has come into force
	Ended       time.Time `json:"ended,omitzero"`  // zero: not yet
	EndedBy     string    `json:"ended_by,omitempty"`
	EndedReason string    `json:"ended_reason,omitempty"` // "" if it ended by itself

	Reviewed   time.Time `json:"reviewed,omitzero"` // of an emergency: when somebody else had looked at it
	ReviewedBy string    `json:"reviewed_by,omitempty"`
	ReviewNote string    `json:"review_note,omitempty"` // what they found
	Overdue    bool      `json:"overdue,omitempty"`     // it had not been reviewed in time
}

// ReviewBy is when an emergency is to have been reviewed.
func (f *Fact) ReviewBy() time.Time { return f.From.Add(ReviewWithin) }

// Unreviewed reports whether the fact is an emergency that is over, and that nobody has
// reviewed.
func (f *Fact) Unreviewed() bool {
	return f.Kind == Emergency && f.Phase() == Over && f.Reviewed.IsZero()
}

// Phases of a fact, as people read them.
const (
	Planned = "planned"
	InForce = "in force"
	Over    = "over"
)

// Phase is where the fact has got to.
func (f *Fact) Phase() string {
	switch {
	case !f.Ended.IsZero():
		return Over
	case f.Begun:
		return InForce
	}
	return Planned
}

// Covers reports whether a grant is one on the device.
func (f *Fact) Covers(device policy.Device) bool {
	if f.Device != "" {
		return f.Device == device.ID
	}
	general, _, _ := strings.Cut(device.Class, "/")
	return f.DeviceClass == device.Class || f.DeviceClass == general+"/*"
}

// On is what the fact is about: a device's id or a class of devices.
func (f *Fact) On() string { return cmp.Or(f.Device, f.DeviceClass) }

// check reports the first thing that no fact may say.
func (f *Fact) check() error {
	longest, known := map[Kind]time.Duration{Grant: MaxGrant, Maintenance: MaxMaintenance, Learning: MaxLearning, Quarantine: MaxQuarantine, Emergency: MaxEmergency}[f.Kind]
	switch {
	case !known:
		return fmt.Errorf("kind %.40q: want grant, maintenance, learning, quarantine or emergency", f.Kind)
	case f.Made.IsZero() || f.From.IsZero():
		return fmt.Errorf("it has no beginning")
	case f.From.Sub(f.Made) > MaxAhead:
		return fmt.Errorf("it begins %v after it is made: at most %v", f.From.Sub(f.Made).Round(time.Minute), MaxAhead)
	case f.Until.IsZero() && f.Kind != Quarantine:
		return fmt.Errorf("a %s needs an end", f.Kind)
	case !f.Until.IsZero() && !f.From.Before(f.Until):
		return fmt.Errorf("it would end at %s, before it begins", f.Until.Format(time.RFC3339))
	case !f.Until.IsZero() && f.Until.Sub(f.From) > longest:
		return fmt.Errorf("it lasts %v: a %s at most %v", f.Until.Sub(f.From), f.Kind, longest)
	}
	for _, text := range []struct {
		name, text string
		most       int
		optional   bool
	}{{"reason", f.Reason, MaxReason, false}, {"by", f.By, maxName, false}, {"ended_by", f.EndedBy, maxName, true}, {"ended_reason", f.EndedReason, MaxReason, true},
		{"proof", f.Proof, maxName, f.Kind != Emergency}, {"reviewed_by", f.ReviewedBy, maxName, f.Reviewed.IsZero()}, {"review_note", f.ReviewNote, MaxReason, f.Reviewed.IsZero()}} {
		if err := checkLine(text.name, text.text, text.most, text.optional); err != nil {
			return err
		}
	}
	switch {
	case f.Kind == Grant:
		return f.checkGrant()
	case f.Kind == Emergency:
		return f.checkEmergency()
	case f.Proof != "" || !f.Reviewed.IsZero() || f.Overdue:
		return fmt.Errorf("only an emergency is proven and reviewed")
	}
	if f.Subject != "" || f.DeviceClass != "" || len(f.Classes) > 0 || f.Sponsor != "" {
		return fmt.Errorf("a %s is of one device, and of nobody", f.Kind)
	}
	return checkName("device", f.Device, maxDevice)
}

// checkEmergency wants one person on one device: what is for several is opened several times.
func (f *Fact) checkEmergency() error {
	if _, err := ParseSubject(f.Subject); err != nil || !strings.HasPrefix(f.Subject, policy.KindUser+"/") {
		return fmt.Errorf("subject %.60q: an emergency is for a person, user/…", f.Subject)
	}
	if f.DeviceClass != "" || len(f.Classes) > 0 || f.Sponsor != "" {
		return fmt.Errorf("an emergency is of one device; what may be done in it is the policy's")
	}
	return checkName("device", f.Device, maxDevice)
}

func (f *Fact) checkGrant() error {
	if f.Proof != "" || !f.Reviewed.IsZero() || f.Overdue {
		return fmt.Errorf("only an emergency is proven and reviewed")
	}
	if _, err := ParseSubject(f.Subject); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if f.Sponsor != "" {
		if _, err := ParseSubject(f.Sponsor); err != nil {
			return fmt.Errorf("sponsor: %w", err)
		}
		if f.Sponsor == f.Subject {
			return fmt.Errorf("%s cannot answer for itself", f.Subject)
		}
	}
	if (f.Device == "") == (f.DeviceClass == "") {
		return fmt.Errorf("a grant is on one device or on one class of devices")
	}
	if f.Device != "" {
		if err := checkName("device", f.Device, maxDevice); err != nil {
			return err
		}
	} else if err := checkDeviceClass(f.DeviceClass); err != nil {
		return err
	}
	if len(f.Classes) == 0 {
		return fmt.Errorf("a grant names classes of operation")
	}
	at := -1
	for _, c := range f.Classes {
		i := slices.Index(policy.Classes[:], c)
		if i < 0 || c == policy.ClassUnknown || c == policy.ClassSession {
			return fmt.Errorf("class of operation %.40q: want read, query, write, control, admin or notify", c)
		}
		if i <= at {
			return fmt.Errorf("classes of operation are in their order, each once: read, query, write, control, admin, notify")
		}
		at = i
	}
	return nil
}

// ParseSubject reads "vendor/acme", or "vendor:acme" as people also write it, and returns
// the first form.
func ParseSubject(s string) (string, error) {
	kind, id, ok := strings.Cut(strings.Replace(s, ":", "/", 1), "/")
	switch kind {
	case policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice:
		if ok && checkName("id", id, maxName) == nil {
			return kind + "/" + id, nil
		}
	}
	return "", fmt.Errorf("%.60q: want user/…, service/…, vendor/… or device/…, as in a certificate", s)
}

// checkName accepts what a certificate and a configuration accept as an id.
func checkName(what, s string, most int) error {
	plain := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
	}
	if s == "" || len(s) > most || s == "." || s == ".." || strings.ContainsFunc(s, func(c rune) bool { return !plain(c) }) {
		return fmt.Errorf("%s %.60q: want 1 to %d letters, digits, dots, dashes and underscores", what, s, most)
	}
	return nil
}

// checkDeviceClass accepts a class and, as the tables of the policy do, "imaging/*". What is on
// every device is no grant but an edit of the policy.
func checkDeviceClass(s string) error {
	parts := strings.Split(s, "/")
	if len(parts) == 2 && parts[1] == "*" {
		parts = parts[:1]
	}
	bad := func(part string) bool { return checkName("part", part, maxClass) != nil }
	if len(s) > maxClass || slices.ContainsFunc(parts, bad) {
		return fmt.Errorf("device class %.60q: want a class, imaging/ct, or all below one, imaging/*", s)
	}
	return nil
}

// checkLine accepts one printable line.
func checkLine(what, s string, most int, optional bool) error {
	switch {
	case strings.TrimSpace(s) == "" && !(optional && s == ""):
		return fmt.Errorf("it has no %s", what)
	case len(s) > most:
		return fmt.Errorf("%s of %d bytes: at most %d", what, len(s), most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }):
		return fmt.Errorf("%s %.60q: want one printable line", what, s)
	}
	return nil
}

// String says what the fact does: "vendor/acme may read, query on ct-2".
func (f *Fact) String() string {
	switch f.Kind {
	case Grant:
		classes := make([]string, len(f.Classes))
		for i, c := range f.Classes {
			classes[i] = string(c)
		}
		return fmt.Sprintf("%s may %s on %s", f.Subject, strings.Join(classes, ", "), f.On())
	case Maintenance:
		return f.Device + " in maintenance"
	case Learning:
		return f.Device + " in learning mode"
	case Emergency:
		return "break-glass for " + f.Subject + " on " + f.Device
	}
	return f.Device + " quarantined"
}
