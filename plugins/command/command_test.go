package command

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func open(t testing.TB, settings string) sdk.Inspector {
	t.Helper()
	maker, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return maker()
}

const rack = `{
	"frame": {"end": "<CR><LF>"}, "max_frame": 48, "outstanding": 3,
	"commands": [
		{"name": "get", "class": "read", "prefix": "GET ", "reply": ["VAL ", "ERR "], "attributes": [{"name": "key", "field": 2, "separator": " "}]},
		{"name": "set", "class": "control", "prefix": "SET ", "attributes": [{"name": "rate", "at": 4, "length": 5, "number": true, "decimals": 1}]},
		{"name": "list", "class": "query", "exact": "LIST", "replies": "many", "last": ["END", "ERR "]},
		{"name": "beep", "class": "control", "exact": "BEEP", "replies": "none"},
		{"name": "note", "class": "notify", "prefix": "NOTE", "replies": "none", "refused": "silent", "attributes": [{"name": "level", "at": 4, "length": 1, "optional": true}]},
		{"name": "reset", "class": "admin", "exact": "RESET", "refused": "end"}
	],
	"unsolicited": ["HELLO", "ALARM"],
	"refusal": {"answer": "ERR <CODE>"}
}`

func TestDialogue(t *testing.T) {
	denied := "ERR 7QF-21\r\n"
	get, set, val := "GET rate\r\n", "SET  12.5\r\n", "VAL 7\r\n"
	d := func(name string) conformance.Dialogue {
		return conformance.Named(name).WantOperation("command:session", policy.ClassSession)
	}
	gets := func(d conformance.Dialogue) conformance.Dialogue {
		return d.WantOperation("command:get", policy.ClassRead, "key", "rate", "size", len(get))
	}
	sets := func(d conformance.Dialogue) conformance.Dialogue {
		return d.WantOperation("command:set", policy.ClassControl, "rate", 125)
	}
	conformance.Run(t, Protocol(), rack,
		gets(sets(d("a greeting, then one after the other"))).
			Reverse("HELLO\r\n").Forward(set).Reverse("OK\r\n").Forward(get).Reverse(val).
			WantForward(set+get).WantReverse("HELLO\r\nOK\r\n"+val),
		gets(sets(gets(d("a refusal waits for the reply before it")))).
			Forward(get).Forward(set).Forward(get).Refused(3).Reverse(val).Reverse("ALARM\r\n").Reverse(val).
			WantRefusal(3, denied).WantForward(get+get).WantReverse(val+denied+"ALARM\r\n"+val),
		gets(d("many replies, an alarm among them").WantOperation("command:list", policy.ClassQuery)).
			Forward("LIST\r\n"+get).Reverse("a\r\n").Reverse("ALARM\r\n").Reverse("END\r\n").Reverse(val).
			WantReverse("a\r\nALARM\r\nEND\r\n"+val),
		gets(d("no reply").WantOperation("command:beep", policy.ClassControl)).
			Forward("BEEP\r\n"+get).Reverse(val).WantForward("BEEP\r\n"+get).WantReverse(val),
		gets(d("refused without a word").WantOperation("command:note", policy.ClassNotify, "level", "7")).
			Forward("NOTE7\r\n").Refused(2).Forward(get).Reverse(val).
			WantRefusal(2, "").WantForward(get).WantReverse(val),
		d("what has no reply is refused by the end").WantOperation("command:beep", policy.ClassControl).
			Forward("BEEP\r\n").Refused(2).WantRefusal(2, "").WantEnd(),
		d("refused by the end").WantOperation("command:reset", policy.ClassAdmin).
			Forward("RESET\r\n").Refused(2).WantRefusal(2, "").WantEnd(),
		d("an attribute that may be missing").WantOperation("command:note", policy.ClassNotify, "level", nil).
			Forward("NOTE\r\n").WantForward("NOTE\r\n"),
		gets(d("the client closes its half and waits")).Forward(get).ForwardEnds().Reverse(val).WantReverse(val),
		gets(gets(gets(d("as many as may be unanswered")))).
			Forward(get+get+get+"BEEP\r\n").Reverse(val+val+val).Forward("NOTE\r\n").
			WantOperation("command:beep", policy.ClassControl).WantOperation("command:note", policy.ClassNotify),
		gets(gets(gets(d("one more than may be unanswered")))).
			Forward(get+get+get+get).WantInvalid("command:get", policy.ClassRead).WantEnd().WantForward(get+get+get),
		d("doubt").WantOperation("command:get", policy.ClassRead).Forward(get).
			RefusedWith(sdk.Refusal{Code: "7QF\r\nSET 9-21" + strings.Repeat("A", 99), Cause: policy.CauseDoubt}, 2).
			WantRefusal(2, "ERR 7QFSET9-21"+strings.Repeat("A", 24)+"\r\n"),
	)
}

