package mqtt

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
)

// connectBody is a CONNECT from the protocol name on.
func connectBody(parts ...string) string { return pk(0x10, parts...) }

// What a client must not send, what it is told, and that the broker sees none of it.
func TestMalformed(t *testing.T) {
	const flags = "reserved bits that are set, or flags that contradict each other"
	good := func(level byte) string { return hello(level) }
	for _, test := range []struct {
		name    string
		level   byte   // of a session that is open, or 0: the first packet
		sent    string // in it
		code    byte   // in MQTT 5
		because string
		answer  string // where it is neither code nor nothing
	}{
		{"reserved packet type", 5, "\x00\x00", 0x81, flags, ""},
		{"flags of PINGREQ", 5, "\xc1\x00", 0x81, flags, ""},
		{"flags of SUBSCRIBE", 4, "\x80" + sub(4, 1, "a")[1:], 0, flags, ""},
		{"flags of PUBREL", 5, "\x60" + ack(released, 1, "")[1:], 0x81, flags, ""},
		{"QoS 3", 5, "\x36\x05\x00\x01a\x00\x00", 0x81, "QoS of 3", ""},
		{"DUP with QoS 0", 5, "\x38" + pub(5, 0, 0, "a", "")[1:], 0x81, flags, ""},
		{"length of five bytes", 5, "\x30\x80\x80\x80\x80\x01", 0x81, longLength.reason, ""},
		{"length in too many bytes", 4, "\xc0\x80\x00", 0, longLength.reason, ""},
		{"packet above the limit", 5, "\x30\xff\xff\xff\x7f", 0x95, longPacket.reason, ""},
		{"long SUBSCRIBE", 5, "\x82\x80\x80\x10", 0x95, longPacket.reason, ""},
		{"empty PUBLISH", 5, "\x30\x00", 0x81, wrongSize.reason, ""},
		{"topic longer than the packet", 5, "\x30\x05\x00\x09abc", 0x81, wrongSize.reason, ""},
		{"no room for a packet identifier", 4, "\x32\x03\x00\x01a", 0, wrongSize.reason, ""},
		{"no room for properties", 5, "\x30\x03\x00\x01a", 0x81, wrongSize.reason, ""},
		{"properties longer than the packet", 5, pk(0x30, tx("a"), "\x05\x01\x00"), 0x81, wrongSize.reason, ""},
		{"too many properties", 5, pk(0x30, tx("a"), "\x80\x80\x04", strings.Repeat("x", 70000)), 0x95, longText.reason, ""},
		{"property length in too many bytes", 5, pk(0x30, tx("a"), "\x80\x00"), 0x81, longLength.reason, ""},
		{"topic that is not UTF-8", 5, pub(5, 0, 0, "a\xff", ""), 0x81, wrongText.reason, ""},
		{"topic with a surrogate", 5, pub(5, 0, 0, "\xed\xa0\x80", ""), 0x81, wrongText.reason, ""},
		{"topic in an overlong form", 5, pub(5, 0, 0, "\xc0\xaf", ""), 0x81, wrongText.reason, ""},
		{"topic with U+0000", 4, pub(4, 0, 0, "a\x00b", ""), 0, wrongText.reason, ""},
		{"topic with +", 5, pub(5, 0, 0, "a/+", ""), 0x90, wrongTopic.reason, ""},
		{"topic with #", 4, pub(4, 0, 0, "#", ""), 0, wrongTopic.reason, ""},
		{"no topic", 4, pub(4, 0, 0, "", ""), 0, wrongTopic.reason, ""},
		{"neither topic nor alias", 5, pub(5, 0, 0, "", ""), 0x90, wrongTopic.reason, ""},
		{"long topic", 5, pub(5, 0, 0, strings.Repeat("a", 1025), ""), 0x90, longTopic.reason, ""},
		{"deep topic", 5, pub(5, 0, 0, strings.Repeat("/", 128), ""), 0x90, longTopic.reason, ""},
		{"packet identifier 0", 5, pub(5, 1, 0, "a", ""), 0x82, noIdentifier.reason, ""},
		{"SUBSCRIBE 0", 5, sub(5, 0, "a"), 0x82, noIdentifier.reason, ""},
		{"PUBACK 0", 5, ack(acked, 0, ""), 0x82, noIdentifier.reason, ""},
		{"second CONNECT", 5, good(5), 0x82, secondConnect.reason, ""},
		{"second CONNECT in 3.1.1", 4, good(4), 0, secondConnect.reason, ""},
		{"CONNACK from a client", 5, accepted(5), 0x82, wrongSide.reason, ""},
		{"SUBACK from a client", 5, subbed(5, 1, "\x00"), 0x82, wrongSide.reason, ""},
		{"PINGRESP from a client", 4, pong, 0, wrongSide.reason, ""},
		{"AUTH", 5, "\xf0\x00", 0x82, wrongSide.reason, ""},
		{"AUTH in 3.1.1", 4, "\xf0\x00", 0, wrongSide.reason, ""},
		{"PINGREQ with content", 5, "\xc0\x01a", 0x81, wrongSize.reason, ""},
		{"DISCONNECT with content in 3.1.1", 4, "\xe0\x01\x00", 0, wrongSize.reason, ""},
		{"DISCONNECT that makes a session last", 5, pk(0xe0, "\x00", ps("\x11\x00\x00\x00\x01")), 0x81, wrongProperty.reason, ""},
		{"PUBACK with a code in 3.1.1", 4, ack(acked, 1, "\x00"), 0, wrongSize.reason, ""},
		{"PUBACK of nothing", 5, ack(acked, 1, ""), 0x82, unasked.reason, ""},
		{"PUBREC of nothing", 4, ack(received, 1, ""), 0, unasked.reason, ""},
		{"PUBREL of nothing", 5, ack(released, 1, ""), 0x82, unasked.reason, ""},
		{"PUBCOMP of nothing", 5, ack(completed, 1, ""), 0x82, unasked.reason, ""},
		{"SUBSCRIBE to nothing", 5, sub(5, 1), 0x82, noFilter.reason, ""},
		{"UNSUBSCRIBE from nothing", 4, unsub(4, 1), 0, noFilter.reason, ""},
		{"SUBSCRIBE without options", 4, pk(0x82, id(1), tx("a")), 0, wrongSize.reason, ""},
		{"SUBSCRIBE with QoS 3", 5, asks(0x82, 5, 1, "\x03", []string{"a"}), 0x81, wrongQoS.reason, ""},
		{"SUBSCRIBE with reserved bits", 5, asks(0x82, 5, 1, "\x41", []string{"a"}), 0x81, flags, ""},
		{"SUBSCRIBE with reserved bits in 3.1.1", 4, asks(0x82, 4, 1, "\x04", []string{"a"}), 0, flags, ""},
		{"retain handling 3", 5, asks(0x82, 5, 1, "\x30", []string{"a"}), 0x81, flags, ""},
		{"no local and shared", 5, asks(0x82, 5, 1, "\x04", []string{"$share/g/a"}), 0x81, flags, ""},
		{"# that is not last", 5, sub(5, 1, "a/#/b"), 0x8f, wrongFilter.reason, ""},
		{"# with something", 5, sub(5, 1, "a#"), 0x8f, wrongFilter.reason, ""},
		{"+ with something", 5, sub(5, 1, "a+/b"), 0x8f, wrongFilter.reason, ""},
		{"empty filter", 4, sub(4, 1, ""), 0, wrongFilter.reason, ""},
		{"share without a filter", 5, sub(5, 1, "$share/g/"), 0x8f, wrongFilter.reason, ""},
		{"share without a group", 5, sub(5, 1, "$share//a"), 0x8f, wrongFilter.reason, ""},
		{"share of a wildcard group", 5, sub(5, 1, "$share/+/a"), 0x8f, wrongFilter.reason, ""},
		{"too many filters", 5, sub(5, 1, strings.Split(strings.Repeat("a ", 256)+"a", " ")...), 0x97, manyFilters.reason, ""},
		{"long filter", 5, sub(5, 1, strings.Repeat("a", 1025)), 0x97, manyFilters.reason, ""},
		{"unknown property", 5, pub(5, 0, 0, "a", "", "\x7f\x00"), 0x81, wrongProperty.reason, ""},
		{"property of another packet", 5, pub(5, 0, 0, "a", "", "\x21\x00\x01"), 0x81, wrongProperty.reason, ""},
		{"property twice", 5, pub(5, 0, 0, "a", "", "\x01\x00", "\x01\x00"), 0x82, repeatedProperty.reason, ""},
		{"property that is cut", 5, pub(5, 0, 0, "a", "", "\x02\x00"), 0x81, wrongSize.reason, ""},
		{"property flag of 2", 5, pub(5, 0, 0, "a", "", "\x01\x02"), 0x82, wrongValue.reason, ""},
		{"user property that is not UTF-8", 5, pub(5, 0, 0, "a", "", "\x26", tx("k"), tx("\xff")), 0x81, wrongText.reason, ""},
		{"response topic with a wildcard", 5, pub(5, 0, 0, "a", "", "\x08", tx("a/#")), 0x90, wrongTopic.reason, ""},
		{"long content type", 5, pub(5, 0, 0, "a", "", "\x03", tx(strings.Repeat("a", 257))), 0x95, longText.reason, ""},
		{"subscription identifier from a client", 5, pub(5, 0, 0, "a", "", "\x0b\x01"), 0x81, wrongProperty.reason, ""},
		{"subscription identifier 0", 5, pk(0x82, id(1), ps("\x0b\x00"), tx("a"), "\x00"), 0x82, wrongValue.reason, ""},
		{"topic alias 0", 5, pub(5, 0, 0, "a", "", "\x23\x00\x00"), 0x94, wrongAlias.reason, ""},
		{"topic alias the broker does not take", 5, pub(5, 0, 0, "a", "", "\x23\x00\x01"), 0x94, wrongAlias.reason, ""},
		{"bytes behind DISCONNECT", 5, bye + ping, 0x82, behindDisconnect.reason, ""},
	} {
		d := conformance.Named(test.name).Forward(hello(test.level)).Reverse(accepted(test.level)).Forward(test.sent)
		answer := ""
		if test.level == 5 {
			answer = pk(0xe0, string([]byte{test.code}), why(test.because))
		}
		passed := hello(test.level)
		if strings.HasPrefix(test.sent, bye) {
			passed += bye
		}
		conformance.Run(t, Protocol(), `{}`, d.WantOperation(connectName, opens).WantInvalid(malformedName, unknown).
			WantRefusal(2, answer).WantEnd().WantForward(passed))
	}
}

