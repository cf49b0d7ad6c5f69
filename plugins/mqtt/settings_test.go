package mqtt

import (
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func TestSettings(t *testing.T) {
	for _, good := range []string{"", `{}`, `{"max_packet":"2MiB","max_inflight":1,"max_subscriptions":4096,"refused_publish":"ack","refused_qos0":"drop","refuse":["repeated_publish"]}`,
		`{"topics":[{"filter":"pump/+/set","class":"control"},{"filter":"#","class":"notify"}]}`} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`{"max_paket":1}`:                                   "there is no such setting",
		`{"max_packet":1000}`:                               "not between 1024 and",
		`{"max_packet":"256MiB"}`:                           "not between",
		`{"max_inflight":0}`:                                "not between 1 and 65535",
		`{"max_subscriptions":4097}`:                        "not between 1 and 4096",
		`{"refused_publish":"drop"}`:                        "is not one of",
		`{"refused_qos0":"ack"}`:                            "is not one of",
		`{"topics":[{"filter":"a/#/b","class":"control"}]}`: `"a/#/b" is no topic filter`,
		`{"topics":[{"filter":"a","class":"read"}]}`:        `class "read" of "a"`,
		`{"topics":[{"topic":"a","class":"write"}]}`:        "unknown field",
		`{"refuse":["repeated"]}`:                           "is not one of",
	} {
		if _, err := parseSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
	if repeatedPublish != 1<<(len(anomalyNames)-1) {
		t.Errorf("%d names for anomalies up to %b", len(anomalyNames), repeatedPublish)
	}
}

func TestRefusedPublish(t *testing.T) {
	const topic = "a"
	conformance.Run(t, Protocol(), `{"refused_publish":"ack","refused_qos0":"drop"}`,
		started("QoS 0 is dropped", 4).Forward(pub(4, 0, 0, topic, "1")+ping).Refused(2).
			WantOperation(publishName, write).WantRefusal(2, "").WantForward(hello(4)+ping),
		started("QoS 0 is dropped in 5", 5).Forward(pub(5, 0, 0, topic, "1")+ping).Refused(2).
			WantOperation(publishName, write).WantRefusal(2, "").WantForward(hello(5)+ping),
		started("QoS 1 is acknowledged", 4).Forward(pub(4, 1, 7, topic, "1")).Refused(2).Forward(ping).Reverse(pong).Forward(pub(4, 1, 7, topic, "2")).
			WantOperation(publishName, write).WantOperation(publishName, write).
			WantRefusal(2, ack(acked, 7, "")).WantForward(hello(4)+ping+pub(4, 1, 7, topic, "2")),
		started("QoS 2 is acknowledged, too", 4).Forward(pub(4, 2, 7, topic, "1")).Refused(2).Forward(ping).Reverse(pong).Forward(ack(released, 7, "")).
			WantOperation(publishName, write).WantInvalid("mqtt:PUBREL", opens).
			WantRefusal(2, ack(received, 7, "")).WantRefusal(3, ack(completed, 7, "")).WantForward(hello(4)+ping),
		started("not in 5", 5).Forward(pub(5, 1, 7, topic, "1")).Refused(2).
			WantOperation(publishName, write).WantRefusal(2, ack(acked, 7, "\x87"+denied)),
		started("nor what nobody could decide", 4).Forward(pub(4, 1, 7, topic, "1")).RefusedWith(unavailable, 2).
			WantOperation(publishName, write).WantRefusal(2, "").WantEnd(),
	)
}

func TestTopicsSetting(t *testing.T) {
	conformance.Run(t, Protocol(), `{"topics":[{"filter":"pump/+/set","class":"control"},{"filter":"alarm/#","class":"notify"},{"filter":"$x","class":"write"}]}`,
		started("topics", 4).Forward(pub(4, 0, 0, "pump/1/set", "")+pub(4, 0, 0, "alarm", "")+pub(4, 0, 0, "$x", "")+pub(4, 0, 0, "pump/1", "")).
			WantOperation(publishName, policy.ClassControl).WantOperation(publishName, policy.ClassNotify).WantOperation(publishName, write).WantOperation(publishName, write),
		conformance.Named("will").Forward(connectFlags(4, 4|2, tx("pump/1/set"), tx("0"))).WantOperation(connectName, policy.ClassControl),
	)
}

func TestAnomalies(t *testing.T) {
	again := "\x3a" + pub(4, 1, 7, "a", "1")[1:]
	tolerated := func(want ...string) any { return want }
	conformance.Run(t, Protocol(), `{}`,
		started("sent again over the same connection", 4).Forward(pub(4, 1, 7, "a", "1")+again).Reverse(ack(acked, 7, "")+ack(acked, 7, "")).
			WantOperation(publishName, write, "anomalies", nil).WantOperation(publishName, write, "dup", 1, "anomalies", tolerated("repeated_publish")),
		started("and answered once too often", 4).Forward(pub(4, 1, 7, "a", "1")+again).Reverse(ack(acked, 7, "")+ack(acked, 7, "")).Reverse(ack(acked, 7, "")).
			WantOperation(publishName, write).WantOperation(publishName, write).WantInvalid(malformedName, unknown).WantRefusal(1<<48+1, "").WantEnd(),
		started("not in 5", 5).Forward(pub(5, 1, 7, "a", "1")+"\x3a"+pub(5, 1, 7, "a", "1")[1:]).
			WantOperation(publishName, write).WantInvalid(malformedName, unknown).WantRefusal(3, pk(0xe0, "\x82", why(identifierInUse.reason))).WantEnd(),
		started("without DUP", 4).Forward(pub(4, 1, 7, "a", "1")+pub(4, 1, 7, "a", "1")).
			WantOperation(publishName, write).WantInvalid(malformedName, unknown).WantRefusal(3, "").WantEnd(),
		started("control characters", 4).Forward(pub(4, 0, 0, "a\tb", "")+pub(4, 0, 0, "a\tb", "")+pub(4, 0, 0, "\uffff", "")).
			WantOperation(publishName, write, "anomalies", tolerated("control_characters")).
			WantOperation(publishName, write, "anomalies", tolerated("control_characters")).
			WantOperation(publishName, write, "anomalies", tolerated("control_characters")),
	)
	conformance.Run(t, Protocol(), `{"refuse":["repeated_publish","control_characters"]}`,
		started("sent again", 4).Forward(pub(4, 1, 7, "a", "1")+again).
			WantOperation(publishName, write).WantInvalid(publishName, write).WantRefusal(3, "").WantEnd(),
		started("control characters", 5).Forward(sub(5, 1, "a\x7f")).
			WantInvalid(subscribeName, read).WantRefusal(2, pk(0xe0, "\x83", why(refusedQuirk.reason))).WantEnd(),
	)
}

func TestLimits(t *testing.T) {
	conformance.Run(t, Protocol(), `{"max_inflight":2,"max_subscriptions":2,"max_packet":"1KiB"}`,
		started("in flight", 5).Forward(pub(5, 1, 1, "a", "")+pub(5, 1, 2, "a", "")+pub(5, 1, 3, "a", "")).
			WantOperation(publishName, write).WantOperation(publishName, write).WantInvalid(malformedName, unknown).
			WantRefusal(4, pk(0xe0, "\x93", why(manyInflight.reason))).WantEnd(),
		started("subscriptions", 5).Forward(sub(5, 1, "a", "b")+sub(5, 2, "c")).Reverse(subbed(5, 1, "\x00\x80")).Forward(sub(5, 3, "c")).
			WantOperation(subscribeName, read).WantInvalid(subscribeName, read).WantRefusal(3, pk(0x90, id(2), why(manySubscriptions.reason), "\x97")).
			WantOperation(subscribeName, read),
		started("largest", 4).Forward(pub(4, 0, 0, "a", strings.Repeat("x", 1024-6))).WantOperation(publishName, write, "size", 1018),
		started("larger", 4).Forward(pub(4, 0, 0, "a", strings.Repeat("x", 1024-5))).WantInvalid(malformedName, unknown).WantRefusal(2, "").WantEnd(),
	)
}

// What is delivered for a subscription that was refused is decided by itself.
func TestRefusedSubscription(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		started("delivered nevertheless", 4).Forward(sub(4, 1, "a/#")).Refused(2, 1<<48+1).Reverse(pub(4, 0, 0, "a/b", "72")).
			WantOperation(subscribeName, read).WantOperation(publishName, read).
			WantRefusal(2, subbed(4, 1, "\x80")).WantRefusal(1<<48+1, "").WantReverse(accepted(4)+subbed(4, 1, "\x80")))
}
