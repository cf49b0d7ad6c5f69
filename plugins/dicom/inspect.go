package dicom

import (
	"encoding/binary"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// session inspects one association.
type session struct {
	set         *settings
	association association
	sides       [2]side    // by direction
	quirks      anomaly    // seen since the last operation
	owed        int        // refusals that wait for their place
	done        []sdk.OpID // kept for no reason any more

	violation *violation // nothing is inspected any more; nil: it is
	malformed sdk.OpID   // what the client sent then; 0: it was the device
	refused   bool       // the association is
}

// side is one direction.
type side struct {
	dir   sdk.Direction
	at    int      // bytes looked at that no step covers: the message's so far
	inPDV bool     // the next byte is of the fragment's content
	frag  fragment // the latest; its rest is what the PDU still has
	left  int64    // bytes of its content
	msg   message

	open  []*exchange // what was asked in this direction, oldest first
	asked uint64      // operations announced
	kept  int

	runOp sdk.OpID // whose bytes are covered
	run   int64    // how many, as far as no step says so

	releasing bool // a release was asked for
	closed    bool // nothing may follow
	ended     bool // nothing will
}

func newSession(set *settings) *session {
	s := &session{set: set}
	s.sides[sdk.Reverse].dir = sdk.Reverse
	return s
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	d := &s.sides[dir]
	for s.violation == nil && !out.Full() && s.next(d, &data, out) {
	}
	d.flush(out)
	if end && s.violation == nil {
		d.ended = true
		s.settle(out)
	}
	if s.violation == nil {
		for _, op := range s.done {
			s.sides[op.Direction()].kept--
			out.Done(op)
		}
		s.done = s.done[:0]
	}
}

// next takes one thing off data, and reports whether there may be more.
func (s *session) next(d *side, data *[]byte, out *sdk.Steps) bool {
	switch {
	case d.msg.phase == body:
		return s.body(d, data, out)
	case d.inPDV:
		return s.content(d, data, out)
	case d.frag.rest > 0:
		return s.fragment(d, data, out)
	}
	return s.pdu(d, data, out)
}

// pdu reads a PDU's header, and all of a PDU that is not P-DATA-TF.
func (s *session) pdu(d *side, data *[]byte, out *sdk.Steps) bool {
	b := (*data)[d.at:]
	if len(b) < pduHeader {
		return false
	}
	kind, n := b[0], int64(binary.BigEndian.Uint32(b[2:]))
	switch {
	case kind < pduAssociateRQ || kind > pduAbort:
		return s.violate(d, unknownPDU, out)
	case !s.expects(d, kind):
		return s.violate(d, unexpectedPDU, out)
	case kind == pduData:
		if n > s.limit(d) {
			return s.violate(d, longPDU, out)
		}
		if n < pdvHeader {
			return s.violate(d, badLength, out)
		}
		d.at += pduHeader
		d.frag.rest = n
		return true
	case d.msg.phase != between && kind != pduAbort:
		return s.violate(d, amidMessage, out)
	case kind == pduAssociateRQ || kind == pduAssociateAC:
		if n > maxAssociate {
			return s.violate(d, longPDU, out)
		}
	case n != shortPDU:
		return s.violate(d, badLength, out)
	}
	if int64(len(b)) < pduHeader+n {
		return false
	}
	return s.control(d, kind, b[pduHeader:pduHeader+n], data, out)
}

// expects reports whether a PDU may come now (PS3.8 9.2).
func (s *session) expects(d *side, kind byte) bool {
	a := &s.association
	if d.closed || d.dir == sdk.Reverse && s.refused {
		return false
	}
	switch kind {
	case pduAssociateRQ:
		return d.dir == sdk.Forward && a.state == idle
	case pduAssociateAC, pduAssociateRJ:
		return d.dir == sdk.Reverse && a.state == requested
	case pduData, pduReleaseRQ:
		return a.state == accepted && !d.releasing
	case pduReleaseRP:
		return a.state == accepted && s.sides[d.dir.Opposite()].releasing
	}
	return a.state != idle
}

// limit is the length of the longest P-DATA-TF PDU that passes. The device's own limit is
// enforced: what it does not expect might overflow it.
func (s *session) limit(d *side) int64 {
	if n := s.association.maxPDU[sdk.Forward]; d.dir == sdk.Forward && n > 0 {
		return min(n, s.set.maxPDU)
	}
	return s.set.maxPDU
}

// control takes a PDU that is not P-DATA-TF.
func (s *session) control(d *side, kind byte, b []byte, data *[]byte, out *sdk.Steps) bool {
	a := &s.association
	switch kind {
	case pduAssociateRQ:
		op, reason, wrong := s.set.readRequest(a, b)
		if wrong != nil {
			return s.violate(d, wrong, out)
		}
		a.op = s.announce(d, op, reason, out)
		a.state = requested
		out.Keep(a.op)
		d.kept++
	case pduAssociateAC:
		if wrong := a.readAcceptance(b); wrong != nil {
			return s.violate(d, wrong, out)
		}
		a.state = accepted
	case pduAssociateRJ:
		a.state, d.closed = rejected, true
	case pduReleaseRQ:
		d.releasing = true
	case pduReleaseRP:
		d.closed = true
	case pduAbort:
		s.cutOff(d, data, out)
		d.closed = true
	}
	d.cover(a.op, int64(pduHeader+len(b)), data, out)
	d.flush(out)
	s.settle(out)
	return true
}

// cutOff ends a message that an abort stands in.
func (s *session) cutOff(d *side, data *[]byte, out *sdk.Steps) {
	m := &d.msg
	switch {
	case m.phase == body:
		if m.asks != nil {
			m.asks.cutOff = true
		}
	case m.phase != between:
		op := policy.Operation{Name: malformedName, Class: policy.ClassUnknown}
		d.cover(s.announce(d, op, "aborted before it was complete", out), int64(d.at), data, out)
	}
	m.reset()
}

// malformedName is the operation that cannot be understood.
const malformedName = "dicom:malformed"

// announce announces an operation of d's, invalid if there is a reason.
func (s *session) announce(d *side, op policy.Operation, reason string, out *sdk.Steps) sdk.OpID {
	d.flush(out)
	d.asked++
	if reason != "" {
		return out.Invalid(op, reason)
	}
	return out.Operation(op)
}

// cover says that the next n bytes are op's. They may reach beyond data.
func (d *side) cover(op sdk.OpID, n int64, data *[]byte, out *sdk.Steps) {
	if d.runOp != op {
		d.flush(out)
		d.runOp = op
	}
	d.run += n
	d.at = 0
	*data = (*data)[min(n, int64(len(*data))):]
}

// flush writes what is covered as a span.
func (d *side) flush(out *sdk.Steps) {
	if d.run > 0 {
		out.Span(d.runOp, d.run)
		d.run = 0
	}
}

// violate ends an association that cannot be followed any more. What the client sent is
// announced, so that it is recorded and answered; what the device sent takes the association
// with it.
func (s *session) violate(d *side, v *violation, out *sdk.Steps) bool {
	d.flush(out)
	s.violation = v
	if d.dir == sdk.Forward {
		if x := d.msg.asks; x != nil && x.why == nil {
			out.Abort(x.op, v.text)
		}
		s.malformed = s.announce(d, policy.Operation{Name: malformedName, Class: policy.ClassUnknown}, v.text, out)
		out.Span(s.malformed, sdk.Unlimited)
		return false
	}
	if s.association.op != 0 && !s.refused {
		out.Abort(s.association.op, v.text)
	} else {
		out.End(v.text)
	}
	return false
}
