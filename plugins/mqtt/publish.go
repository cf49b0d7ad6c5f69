package mqtt

import (
	"encoding/binary"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// message is the head of a PUBLISH: all but its payload.
type message struct {
	topic    *topic
	id       uint16 // 0 with QoS 0
	qos      byte
	dup      bool
	retain   bool
	setAlias bool // it tells what a topic alias stands for from now on
	size     int64
	props    properties
	quirks   anomaly
}

// readPublish reads the head of a PUBLISH (3.3). It is nil if there is not all of it; how
// much there must be is known from its first bytes, so that it is read once.
func (s *session) readPublish(d *side, p *packet, data []byte) (*message, *fault) {
	m := message{qos: p.flags >> 1 & 3, dup: p.flags&8 != 0, retain: p.flags&1 != 0}
	switch {
	case m.qos == 3:
		return nil, wrongQoS
	case m.dup && m.qos == 0:
		return nil, wrongFlags
	}
	length, wrong := s.headLength(p, data[p.head:])
	if wrong != nil || length == 0 || len(data)-p.head < length {
		return nil, wrong
	}
	m.size = p.size - int64(p.head+length)
	r := reader{b: data[p.head : p.head+length]}
	name := r.binary()
	switch {
	case d.topic != nil && string(name) == d.topic.name: // most publish to one topic, again and again
		m.topic = d.topic
	case len(name) > 0:
		r.check(name)
		m.topic = newTopic(string(name), r.quirks)
	}
	if m.qos > 0 {
		m.id = r.identifier()
	}
	if s.client.level == level5 {
		m.props = r.properties(publish)
	}
	if wrong := r.done(); wrong != nil {
		return nil, wrong
	}
	if m.topic != nil {
		if wrong := checkName(m.topic.name); wrong != nil {
			return nil, wrong
		}
	}
	switch {
	case len(m.props.contentType) > maxText:
		return nil, longText
	case d.dir == sdk.Forward && m.props.has(subscriptionID):
		return nil, wrongProperty
	}
	if m.props.has(topicAlias) {
		m.setAlias = m.topic != nil
		m.topic, wrong = d.aliases.resolve(uint16(m.props.numbers[topicAlias]), m.topic)
	} else if m.topic == nil {
		wrong = wrongTopic
	}
	if wrong != nil {
		return nil, wrong
	}
	d.topic = m.topic
	m.quirks = r.quirks | m.topic.quirks
	return &m, nil
}

// headLength returns how long the head of a PUBLISH is behind its fixed header, or 0 if that
// is not known yet: topic(2+n), packet identifier(2) with QoS above 0, and in MQTT 5 the
// properties behind their length(1 to 4). What is wrong is wrong whatever else has arrived.
func (s *session) headLength(p *packet, b []byte) (int, *fault) {
	size := p.size - int64(p.head)
	b = b[:min(int64(len(b)), size)]
	n := 2
	if p.flags&6 != 0 {
		n += 2
	}
	least := 0 // bytes of the length of the properties
	if s.client.level == level5 {
		least = 1
	}
	if int64(n+least) > size {
		return 0, wrongSize
	}
	if len(b) < 2 {
		return 0, nil
	}
	name := int(binary.BigEndian.Uint16(b))
	if name > maxTopic {
		return 0, longTopic
	}
	if n += name; int64(n+least) > size {
		return 0, wrongSize
	}
	if least == 0 {
		return n, nil
	}
	length, used, wrong := varint(b[min(n, len(b)):])
	switch {
	case wrong != nil:
		return 0, wrong
	case used == 0 && int64(len(b)) < size:
		return 0, nil
	case length > maxProps:
		return 0, longText
	case used == 0 || int64(n+used+length) > size:
		return 0, wrongSize
	}
	return n + used + length, nil
}

// aliases are the topics that one side gave numbers to (3.3.2.3.4).
type aliases struct {
	max    uint32 // the highest number the other side takes
	topics map[uint16]*topic
	bytes  int
}

// maxAliasBytes bounds the topics of all aliases of one side.
const maxAliasBytes = 64 << 10

// resolve returns the topic that an alias stands for. A topic that comes with it is what it
// stands for from now on.
func (a *aliases) resolve(alias uint16, t *topic) (*topic, *fault) {
	if uint32(alias) > a.max {
		return nil, wrongAlias
	}
	old := a.topics[alias]
	if t == nil {
		if old == nil {
			return nil, unknownAlias
		}
		return old, nil
	}
	const each = 64 // bytes for an entry besides its topic
	if old != nil {
		a.bytes -= each + len(old.name)
	}
	if a.bytes += each + len(t.name); a.bytes > maxAliasBytes {
		return nil, manyAliases
	}
	if a.topics == nil {
		a.topics = map[uint16]*topic{}
	}
	a.topics[alias] = t
	return t, nil
}

// operation is a PUBLISH as policy is asked about it.
func (m *message) operation(c *client, class policy.Class) policy.Operation {
	op := policy.Operation{Name: "mqtt:PUBLISH", Class: class, Attributes: c.facts(10)}
	a := &op.Attributes
	a.Set("dup", truth(m.dup))
	a.Set("qos", int64(m.qos))
	a.Set("retain", truth(m.retain))
	a.Set("size", m.size)
	a.Set("topic", m.topic.name)
	a.Set("topic_levels", m.topic.levels)
	if m.props.seen == 0 {
		return op
	}
	if m.props.has(topicAlias) {
		a.Set("topic_alias", int64(m.props.numbers[topicAlias]))
	}
	if m.props.has(messageExpiry) {
		a.Set("message_expiry", int64(m.props.numbers[messageExpiry]))
	}
	if m.props.has(contentType) {
		a.Set("content_type", string(m.props.contentType))
	}
	if m.props.has(responseTopic) {
		a.Set("response_topic", string(m.props.responseTopic))
	}
	return op
}

// truth is 1 or 0: attributes are numbers, text, or lists of them.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
