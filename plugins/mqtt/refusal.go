package mqtt

import (
	"encoding/binary"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Reason codes (2.4).
const (
	malformedPacket      = 0x81
	protocolError        = 0x82
	implementationError  = 0x83
	unsupportedVersion   = 0x84
	clientIDNotValid     = 0x85
	badUsername          = 0x86
	notAuthorized        = 0x87
	serverUnavailable    = 0x88
	serverBusy           = 0x89
	badAuthMethod        = 0x8c
	topicFilterInvalid   = 0x8f
	topicNameInvalid     = 0x90
	receiveMaxExceeded   = 0x93
	topicAliasInvalid    = 0x94
	packetTooLarge       = 0x95
	quotaExceeded        = 0x97
	unspecifiedError     = 0x80
	refusedSubscription4 = 0x80 // the only one of MQTT 3.1.1
)

// fault is why a packet is malformed, and the reason code that says so. Reasons name no
// content.
type fault struct {
	code   byte
	reason string
}

var (
	wrongFlags        = &fault{malformedPacket, "reserved bits that are set, or flags that contradict each other"}
	longLength        = &fault{malformedPacket, "length in more bytes than it takes"}
	wrongSize         = &fault{malformedPacket, "length that is not its fields'"}
	wrongText         = &fault{malformedPacket, "text that is not UTF-8, or has U+0000 in it"}
	wrongQoS          = &fault{malformedPacket, "QoS of 3"}
	wrongProperty     = &fault{malformedPacket, "property that may not stand there"}
	noIdentifier      = &fault{protocolError, "packet identifier of 0"}
	repeatedProperty  = &fault{protocolError, "property that is there twice"}
	wrongValue        = &fault{protocolError, "property with a value it cannot have"}
	wrongCode         = &fault{protocolError, "reason code that the packet cannot have"}
	wrongCount        = &fault{protocolError, "another number of reason codes than of filters"}
	noFilter          = &fault{protocolError, "no topic filter"}
	wrongSide         = &fault{protocolError, "packet that this side does not send"}
	secondConnect     = &fault{protocolError, "second CONNECT"}
	notConnected      = &fault{protocolError, "packet of a session that is not open"}
	behindDisconnect  = &fault{protocolError, "packet behind DISCONNECT"}
	identifierInUse   = &fault{protocolError, "packet identifier that is in use"}
	unasked           = &fault{protocolError, "acknowledgement of nothing"}
	wrongConnack      = &fault{protocolError, "CONNACK that contradicts itself or CONNECT"}
	unknownAlias      = &fault{protocolError, "topic alias that stands for nothing"}
	notMQTT           = &fault{protocolError, "protocol name that is not MQTT's"}
	refusedQuirk      = &fault{implementationError, "deviation this service does not tolerate"}
	wrongVersion      = &fault{unsupportedVersion, "protocol version that is neither 3.1.1 nor 5"}
	wrongClientID     = &fault{clientIDNotValid, "client identifier that is too long, or none where there must be one"}
	wrongUsername     = &fault{badUsername, "user name above 256 bytes"}
	wrongAuthMethod   = &fault{badAuthMethod, "enhanced authentication, which is not supported"}
	wrongFilter       = &fault{topicFilterInvalid, "topic filter with a wildcard or a share where none can be"}
	wrongTopic        = &fault{topicNameInvalid, "topic that is empty or has a wildcard in it"}
	longTopic         = &fault{topicNameInvalid, "topic above 1024 bytes or 128 levels"}
	manyInflight      = &fault{receiveMaxExceeded, "too many packets that are not acknowledged"}
	wrongAlias        = &fault{topicAliasInvalid, "topic alias of 0, or above what the other side takes"}
	longPacket        = &fault{packetTooLarge, "packet above its limit"}
	longText          = &fault{packetTooLarge, "property above its limit"}
	manyAliases       = &fault{quotaExceeded, "too many topic aliases"}
	manyFilters       = &fault{quotaExceeded, "too many or too long topic filters in one packet"}
	manySubscriptions = &fault{quotaExceeded, "too many subscriptions"}
	refusedBefore     = &fault{protocolError, "release of a message that was refused"}
)

// owed is a refusal that waits for CONNACK, before which a client may be told nothing (3.2).
type owed struct {
	op     sdk.OpID
	answer []byte
}

// crowded reports whether an operation more would make the oldest owed refusal one that
// cannot be named any more.
func (s *session) crowded(d *side) bool {
	return d.dir == sdk.Forward && len(s.owed) > 0 && d.count+1-s.owed[0].op.Number() >= sdk.MaxOpen
}

// settle gives the refusals that have waited for CONNACK.
func (s *session) settle(out *sdk.Steps) {
	for _, o := range s.owed {
		if s.state == rejected {
			o.answer = nil
		}
		out.Refusal(o.op, o.answer)
	}
	s.owed = nil
}

// Refuse implements sdk.Inspector.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	a := s.latest(op)
	if a == nil || s.over {
		out.Refusal(op, nil)
		return
	}
	answer, stays := s.answer(op, a, &why)
	if stays && s.state == connecting && len(answer) > 0 {
		if s.owed = append(s.owed, owed{op, answer}); s.sides[sdk.Reverse].ended {
			s.end(noConnack, out)
		}
		return
	}
	out.Refusal(op, answer)
	if !stays {
		s.end("what was refused has no other answer than the end", out)
	}
}

