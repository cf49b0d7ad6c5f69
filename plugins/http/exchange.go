package http

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// exchange is a request that has not got all of its response.
type exchange struct {
	op       sdk.OpID
	accepts  format
	head     bool     // there is no body in the response
	connect  bool     // a 2xx opens a tunnel
	upgrade  []string // a 101 does
	expects  bool     // 100-continue
	closes   bool     // the connection, if it is refused
	spoiled  bool     // its body is wrong or cut off, and dropped
	wrong    *fault   // it, or the response to it, is malformed
	refused  *sdk.Refusal
	released bool // the device asked for the body that Expect held back
}

// maxPipelined bounds the requests that wait for their responses.
const maxPipelined = 100

// remember makes a request wait for its response.
func (s *session) remember(r *request) {
	s.open = append(s.open, exchange{
		op: s.op, accepts: r.accepts, head: r.method == "HEAD",
		connect: r.method == "CONNECT", upgrade: r.upgrade, expects: r.expects, wrong: r.wrong,
		// A client whose body is not asked for may send it or not; who is not let out of HTTP has
		// nothing else to say.
		closes: r.wrong != nil || r.closes || r.expects || r.switches(),
	})
}

// find returns what is left of an exchange, or nil.
func (s *session) find(op sdk.OpID) *exchange {
	for i := range s.open {
		if s.open[i].op == op {
			return &s.open[i]
		}
	}
	return nil
}

// forget removes the oldest exchange.
func (s *session) forget() {
	copy(s.open, s.open[1:])
	s.open[len(s.open)-1] = exchange{}
	s.open = s.open[:len(s.open)-1]
}

// draining reports whether a chunked body is still to be seen to its end before its request is
// answered, and the connection goes on.
func (s *session) draining(x *exchange) bool {
	return s.phase == inBody && s.op == x.op && !x.closes
}

// Refuse implements sdk.Inspector.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	x := s.find(op)
	if x == nil { // the session has ended
		out.Refusal(op, nil)
		return
	}
	x.refused = &why
	x.closes = x.closes || why.Cause == doubt || x.wrong != nil || s.reply.ended
	s.settle(out)
	s.leave(out)
}

// settle gives the refusals whose turn has come.
func (s *session) settle(out *sdk.Steps) {
	if s.reply.phase == toEnd { // a response without an end leaves no place for others
		s.open = slices.DeleteFunc(s.open, func(x exchange) bool {
			if x.refused != nil {
				out.Refusal(x.op, nil)
			}
			return x.refused != nil
		})
		return
	}
	for len(s.open) > 0 && s.reply.phase == between {
		x := &s.open[0]
		if x.refused == nil || s.draining(x) {
			return
		}
		out.Refusal(x.op, x.answer())
		// Behind a body that was dropped anyway, the client may hang up by itself.
		if x.closes && (!x.spoiled || x.refused.Cause == policy.CauseProtocol) {
			s.end("a refused request closes the connection", out)
			return
		}
		s.forget()
	}
}

// end ends the session.
func (s *session) end(reason string, out *sdk.Steps) {
	s.phase, s.reply.phase, s.open = dead, dead, nil
	out.End(reason)
}
