package modbus

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// session inspects one session.
type session struct {
	set    *settings
	open   []exchange // requests without their response, oldest first
	latest sdk.OpID   // announced
	quirks anomaly    // seen since the last operation
	dead   bool       // nothing more is understood
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for !s.dead && !out.Full() {
		f, ok, wrong := cutFrame(data)
		switch {
		case wrong != "" && dir == sdk.Reverse:
			s.unasked(policy.Operation{Name: malformedName, Class: policy.ClassUnknown}, wrong, out)
			return
		case wrong != "":
			s.end(wrong, out)
			return
		case !ok:
			if end && len(data) > 0 {
				s.end("the "+dir.String()+" direction ended inside a message", out)
			}
			return
		case dir == sdk.Forward:
			s.request(&f, out)
		default:
			s.response(&f, out)
		}
		data = data[f.size():]
	}
}

// request announces a request and covers it.
func (s *session) request(f *frame, out *sdk.Steps) {
	r := s.set.read(f)
	s.forget()
	if r.wrong == nil && !r.silent {
		r.wrong = s.crowded(f, &r)
	}
	quirks := r.quirks | s.quirks
	s.quirks = 0
	if names := quirks.names(); names != nil {
		r.op.Attributes.Set("anomalies", names)
	}
	if r.wrong == nil && quirks&s.set.refuse != 0 {
		r.wrong = refusedQuirk
	}
	if r.wrong != nil {
		s.latest = out.Invalid(r.op, r.wrong.reason)
	} else {
		s.latest = out.Operation(r.op)
	}
	out.Span(s.latest, int64(f.size()))
	s.open = append(s.open, exchange{
		op: s.latest, id: f.id, unit: f.unit, function: f.pdu[0], reads: r.op.Class == policy.ClassRead,
		answer: r.answer, wrong: r.wrong, silent: r.silent, optional: r.optional,
	})
}

// response covers a response with the request it answers. Devices may answer in another
// order than they were asked.
func (s *session) response(f *frame, out *sdk.Steps) {
	i, wrong := s.answeredBy(f)
	if i < 0 {
		op := policy.Operation{Name: functionOf([]byte{f.pdu[0] &^ exceptionBit}).name, Class: policy.ClassUnknown}
		op.Attributes.Set("function", int64(f.pdu[0]))
		op.Attributes.Set("unit", int64(f.unit))
		s.unasked(op, wrong, out)
		return
	}
	out.Span(s.open[i].op, int64(f.size()))
	s.open = slices.Delete(s.open, i, i+1)
}

// malformedName is the operation that cannot be understood.
const malformedName = "modbus:malformed"

// unasked ends the session over what the device sent. It is announced for the record; the
// bytes have moved, so that it has no span.
func (s *session) unasked(op policy.Operation, reason string, out *sdk.Steps) {
	out.Invalid(op, reason)
	s.end(reason, out)
}

// end ends the session. Refusals of requests announced before are still given.
func (s *session) end(reason string, out *sdk.Steps) {
	out.End(reason)
	s.dead = true
}
