package http

import (
	"slices"
	"strings"

	"cordon/plugins/sdk"
)

// reply is where the device's direction stands.
type reply struct {
	phase phase
	scan  scan
	op    sdk.OpID
	body  body
	ended bool
}

// replyLimits are those of a response's head.
var replyLimits = limits{line: 8 << 10, head: 64 << 10, fields: 256}

// What can be wrong with a response. The client is told that the device cannot be understood.
var (
	replyMalformed = &fault{502, "response of the device that is no HTTP"}
	replyAmbiguous = &fault{502, "response of the device whose end is ambiguous"}
	replySwitches  = &fault{502, "device switches protocols unasked"}
)

// reverse covers responses, in the order of the requests.
func (s *session) reverse(data []byte, end bool, out *sdk.Steps) {
	for len(data) > 0 && !out.Full() {
		var n int64
		switch s.reply.phase {
		case between:
			n = s.response(data, out)
		case inBody:
			n = s.download(data, out)
		}
		if n == 0 {
			break
		}
		data = data[min(n, int64(len(data))):]
	}
	if !end {
		return
	}
	s.reply.ended = true
	if len(s.open) > 0 && s.open[0].refused != nil { // its body is still to come
		s.open[0].closes = true
		s.settle(out)
	}
	s.leave(out)
}

// leave ends the session if a refusal is owed that can have no place any more, for the device
// has closed without a response to what was asked before.
func (s *session) leave(out *sdk.Steps) {
	if s.reply.ended && slices.ContainsFunc(s.open, func(x exchange) bool { return x.refused != nil }) {
		s.end("the device closed before it had answered", out)
	}
}

// response takes a response's head, and its body if its length is known.
func (s *session) response(data []byte, out *sdk.Steps) int64 {
	switch {
	case len(s.open) == 0 || s.open[0].refused != nil:
		s.end("the device answers what it was not asked", out)
		return 0
	case s.parting:
		s.end("bytes behind a response that closes the connection", out)
		return 0
	}
	x := &s.open[0]
	if x.wrong != nil {
		return 0 // it is about to be refused
	}
	n, wrong := 0, replyMalformed
	if data[0] == 'H' {
		n, wrong = s.reply.scan.find(data, &replyLimits, isStatusLine, s.set.bareLF)
	}
	if wrong == nil && n == 0 {
		return 0
	}
	var h replyHead
	if wrong == nil {
		s.reply.scan = scan{}
		h, wrong = readReply(string(data[:n]))
	} else {
		wrong = replyMalformed
	}
	if wrong == nil {
		wrong = h.suits(x, len(s.open) == 1)
	}
	if wrong != nil {
		x.wrong = wrong
		out.Abort(x.op, wrong.reason)
		s.phase, s.reply.phase = dead, between
		return 0
	}
	length := int64(n)
	switch {
	case h.status == 101 || x.connect && h.status/100 == 2:
		s.phase, s.reply.phase = tunnel, toEnd
		out.Span(x.op, sdk.Unlimited)
		s.forget()
		return 0
	case h.status < 200:
		x.released = x.released || h.status == 100
		out.Span(x.op, length)
		return length
	}
	if s.phase == asked && s.op == x.op {
		s.phase = between
	}
	s.parting = h.closes
	s.starved = s.phase == inBody && s.op == x.op && x.expects && !x.released
	s.reply.op = x.op
	switch {
	case x.head || h.status == 204 || h.status == 304 || h.hasLength && h.length == 0:
		out.Span(x.op, length)
		s.answered(out)
	case h.chunked || h.hasLength && s.starved:
		s.reply.phase = inBody
		s.reply.body = body{chunked: h.chunked, trailers: s.set.trailers, limit: sdk.Unlimited, left: h.length}
		out.Span(x.op, length)
	case h.hasLength:
		length += h.length
		out.Span(x.op, length)
		s.answered(out)
	default:
		s.parting = true
		s.reply.phase = toEnd
		out.Span(x.op, sdk.Unlimited)
		s.forget()
		s.settle(out)
		return 0
	}
	return length
}

// download follows a chunked body, or one behind which the session ends.
func (s *session) download(data []byte, out *sdk.Steps) int64 {
	n, done, wrong := s.reply.body.take(data, !s.starved)
	out.Span(s.reply.op, n)
	switch {
	case wrong != nil:
		s.end("response: "+wrong.reason, out)
		return 0
	case done:
		s.reply.phase = between
		s.answered(out)
	}
	return n
}

// answered ends the oldest exchange.
func (s *session) answered(out *sdk.Steps) {
	s.forget()
	if s.starved {
		s.end("the device answered without the body it was to be asked for", out)
		return
	}
	s.settle(out)
}

// replyHead is a response's head.
type replyHead struct {
	status             int
	minor              byte
	length             int64
	hasLength, chunked bool
	closes, keeps      bool
	upgrade            string
}

func isStatusLine(line []byte) bool {
	return len(line) >= len("HTTP/1.x 200") && string(line[:len("HTTP/1.")]) == "HTTP/1." && (line[7] == '0' || line[7] == '1') && line[8] == ' '
}

// readReply reads a complete head.
func readReply(head string) (h replyHead, wrong *fault) {
	line, rest := nextLine(head)
	h.minor = line[7] - '0'
	code, reason, spaced := strings.Cut(line[9:], " ")
	status, ok := number(code)
	if h.status = int(status); !ok || len(code) != 3 || h.status < 100 || h.status > 599 || spaced && !isText(reason) {
		return h, replyMalformed
	}
	for {
		if line, rest = nextLine(rest); line == "" {
			break
		}
		name, value, wrong := splitField(line)
		if wrong != nil {
			return h, replyMalformed
		}
		if !h.field(name, value) {
			return h, replyAmbiguous
		}
	}
	if h.chunked && (h.hasLength || h.minor == 0) {
		return h, replyAmbiguous
	}
	if (h.status < 200 || h.status == 204) && (h.chunked || h.length > 0) {
		return h, replyAmbiguous
	}
	h.closes = h.closes || h.minor == 0 && !h.keeps
	return h, nil
}

func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// field reads one field, and reports whether it leaves no doubt where the response ends.
func (h *replyHead) field(name, value string) (ok bool) {
	var lower [maxKnown]byte
	switch string(fieldName(name, &lower)) {
	case "content-length":
		if h.hasLength {
			return false
		}
		h.hasLength = true
		h.length, ok = number(value)
		return ok
	case "transfer-encoding":
		if h.chunked || !strings.EqualFold(value, "chunked") {
			return false
		}
		h.chunked = true
	case "connection":
		eachItem(value, func(item string) bool {
			h.closes = h.closes || sameName(item, "close")
			h.keeps = h.keeps || sameName(item, "keep-alive")
			return true
		})
	case "upgrade":
		h.upgrade = strings.ToLower(value)
	}
	return true
}

// suits reports whether the response can be one to x, which is alone if nothing was asked
// behind it.
func (h *replyHead) suits(x *exchange, alone bool) *fault {
	switch {
	case h.status == 101 && (!alone || !slices.Contains(x.upgrade, h.upgrade)):
		return replySwitches
	case x.connect && h.status/100 == 2 && !alone:
		return replySwitches
	}
	return nil
}
