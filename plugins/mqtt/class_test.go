package mqtt

import (
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// Every operation, allowed and refused, in both versions.
func dialogues() []conformance.Dialogue {
	const topic, reverse1 = "ward/7/pulse", sdk.OpID(1<<48 + 1)
	list := []conformance.Dialogue{
		conformance.Named("CONNECT refused in 3.1.1").Forward(hello(4)).Refused(1).
			WantOperation(connectName, opens, "client_id", "c1", "version", "3.1.1", "clean_start", 1, "keep_alive", 60, "username", nil).
			WantRefusal(1, "\x20\x02\x00\x05").WantEnd().WantForward(""),
		conformance.Named("CONNECT refused in 5").Forward(hello(5)).Refused(1).
			WantOperation(connectName, opens, "version", "5", "session_expiry", 0).
			WantRefusal(1, pk(0x20, "\x00\x87", denied)).WantEnd().WantForward(""),
		conformance.Named("nobody can decide on CONNECT in 3.1.1").Forward(hello(4)).RefusedWith(unavailable, 1).
			WantOperation(connectName, opens).WantRefusal(1, "\x20\x02\x00\x03").WantEnd(),
		conformance.Named("nobody can decide on CONNECT in 5").Forward(hello(5)).RefusedWith(unavailable, 1).
			WantOperation(connectName, opens).WantRefusal(1, pk(0x20, "\x00\x88", why("temporarily unavailable"))).WantEnd(),
		conformance.Named("will").Forward(connectFlags(4, 0x80|0x40|0x20|1<<3|4|2, tx("ward/7/state"), tx("gone"), tx("probe"), tx("secret"))).
			WantOperation(connectName, write, "username", "probe", "will_topic", "ward/7/state", "will_qos", 1, "will_retain", 1, "will_size", 4,
				"will_topic_levels", []string{"ward", "7", "state"}, "password", nil),
		conformance.Named("will of the broker's own").Forward(connectFlags(5, 4|2, ps("\x18"+"\x00\x00\x00\x05"), tx("$SYS/x"), tx(""))).
			WantOperation(connectName, admin, "will_topic", "$SYS/x", "will_retain", 0),
		conformance.Named("QoS 0, refused, in 3.1.1").Forward(hello(4)).Reverse(accepted(4)).Forward(pub(4, 0, 0, topic, "72")).Refused(2).
			WantOperation(connectName, opens).
			WantOperation(publishName, write, "topic", topic, "topic_levels", []string{"ward", "7", "pulse"}, "qos", 0, "retain", 0, "dup", 0, "size", 2, "client_id", "c1").
			WantRefusal(2, "").WantEnd().WantForward(hello(4)),
		conformance.Named("QoS 0, refused, in 5").Forward(hello(5)).Reverse(accepted(5)).Forward(pub(5, 0, 0, topic, "72")).Refused(2).
			WantOperation(connectName, opens).WantOperation(publishName, write).
			WantRefusal(2, pk(0xe0, "\x87", denied)).WantEnd().WantForward(hello(5)),
		started("QoS 1, refused, in 3.1.1", 4).Forward(pub(4, 1, 7, topic, "72")).Refused(2).
			WantOperation(publishName, write, "qos", 1).WantRefusal(2, "").WantEnd(),
		started("QoS 1, refused, in 5", 5).Forward(pub(5, 1, 7, topic, "72")).Refused(2).Forward(ping).Reverse(pong).
			WantOperation(publishName, write, "qos", 1).WantRefusal(2, pk(0x40, id(7), "\x87", denied)).
			WantForward(hello(5) + ping).WantReverse(accepted(5) + pk(0x40, id(7), "\x87", denied) + pong),
		started("QoS 2, refused, in 5", 5).Forward(pub(5, 2, 7, topic, "72")).Refused(2).Forward(ping).Reverse(pong).Forward(pub(5, 2, 7, topic, "73")).
			WantOperation(publishName, write, "qos", 2).WantRefusal(2, pk(0x50, id(7), "\x87", denied)).
			WantOperation(publishName, write),
		started("nobody can decide, in 5", 5).Forward(pub(5, 1, 7, topic, "72")).RefusedWith(unavailable, 2).
			WantOperation(publishName, write).WantRefusal(2, pk(0xe0, "\x89", why("temporarily unavailable"))).WantEnd(),
		started("SUBSCRIBE refused in 3.1.1", 4).Forward(sub(4, 3, "a", "b/#")).Refused(2).
			WantOperation(subscribeName, read, "filters", []string{"a", "b/#"}, "wildcards", []string{"b/#"}, "qos", []int64{1, 1}, "share_groups", nil).
			WantRefusal(2, "\x90\x04\x00\x03\x80\x80").WantForward(hello(4)),
		started("SUBSCRIBE refused in 5", 5).Forward(sub(5, 3, "$share/g/a", "b")).Refused(2).
			WantOperation(subscribeName, read, "filters", []string{"a", "b"}, "share_groups", []string{"g", ""}, "wildcards", nil).
			WantRefusal(2, pk(0x90, id(3), denied, "\x87\x87")).WantForward(hello(5)),
		started("nobody can decide on SUBSCRIBE", 5).Forward(sub(5, 3, "a")).RefusedWith(unavailable, 2).
			WantOperation(subscribeName, read).WantRefusal(2, pk(0x90, id(3), why("temporarily unavailable"), "\x80")),
		started("the broker's own topics", 4).Forward(sub(4, 3, "$SYS/#")+pub(4, 0, 0, "$CONTROL/x", "")).
			WantOperation(subscribeName, admin).WantOperation(publishName, admin),
		started("UNSUBSCRIBE refused in 3.1.1", 4).Forward(unsub(4, 3, "a")).Refused(2).
			WantOperation(unsubscribeName, opens, "filters", []string{"a"}).WantRefusal(2, "").WantEnd(),
		started("UNSUBSCRIBE refused in 5", 5).Forward(unsub(5, 3, "a", "b")).Refused(2).
			WantOperation(unsubscribeName, opens).WantRefusal(2, pk(0xb0, id(3), denied, "\x87\x87")),
		started("delivery of an earlier session, refused, in 5", 5).WantNothing(),
	}
	resumed := func(level byte) string {
		if level == 5 {
			return pk(0x20, "\x01\x00", ps())
		}
		return pk(0x20, "\x01\x00")
	}
	list[len(list)-1] = conformance.Named("delivery of an earlier session, in 5").
		Forward(connectFlags(5, 0)).Reverse(resumed(5)).Reverse(pub(5, 1, 9, topic, "72")+pub(5, 2, 8, topic, "73")+pub(5, 0, 0, topic, "74")).
		Refused(reverse1, reverse1+1, reverse1+2).
		WantOperation(connectName, opens, "clean_start", 0).
		WantOperation(publishName, read, "topic", topic, "qos", 1).WantOperation(publishName, read).WantOperation(publishName, read).
		WantRefusal(reverse1, "\x40\x03\x00\x09\x87").WantRefusal(reverse1+1, "\x50\x03\x00\x08\x87").WantRefusal(reverse1+2, "").
		WantReverse(resumed(5))
	list = append(list,
		conformance.Named("delivery of an earlier session, in 3.1.1").
			Forward(connectFlags(4, 0)).Reverse(resumed(4)).Reverse(pub(4, 0, 0, topic, "74")+pub(4, 1, 9, topic, "72")).
			Refused(reverse1, reverse1+1).
			WantOperation(connectName, opens).WantOperation(publishName, read).WantOperation(publishName, read).
			WantRefusal(reverse1, "").WantRefusal(reverse1+1, "").WantEnd().WantReverse(resumed(4)),
		conformance.Named("delivery of an earlier session, allowed").
			Forward(connectFlags(4, 0)).Reverse(resumed(4)).Reverse(pub(4, 1, 9, topic, "72")).Forward(ack(acked, 9, "")).
			WantOperation(connectName, opens).WantOperation(publishName, read, "topic", topic).
			WantForward(connectFlags(4, 0)+ack(acked, 9, "")).WantReverse(resumed(4)+pub(4, 1, 9, topic, "72")),
		conformance.Named("delivery while a resumed subscription is not granted").
			Forward(connectFlags(4, 0)).Reverse(resumed(4)).Forward(sub(4, 1, "ward/#")).Reverse(pub(4, 0, 0, topic, "1")).
			Reverse(subbed(4, 1, "\x01")).Reverse(pub(4, 0, 0, topic, "2")).
			WantOperation(connectName, opens).WantOperation(subscribeName, read).WantOperation(publishName, read),
	)
	for _, level := range []byte{4, 5} {
		version := map[byte]string{4: ", 3.1.1", 5: ", 5"}[level]
		all := hello(level) + pub(level, 0, 0, topic, "1") + pub(level, 1, 1, topic, "2") + pub(level, 2, 2, topic, "3") + ack(released, 2, "") + ping + bye
		list = append(list,
			started("publish everything"+version, level).Forward(pub(level, 0, 0, topic, "1")+pub(level, 1, 1, topic, "2")).Reverse(ack(acked, 1, "")).
				Forward(pub(level, 2, 2, topic, "3")).Reverse(ack(received, 2, "")).Forward(ack(released, 2, "")).Reverse(ack(completed, 2, "")).
				Forward(ping).Reverse(pong).Forward(bye).
				WantOperation(publishName, write).WantOperation(publishName, write).WantOperation(publishName, write).
				WantForward(all).WantReverse(accepted(level)+ack(acked, 1, "")+ack(received, 2, "")+ack(completed, 2, "")+pong),
			started("subscribe and be delivered to"+version, level).Forward(sub(level, 1, "ward/+/pulse", "x")).Reverse(pub(level, 0, 0, topic, "0")).
				Reverse(subbed(level, 1, "\x01\x80")).Reverse(pub(level, 1, 5, topic, "1")).Forward(ack(acked, 5, "")).
				Reverse(pub(level, 2, 5, topic, "2")).Forward(ack(received, 5, "")).Reverse(ack(released, 5, "")).Forward(ack(completed, 5, "")).
				Forward(unsub(level, 2, "ward/+/pulse")).Reverse(pub(level, 0, 0, topic, "3")).Reverse(unsubbed(level, 2, "\x00")).Reverse(pub(level, 0, 0, topic, "late")).
				WantOperation(subscribeName, read).WantOperation(unsubscribeName, opens).
				WantReverse(accepted(level)+pub(level, 0, 0, topic, "0")+subbed(level, 1, "\x01\x80")+pub(level, 1, 5, topic, "1")+pub(level, 2, 5, topic, "2")+
					ack(released, 5, "")+pub(level, 0, 0, topic, "3")+unsubbed(level, 2, "\x00")+pub(level, 0, 0, topic, "late")),
			started("delivery of what was not granted"+version, level).Forward(sub(level, 1, "ward/#")).Reverse(subbed(level, 1, "\x80")).Reverse(pub(level, 0, 0, topic, "1")).Refused(reverse1).
				WantOperation(subscribeName, read).WantOperation(publishName, read).WantRefusal(reverse1, "").
				WantReverse(accepted(level)+subbed(level, 1, "\x80")),
			conformance.Named("all at once, before CONNACK"+version).Forward(hello(level)+sub(level, 1, "a")+pub(level, 0, 0, "a", "1")+ping).Refused(2).Reverse(accepted(level)).Reverse(pong).
				WantOperation(connectName, opens).WantOperation(subscribeName, read).WantOperation(publishName, write).
				WantRefusal(2, subbed4or5(level)).
				WantForward(hello(level)+pub(level, 0, 0, "a", "1")+ping).WantReverse(accepted(level)+subbed4or5(level)+pong),
			conformance.Named("the broker rejects what is all at once"+version).Forward(hello(level)+sub(level, 1, "a")).Refused(2).Reverse(rejection(level)).
				WantOperation(connectName, opens).WantOperation(subscribeName, read).WantRefusal(2, "").WantReverse(rejection(level)),
			conformance.Named("no CONNACK"+version).Forward(hello(level)+sub(level, 1, "a")).Refused(2).ReverseEnds().
				WantOperation(connectName, opens).WantOperation(subscribeName, read).WantEnd(),
		)
	}
	return list
}

func subbed4or5(level byte) string {
	if level == 5 {
		return pk(0x90, id(1), denied, "\x87")
	}
	return "\x90\x03\x00\x01\x80"
}

func rejection(level byte) string {
	if level == 5 {
		return pk(0x20, "\x00\x87", ps())
	}
	return "\x20\x02\x00\x05"
}

var unavailable = sdk.Refusal{Code: conformance.Code, Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}

func TestClasses(t *testing.T) { conformance.Run(t, Protocol(), `{}`, dialogues()...) }
