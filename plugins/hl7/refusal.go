package hl7

import (
	"slices"
	"strconv"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// refused is a message whose refusal waits for its place.
type refused struct {
	exchange
	why sdk.Refusal
}

// Refuse implements sdk.Inspector.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	i := slices.IndexFunc(s.open, func(x exchange) bool { return x.op == op })
	if i < 0 { // it has been answered, or is the device's own
		s.end(out, "refusal of a message that has no answer left")
		return
	}
	x := s.open[i]
	s.open = slices.Delete(s.open, i, i+1)
	x.refused = true
	s.owed = append(s.owed, refused{x, why})
	if r := &s.replies; r.op == op { // the device answered before the message was complete
		if r.phase == body {
			s.end(out, "refusal of a message that is being answered")
			return
		}
		r.op, r.phase = 0, between
	}
	s.settleAt(s.replies.phase == between || s.replies.phase == after, out)
}

// settle gives the refusals whose place this is, between two replies. Behind an end block
// it waits for the CR, which may be a moment late, unless the device never sends it.
func (s *session) settle(out *sdk.Steps) {
	r := &s.replies
	s.settleAt(r.phase == between || r.phase == after && (r.noCR || r.gone), out)
}

func (s *session) settleAt(boundary bool, out *sdk.Steps) {
	for len(s.owed) > 0 && boundary {
		r := s.owed[0]
		earlier := func(x exchange) bool { return x.op < r.op && x.awaited }
		if !s.replies.gone && slices.ContainsFunc(s.open, earlier) {
			return
		}
		s.owed = s.owed[1:]
		answer := s.set.answer(&r)
		if len(answer) > 0 && s.set.commit {
			s.commits = append(s.commits, r.exchange)
		}
		if len(answer) > 0 && s.replies.phase == after {
			// The device's frame still lacks its CR: complete it for the client. Should
			// the device's own follow, it stands between two frames.
			answer = slices.Insert(answer, 0, cr)
		}
		out.Refusal(r.op, answer)
		if r.close || r.why.Cause == policy.CauseDoubt {
			s.end(out, "a message was refused that cannot be followed by another")
			return
		}
	}
}

// answer returns the frame that refuses a message, or nothing if its sender does not want
// to know.
func (set *settings) answer(r *refused) []byte {
	var frame []byte
	if set.commit {
		frame = append(frame, startBlock, commitAck, endBlock, cr)
	}
	frame = append(frame, startBlock)
	from := len(frame)
	for i, msh := range r.headers {
		h, _ := parseHeader(msh) // it was readable before
		if i == 0 && len(r.headers) > 1 {
			frame = append(frame, "BHS"...)
			frame = append(append(append(frame, h.reply().field), h.encoding()...), cr)
		}
		frame = set.acknowledge(frame, &h, r, i)
		if i == 0 && len(frame) == from {
			return nil
		}
	}
	if len(r.headers) > 1 {
		h, _ := parseHeader(r.headers[0])
		frame = append(append(frame, "BTS"...), h.reply().field)
		frame = append(strconv.AppendInt(frame, int64(len(r.headers)), 10), cr)
	}
	if len(frame)+2 > sdk.MaxRefusal { // a batch with long headers: answer its first message
		one := *r
		one.headers = r.headers[:1]
		return set.answer(&one)
	}
	return append(frame, endBlock, cr)
}

// code chooses MSA-1, or "" for no answer. HL7 2.9.2: a message that values neither MSH-15
// nor MSH-16 is answered in original mode; else the accept acknowledgement comes first, if
// it is wanted on errors.
func (set *settings) code(h *header, cause policy.Cause) string {
	if set.noAck {
		return ""
	}
	code := "AR"
	if cause == policy.CausePolicy {
		code = set.denyCode
	}
	accept, application := trim(h.fields[15]), trim(h.fields[16])
	switch {
	case !h.enhanced():
		if trim(h.componentOf(9, 1)) == "ACK" {
			return "" // nobody acknowledges an acknowledgement
		}
		return code
	case accept != "NE" && accept != "SU":
		return "C" + code[1:]
	case application == "AL" || application == "ER":
		return code
	}
	return ""
}

