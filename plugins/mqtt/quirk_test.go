package mqtt

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
)

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		filter, name string
		want         bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b", "a", false}, {"a/b", "A/b", false},
		{"#", "a", true}, {"#", "a/b/c", true}, {"#", "/", true}, {"#", "$SYS/a", false},
		{"a/#", "a", true}, {"a/#", "a/", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"a/#", "b", false},
		{"+", "a", true}, {"+", "a/b", false}, {"+", "/a", false}, {"+/+", "/a", true}, {"/+", "/a", true},
		{"+/b", "a/b", true}, {"+/b/#", "a/b", true}, {"+/a", "$SYS/a", false}, {"$SYS/+", "$SYS/a", true}, {"$SYS/#", "$SYS", true},
		{"a/+/c", "a//c", true}, {"a/+/c", "a/b/d", false}, {"a/+", "a", false}, {"a/+", "a/", true}, {"+/#", "a", true},
	} {
		if got := matches(test.filter, test.name); got != test.want {
			t.Errorf("%q, %q: %t", test.filter, test.name, got)
		}
	}
}

// session5 is a session of MQTT 5 in which both sides take topic aliases.
func session5(name string) conformance.Dialogue {
	return conformance.Named(name).Forward(pk(0x10, tx("MQTT"), "\x05\x02\x00\x3c", ps("\x22\x00\x05"), tx("c1"))).
		Reverse(pk(0x20, "\x00\x00", ps("\x22\x00\x05"))).WantOperation(connectName, opens)
}

// A topic alias is what the other side takes it for, or the session ends.
func TestAliases(t *testing.T) {
	set := func(topic string, alias byte) string { return pub(5, 0, 0, topic, "", "\x23\x00"+string(alias)) }
	const broker = sdk.OpID(1<<48 + 1)
	conformance.Run(t, Protocol(), `{"refused_qos0":"drop"}`,
		session5("resolved").Forward(set("a/b", 5)+set("", 5)+set("c", 5)+set("", 5)).
			WantOperation(publishName, write, "topic", "a/b", "topic_alias", 5).WantOperation(publishName, write, "topic", "a/b", "topic_levels", []string{"a", "b"}).
			WantOperation(publishName, write, "topic", "c").WantOperation(publishName, write, "topic", "c"),
		session5("that was not set").Forward(set("", 5)).WantInvalid(malformedName, unknown).
			WantRefusal(2, pk(0xe0, "\x82", why(unknownAlias.reason))).WantEnd(),
		session5("above the limit").Forward(set("a", 6)).WantInvalid(malformedName, unknown).
			WantRefusal(2, pk(0xe0, "\x94", why(wrongAlias.reason))).WantEnd(),
		session5("that the broker does not learn").Forward(set("a", 1)+set("b", 1)+set("", 1)).Refused(3).
			WantOperation(publishName, write).WantOperation(publishName, write).
			WantRefusal(3, pk(0xe0, "\x87", denied)).WantEnd(),
		session5("that is used where it is refused").Forward(set("a", 1)+set("", 1)+ping).Refused(3).
			WantOperation(publishName, write).WantOperation(publishName, write, "topic", "a").WantRefusal(3, ""),
		session5("of the broker's").Forward(sub(5, 1, "a/#")).Reverse(subbed(5, 1, "\x00")).Reverse(set("a/b", 2)+set("", 2)).
			WantOperation(subscribeName, read),
		session5("of the broker's, that the client does not learn").Reverse(set("a/b", 2)+set("", 2)).Refused(broker).
			WantOperation(publishName, read, "topic", "a/b").WantRefusal(broker, "").WantEnd(),
	)
	in := open(t, `{}`)
	in.sides[0].aliases.max = 65535
	for i := range 65535 {
		if _, wrong := in.sides[0].aliases.resolve(uint16(i+1), newTopic(strings.Repeat("a", maxTopic), 0)); wrong != nil {
			if wrong != manyAliases || i < 16 {
				t.Errorf("alias %d: %s", i+1, wrong.reason)
			}
			return
		}
	}
	t.Error("aliases have no bound")
}

