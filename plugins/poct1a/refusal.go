package poct1a

import (
	"slices"
	"strconv"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// fault is why a message is malformed. Reasons name no content.
type fault struct{ reason string }

var (
	noControlID      = &fault{"no control id that could be acknowledged"}
	fieldTwice       = &fault{"field that decides stands there twice"}
	misplacedField   = &fault{"field outside of its object"}
	contentInField   = &fault{"field with content besides its value"}
	foreignName      = &fault{"name that begins like one that is read, or differs in case alone"}
	hiddenValue      = &fault{"value behind an attribute that ends like its own"}
	messageInside    = &fault{"message inside a message"}
	foreignObject    = &fault{"object of another message"}
	writtenOtherwise = &fault{"value with line ends or numbered characters"}
	longValue        = &fault{"value longer than 200 bytes"}
	manyValues       = &fault{"more values than can be decided on"}
	otherType        = &fault{"message type that is not the document's"}
	badAck           = &fault{"acknowledgement without a code or what it answers"}
	answersNothing   = &fault{"acknowledgement of nothing"}
	notGreeted       = &fault{"message before HEL.R01 was accepted"}
	secondAnalyser   = &fault{"HEL.R01 of the other side"}
	wrongParty       = &fault{"message that only the other side sends"}
	tornList         = &fault{"end of a list of which a part is not acknowledged"}
	refusedQuirk     = &fault{"deviation this service does not tolerate"}
)

// Refuse implements sdk.Inspector.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	d, to := &s.sides[op.Direction()], &s.sides[op.Direction().Opposite()]
	i := slices.IndexFunc(d.open, func(x exchange) bool { return x.op == op })
	if i < 0 {
		s.end("refusal of a message that is acknowledged, or long past", out)
		return
	}
	x := d.open[i]
	d.open = slices.Delete(d.open, i, i+1)
	if s.dead && to.waits {
		s.end("a message was refused that cannot be followed by another", out)
		return
	}
	x.why = why
	s.owed = append(s.owed, x)
	s.settle(out)
}

// settle gives the refusals whose place this is. As messages are held whole, what is covered
// ends between two; but its frame may lack its last byte.
func (s *session) settle(out *sdk.Steps) {
	for i := 0; i < len(s.owed); {
		x := s.owed[i]
		from, to := &s.sides[x.op.Direction()], &s.sides[x.op.Direction().Opposite()]
		if to.waits && !to.ended {
			i++
			continue
		}
		s.owed = slices.Delete(s.owed, i, i+1)
		from.refusals++
		last := x.last || x.why.Cause == policy.CauseDoubt || from.refusals >= s.set.maxRefusals
		out.Refusal(x.op, x.answer(last))
		if last {
			s.end("a message was refused that cannot be followed by another", out)
			return
		}
	}
}

// Control ids of what the plugin says begin here, to be none that the other side has used.
const (
	ackIDs = 900_000_000
	endIDs = 950_000_000
)

// answer writes ACK.R01 with the code AE and, if it is the last word, END.R01. It is ASCII,
// in which all encodings agree, in the frame the asker uses.
//
// The plugin has no clock: HDR.creation_dttm, which the standard requires, is the time at
// which the asker wrote its message. Without one there is none.
func (x *exchange) answer(last bool) []byte {
	var b []byte
	number := int(x.op.Number() % 10_000_000)
	if x.id != "" {
		b = x.open(b, ackRoot, ackIDs+number)
		b = append(b, "<ACK>"...)
		b = appendField(b, "ACK.type_cd", "AE")
		b = appendField(b, "ACK.ack_control_id", x.id)
		note := "Refused " + x.why.Code + ": " + x.why.Reason
		b = appendField(b, "ACK.note_txt", note[:min(len(note), maxNote)])
		b = append(b, "</ACK>"...)
		b = x.close(b, ackRoot)
	}
	if last {
		b = x.open(b, endRoot, endIDs+number)
		b = append(b, "<TRM>"...)
		b = appendField(b, "TRM.reason_cd", "ABN")
		b = append(b, "</TRM>"...)
		b = x.close(b, endRoot)
	}
	return b
}

const maxNote = 160 // bytes of a note, before it is escaped

func (x *exchange) open(b []byte, root string, id int) []byte {
	if x.stx {
		b = append(b, stx)
	}
	b = append(append(append(b, '<'), root...), "><HDR>"...)
	b = appendField(b, "HDR.message_type", root)
	b = appendField(b, "HDR.control_id", strconv.Itoa(id))
	version := "POCT1"
	if v := x.version; len(v) > 0 && len(v) <= maxVersion && isPrintable(v) {
		version = v
	}
	b = appendField(b, "HDR.version_id", version)
	if isTime(x.created) {
		b = appendField(b, "HDR.creation_dttm", x.created)
	}
	return append(b, "</HDR>"...)
}

const maxVersion = 20

func (x *exchange) close(b []byte, root string) []byte {
	b = append(append(append(b, "</"...), root...), '>')
	if x.stx {
		b = append(b, etx)
	}
	if x.nul {
		b = append(b, nul)
	}
	return b
}

// isTime reports whether v looks like 2026-11-22T09:00:00+01:00.
func isTime(v string) bool {
	return len(v) >= 4 && len(v) <= 35 && strings.Trim(v, "0123456789-+:.TZ") == ""
}

// appendField writes a field, its value in printable ASCII.
func appendField(b []byte, name, value string) []byte {
	b = append(append(append(b, '<'), name...), ` V="`...)
	for _, c := range []byte(value) {
		switch {
		case c == '<':
			b = append(b, "&lt;"...)
		case c == '>':
			b = append(b, "&gt;"...)
		case c == '&':
			b = append(b, "&amp;"...)
		case c == '"':
			b = append(b, "&quot;"...)
		case c < ' ' || c > '~':
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, `"/>`...)
}
