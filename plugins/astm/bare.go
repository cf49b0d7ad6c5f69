package astm

import (
	"cordon/plugins/sdk"
	"cordon/policy"
)

// bareSession inspects a session without frames: each message comes as its records alone,
// from the header to the terminator's end, and is decided as a whole. Nothing is there to
// refuse it with, so that a refusal ends the session.
type bareSession struct {
	set     *settings
	sent    [2]sdk.OpID // by direction: the latest message
	open    [2]bool     // and whether one ACK or NAK may answer it
	seen    [2]int      // by direction: bytes looked at
	started [2]int      // and where the record under way begins
	dead    bool
}

// Inspect implements sdk.Inspector.
func (s *bareSession) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for !s.dead && len(data) > 0 && !out.Full() {
		n := s.next(dir, data, out)
		if n == 0 {
			break
		}
		data = data[n:]
		s.seen[dir], s.started[dir] = 0, 0
	}
	if end && !s.dead && len(data) > 0 && !out.Full() {
		s.announce(data, "direction ended inside a message", out)
	}
}

func (s *bareSession) next(dir sdk.Direction, data []byte, out *sdk.Steps) int {
	asker := dir.Opposite()
	switch c := data[0]; {
	case (c == ack || c == nak) && s.open[asker]:
		out.Span(s.sent[asker], 1)
		s.open[asker] = false
		return 1
	case c == lf && s.sent[dir] != 0: // behind the CR that has ended a message
		out.Span(s.sent[dir], 1)
		return 1
	case c|0x20 != 'h':
		s.announce(data, "message without its header", out)
		return 0
	}
	for i := s.seen[dir]; i < len(data); i++ {
		switch c := data[i]; {
		case i == s.set.maxFrame:
			s.announce(data[:i], "message that is too long", out)
			return 0
		case c == cr || c == lf:
			record := data[s.started[dir]:i]
			s.started[dir] = i + 1
			if len(record) > 0 && record[0]|0x20 == 'l' && (len(record) == 1 || record[1] == data[1]) {
				s.sent[dir], s.open[dir] = s.announce(data[:i+1], "", out), true
				return i + 1
			}
		case c < 0x20 && restricted>>c&1 != 0:
			s.announce(data[:i], "control character in a message", out)
			return 0
		}
	}
	s.seen[dir] = len(data)
	return 0
}

// announce announces a message and covers it; everything, if something is wrong.
func (s *bareSession) announce(message []byte, reason string, out *sdk.Steps) sdk.OpID {
	// Without its last character, behind which there may be an LF or not.
	r := s.set.read(nil, message[:len(message)-1], true)
	r.quirks &^= missingRecordEnd
	op := r.operation
	if names := r.quirks.names(); names != nil {
		op.Attributes.Set("anomalies", names)
	}
	switch {
	case reason != "":
		op = policy.Operation{Name: "astm:malformed", Class: policy.ClassUnknown}
	case r.wrong != "":
		reason = r.wrong
	case r.quirks&s.set.refuse != 0:
		reason = refusedQuirk
	}
	if reason == "" {
		id := out.Operation(op)
		out.Span(id, int64(len(message)))
		return id
	}
	s.dead = true
	id := out.Invalid(op, reason)
	out.Span(id, sdk.Unlimited)
	return id
}

// Refuse implements sdk.Inspector.
func (s *bareSession) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	s.dead = true
	out.Refusal(op, nil)
	out.End("refused, and nothing is there to say it with: " + why.Reason)
}
