package hl7

import (
	"bytes"
	"slices"

	"cordon/plugins/sdk"
)

// phase is where in the framing a direction stands.
type phase uint8

const (
	between phase = iota // before a start block
	head                 // in a frame of which nothing is covered yet
	body                 // in a frame that is covered as it arrives
	after                // behind an end block; its CR may follow
	dead                 // nothing more is understood
)

// session inspects one session.
type session struct {
	set *settings

	phase   phase
	seen    int        // bytes of data looked at already, in phases between and head
	op      sdk.OpID   // whose bytes are covered, or were last
	latest  sdk.OpID   // announced
	burst   int        // messages announced in this call
	text    text       // in phase body
	shift   shift      // in phase body
	size    int64      // bytes of the message so far, in phase body
	quirks  anomaly    // seen before the next message
	replies replies    // the device's direction
	open    []exchange // messages without their answer, oldest first
	owed    []refused  // refusals that wait for their place, in the order they were told
	commits []exchange // answers given to a client that owes a commit acknowledgement
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if dir == sdk.Reverse {
		s.reverse(data, end, out)
		return
	}
	s.burst = 0
	for s.forward(&data, end, out) {
	}
}

// forward takes one thing off data, and reports whether there may be more.
func (s *session) forward(data *[]byte, end bool, out *sdk.Steps) bool {
	b := *data
	switch s.phase {
	case after:
		if len(b) == 0 {
			return false
		}
		switch b[0] {
		case cr:
			out.Span(s.op, 1)
			*data = b[1:]
		case startBlock:
			s.quirks |= missingEndCR
		default:
			// Was it the end? Sender and device may think differently.
			return s.end(out, "bytes behind an end block without its CR")
		}
		s.phase = between
		return true
	case between:
		lead := b[:min(len(b), maxLead+1)]
		i := bytes.IndexByte(lead, startBlock)
		if i >= 0 {
			lead = lead[:i]
		}
		switch {
		case bytes.IndexByte(lead, endBlock) >= 0, bytes.Contains(lead, []byte("MSH")):
			return s.end(out, "message without a start block")
		case len(lead) > maxLead:
			return s.end(out, "more than 64 bytes outside of a frame")
		case i < 0 && end && s.latest > 0 && len(bytes.Trim(lead, "\r\n")) == 0:
			out.Span(s.latest, int64(len(lead))) // the client closed its half; its answer may be on the way
			return false
		case i < 0:
			return false
		case i > 0:
			s.quirks |= leadingBytes
		}
		s.phase, s.seen = head, i+1
		return true
	case head:
		return s.head(data, end, out)
	case body:
		return s.body(data, end, out)
	}
	return false
}

// head waits for the whole frame or for as much as is decided on.
func (s *session) head(data *[]byte, end bool, out *sdk.Steps) bool {
	b := *data
	start := bytes.IndexByte(b, startBlock) + 1
	limit := start + headSize
	if s.set.maxMessage < headSize {
		limit = start + int(s.set.maxMessage) + 1
	}
	fresh := b[s.seen:min(len(b), limit)]
	last := bytes.IndexByte(fresh, endBlock)
	if last >= 0 {
		fresh = fresh[:last]
	}
	inside := bytes.IndexByte(fresh, startBlock)
	stop := s.seen + len(fresh)
	if inside >= 0 {
		stop = s.seen + inside
	}
	content := b[start:stop]
	var wrong *fault
	switch {
	case inside >= 0:
		wrong = startInside
	case last >= 0:
		if s.set.commit && len(content) == 1 && (content[0] == commitAck || content[0] == commitNak) {
			return s.clientCommit(data, stop+1, content[0], out)
		}
	case stop == limit && s.set.maxMessage < headSize:
		wrong = tooLong
	case stop == limit:
	case end:
		wrong = unfinished
	default:
		s.seen = stop
		return false
	}
	m, ok := s.set.read(content, last >= 0 && inside < 0, s.quirks)
	if !ok {
		return s.end(out, "frame that does not begin with an MSH segment")
	}
	s.quirks = 0
	if s.burst++; s.burst > sdk.MaxOpen || s.crowded() {
		return s.end(out, "more than 256 messages without an answer")
	}
	if wrong == nil {
		wrong = m.wrong
	}
	if wrong != nil {
		s.op = out.Invalid(m.op, wrong.reason)
	} else {
		s.op = out.Operation(m.op)
	}
	s.latest = s.op
	s.remember(&m, wrong)
	switch {
	case last >= 0 && inside < 0 && (wrong == nil || !wrong.close):
		out.Span(s.op, int64(stop+1))
		*data = b[stop+1:]
		s.phase = after
	case wrong != nil: // where the frame ends is not known
		s.open[len(s.open)-1].close = true
		out.Span(s.op, sdk.Unlimited)
		s.phase = dead
	default:
		out.Span(s.op, int64(stop))
		*data = b[stop:]
		s.text, s.shift, s.size = m.text, m.shift, int64(len(content))
		s.text.body = true
		s.phase = body
	}
	return true
}

// body follows a long message. Its bytes move on as far as they are right.
func (s *session) body(data *[]byte, end bool, out *sdk.Steps) bool {
	b := *data
	good, wrong := s.text.check(b)
	ended := wrong == nil && good < len(b)
	if s.text.escaped {
		if n := s.shift.follow(nil, b[:good]); n < good {
			good, wrong, ended = n, openEscape, false
		} else if ended && s.shift.open() {
			wrong, ended = openEscape, false
		}
	}
	if room := s.set.maxMessage - s.size; int64(good) > room {
		good, wrong, ended = int(room), tooLong, false
	}
	out.Span(s.op, int64(good))
	s.size += int64(good)
	*data = b[good:]
	switch {
	case ended:
		out.Span(s.op, 1)
		*data = b[good+1:]
		s.phase = after
		return true
	case wrong == nil && end:
		wrong = unfinished
	case wrong == nil:
		return false
	}
	return s.spoiled(wrong, out)
}

// spoiled ends a message that is partly passed on: its end block is not to reach the
// device.
func (s *session) spoiled(wrong *fault, out *sdk.Steps) bool {
	named := func(op sdk.OpID) bool { return op == s.op }
	if i := slices.IndexFunc(s.open, func(x exchange) bool { return named(x.op) }); i >= 0 {
		s.open[i].wrong, s.open[i].close = wrong, true
		out.Abort(s.op, wrong.reason)
	} else if i := slices.IndexFunc(s.owed, func(r refused) bool { return named(r.op) }); i >= 0 {
		s.owed[i].close = true
	} else {
		return s.end(out, wrong.reason)
	}
	out.Span(s.op, sdk.Unlimited)
	s.phase = dead
	return false
}

// clientCommit takes the client's commit acknowledgement of an answer (MLLP release 2).
func (s *session) clientCommit(data *[]byte, n int, code byte, out *sdk.Steps) bool {
	if len(s.commits) == 0 {
		return s.end(out, "commit acknowledgement of nothing")
	}
	x := s.commits[0]
	s.commits = s.commits[1:]
	if code == commitNak {
		if x.refused {
			return s.end(out, "refusal not accepted by the client")
		}
		s.reopen(x) // the device will send it again
	}
	out.Span(x.op, int64(n))
	*data = (*data)[n:]
	s.op, s.phase = x.op, after
	return true
}

// end ends the session. Refusals of messages announced before are still given.
func (s *session) end(out *sdk.Steps, reason string) bool {
	out.End(reason)
	s.phase = dead
	return false
}
