package mqtt

import (
	"encoding/json"
	"fmt"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Protocol returns the MQTT plugin.
//
// Its settings, all optional:
//
//	max_packet         bytes of one packet, 1KiB to 255MiB, "4MiB" or a number; default 1MiB
//	max_inflight       packets of each side that are not acknowledged, 1 to 65535; default 4096
//	max_subscriptions  filters a client has subscribed to, 1 to 4096; default
//	                   1024. One that is renewed counts twice until that is answered. With
//	                   filters above 64 bytes on average it is fewer
//	refused_publish    what an MQTT 3.1.1 client gets whose PUBLISH with QoS 1 or 2 the policy
//	                   refuses, for which there is no packet: "disconnect" (default), or "ack":
//	                   the acknowledgement of a message that was delivered, which the client
//	                   then believes
//	refused_qos0       what any client gets whose PUBLISH with QoS 0 is refused: "disconnect"
//	                   (default), or "drop": nothing
//	topics             what a message does, by topic, where it is more than writing:
//	                   [{"filter": "pump/+/set", "class": "control"}]; the first that matches counts
//	refuse             anomalies to be refused instead of tolerated: ["repeated_publish"]
//
// Both directions are held. Either side publishes; and a negative answer to the client may
// only stand between two packets, and not before CONNACK.
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "mqtt",
		Version: "1.0.0",
		Modes:   [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held},
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			return func() sdk.Inspector { return newSession(set) }, nil
		},
	}
}

// settings are one service's; read-only once parsed.
type settings struct {
	maxPacket        int64
	maxInflight      int
	maxSubscriptions int
	acknowledge      bool // what is refused, in MQTT 3.1.1
	drop             bool // what is refused, of QoS 0
	topics           []topicClass
	refuse           anomaly
}

// topicClass is what a message does on the topics a filter matches.
type topicClass struct {
	Filter string       `json:"filter"`
	Class  policy.Class `json:"class"`
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxPacket: 1 << 20, maxInflight: 4096, maxSubscriptions: 1024}
	refused, qos0 := "disconnect", "disconnect"
	err := sdk.Settings{
		"max_packet":        sdk.Size(&set.maxPacket, 1<<10, 255<<20),
		"max_inflight":      sdk.Int(&set.maxInflight, 1, 65535),
		"max_subscriptions": sdk.Int(&set.maxSubscriptions, 1, 4096),
		"refused_publish":   sdk.OneOf(&refused, "disconnect", "ack"),
		"refused_qos0":      sdk.OneOf(&qos0, "disconnect", "drop"),
		"topics":            set.readTopics,
		"refuse":            sdk.SomeOf(&set.refuse, anomalyNames[:]...),
	}.Read(raw)
	set.acknowledge, set.drop = refused == "ack", qos0 == "drop"
	return set, err
}

func (set *settings) readTopics(value json.RawMessage) error {
	if err := sdk.Value(&set.topics)(value); err != nil {
		return err
	}
	for i, t := range set.topics {
		switch t.Class {
		case policy.ClassWrite, policy.ClassControl, policy.ClassAdmin, policy.ClassNotify:
		default:
			return fmt.Errorf("class %q of %q is none of write, control, admin and notify", t.Class, t.Filter)
		}
		if !isFilter(t.Filter) {
			return fmt.Errorf("%q is no topic filter", t.Filter)
		}
		for _, before := range set.topics[:i] {
			if covers(before.Filter, t.Filter) {
				return fmt.Errorf("%q is never reached: %q matches all of it before", t.Filter, before.Filter)
			}
		}
	}
	return nil
}

// classOf is what a message does. Topics that begin with $ are the broker's own
// (MQTT 5, 4.7.2): some brokers take commands there.
func (set *settings) classOf(topic string) policy.Class {
	for _, t := range set.topics {
		if matches(t.Filter, topic) {
			return t.Class
		}
	}
	if topic[0] == '$' {
		return policy.ClassAdmin
	}
	return policy.ClassWrite
}
