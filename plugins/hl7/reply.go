package hl7

import (
	"bytes"
	"cmp"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// exchange is a message and the answers it may still get.
type exchange struct {
	op      sdk.OpID
	class   policy.Class
	headers [][]byte // its MSH segment, or those of a batch
	ids     [][]byte // their MSH-10
	answers int      // messages not answered yet
	wrong   *fault   // it is malformed
	invalid bool     // announced as such: the device never sees it
	close   bool     // the session ends once it is refused
	refused bool

	// awaited says that an answer is sure to come, and to come on this connection: a
	// refusal of a later message waits for it. That is so for the answer in original mode
	// and for the accept acknowledgement if MSH-15 is AL. An application acknowledgement
	// of enhanced mode may come hours later or on another connection; nothing waits for
	// it.
	awaited   bool
	accepted  bool // the accept acknowledgement has come
	last      bool // no application acknowledgement follows an acceptance
	committed bool // MLLP release 2
}

// replies is the device's direction.
type replies struct {
	phase  phase
	start  int  // in phase head: index of the start block
	seen   int  // in phase head: bytes looked at
	line   int  // in phase head: where the current segment begins
	junk   int  // in phase between: bytes covered since the last frame
	text   text // in phase body
	size   int64
	op     sdk.OpID // of the current reply, or the last one
	code   byte     // the first letter of its MSA-1
	gone   bool     // the device has ended
	noCR   bool     // the last end block came without CR
	withCR bool     // the device is known to send it
}

// remember keeps what is needed of a message that was announced as s.op.
func (s *session) remember(m *message, wrong *fault) {
	x := exchange{op: s.op, class: m.op.Class, wrong: wrong, invalid: wrong != nil}
	x.close = wrong != nil && wrong.close
	x.awaited = wrong == nil && !s.set.noAck && m.awaitsReply()
	x.last = ackNever(m.fields[16])
	x.add(m.raw)
	for _, raw := range m.more {
		x.add(raw)
	}
	s.open = append(s.open, x)
}

func (x *exchange) add(msh []byte) {
	msh = bytes.Clone(msh[:min(len(msh), maxHeader)])
	x.headers = append(x.headers, msh)
	h, _ := parseHeader(msh) // it was readable before
	x.ids = append(x.ids, trim(h.fields[10]))
	x.answers++
}

// crowded reports whether the next operation would make one too old to be named that still
// has to be. Others are forgotten.
func (s *session) crowded() bool {
	old := func(op sdk.OpID) bool { return op+sdk.MaxOpen <= s.latest+1 }
	for len(s.open) > 0 && old(s.open[0].op) {
		if s.open[0].awaited || s.open[0].invalid {
			return true
		}
		s.open = s.open[1:]
	}
	r := &s.replies
	return len(s.owed) > 0 && old(s.owed[0].op) || len(s.commits) > 0 && old(s.commits[0].op) ||
		(r.phase == body || r.phase == after) && old(r.op)
}

// enhanced reports whether a message asks for the enhanced acknowledgement mode.
func (h *header) enhanced() bool { return len(trim(h.fields[15])) > 0 || len(trim(h.fields[16])) > 0 }

func (h *header) awaitsReply() bool {
	if h.enhanced() {
		return string(trim(h.fields[15])) == "AL"
	}
	return string(trim(h.componentOf(9, 1))) != "ACK"
}

// ackNever reports whether MSH-15 or MSH-16 rules out an acknowledgement.
func ackNever(b []byte) bool { b = trim(b); return len(b) == 0 || string(b) == "NE" }

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
		s.end(out, "device ended inside a reply")
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
		r.withCR = !r.noCR
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
		i := bytes.IndexByte(b[:min(len(b), maxLead+1)], startBlock)
		if i < 0 && r.junk+len(b) > maxLead || r.junk+i > maxLead {
			return s.unsolicited(out, unknownName, "more than 64 bytes of the device outside of a frame")
		}
		// Keep-alive bytes belong to the reply before them, for a refusal may have to
		// follow them. Before the first reply they wait for it.
		junk := i
		if i < 0 {
			junk = len(b)
		}
		if r.op != 0 && r.op+sdk.MaxOpen > s.latest && junk > 0 {
			out.Span(r.op, int64(junk))
			*data = b[junk:]
			r.junk += junk
			i -= junk
		}
		if i < 0 {
			return false
		}
		r.phase, r.start, r.seen, r.line = head, i, i+1, i+1
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
			return s.end(out, "reply: "+wrong.reason)
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
			return s.end(out, "reply: "+startInside.reason)
		case c == endBlock && s.set.commit && len(content) == 1 && (content[0] == commitAck || content[0] == commitNak):
			return s.deviceCommit(data, i+1, content[0], out)
		case c != cr && c != lf && c != endBlock:
			continue
		}
		r.line = i + 1
		first, _ := firstLine(content)
		if s.set.batch && len(first) > 3 && isBatch(first[:3]) {
			if c == endBlock {
				return s.replyBatch(data, i+1, out)
			}
			continue
		}
		h, ok := parseHeader(first)
		if !ok {
			return s.unsolicited(out, unknownName, "reply that does not begin with an MSH segment")
		}
		if len(line) > 3 && string(line[:3]) == "MSA" && line[3] == h.field {
			return s.matched(data, i, &h, line[4:], out)
		}
		if c == endBlock {
			return s.unsolicited(out, h.name(), "message of the device that answers nothing")
		}
	}
}

