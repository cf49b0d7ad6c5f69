package mqtt

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// pk is a packet: its first byte, and what follows the remaining length.
func pk(first byte, parts ...string) string {
	body := ""
	for _, p := range parts {
		body += p
	}
	return string(binary.AppendUvarint([]byte{first}, uint64(len(body)))) + body
}

// tx is text with its length; id a packet identifier; ps properties with their length.
func tx(s string) string { return id(len(s)) + s }
func id(n int) string    { return string([]byte{byte(n >> 8), byte(n)}) }
func ps(list ...string) string {
	all := ""
	for _, p := range list {
		all += p
	}
	return string(binary.AppendUvarint(nil, uint64(len(all)))) + all
}

// connectFlags is a CONNECT of a client named c1 with these flags, and what comes behind its
// name.
func connectFlags(level byte, flags byte, rest ...string) string {
	props := ""
	if level == 5 {
		props = ps()
	}
	body := ""
	for _, r := range rest {
		body += r
	}
	return pk(0x10, tx("MQTT"), string([]byte{level, flags, 0, 60}), props, tx("c1"), body)
}

func hello(level byte) string { return connectFlags(level, 2) }

func accepted(level byte) string {
	if level == 5 {
		return pk(0x20, "\x00\x00", ps())
	}
	return pk(0x20, "\x00\x00")
}

// pub is a PUBLISH with QoS 0 to 2 and, in MQTT 5, properties.
func pub(level, qos byte, pid int, topic, payload string, props ...string) string {
	head := tx(topic)
	if qos > 0 {
		head += id(pid)
	}
	if level == 5 {
		head += ps(props...)
	}
	return pk(0x30|qos<<1, head, payload)
}

func sub(level byte, pid int, filters ...string) string {
	return asks(0x82, level, pid, "\x01", filters)
}
func unsub(level byte, pid int, filters ...string) string {
	return asks(0xa2, level, pid, "", filters)
}

func asks(first, level byte, pid int, options string, filters []string) string {
	body := id(pid)
	if level == 5 {
		body += ps()
	}
	for _, f := range filters {
		body += tx(f) + options
	}
	return pk(first, body)
}

func subbed(level byte, pid int, codes string) string {
	if level == 5 {
		codes = ps() + codes
	}
	return pk(0x90, id(pid), codes)
}

func unsubbed(level byte, pid int, codes string) string {
	if level == 5 {
		return pk(0xb0, id(pid), ps(), codes)
	}
	return pk(0xb0, id(pid))
}

func ack(first byte, pid int, rest string) string { return pk(first, id(pid), rest) }

const (
	ping, pong, bye                      = "\xc0\x00", "\xd0\x00", "\xe0\x00"
	acked, received, released, completed = 0x40, 0x50, 0x62, 0x70
)

// why is the Reason String of a refusal by the kit's policy, wrong that of what is malformed.
func why(reason string) string { return ps("\x1f" + tx(reason+", decision code 7QF-21")) }

var denied = why("not permitted")

const (
	connectName, publishName, subscribeName, unsubscribeName, malformedName = "mqtt:CONNECT", "mqtt:PUBLISH", "mqtt:SUBSCRIBE", "mqtt:UNSUBSCRIBE", "mqtt:malformed"

	opens, write, read, admin, unknown = policy.ClassSession, policy.ClassWrite, policy.ClassRead, policy.ClassAdmin, policy.ClassUnknown
)

// started begins a dialogue with a CONNECT that is accepted.
func started(name string, level byte) conformance.Dialogue {
	return conformance.Named(name).Forward(hello(level)).Reverse(accepted(level)).WantOperation(connectName, opens)
}

func open(t testing.TB, settings string) *session {
	t.Helper()
	maker, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return maker().(*session)
}