// What an earlier connection has left is finished over this one.
func TestResumed(t *testing.T) {
	kept, resumed := connectFlags(4, 0), "\x20\x02\x01\x00"
	const broker = sdk.OpID(1<<48 + 1)
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("the client's PUBREL").Forward(kept+ack(released, 9, "")).Reverse(resumed).Reverse(ack(completed, 9, "")).
			WantOperation(connectName, opens, "clean_start", 0).WantReverse(resumed+ack(completed, 9, "")),
		conformance.Named("the broker's PUBREL").Forward(kept).Reverse(resumed).Reverse(ack(released, 9, "")).Forward(ack(completed, 9, "")).
			WantOperation(connectName, opens).WantForward(kept+ack(completed, 9, "")),
		conformance.Named("but not if the broker knows nothing of it").Forward(kept).Reverse("\x20\x02\x00\x00").Reverse(ack(released, 9, "")).
			WantOperation(connectName, opens).WantInvalid(malformedName, unknown).WantRefusal(broker, "").WantEnd(),
		conformance.Named("nor in a clean session").Forward(hello(4)+ack(released, 9, "")).
			WantOperation(connectName, opens).WantInvalid(malformedName, unknown).WantRefusal(2, "").WantEnd(),
	)
}

// What a client is told is what it can take.
func TestReasonString(t *testing.T) {
	hello := func(props ...string) string {
		return pk(0x10, tx("MQTT"), "\x05\x02\x00\x3c", ps(props...), tx(""))
	}
	named := pk(0x20, "\x00\x00", ps("\x12"+tx("given"), "\x13\x00\x0a", "\x26"+tx("k")+tx("v")))
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("no reason strings").Forward(hello("\x17\x00")).Reverse(named).Forward(pub(5, 1, 1, "a", "")+sub(5, 2, "a")).Refused(2, 3).
			WantOperation(connectName, opens, "client_id", nil).WantOperation(publishName, write, "client_id", "given").WantOperation(subscribeName, read).
			WantRefusal(2, pk(0x40, id(1), "\x87\x00")).WantRefusal(3, pk(0x90, id(2), "\x00\x87")),
		conformance.Named("but where they are always allowed").Forward(hello("\x17\x00")).Refused(1).
			WantOperation(connectName, opens).WantRefusal(1, pk(0x20, "\x00\x87", denied)).WantEnd(),
		conformance.Named("short packets").Forward(hello("\x27\x00\x00\x00\x06")).Reverse(named).Forward(pub(5, 1, 1, "a", "")+sub(5, 2, "a", "b")).Refused(2, 3).
			WantOperation(connectName, opens).WantOperation(publishName, write).WantOperation(subscribeName, read).
			WantRefusal(2, pk(0x40, id(1), "\x87\x00")).WantRefusal(3, ""),
		conformance.Named("a long reason is cut").Forward(hello()).Reverse(named).Forward(pub(5, 1, 1, "a", "")).
			RefusedWith(sdk.Refusal{Code: "7QF-21", Cause: "policy", Reason: strings.Repeat("x", 250)}, 2).
			WantOperation(connectName, opens).WantOperation(publishName, write).
			WantRefusal(2, pk(0x40, id(1), "\x87", why(strings.Repeat("x", 120-len(", decision code 7QF-21"))))),
	)
}

func TestProperties(t *testing.T) {
	all := pub(5, 1, 1, "a", "x", "\x01\x01", "\x02\x00\x00\x00\x09", "\x03"+tx("text/plain"), "\x08"+tx("r/1"), "\x09"+tx("\x00\x01"), "\x26"+tx("k")+tx("v"), "\x26"+tx("k")+tx("w"))
	conformance.Run(t, Protocol(), `{}`,
		started("of a PUBLISH", 5).Forward(all).Reverse(ack(acked, 1, "\x10"+ps("\x1f"+tx("nobody")))).
			WantOperation(publishName, write, "message_expiry", 9, "content_type", "text/plain", "response_topic", "r/1", "size", 1).
			WantForward(hello(5)+all),
		started("of a delivery", 5).Forward(sub(5, 1, "a")).Reverse(subbed(5, 1, "\x02")).Reverse(pub(5, 0, 0, "a", "", "\x0b\x01", "\x0b\x80\x01")).
			WantOperation(subscribeName, read),
		started("of PUBREC that refuses", 5).Forward(pub(5, 2, 1, "a", "")).Reverse(ack(received, 1, "\x87")).Forward(pub(5, 2, 1, "a", "")).
			WantOperation(publishName, write).WantOperation(publishName, write),
		started("of DISCONNECT", 5).Forward(pk(0xe0, "\x04", ps("\x1f"+tx("bye")))).WantNothing(),
		started("of the broker's DISCONNECT", 5).Reverse(pk(0xe0, "\x8b", ps("\x1c"+tx("other")))).WantNothing(),
	)
}

