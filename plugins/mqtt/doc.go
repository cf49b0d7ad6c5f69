// Package mqtt inspects MQTT 3.1.1 and MQTT 5 (OASIS standards), between clients and a broker
// that is, or stands beside, the device. Sections in comments are those of MQTT 5.
//
// An operation is a CONNECT, a PUBLISH, a SUBSCRIBE or an UNSUBSCRIBE. Acknowledgements belong
// to what they acknowledge; pings, DISCONNECT and what is no longer known to belong to
// anything, to the CONNECT. Read packet.go and property.go for how packets are written,
// inspect.go for the order of things, connect.go, publish.go and subscribe.go for what is
// read from them, topic.go for topics and filters, operation.go for what is announced,
// exchange.go for what is acknowledged, refusal.go for the negative answers. answer.go is not
// part of the inspector: the gateway uses it to check what an inspector would tell a broker.
//
// A PUBLISH is decided on its head; its payload follows as it arrives and is not read. Other
// packets are held whole, 128 KiB at most. A SUBSCRIBE is decided as a whole, whatever number
// of filters it has: it cannot be split without being rewritten. Each client has a connection
// of its own to the broker, so that packet identifiers never collide.
//
// What the broker delivers belongs to the dialogue if it fits a filter that the client was
// allowed and the broker granted, over this connection, or that ended a moment ago. All else
// (what an earlier connection of the client's has left, what the broker subscribes it to by
// itself) is an operation of its own, asked by the broker: mqtt:PUBLISH of the class read,
// session.direction outbound.
//
// # Classes
//
// PUBLISH is write, or what the setting topics says; SUBSCRIBE is read; CONNECT and UNSUBSCRIBE
// are session. A CONNECT with a will is a PUBLISH in waiting, and of that class. Topics that
// begin with $ are the broker's own and make any of them admin, but for UNSUBSCRIBE.
//
// # Attributes
//
// Flags are 1 or 0. Of every operation, if the client has one: client_id, also the one that
// the broker assigned; username. Neither is verified here: bind them to certificates by policy.
//
//	CONNECT      version ("3.1.1" or "5"), clean_start, keep_alive (seconds); in MQTT 5
//	             session_expiry (seconds); of a will will_topic, will_topic_levels, will_qos,
//	             will_retain, will_size
//	PUBLISH      topic, with its alias resolved; topic_levels, qos, retain, dup, size (bytes of
//	             the payload); if there are such topic_alias, message_expiry (seconds),
//	             content_type, response_topic
//	SUBSCRIBE    filters; wildcards (those of them that have any); qos, one for each; if any is
//	             shared share_groups, one for each, "" for none. Filters are without $share and
//	             the group
//	UNSUBSCRIBE  filters, share_groups
//	malformed    packet, its type
//
// All may have anomalies: deviations that are tolerated, by name.
//
// # Refusals
//
// CONNACK, SUBACK, in MQTT 5 PUBACK, PUBREC, UNSUBACK and DISCONNECT with "not authorized",
// and the decision code as Reason String. Where MQTT has no negative answer the session ends:
// PUBLISH and UNSUBSCRIBE in 3.1.1, QoS 0 (see the settings). It ends, too, where nobody could
// decide, as a client that is told "no" forgets the message, and may send it again over
// another connection if it is told nothing; and where the PUBLISH sets a topic alias, which
// the broker then would not know. A refused delivery is dropped with QoS 0, answered in MQTT 5,
// and in 3.1.1 ends the session: the broker keeps it.
//
// # What it does not do
//
// It does not read payloads, not even where they are said to be UTF-8, nor user properties or
// passwords. It does not enforce what the broker says of itself in CONNACK, topic aliases
// excepted: the broker does. Enhanced authentication (AUTH), MQTT 3.1 and MQTT over WebSocket
// are refused. A retained message or a will that was allowed stays with the broker, whatever
// policy says later.
package mqtt
