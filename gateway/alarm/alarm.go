package alarm

import (
	"context"
	"time"
)

// Severity as syslog has it, RFC 5424 section 6.2.1: lower is worse.
type Severity int

const (
	Alert   Severity = 1 // somebody has to act now
	Warning Severity = 4
	Notice  Severity = 5
)

// Alarm is one thing to tell. It has nothing about patients in it.
type Alarm struct {
	ID       string    `json:"id"`   // unique
	Time     time.Time `json:"time"` // UTC
	Gateway  string    `json:"gateway"`
	Name     string    `json:"name"` // what happened: "break-glass-opened"; letters and dashes, at most 32
	Severity Severity  `json:"severity"`
	Subject  string    `json:"subject,omitempty"` // whom it is about: "user/nurse.ito"
	Device   string    `json:"device,omitempty"`
	Text     string    `json:"text"` // one line
}

// Channel is one way to tell people.
type Channel interface {
	// Name is its name: letters, the same after a restart.
	Name() string

	// Send returns once the alarm is delivered, as far as the channel can know, or says why
	// not. It keeps nothing.
	Send(ctx context.Context, a *Alarm) error
}