// TestClasses has every class a command can be given, and what is allowed by name, passed
// and refused.
func TestClasses(t *testing.T) {
	for _, class := range policy.Classes {
		name, settings := "command:q", lines(strings.Replace(query, "read", string(class), 1), `,"refusal":{"answer":"NAK <CODE>"}`)
		if class == policy.ClassUnknown {
			name, settings = "command:unknown", strings.Replace(settings, `"class":"unknown","exact":"Q"`, `"class":"read","exact":"R"`, 1)
		}
		conformance.Run(t, Protocol(), settings,
			conformance.Named(string(class)+" allowed").Forward("Q\r").Reverse("7\r").
				WantOperation(name, class).WantForward("Q\r").WantReverse("7\r"),
			conformance.Named(string(class)+" refused").Forward("Q\r").Refused(1).
				WantOperation(name, class).WantRefusal(1, "NAK 7QF-21\r").WantForward("").WantReverse("NAK 7QF-21\r"))
	}
}

// TestMalformed has what no device is to see.
func TestMalformed(t *testing.T) {
	denied := "ERR 7QF-21\r\n"
	for _, test := range []struct {
		name, sent, operation string
		class                 policy.Class
	}{
		{"a lone CR", "GET a\rSET 9\r\n", "unknown", policy.ClassUnknown},
		{"a lone LF", "GET a\nSET 9\r\n", "unknown", policy.ClassUnknown},
		{"NUL", "GET a\x00\r\n", "unknown", policy.ClassUnknown},
		{"ESC", "GET \x1b[2J\r\n", "unknown", policy.ClassUnknown},
		{"XON", "GET a\x11\r\n", "unknown", policy.ClassUnknown},
		{"DEL", "GET ab\x7f\r\n", "unknown", policy.ClassUnknown},
		{"tabulator", "GET a\tb\r\n", "unknown", policy.ClassUnknown},
		{"beyond ASCII", "GET \xb0C\r\n", "unknown", policy.ClassUnknown},
		{"Telnet", "\xff\xfd\x03GET a\r\n", "unknown", policy.ClassUnknown},
		{"attribute missing", "GET \r\n", "get", policy.ClassRead},
		{"attribute cut", "SET 1234\r\n", "set", policy.ClassControl},
		{"attribute no number", "SET 12,5x\r\n", "set", policy.ClassControl},
		{"too many decimals", "SET 12.55\r\n", "set", policy.ClassControl},
	} {
		conformance.Run(t, Protocol(), rack, conformance.Named(test.name).Forward(test.sent).
			WantOperation("command:session", policy.ClassSession).
			WantInvalid("command:"+test.operation, test.class, "rate", nil).WantRefusal(2, denied).WantForward(""))
	}
	d := func(name string) conformance.Dialogue {
		return conformance.Named(name).WantOperation("command:session", policy.ClassSession)
	}
	get, val := "GET rate\r\n", "VAL 7\r\n"
	conformance.Run(t, Protocol(), rack,
		d("no end").Forward("GET rate\r").WantInvalid("command:malformed", policy.ClassUnknown).WantRefusal(2, denied).WantEnd().WantForward(""),
		d("as long as may be").Forward("GET "+strings.Repeat("a", 42)+"\r\n").Reverse(val).WantOperation("command:get", policy.ClassRead, "size", 48),
		d("too long").Forward("GET "+strings.Repeat("a", 43)+"\r\n"+get).WantInvalid("command:malformed", policy.ClassUnknown).
			WantRefusal(2, denied).WantEnd().WantForward(""),
		d("too long, behind one that is answered").Forward(get).Reverse(val).Forward(strings.Repeat("a", 99)).
			WantOperation("command:get", policy.ClassRead).WantInvalid("command:malformed", policy.ClassUnknown).
			WantRefusal(3, denied).WantEnd().WantForward(get).WantReverse(val+denied),
		d("too long, behind one that is not").Forward(get+strings.Repeat("a", 99)).
			WantOperation("command:get", policy.ClassRead).WantInvalid("command:malformed", policy.ClassUnknown).
			WantEnd().WantForward(get),
		d("before one too many").Forward("GET\x00\r\n"+get+get+get+get).
			WantInvalid("command:unknown", policy.ClassUnknown).WantOperation("command:get", policy.ClassRead).
			WantOperation("command:get", policy.ClassRead).WantOperation("command:get", policy.ClassRead).
			WantInvalid("command:get", policy.ClassRead).WantRefusal(2, denied).WantEnd().WantForward(get+get+get).WantReverse(denied),
		d("a reply to nothing").Reverse(val).WantEnd().WantReverse(""),
		d("a second reply").Forward(get).Reverse(val+val).WantOperation("command:get", policy.ClassRead).WantEnd().WantReverse(val),
		d("a reply that does not fit").Forward(get).Reverse("OK\r\n").WantOperation("command:get", policy.ClassRead).WantEnd().WantReverse(""),
		d("a reply to what was refused").Forward(get).Refused(2).Reverse(val).WantOperation("command:get", policy.ClassRead).
			WantRefusal(2, denied).WantEnd().WantReverse(denied),
		d("a reply that is too long").Forward(get).Reverse("VAL "+strings.Repeat("7", 99)).WantOperation("command:get", policy.ClassRead).WantEnd().WantReverse(""),
		d("the device ends inside a reply").Forward(get).Reverse("VAL").ReverseEnds().WantOperation("command:get", policy.ClassRead).WantEnd(),
		d("the device ends before a reply").Forward(get).ReverseEnds().WantOperation("command:get", policy.ClassRead).WantEnd(),
	)
	conformance.Run(t, Protocol(), lines(query, ``),
		conformance.Named("a device that may not speak unasked").Reverse("HELLO\r").WantEnd().WantReverse(""))
}

