package astm

import "cordon/plugins/sdk"

// kind says how an operation is answered.
type kind uint8

const (
	ofFrame kind = iota // by ACK, NAK or EOT
	ofENQ               // by ACK or NAK
	ofEOT               // not at all
)

// exchange is an operation without its answer, which is the other side's or a refusal.
type exchange struct {
	op      sdk.OpID
	kind    kind
	number  byte     // of the frame
	next    *message // what the message is once the frame is acknowledged
	invalid bool     // it is refused for certain
	void    bool     // no answer is waited for any more
}

// pending reports whether the other side has to answer.
func (x *exchange) pending() bool {
	return x.kind != ofEOT && !x.invalid && !x.void
}

// pending returns the index of what the other side has to answer next, or -1. A sender that
// keeps to the protocol has one at most. What is void is before all that is not.
func (d *side) pending() int {
	next := -1
	for i := len(d.waiting) - 1; i >= 0 && !d.waiting[i].void; i-- {
		if d.waiting[i].pending() {
			next = i
		}
	}
	return next
}

// reply takes an answer of d's: ACK, NAK, or EOT, by which a receiver accepts a frame and
// asks the sender to stop (E1381 6.3.5).
func (s *session) reply(d *side, c byte, out *sdk.Steps) {
	asker := &s.sides[d.dir.Opposite()]
	i := asker.pending()
	if i < 0 {
		if asker.late == 0 {
			s.violate(d, "answer to nothing", out)
			return
		}
		out.Span(asker.late, 1)
		asker.late = 0
		s.quirks |= lateReply
		return
	}
	x := asker.waiting[i]
	asker.waiting = asker.waiting[i+1:] // what is before it has been decided, too
	out.Span(x.op, 1)
	switch {
	case x.kind == ofENQ && c == ack:
		d.abandon() // it yields, if it had sent ENQ itself
		asker.bid, asker.carrier = 0, x.op
	case x.kind == ofENQ:
		asker.bid = 0
	case c == nak:
		asker.blocked = false
	default:
		asker.blocked, asker.tries, asker.sink = false, 0, 0
		asker.carrier, asker.number, asker.message = x.op, after(x.number), x.next
	}
}

// void gives up waiting for answers. One that still comes is taken for the latest one's.
func (d *side) void() {
	for i := d.pending(); i >= 0 && i < len(d.waiting); i++ {
		if x := &d.waiting[i]; x.pending() {
			x.void, x.next = true, nil
			d.late = x.op
		}
	}
}

// forget drops exchanges that cannot be named any more once one more has been announced.
func (d *side) forget() {
	for len(d.waiting) > 0 && d.waiting[0].op+sdk.MaxOpen <= d.latest+1 {
		d.waiting = d.waiting[1:]
	}
}
