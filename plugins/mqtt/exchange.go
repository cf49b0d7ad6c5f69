package mqtt

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// exchange is a packet with an identifier, of one side, that the other has not answered to
// the end.
type exchange struct {
	op      sdk.OpID
	awaits  byte     // the type of the packet that comes next
	refused bool     // a PUBLISH that the other side never saw, but was said to have got
	filters *filters // of a SUBSCRIBE or UNSUBSCRIBE
}

// room says why there cannot be one more exchange with an identifier. Both sides of the
// session count theirs by themselves (2.2.1).
func (s *session) room(d *side, id uint16) *fault {
	if _, used := d.open[id]; used {
		return identifierInUse
	}
	if len(d.open) >= s.set.maxInflight {
		return manyInflight
	}
	return nil
}

// begin puts down a packet that is to be answered.
func (d *side) begin(id uint16, x exchange) {
	if d.open == nil {
		d.open = map[uint16]exchange{}
	}
	d.open[id] = x
}

// repeat reports whether a PUBLISH is sent again, and puts down that its answers may come
// again, too. Over one connection only MQTT 3.1.1 lets it be.
func (s *session) repeat(d *side, m *message) bool {
	x, used := d.open[m.id]
	if !used || !m.dup || s.client.level != level4 || x.awaits != puback && x.awaits != pubrec || d.repeats >= s.set.maxInflight {
		return false
	}
	d.repeats++ // PUBACK
	if m.qos == 2 {
		d.repeats += 2 // PUBREC, PUBREL and PUBCOMP
	}
	m.quirks |= repeatedPublish
	return true
}

// acknowledge takes a PUBACK, PUBREC, PUBREL or PUBCOMP that d's side sends, and returns the
// operation it belongs to (4.3).
func (s *session) acknowledge(d *side, kind byte, b []byte, out *sdk.Steps) (sdk.OpID, *fault) {
	id, code, wrong := s.readAck(kind, b)
	if wrong != nil {
		return 0, wrong
	}
	from := &s.sides[d.dir.Opposite()] // who sent the PUBLISH
	if kind == pubrel {
		from = d
	}
	x, known := from.open[id]
	switch {
	case !known && kind == pubrel && s.mayResume():
		// The rest of what began over an earlier connection (4.4).
		if wrong := s.room(d, id); wrong != nil {
			return 0, wrong
		}
		x = exchange{op: s.op, awaits: pubrel}
		d.begin(id, x)
	case known && x.awaits == kind:
	case known && kind == pubrel && x.awaits == pubcomp && s.client.level == level4 && from.repeats < s.set.maxInflight:
		from.repeats++ // PUBCOMP
		return s.naming(x.op), nil
	case from.repeats > 0:
		from.repeats--
		return s.op, nil
	default:
		return 0, unasked
	}
	switch {
	case x.refused:
		delete(from.open, id)
		op := policy.Operation{Name: "mqtt:PUBREL", Class: policy.ClassSession, Attributes: s.client.facts(0)}
		return s.announce(d, op, asked{kind: pubrel, id: id, wrong: refusedBefore}, out), nil
	case kind == pubrec && code < 0x80:
		x.awaits = pubrel
		from.open[id] = x
	case kind == pubrel:
		x.awaits = pubcomp
		from.open[id] = x
	default:
		delete(from.open, id)
	}
	return s.naming(x.op), nil
}

// mayResume reports whether an earlier connection of the client's may have left something
// unfinished.
func (s *session) mayResume() bool {
	return !s.client.clean && (s.state == connecting || s.resumed)
}

// readAck reads a packet of identifier(2) and, in MQTT 5, perhaps reason code(1) and
// properties (3.4 to 3.7).
func (s *session) readAck(kind byte, b []byte) (id uint16, code byte, wrong *fault) {
	r := reader{b: b}
	id = r.identifier()
	if s.client.level == level5 && len(r.b) > 0 {
		code = r.number8()
		if len(r.b) > 0 {
			r.properties(kind)
		}
	}
	if wrong = r.done(); wrong == nil && code != 0 && code < 0x80 && (code != noSubscribers || kind > pubrec) {
		wrong = wrongCode
	}
	return id, code, wrong
}

const (
	noSubscribers  = 0x10 // a PUBACK or PUBREC of success
	noSubscription = 0x11 // an UNSUBACK of success
)

// subscribed takes a SUBACK or UNSUBACK, and returns the operation it belongs to.
func (s *session) subscribed(kind byte, b []byte) (sdk.OpID, *fault) {
	r := reader{b: b}
	id := r.identifier()
	if s.client.level == level5 {
		r.properties(kind)
	}
	codes := r.take(len(r.b))
	if r.wrong != nil {
		return 0, r.wrong
	}
	open := s.sides[sdk.Forward].open
	x, known := open[id]
	if !known || x.awaits != kind {
		return 0, unasked
	}
	if kind == unsuback && s.client.level == level4 { // it has no codes
		if len(codes) > 0 {
			return 0, wrongSize
		}
		codes = nil
	} else if len(codes) != len(x.filters.list) {
		return 0, wrongCount
	}
	for _, code := range codes {
		if code < 0x80 && (kind == suback && code > 2 || kind == unsuback && code != 0 && code != noSubscription) {
			return 0, wrongCode
		}
	}
	delete(open, id)
	if kind == suback {
		s.subscriptions.answered(x.op, codes)
	} else {
		s.ending -= len(x.filters.list)
		s.subscriptions.ended(x.op, x.filters, codes)
	}
	return s.naming(x.op), nil
}
