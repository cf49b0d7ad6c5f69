package command

import (
	"slices"

	"cordon/plugins/sdk"
)

// exchange is a command that may still be answered or refused.
type exchange struct {
	op      sdk.OpID
	command *command
	wrong   bool // it is malformed: the device never sees it
	closes  bool // the session ends with its refusal
	refused bool
	answer  []byte // what is owed to the client of a refused command
}

// waits reports whether the device owes a reply, as far as is known.
func (x *exchange) waits() bool { return !x.wrong && !x.refused && x.command.replies != noReply }

// pends reports whether a reply or a refusal is still to come.
func (x *exchange) pends() bool { return x.waits() || x.wrong || x.refused }

// waiting counts the commands without a reply.
func (s *session) waiting() (n int) {
	for i := range s.open {
		if s.open[i].waits() {
			n++
		}
	}
	return n
}

// crowded forgets commands without a reply that cannot be named any more once one more has
// been announced, and reports whether there is one that has to be.
func (s *session) crowded() bool {
	for len(s.open) > 0 && s.open[0].op+sdk.MaxOpen <= s.latest+1 {
		if s.open[0].pends() {
			return true
		}
		s.open = s.open[1:]
	}
	return false
}

// unasked reports whether a frame of the device answers nothing and need not.
func (s *session) unasked(content []byte) bool { return hasPrefix(content, s.set.unsolicited) }

// answered takes a reply to the oldest command that waits for one. A command that is sent
// later has been decided by then as well as those before it.
func (s *session) answered(content []byte) (op sdk.OpID, wrong string) {
	i := slices.IndexFunc(s.open, func(x exchange) bool { return x.waits() })
	if i < 0 {
		return 0, "reply to nothing"
	}
	c := s.open[i].command
	if len(c.reply) > 0 && !hasPrefix(content, c.reply) {
		return 0, "reply that does not fit its command"
	}
	op = s.open[i].op
	if c.replies == oneReply || hasPrefix(content, c.last) {
		s.open = slices.Delete(s.open, 0, i+1)
	}
	return op, ""
}

// hasPrefix reports whether b begins with one of list.
func hasPrefix(b []byte, list [][]byte) bool {
	return slices.ContainsFunc(list, func(l []byte) bool { return len(b) >= len(l) && string(b[:len(l)]) == string(l) })
}
