package mqtt

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// state is how far the dialogue has come.
type state uint8

const (
	fresh      state = iota // before CONNECT
	connecting              // before CONNACK
	running
	rejected // by the broker
)

// session inspects one connection.
type session struct {
	set           *settings
	state         state
	dead          bool     // nothing more is understood
	over          bool     // and nothing more will be said
	op            sdk.OpID // CONNECT
	client        client
	resumed       bool // the broker has an earlier session of the client's
	sides         [2]side
	subscriptions subscriptions
	ending        int    // filters that wait for UNSUBACK
	pings         int    // without PINGRESP
	owed          []owed // refusals that wait for CONNACK
}

// side is one direction.
type side struct {
	dir     sdk.Direction
	open    map[uint16]exchange // by packet identifier, what this side asked
	repeats int                 // answers that may come once more
	aliases aliases
	topic   *topic  // of the last PUBLISH
	count   uint64  // operations announced
	asked   []asked // the latest ones, number n at n-1 modulo sdk.MaxOpen
	closed  bool    // DISCONNECT was sent
	ended   bool    // no byte will follow
}

func newSession(set *settings) *session {
	return &session{set: set, sides: [2]side{{dir: sdk.Forward}, {dir: sdk.Reverse}}}
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	d := &s.sides[dir]
	for !s.dead && !out.Full() {
		n := s.packet(d, data, out)
		if n == 0 {
			break
		}
		data = data[min(n, int64(len(data))):]
	}
	if !end || s.dead || out.Full() {
		return
	}
	d.ended = true
	switch {
	case len(data) > 0:
		s.end("the "+dir.String()+" direction ended inside a packet", out)
	case dir == sdk.Reverse && len(s.owed) > 0:
		s.end(noConnack, out)
	}
}

const noConnack = "there will be no CONNACK"

// packet covers one packet, which may reach beyond data, and returns its size. It is 0 if
// nothing can be said yet, or any more.
func (s *session) packet(d *side, data []byte, out *sdk.Steps) int64 {
	p, ok, wrong := cutHeader(data)
	if wrong == nil && len(data) > 0 {
		wrong = s.unexpected(d, p.kind)
	}
	switch {
	case wrong != nil:
	case !ok:
		return 0
	case p.size > s.set.maxPacket, p.kind != publish && p.size > maxWhole:
		wrong = longPacket
	}
	if s.crowded(d) {
		s.end("too many refusals wait for CONNACK", out)
		return 0
	}
	var op sdk.OpID
	if wrong == nil {
		op, wrong = s.take(d, &p, data, out)
	}
	switch {
	case wrong != nil:
		s.malformed(d, malformedOperation(p.kind), wrong, out)
		return 0
	case op == 0:
		return 0
	}
	out.Span(op, p.size)
	if p.kind == connack {
		s.settle(out)
	}
	return p.size
}

// unexpected says what is wrong with a packet of a type now (3.1, 3.2).
func (s *session) unexpected(d *side, kind byte) *fault {
	switch {
	case d.closed:
		return behindDisconnect
	case sentBy[d.dir]>>kind&1 == 0, kind == disconnect && d.dir == sdk.Reverse && s.client.level == level4:
		return wrongSide
	case kind == connect && s.state != fresh:
		return secondConnect
	case s.state == fresh && kind != connect, d.dir == sdk.Reverse && s.state == connecting && kind != connack:
		return notConnected
	case kind == connack && s.state != connecting:
		return unasked
	case s.state == rejected:
		return notConnected
	}
	return nil
}

// take reads a packet and returns the operation it belongs to, or 0 if there is not enough
// of it.
func (s *session) take(d *side, p *packet, data []byte, out *sdk.Steps) (sdk.OpID, *fault) {
	if p.kind == publish {
		return s.publish(d, p, data, out)
	}
	if int64(len(data)) < p.size {
		return 0, nil
	}
	b := data[p.head:p.size]
	switch p.kind {
	case connect:
		return s.connect(d, b, out)
	case connack:
		return s.op, s.readConnack(b)
	case subscribe, unsubscribe:
		return s.subscribe(d, p.kind, b, out)
	case suback, unsuback:
		return s.subscribed(p.kind, b)
	case pingreq, pingresp:
		return s.op, s.ping(p.kind, b)
	case disconnect:
		d.closed = true
		return s.op, s.readDisconnect(d, b)
	}
	return s.acknowledge(d, p.kind, b, out)
}