// A large payload passes without being looked at, and in between nothing else is inserted.
func TestLargePayload(t *testing.T) {
	large := pub(4, 0, 0, "a", strings.Repeat("x", 300<<10))
	conformance.Run(t, Protocol(), `{}`,
		started("large", 4).Forward(large+pub(4, 0, 0, "b", "")).WantOperation(publishName, write, "size", 300<<10).WantOperation(publishName, write, "topic", "b"),
		started("large, refused", 5).Forward(pub(5, 1, 1, "a", strings.Repeat("x", 200<<10))+ping).Refused(2).
			WantOperation(publishName, write).WantRefusal(2, ack(acked, 1, "\x87"+denied)).WantForward(hello(5)+ping),
	)
}

// show is one call of an inspector.
func show(in *session, out *sdk.Steps, dir sdk.Direction, data string) []sdk.Step {
	out.Begin(dir)
	in.Inspect(dir, []byte(data), false, out)
	return out.List()
}

// An acknowledgement of what is too old to be named belongs to the dialogue.
func TestOldAcknowledgement(t *testing.T) {
	in, out := open(t, `{}`), sdk.Steps{}
	show(in, &out, sdk.Forward, hello(4))
	show(in, &out, sdk.Reverse, accepted(4))
	for i := range sdk.MaxOpen + 1 {
		show(in, &out, sdk.Forward, pub(4, 1, i+1, "a", ""))
	}
	for id, want := range map[int]sdk.OpID{1: 1, 2: 3} {
		if steps := show(in, &out, sdk.Reverse, ack(acked, id, "")); len(steps) != 1 || steps[0].Op != want {
			t.Errorf("PUBACK %d: %+v, want operation %d", id, steps, want)
		}
	}
}

// Refusals that wait for CONNACK are never so many that one cannot be named any more.
func TestManyOwed(t *testing.T) {
	in, out := open(t, `{}`), sdk.Steps{}
	show(in, &out, sdk.Forward, hello(5))
	for i := range sdk.MaxOpen + 1 {
		steps := show(in, &out, sdk.Forward, sub(5, i+1, "a"))
		if steps[0].Kind == sdk.StepEnd {
			if i != sdk.MaxOpen {
				t.Errorf("ends at %d", i)
			}
			return
		}
		in.Refuse(steps[0].Op, sdk.Refusal{Code: "7QF-21", Cause: "policy", Reason: "not permitted"}, &out)
	}
	t.Error("there is no end")
}

// The facts of a window full of the shortest messages with the longest topic fit into one
// answer of the plugin, which has a limit of 1 MiB.
func TestAnswerFits(t *testing.T) {
	in := open(t, `{}`)
	var out sdk.Steps
	weigh := func(dir sdk.Direction, data string) (size int) {
		for _, step := range show(in, &out, dir, data) {
			size += 16 + len(step.Operation.Name) + len(step.Reason)
			for _, a := range step.Operation.Attributes {
				size += len(a.Name) + 12
				switch v := a.Value.(type) {
				case string:
					size += len(v)
				case []string:
					for _, s := range v {
						size += 2 + len(s)
					}
				}
			}
		}
		return size
	}
	text := strings.Repeat("c", maxText)
	weigh(sdk.Forward, pk(0x10, tx("MQTT"), "\x05\x82\x00\x3c", ps(), tx(text), tx(text)))
	weigh(sdk.Reverse, pk(0x20, "\x00\x00", ps("\x22\x00\x05")))
	topic := strings.Repeat("/", maxLevels-1) + strings.Repeat("a", maxTopic-maxLevels+1)
	weigh(sdk.Forward, pub(5, 0, 0, topic, "", "\x23\x00\x01"))
	short := pub(5, 0, 0, "", "", "\x23\x00\x01")
	if n := weigh(sdk.Forward, strings.Repeat(short, sdk.WindowSize/len(short))); n > 1<<20 || n < 1<<18 {
		t.Errorf("%d bytes", n)
	}
}

func TestAnswer(t *testing.T) {
	for _, good := range []string{"", "\x40\x03\x00\x01\x87", "\x50\x03\xff\xff\x87"} {
		if err := Answer([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"\x40", "\x40\x02\x00\x01", "\x40\x03\x00\x01\x00", "\x40\x03\x00\x01\x10", "\x40\x03\x00\x00\x87", "\x60\x03\x00\x01\x87", "\x41\x03\x00\x01\x87",
		"\x40\x03\x00\x01\x87\xe0\x00", "\x40\x04\x00\x01\x87\x00", pub(4, 0, 0, "a", "b"), bye, ping, sub(4, 1, "a"), hello(4)} {
		if Answer([]byte(bad)) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
