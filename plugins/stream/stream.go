// Package stream is the inspector for what has no inspector: a session is passed on or
// refused as a whole.
//
// It reads nothing. What the settings call the session's class is all that policy learns
// about it, and whatever either side then does with the connection is neither decided nor
// recorded: give a service to stream only if every subject allowed to connect may do everything the
// device understands.
package stream

import (
	"encoding/json"
	"fmt"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Protocol returns the protocol "stream". Its one setting, "class", is required: what a
// session does to the device, one of policy.Classes but neither session nor unknown, as
// every session is one and somebody must know.
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:      "stream",
		Version:   "1.0.0",
		Modes:     [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Observed},
		Configure: configure,
	}
}

// classes are those a session can be given.
var classes = [...]policy.Class{policy.ClassRead, policy.ClassQuery, policy.ClassWrite, policy.ClassControl, policy.ClassAdmin, policy.ClassNotify}

func configure(settings json.RawMessage) (func() sdk.Inspector, error) {
	var class policy.Class
	if err := (sdk.Settings{"class": sdk.OneOf(&class, classes[:]...)}).Read(settings); err != nil {
		return nil, err
	}
	if class == "" {
		return nil, fmt.Errorf("class is not set; say what a session does to the device, one of %q", classes)
	}
	return func() sdk.Inspector { return &inspector{class: class} }, nil
}

// inspector covers each direction once, to its end.
type inspector struct {
	class   policy.Class
	op      sdk.OpID // 0 before the opening call
	replies bool     // Reverse is covered
}

func (i *inspector) Inspect(dir sdk.Direction, _ []byte, _ bool, out *sdk.Steps) {
	if i.op == 0 {
		i.op = out.Operation(policy.Operation{Name: "stream:session", Class: i.class})
		out.Span(i.op, sdk.Unlimited)
	}
	if dir == sdk.Reverse && !i.replies {
		i.replies = true
		out.Span(i.op, sdk.Unlimited)
	}
}

// Refuse closes the session: raw bytes have no way to say no.
func (i *inspector) Refuse(op sdk.OpID, _ sdk.Refusal, out *sdk.Steps) {
	out.Refusal(op, nil)
	out.End("the session is refused")
}