// A CONNECT that cannot be passed on is answered by the CONNACK of its version.
func TestMalformedConnect(t *testing.T) {
	v5 := func(code byte, because string) string { return pk(0x20, string([]byte{0, code}), why(because)) }
	mqtt, keep := tx("MQTT"), "\x00\x3c"
	for _, test := range []struct{ name, sent, answer string }{
		{"3.1", connectBody(tx("MQIsdp"), "\x03\x02", keep, tx("c")), "\x20\x02\x00\x01"},
		{"3", connectBody(mqtt, "\x03\x02", keep, tx("c")), "\x20\x02\x00\x01"},
		{"a bridge", connectBody(mqtt, "\x84\x02", keep, tx("c")), "\x20\x02\x00\x01"},
		{"6", connectBody(mqtt, "\x06\x02", keep, tx("c")), v5(0x84, wrongVersion.reason)},
		{"reserved flag", connectBody(mqtt, "\x05\x03", keep, ps(), tx("c")), v5(0x81, wrongFlags.reason)},
		{"reserved flag in 3.1.1", connectBody(mqtt, "\x04\x03", keep, tx("c")), ""},
		{"will QoS without will", connectBody(mqtt, "\x05\x0a", keep, ps(), tx("c")), v5(0x81, wrongFlags.reason)},
		{"will retain without will", connectBody(mqtt, "\x05\x22", keep, ps(), tx("c")), v5(0x81, wrongFlags.reason)},
		{"will QoS 3", connectBody(mqtt, "\x05\x1e", keep, ps(), tx("c"), ps(), tx("t"), tx("")), v5(0x81, wrongQoS.reason)},
		{"will topic with a wildcard", connectBody(mqtt, "\x05\x06", keep, ps(), tx("c"), ps(), tx("t/#"), tx("")), v5(0x90, wrongTopic.reason)},
		{"will with another packet's property", connectBody(mqtt, "\x05\x06", keep, ps(), tx("c"), ps("\x23\x00\x01"), tx("t"), tx("")), v5(0x81, wrongProperty.reason)},
		{"password without user name", connectBody(mqtt, "\x04\x42", keep, tx("c"), tx("p")), ""},
		{"no client identifier, session kept", connectBody(mqtt, "\x04\x00", keep, tx("")), "\x20\x02\x00\x02"},
		{"long client identifier", connectBody(mqtt, "\x05\x02", keep, ps(), tx(strings.Repeat("c", 257))), v5(0x85, wrongClientID.reason)},
		{"long user name", connectBody(mqtt, "\x04\x82", keep, tx("c"), tx(strings.Repeat("u", 257))), "\x20\x02\x00\x04"},
		{"client identifier that is not UTF-8", connectBody(mqtt, "\x05\x02", keep, ps(), tx("\xff")), v5(0x81, wrongText.reason)},
		{"enhanced authentication", connectBody(mqtt, "\x05\x02", keep, ps("\x15"+tx("SCRAM-SHA-1")), tx("c")), v5(0x8c, wrongAuthMethod.reason)},
		{"authentication data alone", connectBody(mqtt, "\x05\x02", keep, ps("\x16"+tx("x")), tx("c")), v5(0x8c, wrongAuthMethod.reason)},
		{"receive maximum 0", connectBody(mqtt, "\x05\x02", keep, ps("\x21\x00\x00"), tx("c")), v5(0x82, wrongValue.reason)},
		{"maximum packet size 0", connectBody(mqtt, "\x05\x02", keep, ps("\x27\x00\x00\x00\x00"), tx("c")), v5(0x82, wrongValue.reason)},
		{"bytes behind it", connectBody(mqtt, "\x05\x02", keep, ps(), tx("c"), "x"), v5(0x81, wrongSize.reason)},
		{"cut", connectBody(mqtt, "\x04\x82", keep, tx("c")), ""},
	} {
		conformance.Run(t, Protocol(), `{}`, conformance.Named(test.name).Forward(test.sent).
			WantInvalid(connectName, opens).WantRefusal(1, test.answer).WantEnd().WantForward(""))
	}
	for name, sent := range map[string]string{
		"another protocol":     connectBody(tx("HTTP"), "\x04\x02", keep, tx("c")),
		"PUBLISH before it":    pub(4, 0, 0, "a", ""),
		"HTTP":                 "GET / HTTP/1.1\r\n\r\n",
		"TLS":                  "\x16\x03\x01\x02\x00",
		"a CONNECT of 200 KiB": "\x10\x80\x80\x0c",
	} {
		conformance.Run(t, Protocol(), `{}`, conformance.Named(name).Forward(sent).
			WantInvalid(malformedName, unknown).WantRefusal(1, "").WantEnd().WantForward(""))
	}
	// Before CONNACK, what is wrong is answered by one.
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("before CONNACK").Forward(hello(5)+pub(5, 0, 0, "a", "", "\x23\x00\x01")).
			WantOperation(connectName, opens).WantInvalid(malformedName, unknown).
			WantRefusal(2, v5(0x82, wrongAlias.reason)).WantEnd(),
		conformance.Named("refused before CONNACK in 3.1.1").Forward(hello(4)+pub(4, 0, 0, "a", "")).Refused(2).
			WantOperation(connectName, opens).WantOperation(publishName, write).WantRefusal(2, "\x20\x02\x00\x05").WantEnd(),
	)
}

