package command

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"

	"github.com/goccy/go-yaml"
)

// profile returns the settings that a shipped profile has for this plugin.
func profile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../cmd/cordon/config/profiles/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var profile struct {
		Services map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(whole, &profile); err != nil {
		t.Fatal(err)
	}
	own := profile.Services["command"]
	delete(own, "sessions") // the gateway's
	settings, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(settings)
}

const no = " 7QF-21"

func anaesthesia() []conformance.Dialogue {
	values := "\x1bVTD\r"
	list := []conformance.Dialogue{
		conformance.Named("values are read").
			Forward(values).Reverse("D 071 016 2.1\r\n").Forward("\x1bVTI\r").Reverse("I 7100 1.4\r\n").
			WantOperation("command:measured_values", policy.ClassRead, "size", 5, "checksum", nil).
			WantOperation("command:identification", policy.ClassQuery).
			WantForward(values + "\x1bVTI\r").WantReverse("D 071 016 2.1\r\nI 7100 1.4\r\n"),
		conformance.Named("alarms are many lines").
			Forward("\x1bVTA\r").Reverse("APNEA\r\n").Reverse("LOW O2\r\n").Reverse("END\r\n").Forward(values).Reverse("D 1\r\n").
			WantOperation("command:alarm_list", policy.ClassRead).WantOperation("command:measured_values", policy.ClassRead).
			WantReverse("APNEA\r\nLOW O2\r\nEND\r\nD 1\r\n"),
		conformance.Named("what is not listed").
			Forward("\x1bVTX\r").Refused(1).WantOperation("command:unknown", policy.ClassUnknown, "size", 5).
			WantRefusal(1, "ERR"+no+"\r\n").WantForward(""),
		conformance.Named("a command inside a command").
			Forward("\x1bVTt\x1bVTs\r").WantInvalid("command:unknown", policy.ClassUnknown).
			WantRefusal(1, "ERR"+no+"\r\n").WantForward(""),
		conformance.Named("a version that is no number").
			Forward("\x1bVTv1.0 2.0\r").WantInvalid("command:set_protocol_version", policy.ClassAdmin, "version", nil).
			WantRefusal(1, "ERR"+no+"\r\n").WantForward(""),
	}
	for _, set := range []struct {
		sent, name string
		class      policy.Class
		facts      []any
	}{
		{"v1.0", "set_protocol_version", policy.ClassAdmin, []any{"version", 10}},
		{"gN266.5", "set_gas", policy.ClassControl, []any{"gas", "N2", "percent", 665}},
		{"s", "silence_alarms", policy.ClassControl, nil},
		{"t202611221200", "set_time", policy.ClassAdmin, nil},
	} {
		list = append(list, conformance.Named(set.name).
			Forward(values).Reverse("D 1\r\n").Forward("\x1bVT"+set.sent+"\r").Refused(2).
			WantOperation("command:measured_values", policy.ClassRead).
			WantOperation("command:"+set.name, set.class, set.facts...).
			WantRefusal(2, "ERR"+no+"\r\n").WantForward(values).WantReverse("D 1\r\nERR"+no+"\r\n"))
	}
	return list
}

func medibus() []conformance.Dialogue {
	icc, answer := "\x1bQ6C\r", "\x01Q52\r"
	nop, lives := "\x1b04B\r", "\x01031\r"
	data, values := "\x1b$3F\r", "\x01$07 12.572\r"
	session := func(name string) conformance.Dialogue {
		return conformance.Named(name).WantOperation("command:session", policy.ClassSession)
	}
	return []conformance.Dialogue{
		session("initialised, read, kept alive by the device").
			Forward(icc).Reverse(answer).Reverse(nop).Forward(lives).Forward(data).Reverse(nop).Reverse(values).Forward(lives).
			WantOperation("command:initialize", policy.ClassSession, "checksum", "ok", "size", 5).
			WantOperation("command:answer", policy.ClassSession).
			WantOperation("command:data_1", policy.ClassRead).
			WantOperation("command:answer", policy.ClassSession).
			WantForward(icc + lives + data + lives).WantReverse(answer + nop + nop + values),
		session("the device begins").
			Reverse(icc).Forward(answer).Forward(nop).Reverse(lives).
			WantOperation("command:answer", policy.ClassSession).WantOperation("command:no_operation", policy.ClassSession),
		session("a checksum is wrong").
			Forward("\x1b$3E\r").WantInvalid("command:unknown", policy.ClassUnknown, "checksum", "wrong").WantRefusal(2, "").WantEnd().WantForward(""),
		session("a checksum of lower case").
			Forward("\x1b$3f\r").WantInvalid("command:unknown", policy.ClassUnknown, "checksum", "wrong").WantRefusal(2, "").WantEnd(),
		session("a checksum alone").
			Forward("\x1b\r").WantInvalid("command:unknown", policy.ClassUnknown, "checksum", "wrong").WantRefusal(2, "").WantEnd(),
		session("the answer to another command").
			Forward(data).Reverse(answer).WantOperation("command:data_1", policy.ClassRead).WantEnd().WantReverse(""),
		session("a wrong checksum of the device").
			Forward(data).Reverse("\x01$00\r").WantOperation("command:data_1", policy.ClassRead).WantEnd().WantReverse(""),
		session("curves, which nobody asked for").
			Reverse("\xd0\x80").WantEnd().WantReverse(""),
		conformance.Named("the device speaks to who may not listen").
			Refused(1).Reverse(nop).WantOperation("command:session", policy.ClassSession).WantRefusal(1, "").WantEnd().WantReverse(""),
	}
}