// connect takes a CONNECT. What only keeps the dialogue going belongs to it, and so it is
// kept.
func (s *session) connect(d *side, b []byte, out *sdk.Steps) (sdk.OpID, *fault) {
	op, quirks, wrong := s.set.readConnect(&s.client, b)
	if wrong == notMQTT {
		return 0, wrong
	}
	if s.tolerate(&op, quirks) && wrong == nil {
		wrong = refusedQuirk
	}
	if wrong != nil {
		s.malformed(d, op, wrong, out)
		return 0, nil
	}
	s.state = connecting
	s.sides[sdk.Reverse].aliases.max = s.client.aliasMax
	s.op = s.announce(d, op, asked{kind: connect}, out)
	out.Keep(s.op)
	return s.op, nil
}

// publish takes a PUBLISH. Of the broker's, those that the client has subscribed to belong
// to the dialogue; others are decided by themselves.
func (s *session) publish(d *side, p *packet, data []byte, out *sdk.Steps) (sdk.OpID, *fault) {
	m, wrong := s.readPublish(d, p, data)
	if m == nil {
		return 0, wrong
	}
	a := asked{kind: publish, qos: m.qos, id: m.id, setAlias: m.setAlias}
	if m.qos > 0 {
		if a.repeated = s.repeat(d, m); !a.repeated {
			if wrong := s.room(d, m.id); wrong != nil {
				return 0, wrong
			}
		}
	}
	op := s.op
	if d.dir == sdk.Forward || !s.subscriptions.cover(m.topic.name, s.resumed) {
		class := policy.ClassRead
		if d.dir == sdk.Forward {
			class = s.set.classOf(m.topic.name)
		}
		asks := m.operation(&s.client, class)
		if s.tolerate(&asks, m.quirks) {
			s.malformed(d, asks, refusedQuirk, out)
			return 0, nil
		}
		op = s.announce(d, asks, a, out)
	} else if m.quirks&s.set.refuse != 0 {
		return 0, refusedQuirk
	}
	if m.qos > 0 && !a.repeated {
		d.begin(m.id, exchange{op: op, awaits: puback + m.qos - 1})
	}
	return op, nil
}

// subscribe takes a SUBSCRIBE or an UNSUBSCRIBE.
func (s *session) subscribe(d *side, kind byte, b []byte, out *sdk.Steps) (sdk.OpID, *fault) {
	f, wrong := s.readFilters(kind, b)
	if wrong != nil {
		return 0, wrong
	}
	asks := f.operation(&s.client, kind)
	if s.tolerate(&asks, f.quirks) {
		s.malformed(d, asks, refusedQuirk, out)
		return 0, nil
	}
	a := asked{kind: kind, id: f.id, codes: len(f.list)}
	switch {
	case kind == subscribe && !s.subscriptions.room(f, s.set.maxSubscriptions):
		a.wrong = manySubscriptions
		return s.announce(d, asks, a, out), nil
	case kind == unsubscribe && s.ending+len(f.list) > max(s.set.maxSubscriptions, maxFilters):
		return 0, manyInflight
	}
	if wrong := s.room(d, f.id); wrong != nil {
		return 0, wrong
	}
	op := s.announce(d, asks, a, out)
	if kind == subscribe {
		s.subscriptions.add(f, op)
	} else {
		s.ending += len(f.list)
	}
	d.begin(f.id, exchange{op: op, awaits: kind + 1, filters: f})
	return op, nil
}

// ping takes a PINGREQ or PINGRESP, which are empty (3.12, 3.13).
func (s *session) ping(kind byte, b []byte) *fault {
	switch {
	case len(b) > 0:
		return wrongSize
	case kind == pingreq:
		s.pings++
	case s.pings == 0:
		return unasked
	default:
		s.pings--
	}
	return nil
}

// readDisconnect reads a DISCONNECT behind its fixed header: in MQTT 5, perhaps reason
// code(1) and properties (3.14).
func (s *session) readDisconnect(d *side, b []byte) *fault {
	r := reader{b: b}
	var props properties
	if s.client.level == level5 && len(b) > 0 {
		r.number8()
		if len(r.b) > 0 {
			props = r.properties(disconnect)
		}
	}
	if props.has(sessionExpiry) && (d.dir == sdk.Reverse || s.client.expires && props.numbers[sessionExpiry] > 0) {
		return wrongProperty
	}
	return r.done()
}

// end ends the session. Refusals that were given before are still delivered.
func (s *session) end(reason string, out *sdk.Steps) {
	s.dead, s.over = true, true
	out.End(reason)
}
