package command

import (
	"slices"

	"cordon/plugins/sdk"
)

// refusalKind is how a client learns that a command is refused.
type refusalKind string

const (
	refusalAnswer refusalKind = "answer" // by a reply
	refusalSilent refusalKind = "silent" // by none
	refusalEnd    refusalKind = "end"    // by the end of the session
)

// refusal is a service's negative answer.
type refusal struct {
	kind          refusalKind
	before, after []byte // the decision code, if coded
	coded         bool
}

// Refuse implements sdk.Inspector. What was announced before the session's end is still
// refused as it is otherwise.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	if op == s.unasks {
		s.muted = true
		out.Refusal(op, nil)
		return
	}
	i := slices.IndexFunc(s.open, func(x exchange) bool { return x.op == op })
	if i < 0 {
		s.end("a refusal came too late to be given", out)
		return
	}
	if x := &s.open[i]; x.command.refused == refusalAnswer {
		x.refused, x.answer = true, s.set.answer(why.Code)
		s.give(out)
		return
	}
	out.Refusal(op, nil)
	ends := s.open[i].closes || s.open[i].command.refused == refusalEnd
	s.open = slices.Delete(s.open, i, i+1)
	if ends {
		s.end("a command is refused, and the protocol has no answer for that", out)
		return
	}
	s.give(out)
}

// give gives the refusals that no reply has to go before.
func (s *session) give(out *sdk.Steps) {
	for i := 0; i < len(s.open); {
		x := s.open[i]
		switch {
		case x.refused:
			out.Refusal(x.op, x.answer)
			s.open = slices.Delete(s.open, i, i+1)
			if x.closes {
				s.end("a malformed command", out)
				return
			}
		case x.pends(): // its reply goes first, or its refusal
			return
		default:
			i++
		}
	}
}

// answer is a refusal as the device would frame it. What is no decision code is left out: it
// must not be able to end the frame.
func (set *settings) answer(code string) []byte {
	r := &set.refusal
	content := slices.Clone(r.before)
	for i := range min(len(code), len(codeBytes)) {
		if c := code[i]; r.coded && slices.Contains([]byte(codeBytes), c) {
			content = append(content, c)
		}
	}
	return set.reply.wrap(append(content, r.after...))
}

// codeBytes are what decision codes are made of.
const codeBytes = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