// matched begins the reply to the message that msa names; its bytes up to n are read.
func (s *session) matched(data *[]byte, n int, h *header, msa []byte, out *sdk.Steps) bool {
	r := &s.replies
	x := s.answers(h, msa)
	if x == nil {
		return s.unsolicited(out, h.name(), "answer to no message")
	}
	r.op, r.code = x.op, msa[0]
	out.Span(r.op, int64(n))
	r.size = int64(n)
	r.text = text{set: s.set, field: h.field, lenient: true, segments: 1}
	r.phase = body
	*data = (*data)[n:]
	return true
}

// answers finds the message that a reply answers: the oldest of MSA-2's control id that
// still expects such an answer.
func (s *session) answers(h *header, msa []byte) *exchange {
	var p [2][]byte
	if split(msa, h.field, p[:]) < 2 {
		return nil
	}
	code, id := trim(p[0]), trim(p[1])
	if len(code) == 0 {
		return nil
	}
	var oldest, empty *exchange
	for i := range s.open {
		x := &s.open[i]
		if x.invalid || x.accepted && code[0] == 'C' {
			continue
		}
		if x.has(id) {
			return x
		}
		if oldest == nil {
			oldest = x
		}
		if empty == nil && x.has(nil) {
			empty = x
		}
	}
	if s.set.looseAck || len(id) == 0 {
		return oldest
	}
	return empty
}

func (x *exchange) has(id []byte) bool {
	return slices.ContainsFunc(x.ids, func(b []byte) bool { return bytes.Equal(b, id) })
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
	case r.code == 'C' && !x.last && x.answers == 0:
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
	var h header
	for rest := (*data)[r.start+1 : n-1]; len(rest) > 0; {
		line, _ := firstLine(rest)
		rest = rest[min(len(line)+1, len(rest)):]
		if head, ok := parseHeader(line); ok {
			h = head
		}
		if len(line) < 4 || string(line[:3]) != "MSA" || line[3] != h.field {
			continue
		}
		one := s.answers(&h, line[4:])
		if one == nil || x != nil && one != x {
			return s.unsolicited(out, h.name(), "batch that answers more than one message or batch")
		}
		x = one
	}
	if x == nil {
		return s.unsolicited(out, h.name(), "batch of the device that answers nothing")
	}
	r.op, r.code = x.op, 'A'
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

// reopen makes a message wait for its answer again.
func (s *session) reopen(x exchange) {
	s.open = slices.DeleteFunc(s.open, func(o exchange) bool { return o.op == x.op })
	i, _ := slices.BinarySearchFunc(s.open, x.op, func(o exchange, op sdk.OpID) int { return cmp.Compare(o.op, op) })
	s.open = slices.Insert(s.open, i, x)
}

// unsolicited ends the session over a message of the device that nobody asked for. It is
// announced for the record; the refused bytes have moved, so that it has no span.
func (s *session) unsolicited(out *sdk.Steps, name, reason string) bool {
	out.Invalid(policy.Operation{Name: name, Class: policy.ClassUnknown}, reason)
	return s.end(out, reason)
}

// name returns the name of an operation with that header.
func (h *header) name() string {
	return nameOf(text7(h.componentOf(9, 1)), text7(h.componentOf(9, 2)))
}
