package hl7

import (
	"bytes"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// replies is the device's direction.
type replies struct {
	phase  phase
	start  int  // in phase head: index of the start block
	seen   int  // in phase head: bytes looked at
	line   int  // in phase head: where the current segment begins
	field  byte // its MSH-1; 0 until the header has been read
	name   string
	batch  bool
	junk   int  // in phase between: bytes covered since the last frame
	text   text // in phase body
	size   int64
	op     sdk.OpID // of the current reply, or the last one
	accept bool     // it is an accept acknowledgement that accepts: MSA-1 is CA
	gone   bool     // the device has ended
	noCR   bool     // the last end block came without CR
}

// reverse inspects the device's bytes. They have moved already.
func (s *session) reverse(data []byte, end bool, out *sdk.Steps) {
	r := &s.replies
	for s.reply(&data, out) {
	}
	if !end || r.phase == dead {
		return
	}
	r.gone = true
	if r.phase == head || r.phase == body {
		s.endReplies(out, "device ended inside a reply")
		return
	}
	s.settle(out)
}

// reply takes one thing off data, and reports whether there may be more.
func (s *session) reply(data *[]byte, out *sdk.Steps) bool {
	r := &s.replies
	b := *data
	switch r.phase {
	case after:
		if len(b) == 0 {
			s.settle(out)
			return false
		}
		r.noCR = b[0] != cr
		if !r.noCR {
			out.Span(r.op, 1)
			*data = b[1:]
		}
		r.phase, r.junk = between, 0
		if b[0] == cr { // else the next reply has begun, and the place is this
			s.settle(out)
		}
		return true
	case between:
		if len(b) == 0 {
			return false
		}
		room := maxLead - r.junk
		i := bytes.IndexByte(b[:min(len(b), room+1)], startBlock)
		junk := i
		if i < 0 {
			junk = min(len(b), room)
		}
		// Keep-alive bytes belong to the reply before them, for a refusal may have to
		// follow them. Before the first reply they wait for it.
		if r.op != 0 && r.op+sdk.MaxOpen > s.latest && junk > 0 {
			out.Span(r.op, int64(junk))
			*data = b[junk:]
			r.junk += junk
			return true
		}
		if i < 0 {
			if len(b) > room {
				return s.unsolicited(out, unknownName, "more than 64 bytes of the device outside of a frame")
			}
			return false
		}
		r.phase, r.start, r.seen, r.line, r.field, r.batch = head, i, i+1, i+1, 0, false
		return true
	case head:
		return s.replyHead(data, out)
	case body:
		good, wrong := r.text.check(b)
		ended := wrong == nil && good < len(b)
		out.Span(r.op, int64(good))
		*data = b[good:]
		if r.size += int64(good); wrong == nil && r.size > s.set.maxMessage {
			wrong = tooLong
		}
		if wrong != nil {
			return s.endReplies(out, "reply: "+wrong.reason)
		}
		if ended {
			s.replied(data, 1, false, out)
		}
		return ended
	}
	return false
}

// replyHead looks for the segment that says what is answered.
func (s *session) replyHead(data *[]byte, out *sdk.Steps) bool {
	r := &s.replies
	b := *data
	limit := min(len(b), r.start+1+headSize)
	for {
		i := indexControl(b[r.seen:limit])
		if i < 0 {
			if r.seen = limit; limit < len(b) {
				return s.unsolicited(out, unknownName, "reply without an MSA segment in its first 128 KiB")
			}
			return false
		}
		i += r.seen
		line, c := b[r.line:i], b[i]
		r.seen = i + 1
		content := b[r.start+1 : i]
		switch {
		case c == startBlock:
			return s.endReplies(out, "reply: "+startInside.reason)
		case c == endBlock && s.set.commit && len(content) == 1 && (content[0] == commitAck || content[0] == commitNak):
			return s.deviceCommit(data, i+1, content[0], out)
		case c != cr && c != lf && c != endBlock:
			continue
		}
		r.line = i + 1
		if r.field == 0 {
			if wrong := s.replyHeader(line); wrong != "" {
				return s.unsolicited(out, unknownName, wrong)
			}
		}
		switch {
		case r.batch && c == endBlock:
			return s.replyBatch(data, i+1, out)
		case !r.batch && len(line) > 3 && string(line[:3]) == "MSA" && line[3] == r.field:
			return s.matched(data, i, string(line[4:]), out)
		case c == endBlock:
			return s.unsolicited(out, r.name, "message of the device that answers nothing")
		}
	}
}

// replyHeader takes the first segment of a reply.
func (s *session) replyHeader(line []byte) (wrong string) {
	r := &s.replies
	line = line[:min(len(line), maxHeader)]
	if s.set.batch && len(line) > 3 && isBatch(line[:3]) {
		r.batch, r.field, r.name = true, line[3], unknownName
		return ""
	}
	h, ok := parseHeader(string(line))
	if !ok {
		return "reply that does not begin with an MSH segment"
	}
	r.field, r.name = h.field, h.name()
	return ""
}

// matched begins the reply to the message that msa names; its bytes up to n are read.
func (s *session) matched(data *[]byte, n int, msa string, out *sdk.Steps) bool {
	r := &s.replies
	x := s.answers(msa)
	if x == nil {
		return s.unsolicited(out, r.name, "answer to no message")
	}
	r.op, r.accept = x.op, strings.HasPrefix(trim(msa), "CA")
	out.Span(r.op, int64(n))
	r.size = int64(n)
	r.text = text{set: s.set, field: r.field, lenient: true, segments: 1}
	r.phase = body
	*data = (*data)[n:]
	return true
}

// answers finds the message that a reply answers: the oldest of MSA-2's control id that
// still expects such an answer.
func (s *session) answers(msa string) *exchange {
	sep := s.replies.field
	code, id := trim(component(msa, sep, 1)), trim(component(msa, sep, 2))
	if code == "" {
		return nil
	}
	var oldest, empty *exchange
	for i := range s.open {
		x := &s.open[i]
		if x.invalid || x.accepted && code[0] == 'C' {
			continue
		}
		if slices.Contains(x.ids, id) {
			return x
		}
		if oldest == nil {
			oldest = x
		}
		if empty == nil && slices.Contains(x.ids, "") {
			empty = x
		}
	}
	if s.set.looseAck || len(id) == 0 {
		return oldest
	}
	return empty
}

// replied ends the current reply with the n bytes up to its end block. A batch answers all
// messages of a batch.
func (s *session) replied(data *[]byte, n int, batch bool, out *sdk.Steps) {
	r := &s.replies
	out.Span(r.op, int64(n))
	*data = (*data)[n:]
	r.phase = after
	i := slices.IndexFunc(s.open, func(x exchange) bool { return x.op == r.op })
	if i < 0 {
		return // refused meanwhile
	}
	x := &s.open[i]
	if s.set.commit {
		s.commits = append(s.commits, *x)
	}
	x.answers--
	switch {
	case r.accept && !x.last && x.answers == 0:
		x.awaited, x.accepted, x.answers = false, true, 1
	case x.answers == 0 || batch:
		s.open = slices.Delete(s.open, i, i+1)
	}
}

// replyBatch takes a whole reply that is a batch: each of its answers must be one to a
// message of the batch that the first one answers.
func (s *session) replyBatch(data *[]byte, n int, out *sdk.Steps) bool {
	r := &s.replies
	var x *exchange
	for rest := (*data)[r.start+1 : n-1]; len(rest) > 0; {
		line, _ := firstLine(rest)
		rest = rest[min(len(line)+1, len(rest)):]
		if len(line) < 4 || string(line[:3]) != "MSA" || line[3] != r.field {
			continue
		}
		one := s.answers(string(line[4:]))
		if one == nil || x != nil && one != x {
			return s.unsolicited(out, unknownName, "batch that answers more than one message or batch")
		}
		x = one
	}
	if x == nil {
		return s.unsolicited(out, unknownName, "batch of the device that answers nothing")
	}
	r.op, r.accept = x.op, false
	s.replied(data, n, true, out)
	return true
}

// deviceCommit takes the device's commit acknowledgement (MLLP release 2).
func (s *session) deviceCommit(data *[]byte, n int, code byte, out *sdk.Steps) bool {
	i := slices.IndexFunc(s.open, func(x exchange) bool { return !x.invalid && !x.committed })
	if i < 0 {
		return s.unsolicited(out, unknownName, "commit acknowledgement of nothing")
	}
	r := &s.replies
	r.op = s.open[i].op
	s.open[i].committed = true
	if code == commitNak { // the client will send the message again
		s.open = slices.Delete(s.open, i, i+1)
	}
	out.Span(r.op, int64(n))
	*data = (*data)[n:]
	r.phase = after
	return true
}

// unsolicited ends the session over a message of the device that nobody asked for. It is
// announced for the record; the refused bytes have moved, so that it has no span.
func (s *session) unsolicited(out *sdk.Steps, name, reason string) bool {
	out.Invalid(policy.Operation{Name: name, Class: policy.ClassUnknown}, reason)
	return s.endReplies(out, reason)
}

// endReplies ends the session behind bytes of the device that cannot be passed on.
func (s *session) endReplies(out *sdk.Steps, reason string) bool {
	s.replies.phase = dead
	return s.end(out, reason)
}

// name returns the name of an operation with that header.
func (h *header) name() string {
	return nameOf(text7(h.componentOf(9, 1)), text7(h.componentOf(9, 2)))
}
