package astm

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// session inspects one session. It has no state of its own beside its two sides': who sends
// and who receives is for each ENQ to say, and both may have sent one at a time.
type session struct {
	set       *settings
	sides     [2]side  // by direction
	quirks    anomaly  // seen since the last operation
	malformed sdk.OpID // nothing is understood from this operation on; 0: all is
}

// side is one direction: what it has sent as a sender, and what it waits for.
type side struct {
	dir     sdk.Direction
	seen    int      // bytes of an incomplete frame looked at
	tail    string   // what may still follow the latest frame's checksum
	covered sdk.OpID // whose frame that was
	latest  sdk.OpID // announced

	waiting []exchange // what has not been answered, oldest first
	bid     sdk.OpID   // ENQ that the other side has not acknowledged; 0: none
	carrier sdk.OpID   // what the other side acknowledged last in this transmission; 0: there is none
	late    sdk.OpID   // abandoned, but an answer may still come; 0: nothing

	number  byte     // of the frame to come; 0: the first
	message *message // as far as it was acknowledged; nil: there is none
	blocked bool     // a frame was announced that the other side has not answered
	tries   int      // frames since one was acknowledged
	sink    sdk.OpID // refused for certain: takes what comes once they were too many; 0: none
}

// refusedQuirk is the reason against what the setting refuse lists.
const refusedQuirk = "deviation this service does not tolerate"

// maxTries is how often a frame is sent, as far as the log is concerned: senders give up
// after six (E1381 6.5.1).
const maxTries = 6

func newSession(set *settings) *session {
	s := &session{set: set}
	s.sides[sdk.Reverse].dir = sdk.Reverse
	return s
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	d := &s.sides[dir]
	for s.malformed == 0 && len(data) > 0 && !out.Full() {
		n := s.next(d, data, out)
		if n == 0 {
			break
		}
		data = data[n:]
	}
	if end && len(data) > 0 && s.malformed == 0 && !out.Full() {
		s.violate(d, "direction ended inside a frame", out)
	}
}

// next takes one thing off data and returns its length, or 0 if it is not complete.
func (s *session) next(d *side, data []byte, out *sdk.Steps) int {
	c := data[0]
	for i := 0; i < len(d.tail); i++ {
		if d.tail[i] == c {
			d.tail = d.tail[i+1:]
			out.Span(d.covered, 1)
			return 1
		}
	}
	d.tail = ""
	switch c {
	case stx:
		f, seen, broken := s.set.cutFrame(data, d.seen)
		switch {
		case broken != "":
			s.violate(d, broken, out)
			return 0
		case f.size == 0:
			d.seen = seen
			return 0
		}
		d.seen = 0
		d.covered = s.frame(d, &f, out)
		out.Span(d.covered, int64(f.size))
		if s.set.frameEnd == "checksum" {
			d.tail = "\r\n"
		}
		return f.size
	case enq:
		s.establish(d, out)
	case eot:
		s.terminate(d, out)
	case ack, nak:
		s.reply(d, c, out)
	default:
		s.violate(d, "byte that is neither a frame's nor of the control characters", out)
	}
	return 1
}

// establish takes an ENQ. It ends what the same side had begun.
func (s *session) establish(d *side, out *sdk.Steps) {
	d.late = 0
	d.abandon()
	d.bid = s.announce(d, policy.Operation{Name: "astm:ENQ", Class: policy.ClassSession}, "", exchange{kind: ofENQ}, out)
	out.Span(d.bid, 1)
}

// terminate takes an EOT. It goes with what was acknowledged last, and so reaches the other
// side whenever that side was told of the transmission.
func (s *session) terminate(d *side, out *sdk.Steps) {
	switch {
	case d.carrier != 0:
		out.Span(d.carrier, 1)
		late := d.carrier // there may be an answer yet; some answer the EOT itself
		d.abandon()
		d.late = late
	case d.bid != 0:
		out.Span(d.bid, 1)
		d.abandon()
	case s.sides[d.dir.Opposite()].pending() >= 0:
		s.reply(d, eot, out)
	default:
		s.quirks |= idleEOT
		op := s.announce(d, policy.Operation{Name: "astm:EOT", Class: policy.ClassSession}, "", exchange{kind: ofEOT}, out)
		out.Span(op, 1)
	}
}

// abandon ends a transmission. What waits for an answer will usually have none.
func (d *side) abandon() {
	d.void()
	d.bid, d.carrier, d.sink = 0, 0, 0
	d.number, d.message, d.blocked, d.tries = 0, nil, false, 0
}

// frame returns the operation a frame belongs to, which it usually announces.
func (s *session) frame(d *side, f *frame, out *sdk.Steps) sdk.OpID {
	if d.tries >= maxTries && d.sink != 0 {
		return d.sink // it is not answered: the sender gives up by its own timer
	}
	d.tries++
	if f.wrong != "" {
		return s.announce(d, policy.Operation{Name: "astm:frame", Class: policy.ClassUnknown}, f.wrong, exchange{}, out)
	}
	if f.lowerHex {
		s.quirks |= lowerCaseChecksum
	}
	r := s.set.read(d.message, f.text, f.last)
	s.quirks |= r.quirks
	wrong := s.outOfTurn(d, f, &r)
	if wrong == "" {
		wrong = r.wrong
	}
	return s.announce(d, r.operation, wrong, exchange{kind: ofFrame, number: f.number, next: r.next}, out)
}

// outOfTurn returns why a frame may not come now.
func (s *session) outOfTurn(d *side, f *frame, r *reading) string {
	expected := d.number
	if expected == 0 {
		expected = '1'
	}
	switch {
	case d.carrier == 0:
		return "frame of a transmission the other side has not accepted"
	case d.blocked:
		return "frame behind one the other side has not accepted"
	case d.tries > maxTries:
		return "frame sent too often"
	case f.number == expected:
	case d.number == 0 && f.number == '0':
		s.quirks |= firstFrame0
	case r.begins && f.number == '1':
		s.quirks |= frameRestart
	default:
		return "frame number that is not the next"
	}
	return ""
}

// announce announces an operation of d's, invalid if there is a reason, and remembers that
// x waits for its answer.
func (s *session) announce(d *side, op policy.Operation, reason string, x exchange, out *sdk.Steps) sdk.OpID {
	if names := s.quirks.names(); names != nil {
		op.Attributes.Set("anomalies", names)
	}
	if reason == "" && s.quirks&s.set.refuse != 0 {
		reason = refusedQuirk
	}
	s.quirks = 0
	d.forget()
	if reason != "" {
		x.op, x.invalid = out.Invalid(op, reason), true
		d.sink = x.op
	} else {
		x.op = out.Operation(op)
		d.blocked = x.kind == ofFrame
	}
	d.latest = x.op
	d.waiting = append(d.waiting, x)
	return x.op
}

// violate ends the session over what cannot be followed any more. It is announced, so that
// it is recorded and answered.
func (s *session) violate(d *side, reason string, out *sdk.Steps) {
	s.malformed = out.Invalid(policy.Operation{Name: "astm:malformed", Class: policy.ClassUnknown}, reason)
	out.Span(s.malformed, sdk.Unlimited)
}