// What a broker must not send ends the session, and the client sees none of it.
func TestMalformedBroker(t *testing.T) {
	const first = sdk.OpID(1<<48 + 1)
	for _, test := range []struct {
		name   string
		level  byte
		asked  string
		answer string
	}{
		{"SUBACK of nothing", 5, "", subbed(5, 1, "\x00")},
		{"SUBACK of another", 4, sub(4, 1, "a"), subbed(4, 2, "\x00")},
		{"SUBACK with too few codes", 4, sub(4, 1, "a", "b"), subbed(4, 1, "\x00")},
		{"SUBACK with too many codes", 5, sub(5, 1, "a"), subbed(5, 1, "\x00\x00")},
		{"SUBACK with a code it has not", 5, sub(5, 1, "a"), subbed(5, 1, "\x03")},
		{"UNSUBACK of a SUBSCRIBE", 4, sub(4, 1, "a"), unsubbed(4, 1, "")},
		{"UNSUBACK with codes in 3.1.1", 4, unsub(4, 1, "a"), pk(0xb0, id(1), "\x00")},
		{"UNSUBACK without codes", 5, unsub(5, 1, "a"), unsubbed(5, 1, "")},
		{"PUBACK of nothing", 5, "", ack(acked, 1, "")},
		{"PUBACK of QoS 2", 4, pub(4, 2, 1, "a", ""), ack(acked, 1, "")},
		{"PUBREC of QoS 1", 4, pub(4, 1, 1, "a", ""), ack(received, 1, "")},
		{"PUBCOMP before PUBREL", 5, pub(5, 2, 1, "a", ""), ack(received, 1, "") + ack(completed, 1, "")},
		{"PUBACK with a code it has not", 5, pub(5, 1, 1, "a", ""), ack(acked, 1, "\x11")},
		{"PUBREL of nothing", 5, "", ack(released, 1, "")},
		{"PINGRESP to nothing", 4, "", pong},
		{"PINGREQ", 5, "", ping},
		{"CONNECT", 5, "", hello(5)},
		{"second CONNACK", 5, "", accepted(5)},
		{"DISCONNECT in 3.1.1", 4, "", bye},
		{"bytes behind DISCONNECT", 5, "", bye + pong},
		{"AUTH", 5, "", "\xf0\x00"},
		{"identifier in use", 5, sub(5, 1, "a"), subbed(5, 1, "\x01") + pub(5, 1, 7, "a", "") + pub(5, 1, 7, "a", "")},
		{"alias the client does not take", 5, sub(5, 1, "a"), subbed(5, 1, "\x01") + pub(5, 0, 0, "a", "", "\x23\x00\x01")},
		{"retransmission in 5", 5, sub(5, 1, "a"), subbed(5, 1, "\x01") + pub(5, 1, 7, "a", "") + "\x3a" + pub(5, 1, 7, "a", "")[1:]},
		{"DISCONNECT with session expiry", 5, "", pk(0xe0, "\x8b", ps("\x11\x00\x00\x00\x01"))},
	} {
		d := conformance.Named(test.name).Forward(hello(test.level)).Reverse(accepted(test.level)).WantOperation(connectName, opens)
		if test.asked != "" {
			d = d.Forward(test.asked)
			switch test.asked[0] {
			case '\x82':
				d = d.WantOperation(subscribeName, read)
			case '\xa2':
				d = d.WantOperation(unsubscribeName, opens)
			default:
				d = d.WantOperation(publishName, write)
			}
		}
		conformance.Run(t, Protocol(), `{}`, d.Reverse(test.answer).WantInvalid(malformedName, unknown).WantRefusal(first, "").WantEnd())
	}
	for _, test := range []struct {
		name  string
		hello string
		sent  string
	}{
		{"before CONNACK", hello(5), pong},
		{"CONNACK too long", hello(4), "\x20\x03\x00\x00\x00"},
		{"CONNACK with a reserved flag", hello(4), "\x20\x02\x02\x00"},
		{"CONNACK with an unknown code", hello(4), "\x20\x02\x00\x06"},
		{"CONNACK with a session that was not to be kept", hello(4), "\x20\x02\x01\x00"},
		{"CONNACK with a session, and a refusal", connectFlags(5, 0), pk(0x20, "\x01\x87", ps())},
		{"CONNACK with a code between", hello(5), pk(0x20, "\x00\x18", ps())},
		{"CONNACK that names who has a name", hello(5), pk(0x20, "\x00\x00", ps("\x12"+tx("x")))},
		{"bytes behind a refusal", hello(4), "\x20\x02\x00\x05" + pong},
	} {
		conformance.Run(t, Protocol(), `{}`, conformance.Named(test.name).Forward(test.hello).Reverse(test.sent).
			WantOperation(connectName, opens).WantInvalid(malformedName, unknown).WantRefusal(first, "").WantEnd())
	}
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("before CONNECT").Reverse(accepted(4)).WantInvalid(malformedName, unknown).WantRefusal(first, "").WantEnd(),
		conformance.Named("packet behind a refusal of the broker's").Forward(hello(5)).Reverse(pk(0x20, "\x00\x87", ps())).Forward(ping).
			WantOperation(connectName, opens).WantInvalid(malformedName, unknown).WantRefusal(2, "").WantEnd(),
		conformance.Named("client ends inside a packet").Forward(hello(4)).Forward("\x30").WantOperation(connectName, opens).WantEnd(),
		conformance.Named("broker ends inside a packet").Forward(hello(4)).Reverse("\x20").WantOperation(connectName, opens).WantEnd(),
	)
}
