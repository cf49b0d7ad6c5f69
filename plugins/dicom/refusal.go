package dicom

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Statuses of PS3.7 annex C and PS3.4.
const (
	statusPending          = 0xff00
	statusPendingWarning   = 0xff01
	statusProcessing       = 0x0110
	statusNotAuthorized    = 0x0124
	statusUnrecognized     = 0x0211
	statusOutOfResources   = 0xa700
	statusNoSuboperations  = 0xa702
	statusDestination      = 0xa801
	statusMismatch         = 0xa900
	statusCannotUnderstand = 0xc000
)

// fault is why a request is malformed, though it can be answered. The reason names no
// content.
type fault struct {
	status uint16
	reason string
}

// cannot is a fault of what its service cannot understand.
func (c *command) cannot(reason string) *fault { return &fault{statusCannotUnderstand, reason} }

// Refuse implements sdk.Inspector.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	to := &s.sides[sdk.Reverse]
	switch {
	case op == s.association.op && s.violation != nil && s.malformed == 0, op == s.malformed:
		// The last word, if it can stand between two PDUs.
		if inPDU := to.msg.phase == body && to.frag.rest > 0; !inPDU && !to.closed && !s.refused {
			out.Refusal(op, abortPDU(s.violation.abort))
		}
		out.End(s.violation.text)
		return
	case op == s.association.op:
		s.refused = true
		out.Refusal(op, s.rejection(why).pdu())
		return
	}
	from := &s.sides[op.Direction()]
	i, found := slices.BinarySearchFunc(from.open, op, func(x *exchange, op sdk.OpID) int { return cmp.Compare(x.op, op) })
	if !found { // there is no response to it
		from.open = slices.Insert(from.open, i, &exchange{op: op, mute: true, complete: true})
	}
	from.open[i].why = &why
	s.owed++
	s.settle(out)
}

// rejection chooses how an association is rejected.
func (s *session) rejection(why sdk.Refusal) rejection {
	switch {
	case why.Cause == policy.CauseDoubt:
		return rejectTemporarily
	case why.Cause == policy.CauseProtocol && s.association.rejected != rejection{}:
		return s.association.rejected
	case slices.Contains(why.Obligations, "dicom:calling-ae-title-not-recognized"):
		return rejectCallingAE
	case slices.Contains(why.Obligations, "dicom:called-ae-title-not-recognized"):
		return rejectCalledAE
	}
	return rejectNoReason
}

// settle gives the refusals whose place this is: the request has been drained, and the
// asker is between two messages. Where it is told nothing any more, they are empty.
func (s *session) settle(out *sdk.Steps) {
	for dir := 0; s.owed > 0 && dir < len(s.sides); dir++ {
		from := &s.sides[dir]
		to := &s.sides[from.dir.Opposite()]
		if to.msg.phase == body && !to.ended && !to.closed {
			continue
		}
		for i := 0; i < len(from.open); {
			x := from.open[i]
			if x.why == nil || !x.complete && !x.cutOff && !from.ended {
				i++
				continue
			}
			var answer []byte
			if x.complete && !x.mute && to.msg.phase != body && !to.closed && !to.releasing {
				answer = s.answer(x)
			}
			out.Refusal(x.op, answer)
			s.owed--
			s.forget(x)
		}
	}
}

// status chooses the status of the response that refuses a request.
func (s *session) status(x *exchange) uint16 {
	field := x.command.field
	switch {
	case !x.command.known():
		return statusUnrecognized
	case x.why.Cause == policy.CauseProtocol && x.wrong != nil:
		if n := x.wrong.status; n != statusCannotUnderstand || field == cStore || x.command.isQuery() {
			return n
		}
		return statusProcessing
	case x.why.Cause == policy.CauseDoubt || x.why.Cause == policy.CauseProtocol:
		switch field {
		case cStore, cFind:
			return statusOutOfResources
		case cGet, cMove:
			return statusNoSuboperations
		}
		return statusProcessing
	case slices.Contains(x.why.Obligations, "dicom:cannot-understand"):
		return x.command.cannot("").status
	case field == cMove && slices.Contains(x.why.Obligations, "dicom:move-destination-unknown"):
		return statusDestination
	case field == cStore || field == cFind:
		return s.set.deniedStatus
	}
	return statusNotAuthorized
}

// answer returns the response that refuses a request, in P-DATA-TF PDUs its asker takes. It
// is empty if that is more than the gateway would tell a device.
func (s *session) answer(x *exchange) []byte {
	c := &x.command
	e := elements{}
	e.uid(0x0002, c.sopClass)
	e.number(0x0100, c.field|responseBit)
	e.number(0x0120, c.messageID)
	e.number(0x0800, noDataSet)
	e.number(0x0900, s.status(x))
	e.text(0x0902, comment(x.why))
	e.uid(0x1000, c.sopInstance)
	switch c.field {
	case nEventReport:
		e.number(0x1002, c.eventType)
	case nAction:
		e.number(0x1008, c.actionType)
	case cGet, cMove: // PS3.7 9.1.3, 9.1.4: a failure does not tell how many remain
		e.number(0x1021, 0)
		e.number(0x1022, 0)
		e.number(0x1023, 0)
	}
	set := elements{}
	set.element(0x0000, binary.LittleEndian.AppendUint32(nil, uint32(len(e.b))))
	set.b = append(set.b, e.b...)

	piece := len(set.b)
	if most := s.association.maxPDU[x.op.Direction().Opposite()]; most > 0 {
		piece = int(min(int64(piece), max(2, most-pdvHeader)))
	}
	var pdus []byte
	for b := set.b; len(b) > 0; {
		n := min(piece, len(b))
		control := byte(controlCommand)
		if n == len(b) {
			control |= controlLast
		}
		pdus = append(pdus, pduData, 0)
		pdus = binary.BigEndian.AppendUint32(pdus, uint32(pdvHeader+n))
		pdus = binary.BigEndian.AppendUint32(pdus, uint32(2+n))
		pdus = append(pdus, x.context, control)
		pdus = append(pdus, b[:n]...)
		b = b[n:]
	}
	if len(pdus) > maxAnswer {
		return nil
	}
	return pdus
}

// comment is an Error Comment, of at most 64 characters: the reason as far as there is room,
// and the decision code.
func comment(why *sdk.Refusal) string {
	code := plain(why.Code)
	code = code[:min(len(code), 64)]
	room := max(63-len(code), 0)
	reason := plain(why.Reason)
	return strings.TrimSpace(reason[:min(len(reason), room)] + " " + code)
}

// plain is text as LO allows it: without backslashes, and here in ASCII.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}

// elements writes a command set.
type elements struct{ b []byte }

func (e *elements) element(tag uint16, value []byte) {
	e.b = append(e.b, 0, 0)
	e.b = binary.LittleEndian.AppendUint16(e.b, tag)
	e.b = binary.LittleEndian.AppendUint32(e.b, uint32(len(value)))
	e.b = append(e.b, value...)
}

func (e *elements) number(tag, n uint16) {
	e.element(tag, binary.LittleEndian.AppendUint16(nil, n))
}

func (e *elements) text(tag uint16, s string) {
	if len(s)%2 != 0 {
		s += " "
	}
	e.element(tag, []byte(s))
}

func (e *elements) uid(tag uint16, s string) {
	if s == "" {
		return
	}
	if len(s)%2 != 0 {
		s += "\x00"
	}
	e.element(tag, []byte(s))
}