// TestForgotten lets commands without a reply pass by one that waits for its own.
func TestForgotten(t *testing.T) {
	in := open(t, rack).(*session)
	var out sdk.Steps
	out.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(strings.Repeat("NOTE\r\n", 3*sdk.MaxOpen)), false, &out)
	if len(in.open) > sdk.MaxOpen {
		t.Errorf("%d commands are remembered", len(in.open))
	}
	conformance.Run(t, Protocol(), rack, conformance.Forward("GET a\r\n"+strings.Repeat("NOTE\r\n", sdk.MaxOpen)).Reverse("VAL 7\r\n"))
	in = open(t, rack).(*session)
	out = sdk.Steps{}
	sent := []byte("GET a\r\n" + strings.Repeat("NOTE\r\n", sdk.MaxOpen))
	for covered := int64(0); !in.dead && covered < int64(len(sent)); covered = out.Covered(sdk.Forward) {
		out.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, sent[covered:], false, &out)
	}
	if want := int64(len("GET a\r\n") + 6*(sdk.MaxOpen-1)); !in.dead || out.Covered(sdk.Forward) != want {
		t.Errorf("ended %t at %d, want %d", in.dead, out.Covered(sdk.Forward), want)
	}
}

// TestToleration has what devices differ in.
func TestToleration(t *testing.T) {
	name := func(settings, sent string) string {
		set, err := parseSettings([]byte(settings))
		if err != nil {
			t.Fatal(err)
		}
		r := set.read([]byte(sent + "\r"))
		if r.wrong != "" {
			return r.wrong
		}
		return r.op.Name
	}
	for _, test := range []struct{ settings, sent, want string }{
		{``, "Q", "command:q"},
		{``, "q", "command:unknown"},
		{``, " Q", "command:unknown"},
		{``, "Q ", "command:unknown"},
		{``, "Q\t", "byte that no command has"},
		{`,"ignore_case":true`, "q", "command:q"},
		{`,"ignore_case":true,"allow_bytes":"<0xE2><0x84><0xAA>"`, "\u212a", "command:unknown"}, // the Kelvin sign is no K
		{`,"trim":true`, "  Q ", "command:q"},
		{`,"trim":true`, "Q Q", "command:unknown"},
		{`,"allow_bytes":"<HT>"`, "Q\t", "command:unknown"},
	} {
		if got := name(lines(query, test.settings), test.sent); got != test.want {
			t.Errorf("%s: %q is %s, want %s", test.settings, test.sent, got, test.want)
		}
	}
}