// answer is what the asker of a refused operation is told, and whether the session goes on.
func (s *session) answer(op sdk.OpID, a *asked, why *sdk.Refusal) (answer []byte, stays bool) {
	d := &s.sides[op.Direction()]
	if d.open[a.id].op == op {
		delete(d.open, a.id)
		if a.kind == unsubscribe {
			s.ending -= a.codes
		}
	}
	switch {
	case d.dir == sdk.Reverse:
		return s.answerBroker(a, why)
	case a.kind == publish:
		answer, stays = s.answerPublish(d, a, why)
	case a.kind == subscribe:
		s.subscriptions.drop(op)
		answer, stays = s.answerSubscribe(a, why), true
	case a.kind == unsubscribe && s.client.level == level5:
		answer, stays = s.answerSubscribe(a, why), true
	case a.kind == pubrel: // of a message that was said to have been received
		answer, stays = s.client.packet(pubcomp<<4, identifier(a.id), "", nil), true
	}
	if !stays {
		answer = s.farewell(a, why)
	}
	return answer, stays
}

// answerPublish answers a client's PUBLISH, if there is a way to. What nobody could decide it
// may send again over another connection; and where it was to tell a topic alias, the broker
// would take the next one for something else.
func (s *session) answerPublish(d *side, a *asked, why *sdk.Refusal) (answer []byte, stays bool) {
	doubt := why.Cause == policy.CauseDoubt
	switch {
	case a.setAlias || a.repeated || a.wrong != nil:
		return nil, false
	case a.qos == 0:
		return nil, s.set.drop
	case doubt:
		return nil, false
	case s.client.level == level5:
		return s.client.packet((puback+a.qos-1)<<4, append(identifier(a.id), notAuthorized), text(why), nil), true
	case s.set.acknowledge && a.qos == 2:
		d.begin(a.id, exchange{awaits: pubrel, refused: true})
		fallthrough
	case s.set.acknowledge:
		return s.client.packet((puback+a.qos-1)<<4, identifier(a.id), "", nil), true
	}
	return nil, false
}

// answerSubscribe is a SUBACK or UNSUBACK with one reason code for each filter.
func (s *session) answerSubscribe(a *asked, why *sdk.Refusal) []byte {
	code := byte(notAuthorized)
	switch {
	case s.client.level == level4:
		code = refusedSubscription4
	case a.wrong != nil:
		code = a.wrong.code
	case why.Cause == policy.CauseDoubt:
		code = unspecifiedError
	}
	codes := make([]byte, a.codes)
	for i := range codes {
		codes[i] = code
	}
	return s.client.packet((a.kind+1)<<4, identifier(a.id), text(why), codes)
}

// answerBroker answers a PUBLISH of the broker's. It keeps what it gets no answer to, until
// the client comes back.
func (s *session) answerBroker(a *asked, why *sdk.Refusal) (answer []byte, stays bool) {
	switch {
	case a.kind != publish || a.setAlias:
		return nil, false
	case a.qos == 0:
		return nil, true
	case s.client.level == level5 && why.Cause != policy.CauseDoubt:
		return []byte{(puback + a.qos - 1) << 4, 3, byte(a.id >> 8), byte(a.id), notAuthorized}, true
	}
	return nil, false
}

// farewell is the last packet to the client: CONNACK if it got none, else DISCONNECT, which
// brokers only send in MQTT 5.
func (s *session) farewell(a *asked, why *sdk.Refusal) []byte {
	code := byte(notAuthorized)
	switch {
	case a.wrong != nil:
		code = a.wrong.code
	case why.Cause == policy.CauseDoubt && s.state == running:
		code = serverBusy
	case why.Cause == policy.CauseDoubt:
		code = serverUnavailable
	}
	switch {
	case s.state == rejected, a.wrong == notMQTT, s.client.level == 0:
		return nil
	case s.client.level == level5 && s.state == running:
		return s.client.packet(disconnect<<4, []byte{code}, text(why), nil)
	case s.state == running:
		return nil
	case s.client.level == level5:
		switch code {
		case topicFilterInvalid, receiveMaxExceeded, topicAliasInvalid: // CONNACK has no such codes (3.2.2.2)
			code = protocolError
		}
		return s.client.packet(connack<<4, []byte{0, code}, text(why), nil)
	}
	// MQTT 3.1.1, 3.2.2.3
	for i, known := range [...]byte{unsupportedVersion, clientIDNotValid, serverUnavailable, badUsername, notAuthorized} {
		if code == known {
			return s.client.packet(connack<<4, []byte{0, byte(i + 1)}, "", nil)
		}
	}
	return nil
}

// text is a Reason String.
func text(why *sdk.Refusal) string {
	code := ", decision code " + why.Code
	return why.Reason[:min(len(why.Reason), max(0, 120-len(code)))] + code
}

func identifier(id uint16) []byte { return binary.BigEndian.AppendUint16(nil, id) }

// packet is one to the client; in MQTT 5, with properties between what it begins and ends
// with: the Reason String, if the client wants it and takes a packet as long. It is empty if
// the client does not take it without that, either.
func (c *client) packet(first byte, begin []byte, reason string, end []byte) []byte {
	props := []byte(nil)
	if c.level == level5 {
		props = []byte{0}
		if reason != "" && (c.reasonStrings || first>>4 == connack || first>>4 == disconnect) {
			props = append(props, reasonString, 0, byte(len(reason)))
			props = append(props, reason...)
			props[0] = byte(len(props) - 1)
		}
	}
	b := binary.AppendUvarint([]byte{first}, uint64(len(begin)+len(props)+len(end)))
	b = append(append(append(b, begin...), props...), end...)
	if c.maxPacket > 0 && len(b) > int(c.maxPacket) {
		if reason != "" {
			return c.packet(first, begin, "", end)
		}
		return nil
	}
	return b
}
