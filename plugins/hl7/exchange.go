package hl7

import (
	"cmp"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// exchange is a message and the answers it may still get.
type exchange struct {
	op      sdk.OpID
	class   policy.Class
	headers []string // its MSH segment, or those of a batch
	ids     []string // their MSH-10
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

func (x *exchange) add(msh string) {
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
		return trim(h.fields[15]) == "AL"
	}
	return trim(h.componentOf(9, 1)) != "ACK"
}

// ackNever reports whether MSH-15 or MSH-16 rules out an acknowledgement.
func ackNever(v string) bool { v = trim(v); return v == "" || v == "NE" }

// reopen makes a message wait for its answer again.
func (s *session) reopen(x exchange) {
	s.open = slices.DeleteFunc(s.open, func(o exchange) bool { return o.op == x.op })
	i, _ := slices.BinarySearchFunc(s.open, x.op, func(o exchange, op sdk.OpID) int { return cmp.Compare(o.op, op) })
	s.open = slices.Insert(s.open, i, x)
}
