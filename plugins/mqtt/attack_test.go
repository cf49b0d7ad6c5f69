package mqtt

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
)

// TestBoundedSubscriptions: each filter costs time with each message, which other clients'
// sessions have to wait for.
func TestBoundedSubscriptions(t *testing.T) {
	in := open(t, `{}`)
	var out sdk.Steps
	show := func(dir sdk.Direction, b string) {
		t.Helper()
		out.Begin(dir)
		in.Inspect(dir, []byte(b), false, &out)
	}
	show(sdk.Forward, hello(4))
	show(sdk.Reverse, accepted(4))
	deep := strings.Repeat("a/", 127)
	for i := range 1000 {
		show(sdk.Forward, sub(4, i+1, fmt.Sprint(deep, i)))
		if steps := out.List(); steps[0].Invalid {
			in.Refuse(steps[0].Op, sdk.Refusal{}, &out)
			continue
		}
		show(sdk.Reverse, subbed(4, i+1, "\x00"))
	}
	sum := 0
	for _, s := range in.subscriptions.list {
		sum += len(s.filter)
	}
	if most := 1024*maxAverage + maxFilterBytes; sum > most || sum < most/2 {
		t.Errorf("%d filters of %d bytes", len(in.subscriptions.list), sum)
	}
}

// TestBoundedUnsubscribe: what a client gives up is remembered until that is acknowledged, and
// who reads no acknowledgement can give up no more.
func TestBoundedUnsubscribe(t *testing.T) {
	many := strings.Split(strings.Repeat("a ", 99)+"a", " ")
	d := started("of a client that is not answered", 5)
	for i := range 2 {
		d = d.Forward(unsub(5, i+1, many...)).WantOperation(unsubscribeName, opens)
	}
	again := started("of one that is", 5)
	for i := range 6 {
		again = again.Forward(unsub(5, i+1, many...)).WantOperation(unsubscribeName, opens)
		if i%2 == 1 {
			again = again.Refused(sdk.OpID(i+2)).WantRefusal(sdk.OpID(i+2), pk(0xb0, id(i+1), denied, strings.Repeat("\x87", 100)))
		} else {
			again = again.Reverse(unsubbed(5, i+1, strings.Repeat("\x11", 100)))
		}
	}
	conformance.Run(t, Protocol(), `{"max_subscriptions":1}`, again,
		d.Forward(unsub(5, 3, many...)).WantInvalid(malformedName, unknown).WantRefusal(4, pk(0xe0, "\x93", why(manyInflight.reason))).WantEnd())
}

// TestRepeatedRelease: MQTT 3.1.1 clients of old send PUBREL again, too, if PUBCOMP takes long.
func TestRepeatedRelease(t *testing.T) {
	release := ack(released, 7, "")
	conformance.Run(t, Protocol(), `{}`,
		started("again", 4).Forward(pub(4, 2, 7, "a", "")).Reverse(ack(received, 7, "")).Forward(release).Forward(release).
			Reverse(ack(completed, 7, "")).Reverse(ack(completed, 7, "")).WantOperation(publishName, write).
			WantForward(hello(4)+pub(4, 2, 7, "a", "")+release+release),
		started("not in 5", 5).Forward(pub(5, 2, 7, "a", "")).Reverse(ack(received, 7, "")).Forward(release).Forward(release).
			WantOperation(publishName, write).WantInvalid(malformedName, unknown).WantRefusal(3, pk(0xe0, "\x82", why(unasked.reason))).WantEnd(),
		started("not what nobody received", 4).Forward(pub(4, 2, 7, "a", "")).Forward(release).
			WantOperation(publishName, write).WantInvalid(malformedName, unknown).WantRefusal(3, "").WantEnd())
}

// TestTopicsReached: a topic that was meant to be more than written to is not lost behind another.
func TestTopicsReached(t *testing.T) {
	for _, test := range []struct {
		before, filter string
		lost           bool
	}{
		{"#", "pump/+/set", true}, {"pump/#", "pump/+/set", true}, {"pump/+/set", "pump/1/set", true}, {"a", "a", true},
		{"+/#", "#", true}, {"a/#", "a/b/#", true}, {"a/#", "a/#", true}, {"+/+", "/+", true}, {"#", "/#", true},
		{"pump/1/set", "pump/+/set", false}, {"a/+", "a/#", false}, {"a/+/#", "a/#", false}, {"+", "#", false}, {"#", "$SYS/#", false},
		{"+/+", "a/#", false}, {"a/b", "a/b/#", false}, {"+", "/#", false},
	} {
		_, err := parseSettings(fmt.Appendf(nil, `{"topics":[{"filter":%q,"class":"write"},{"filter":%q,"class":"control"}]}`, test.before, test.filter))
		if (err != nil) != test.lost || err != nil && !strings.Contains(err.Error(), "is never reached") {
			t.Errorf("%q before %q: %v", test.before, test.filter, err)
		}
	}
}
