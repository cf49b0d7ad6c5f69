package mqtt

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// Protocol levels (3.1.2.2).
const (
	level4 = 4 // MQTT 3.1.1
	level5 = 5
)

// client is what CONNECT says, as far as it is needed later.
type client struct {
	level         byte
	id            string
	username      string
	clean         bool
	expires       bool   // its session ends with the connection
	aliasMax      uint32 // topic aliases it takes
	maxPacket     uint32 // bytes of the longest packet it takes; 0: any
	reasonStrings bool   // it takes them in any packet
}

// facts are the attributes that every operation has.
func (c *client) facts(room int) policy.Attributes {
	a := make(policy.Attributes, 0, room+3)
	if c.id != "" {
		a = append(a, policy.Attribute{Name: "client_id", Value: c.id})
	}
	if c.username != "" {
		a = append(a, policy.Attribute{Name: "username", Value: c.username})
	}
	return a
}

// Connect flags (3.1.2.3).
const (
	reservedFlag = 1 << iota
	cleanFlag
	willFlag
	_ // two bits of QoS
	_
	willRetainFlag
	passwordFlag
	usernameFlag
)

// readConnect reads a CONNECT behind its fixed header. c.level tells how it can be answered;
// it stays 0 if that is not known.
func (set *settings) readConnect(c *client, b []byte) (op policy.Operation, quirks anomaly, wrong *fault) {
	op = policy.Operation{Name: "mqtt:CONNECT", Class: policy.ClassSession}
	r := reader{b: b}
	name := r.text()
	level := r.number8()
	switch {
	case r.wrong != nil:
		return op, 0, r.wrong
	case string(name) != "MQTT" && string(name) != "MQIsdp":
		return op, 0, notMQTT
	case string(name) != "MQTT" || level != level4 && level != level5:
		c.level = level4 // the form of the answer
		if level > level5 && level < 0x80 {
			c.level = level5
		}
		return op, 0, wrongVersion
	}
	c.level = level
	flags, keepAlive := r.number8(), r.number16()
	var props properties
	if level == level5 {
		props = r.properties(connect)
	}
	id := r.text()
	w := set.readWill(&r, flags, level)
	var username []byte
	if flags&usernameFlag != 0 {
		username = r.text()
	}
	if flags&passwordFlag != 0 {
		r.binary()
	}
	wrong = r.done()
	c.clean = flags&cleanFlag != 0
	switch {
	case flags&reservedFlag != 0,
		flags&willFlag == 0 && flags&(willRetainFlag|3<<3) != 0,
		level == level4 && flags&passwordFlag != 0 && flags&usernameFlag == 0:
		wrong = wrongFlags
	case wrong != nil:
	case len(id) > maxText, len(id) == 0 && !c.clean && level == level4:
		wrong = wrongClientID
	case len(username) > maxText:
		wrong = wrongUsername
	case props.has(authMethod) || props.has(0x16):
		wrong = wrongAuthMethod
	case w != nil && w.wrong != nil:
		wrong = w.wrong
	}
	if wrong != nil {
		return op, 0, wrong
	}

	c.id, c.username = string(id), string(username)
	c.aliasMax, c.maxPacket = props.numbers[topicAliasMax], props.numbers[maximumPacket]
	c.expires = props.numbers[sessionExpiry] == 0
	c.reasonStrings = !props.has(problemInfo) || props.numbers[problemInfo] == 1
	op.Attributes = c.facts(10)
	op.Attributes.Set("clean_start", int64(flags&cleanFlag>>1))
	op.Attributes.Set("keep_alive", int64(keepAlive))
	op.Attributes.Set("version", "3.1.1")
	if level == level5 {
		op.Attributes.Set("version", "5")
		op.Attributes.Set("session_expiry", int64(props.numbers[sessionExpiry]))
	}
	if w != nil {
		op.Class = set.classOf(w.topic)
		op.Attributes.Set("will_topic", w.topic)
		op.Attributes.Set("will_topic_levels", newTopic(w.topic, 0).levels)
		op.Attributes.Set("will_qos", int64(flags>>3&3))
		op.Attributes.Set("will_retain", int64(flags&willRetainFlag>>5))
		op.Attributes.Set("will_size", int64(w.size))
	}
	return op, r.quirks, nil
}

// lastWill is a message that the broker publishes when the client has gone (3.1.2.5).
type lastWill struct {
	topic string
	size  int
	wrong *fault
}

// readWill reads the will, if the connect flags say that there is one.
func (set *settings) readWill(r *reader, flags, level byte) *lastWill {
	if flags&willFlag == 0 {
		return nil
	}
	var props properties
	if level == level5 {
		props = r.properties(will)
	}
	name := r.text()
	w := &lastWill{topic: string(name), size: len(r.binary())}
	switch {
	case flags>>3&3 == 3:
		w.wrong = wrongQoS
	case r.wrong != nil:
	case len(props.contentType) > maxText:
		w.wrong = longText
	default:
		w.wrong = checkName(w.topic)
	}
	return w
}

// readConnack reads a CONNACK behind its fixed header (3.2).
func (s *session) readConnack(b []byte) *fault {
	r := reader{b: b}
	flags, code := r.number8(), r.number8()
	var props properties
	if s.client.level == level5 {
		props = r.properties(connack)
	}
	if wrong := r.done(); wrong != nil {
		return wrong
	}
	accepted := code == 0
	switch {
	case flags > 1,
		flags == 1 && (!accepted || s.client.clean),
		s.client.level == level4 && code > 5,
		s.client.level == level5 && !accepted && code < 0x80:
		return wrongConnack
	case len(props.assignedID) > maxText:
		return longText
	}
	s.sides[sdk.Forward].aliases.max = props.numbers[topicAliasMax]
	if props.has(assignedID) {
		if s.client.id != "" {
			return wrongConnack
		}
		s.client.id = string(props.assignedID)
	}
	s.state = running
	s.resumed = flags == 1
	if !accepted {
		s.state = rejected
	}
	return nil
}
