package command

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// session inspects one session.
type session struct {
	set    *settings
	opened bool
	unasks sdk.OpID   // command:session, if there is one
	muted  bool       // it is refused
	open   []exchange // commands that may still be answered or refused, oldest first
	latest sdk.OpID   // announced
	seen   [2]int     // bytes of an unfinished frame that were looked at
	dead   bool       // nothing more is understood
}

// Inspect implements sdk.Inspector.
func (s *session) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if !s.opened {
		s.begin(out)
	}
	for !s.dead && !out.Full() {
		n, wrong := s.set.framing(dir).cut(data, s.seen[dir], s.set.maxFrame)
		if n == 0 && wrong == "" && end && len(data) > 0 {
			wrong = "the " + dir.String() + " direction ends inside a frame"
		}
		switch {
		case wrong != "" && dir == sdk.Forward:
			s.malformed(wrong, out)
			return
		case wrong != "":
			s.end(wrong, out)
			return
		case n == 0:
			s.seen[dir] = len(data)
			if end && dir == sdk.Reverse && slices.ContainsFunc(s.open, func(x exchange) bool { return x.pends() }) {
				s.end("there will be no more replies", out)
			}
			return
		case dir == sdk.Forward:
			s.command(data[:n], out)
		default:
			s.reply(data[:n], out)
		}
		data, s.seen[dir] = data[n:], 0
	}
}

// begin announces what a device's own words belong to.
func (s *session) begin(out *sdk.Steps) {
	s.opened = true
	if len(s.set.unsolicited) > 0 {
		s.unasks = out.Operation(policy.Operation{Name: prefix + "session", Class: policy.ClassSession})
		s.latest = s.unasks
		out.Keep(s.unasks)
	}
}

// command announces a frame of the client and covers it.
func (s *session) command(frame []byte, out *sdk.Steps) {
	if s.crowded() {
		s.end("256 commands behind one that is not answered", out)
		return
	}
	r := s.set.read(frame)
	tooMany := r.wrong == "" && r.command.replies != noReply && s.waiting() >= s.set.outstanding
	if tooMany {
		r.wrong = "more commands without a reply than the setting outstanding allows"
	}
	s.announce(&r, int64(len(frame)), out)
	if tooMany {
		s.end(r.wrong, out)
	}
}

// malformed announces what is no frame. Where the next one begins is not known.
func (s *session) malformed(wrong string, out *sdk.Steps) {
	if s.crowded() {
		s.end(wrong, out)
		return
	}
	r := reading{&s.set.malformed, policy.Operation{Name: s.set.malformed.name, Class: s.set.malformed.class}, wrong}
	s.announce(&r, sdk.Unlimited, out)
	s.open[len(s.open)-1].closes = true
	if s.waiting() > 0 { // for a reply that may never come
		s.end(wrong, out)
	}
}

func (s *session) announce(r *reading, size int64, out *sdk.Steps) {
	if r.wrong != "" {
		s.latest = out.Invalid(r.op, r.wrong)
	} else {
		s.latest = out.Operation(r.op)
	}
	out.Span(s.latest, size)
	s.open = append(s.open, exchange{op: s.latest, command: r.command, wrong: r.wrong != ""})
}

// reply covers a frame of the device with what it belongs to.
func (s *session) reply(frame []byte, out *sdk.Steps) {
	content, wrong := s.set.reply.content(frame)
	op := s.unasks
	switch {
	case wrong != "":
	case !s.unasked(content):
		op, wrong = s.answered(content)
	case s.muted:
		wrong = "the device speaks unasked, which is refused"
	}
	if wrong != "" {
		s.end(wrong, out)
		return
	}
	out.Span(op, int64(len(frame)))
	s.give(out)
}

// end ends the session.
func (s *session) end(reason string, out *sdk.Steps) {
	out.End(reason)
	s.dead = true
}