// TestMedibusCodes has each command by its code, those that configure refused.
func TestMedibusCodes(t *testing.T) {
	for code, want := range map[byte]policy.Class{
		0x24: "read", 0x25: "read", 0x26: "read", 0x27: "read", 0x28: "read", 0x29: "read", 0x2a: "read", 0x2b: "read", 0x2c: "read",
		0x2d: "read", 0x2e: "read", 0x6c: "read", 0x6d: "read", 0x52: "query", 0x30: "session", 0x51: "session", 0x55: "session",
		0x49: "admin", 0x4a: "admin", 0x53: "admin", 0x54: "admin", 0x23: "unknown", 0x56: "unknown",
	} {
		set, err := parseSettings([]byte(profile(t, "draeger-medibus")))
		if err != nil {
			t.Fatal(err)
		}
		r := set.read(set.frame.wrap([]byte{0x1b, code}))
		if r.op.Class != want || r.wrong != "" || len(r.command.reply) > 0 && r.command.reply[0][1] != code {
			t.Errorf("%#x is %+v", code, r)
		}
	}
}

func pump() []conformance.Dialogue {
	list := []conformance.Dialogue{
		conformance.Named("what is listed").
			Forward("STAT?\r").Reverse("RUN 2\r").Forward("VOL? 2\r").Reverse("12.5\r").
			WantOperation("command:status", policy.ClassRead).WantOperation("command:channel_volume", policy.ClassRead, "channel", 2).
			WantForward("STAT?\rVOL? 2\r").WantReverse("RUN 2\r12.5\r"),
		conformance.Named("two commands in a line").
			Forward("VOL? 2;RATE 99\r").WantInvalid("command:unknown", policy.ClassUnknown).WantRefusal(1, "NAK"+no+"\r").WantForward(""),
		conformance.Named("more than a channel").
			Forward("VOL? 2 RATE 99\r").WantInvalid("command:channel_volume", policy.ClassRead).WantRefusal(1, "NAK"+no+"\r").WantForward(""),
		conformance.Named("Telnet options before a command").
			Forward("\xff\xfb\x18STAT?\r").WantInvalid("command:unknown", policy.ClassUnknown).WantRefusal(1, "NAK"+no+"\r").WantForward(""),
		conformance.Named("too long").
			Forward("VOL? "+strings.Repeat("1", 64)+"\r").WantInvalid("command:malformed", policy.ClassUnknown).
			WantRefusal(1, "NAK"+no+"\r").WantEnd().WantForward(""),
	}
	for _, sent := range []string{"RATE 99", "rate?", " RATE?", "RATE? ", "RATE??", "VOL?", "STAT?RATE 99", ""} {
		list = append(list, conformance.Named("what is not listed: "+sent).
			Forward(sent+"\r").Refused(1).WantOperation("command:unknown", policy.ClassUnknown, "size", len(sent)+1).
			WantRefusal(1, "NAK"+no+"\r").WantForward(""))
	}
	return list
}

// profiles are the blocks of settings of shipped profiles, with recorded dialogues.
var profiles = map[string]func() []conformance.Dialogue{
	"example-anaesthesia": anaesthesia,
	"draeger-medibus":     medibus,
	"example-pump":        pump,
}

func TestProfile(t *testing.T) {
	for name, dialogues := range profiles {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, Protocol(), profile(t, name), dialogues()...)
		})
	}
}