// acknowledge appends the segments that refuse the n-th message of an operation, or nothing.
func (set *settings) acknowledge(b []byte, h *header, r *refused, n int) []byte {
	code := set.code(h, r.why.Cause)
	if code == "" {
		return b
	}
	d := h.reply()
	major, minor := h.version()
	modern := major > 2 || major == 2 && minor >= 5
	w := writer{b: b, d: d}

	w.segment("MSH")
	w.b = append(w.b, h.encoding()...)
	for _, n := range [...]int{5, 6, 3, 4} {
		w.field()
		w.echo(h.fields[n], h.odd)
	}
	w.b = append(w.b, d.field, d.field) // MSH-7: this plugin has no clock
	w.field()
	w.b = append(w.b, "ACK"...)
	if trigger := text7(h.componentOf(9, 2)); isCode(trigger) && (major > 2 || minor >= 2) {
		w.b = append(append(w.b, d.component), trigger...)
		if modern {
			w.b = append(append(w.b, d.component), "ACK"...)
		}
	}
	w.field()
	w.text(controlID(r, n), maxValue)
	w.field()
	w.echo(h.fields[11], h.odd)
	w.field()
	w.echo(h.fields[12], h.odd)
	if charset := h.fields[18]; len(charset) > 0 {
		for range 6 {
			w.field()
		}
		w.echo(charset, h.odd)
	}
	w.end()

	w.segment("MSA")
	w.b = append(w.b, code...)
	w.field()
	w.echo(h.fields[10], h.odd)
	if !modern {
		w.field()
		w.text("Refused "+r.why.Code+": "+r.why.Reason, 80)
	}
	w.end()

	number, at := r.condition()
	w.segment("ERR")
	if modern {
		w.field()
		w.location(at)
		w.field()
		w.b = strconv.AppendInt(w.b, int64(number), 10)
		w.b = append(w.b, d.component)
		w.b = append(w.b, errorText(number)...)
		w.b = append(w.b, d.component)
		w.b = append(w.b, "HL70357"...)
		w.field()
		w.b = append(w.b, 'E')
		w.field()
		w.text(r.why.Code, 20)
		w.field()
		w.field()
		w.text(r.why.Reason, sdk.MaxReason)
		w.field()
		text := "Refused by the gateway, decision code " + r.why.Code
		if r.why.Cause == policy.CauseDoubt {
			text += ". Try again later."
		}
		w.text(text, sdk.MaxReason)
	} else {
		w.location(at)
		for range 3 - strings.Count(at, "^") {
			w.b = append(w.b, d.component)
		}
		w.b = strconv.AppendInt(w.b, int64(number), 10)
		if d.sub != 0 {
			w.b = append(append(append(w.b, d.sub), errorText(number)...), d.sub)
			w.b = append(w.b, "HL70357"...)
		}
	}
	w.end()
	return w.b
}

// condition returns the code of table 0357 and the place of the error.
func (r *refused) condition() (code int, at string) {
	switch {
	case r.why.Cause == policy.CauseProtocol && r.wrong != nil:
		return r.wrong.code, r.wrong.at
	case r.why.Cause == policy.CausePolicy && r.class == policy.ClassUnknown:
		return errMessage, "MSH^1^9"
	}
	return errInternal, "MSH^1^9"
}

// controlID returns the MSH-10 of a refusal: the decision code, the operation's number and,
// in a batch, the message's. It has at most 20 characters, as old versions want.
func controlID(r *refused, n int) string {
	id := strconv.FormatUint(uint64(r.op), 10)
	if n > 0 {
		id += "." + strconv.Itoa(n)
	}
	code := r.why.Code
	if room := max(19-len(id), 0); len(code) > room {
		code = code[:room]
	}
	return code + "." + id
}

// version reads MSH-12.1. One that is no version counts as 2.3.
func (h *header) version() (major, minor int) {
	parts := strings.Split(text7(h.componentOf(12, 1)), ".")
	if len(parts) < 2 {
		return 2, 3
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < 2 || minor < 0 {
		return 2, 3
	}
	return major, minor
}

// reply returns the delimiters of the answer: the message's own, if they are of use.
func (h *header) reply() delimiters {
	d := h.delimiters
	if h.odd && strings.IndexByte(`^~\&`, d.field) >= 0 {
		d.field = '|'
	}
	return d
}

// encoding returns MSH-2 of the answer.
func (h *header) encoding() string {
	if h.odd {
		return `^~\&`
	}
	return h.fields[2]
}
