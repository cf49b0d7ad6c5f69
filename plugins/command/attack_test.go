package command

import (
	"encoding/json"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

const pumpLines = `{"frame":{"end":"<CR>"},"ignore_case":true,"refusal":{"answer":"NO"},"commands":[
	{"name":"rate","class":"control","prefix":"SET ","attributes":[{"name":"rate","field":2,"separator":" ","number":true}]},
	{"name":"mode","class":"write","prefix":"MODE ","attributes":[{"name":"mode","field":2,"separator":" "}]},
	{"name":"ramp","class":"control","prefix":"RAMP","attributes":[{"name":"rate","field":3,"separator":" ","number":true,"optional":true}]}]}`

// TestTwoReadings has commands that a device would read otherwise than they are told: it
// takes several blanks for one, and does not tell q from Q.
func TestTwoReadings(t *testing.T) {
	conformance.Run(t, Protocol(), pumpLines,
		conformance.Named("two blanks before a field").Forward("RAMP  5 200\r").
			WantInvalid("command:ramp", policy.ClassControl, "rate", nil).WantRefusal(1, "NO\r").WantForward(""),
		conformance.Named("two blanks before a field that need not be there").Forward("RAMP A  200\r").
			WantInvalid("command:ramp", policy.ClassControl, "rate", nil).WantRefusal(1, "NO\r").WantForward(""),
		conformance.Named("a field that is not there").Forward("RAMP A \r").Reverse("OK\r").
			WantOperation("command:ramp", policy.ClassControl, "rate", nil).WantForward("RAMP A \r"),
		conformance.Named("blanks behind it").Forward("SET 5  \r").Reverse("OK\r").
			WantOperation("command:rate", policy.ClassControl, "rate", 5).WantForward("SET 5  \r"),
		conformance.Named("text in the case of nobody").Forward("mode Stop\r").Reverse("OK\r").
			WantOperation("command:mode", policy.ClassWrite, "mode", "STOP").WantForward("mode Stop\r"),
	)
	conformance.Run(t, Protocol(), `{"frame":{"end":"<CR>"},"commands":[{"name":"mode","class":"write","prefix":"MODE ",
		"attributes":[{"name":"mode","field":2,"separator":" "}]}]}`,
		conformance.Named("text as it is").Forward("MODE Stop\r").Reverse("OK\r").
			WantOperation("command:mode", policy.ClassWrite, "mode", "Stop").WantForward("MODE Stop\r"))
}

// TestLengthIsNoText: a byte of a frame's length is not one of those that the client may not
// use, nor a blank that is taken away.
func TestLengthIsNoText(t *testing.T) {
	const long = "\x25p23456789012345678901234567890123456"
	conformance.Run(t, Protocol(), `{"frame":{"length":{"at":0,"size":1}},"refuse_bytes":"%","commands":[{"name":"put","class":"write","prefix":"%p"}]}`,
		conformance.Named("length").Forward(long).Reverse("\x02k").WantOperation("command:put", policy.ClassWrite).WantForward(long),
		conformance.Named("text").Forward("\x03p%").WantInvalid("command:unknown", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""))
	_, err := Protocol().Configure(json.RawMessage(`{"frame":{"length":{"at":0,"size":1}},"trim":true,"commands":[]}`))
	if err == nil {
		t.Error("trim would take a length for a blank")
	}
}
