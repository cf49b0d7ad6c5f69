package http

import "cordon/plugins/sdk"

// phase is where in its messages a direction stands.
type phase uint8

const (
	between phase = iota // before a head
	inBody               // in a body that is covered as it arrives
	asked                // behind a request to leave HTTP; the device answers first
	tunnel               // HTTP is left
	toEnd                // all that follows is covered
	dead                 // nothing more is understood
)

// session inspects one connection.
type session struct {
	set   *settings
	phase phase // of the client's direction
	scan  scan
	op    sdk.OpID // whose bytes are covered, or were last
	body  body
	open  []exchange // oldest first
	reply reply

	last    bool // the client said that nothing will follow
	parting bool // the device did
	starved bool // it answered without the body that Expect held back
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if dir == sdk.Reverse {
		s.reverse(data, end, out)
		return
	}
	for !out.Full() {
		var n int64
		switch s.phase {
		case between, asked:
			n = s.request(data, end, out)
		case inBody:
			n = s.upload(data, end, out)
		case tunnel:
			s.phase = toEnd
			out.Span(s.op, sdk.Unlimited)
		}
		data = data[min(n, int64(len(data))):]
		if n == 0 || len(data) == 0 && !(end && s.phase == inBody) {
			return
		}
	}
}

// maxHeld is how much may follow what closes the connection.
const maxHeld = 64 << 10

// request takes a request's head, and its body if its length is known.
func (s *session) request(data []byte, end bool, out *sdk.Steps) int64 {
	var wrong *fault
	var n int
	switch {
	case len(data) == 0:
		return 0
	case s.last || s.parting:
		// What the device will not read stays here, so that it does not cut off the response.
		if len(data) > maxHeld {
			s.end("bytes behind a request or response that closes the connection", out)
		}
		return 0
	case s.phase == asked:
		s.end("bytes behind a switch of protocols that is not answered", out)
		return 0
	case len(s.open) >= maxPipelined:
		s.end("too many requests wait for a response", out)
		return 0
	case !tchar[data[0]] && data[0] != '\r' && data[0] != '\n':
		wrong = notHTTP
	default:
		n, wrong = s.scan.find(data, &s.set.limits, isRequestLine, false)
	}
	if wrong == nil && n == 0 {
		if !end {
			return 0
		}
		wrong = cutOff
	}
	r := &request{wrong: wrong}
	r.op.Name, r.op.Class = malformedName, unknown
	if wrong == nil {
		r = s.set.readRequest(string(data[:n]))
		s.scan = scan{}
	}
	if r.wrong != nil {
		s.op = out.Invalid(r.op, r.wrong.reason)
		out.Span(s.op, sdk.Unlimited)
		s.remember(r)
		s.phase = dead
		return 0
	}
	s.op = out.Operation(r.op)
	s.remember(r)
	s.last = r.closes
	length := int64(n)
	switch {
	case r.switches():
		s.phase = asked
	case r.chunked || r.expects:
		s.phase = inBody
		s.body = body{chunked: r.chunked, trailers: s.set.trailers, limit: s.set.maxBody, left: r.length}
	default:
		s.phase = between
		length += r.length
	}
	out.Span(s.op, length)
	return length
}

// upload follows a body. What Expect holds back is covered no further than it has arrived: a
// device that answers without it may take what follows for a request.
func (s *session) upload(data []byte, end bool, out *sdk.Steps) int64 {
	if s.starved {
		return 0
	}
	x := s.find(s.op)
	n, done, wrong := s.body.take(data, x == nil || !x.expects || x.released)
	out.Span(s.op, n)
	switch {
	case wrong != nil:
		s.spoiled(x, wrong, out)
		return 0
	case done:
		s.phase = between
	case end:
		s.phase = dead
		if x != nil && !x.closes {
			x.closes, x.spoiled = true, true
		}
	default:
		return n
	}
	s.settle(out)
	return n
}

// spoiled ends a request that is partly passed on.
func (s *session) spoiled(x *exchange, wrong *fault, out *sdk.Steps) {
	if x == nil || s.reply.phase != between && x == &s.open[0] {
		s.end(wrong.reason, out) // it has its response
		return
	}
	if x.refused == nil {
		x.wrong = wrong
		out.Abort(s.op, wrong.reason)
	}
	if !x.closes {
		x.closes, x.spoiled = true, true
	}
	out.Span(s.op, sdk.Unlimited)
	s.phase = dead
	s.settle(out)
}
