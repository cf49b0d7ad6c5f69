package dicom

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

const (
	maxRoom  = sdk.MaxFacts * 3 / 4 // bytes of an operation's facts
	maxValue = 256                  // bytes of a text value

	refusedQuirk = "deviation this service does not tolerate"
)

// facts are what policy is told about an operation, as they are found.
type facts struct {
	list   policy.Attributes
	quirks anomaly
	room   int // bytes left
}

// set adds a fact. An empty text is none.
func (f *facts) set(name string, value any) {
	size := len(name) + 12
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
		size += len(v)
	case []string:
		for _, s := range v {
			size += len(s) + 3
		}
	}
	if f.room -= size; f.room < 0 {
		return
	}
	f.list = append(f.list, policy.Attribute{Name: name, Value: value})
}

// strings adds a list, if there is anything in it.
func (f *facts) strings(name string, list []string) {
	if len(list) > 0 {
		f.set(name, list)
	}
}

// text adds a text value, and reports whether it is short enough to be told.
func (f *facts) text(name string, b []byte, set encoding) bool {
	b = tail(b)
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) > maxValue {
		return false
	}
	text, odd := escape(b, set)
	if odd {
		f.quirks |= charset
	}
	f.set(name, text)
	return true
}

// attributes returns the facts, and whether they are all there.
func (f *facts) attributes() (list policy.Attributes, fit bool) {
	f.strings("anomalies", f.quirks.names())
	slices.SortFunc(f.list, func(a, b policy.Attribute) int { return strings.Compare(a.Name, b.Name) })
	return f.list, f.room >= 0
}

// describe makes an operation of a request and the head of its data set, if it has one.
func (s *session) describe(d *side, m *message) (op policy.Operation, wrong *fault) {
	c := &m.command
	f := &facts{room: maxRoom, quirks: c.quirks | s.quirks}
	s.quirks = 0
	op = policy.Operation{Name: c.name(), Class: c.class()}
	wrong = c.wrong

	f.who(&s.association)
	f.set("abstract_syntax", m.context.abstract)
	f.set("transfer_syntax", m.context.transfer)
	f.set("command", int64(c.field))
	f.set("sop_class_uid", c.sopClass)
	switch {
	case c.field == cCancel:
		f.set("message_id_responded_to", int64(c.respondedTo))
	default:
		f.set("message_id", int64(c.messageID))
	}
	if c.prioritized {
		f.set("priority", priorityName(c.priority))
	}
	f.set("move_destination", c.destination)
	f.set("move_originator_ae", c.originator)
	if c.originated {
		f.set("move_originator_message_id", int64(c.originatorID))
	}
	f.set(policy.Expects, s.association.expects(d.dir, c))
	f.set(policy.Because, s.association.because(d.dir, c))
	if c.field == nEventReport {
		f.set("event_type", int64(c.eventType))
	}
	if c.field == nAction {
		f.set("action_type", int64(c.actionType))
	}
	f.strings("attribute_tags", c.tags)
	if c.field == cStore && s.within(d) {
		f.set("within", commandNames[cGet])
	}
	switch {
	case m.context.transfer == "":
		f.quirks |= contextUnknown
	case c.sopClass != "" && c.sopClass != m.context.abstract:
		f.quirks |= classMismatch
	}
	if c.field != cCancel && (d.dir == sdk.Forward) == (c.field == nEventReport) && m.context.transfer != "" && !s.association.provides(m.context.abstract) {
		f.quirks |= roleMissing
	}

	instance := c.sopInstance
	if h := m.head; h != nil {
		wrong = first(wrong, h.describe(c, f, &instance))
		s.association.commitment(d.dir, c, h, f)
	}
	f.set("sop_instance_uid", instance)
	if f.quirks&s.set.refuse != 0 {
		wrong = first(wrong, c.cannot(refusedQuirk))
	}
	var fit bool
	if op.Attributes, fit = f.attributes(); !fit {
		wrong = first(wrong, c.cannot("more than can be told for a decision"))
	}
	return op, wrong
}

// expects is what the stores will say that a C-MOVE, asked in a direction, leads to (PS3.4 C.4.2):
// the title they are sent to, that of who asked, and the C-MOVE's message ID.
func (a *association) expects(dir sdk.Direction, c *command) string {
	if c.field != cMove || c.destination == "" {
		return ""
	}
	asker, _ := a.titles(dir)
	return movement(c.destination, asker, c.messageID)
}

// because is what a C-STORE says of itself (PS3.7 9.3.1.1). Its two elements are optional, but go
// together; with one of them nobody knows what it belongs to.
func (a *association) because(dir sdk.Direction, c *command) string {
	if c.field != cStore || c.originator == "" && !c.originated {
		return ""
	}
	_, to := a.titles(dir)
	return movement(to, c.originator, c.originatorID)
}

// commitment tells what a report on a storage commitment says of itself, and of the request that
// leads to it (PS3.4 J.3): the transaction's UID, and the title of who asked. The report may come
// in the same association or in one that the archive opens.
func (a *association) commitment(dir sdk.Direction, c *command, h *head, f *facts) {
	if c.sopClass != storageCommitment || h.state == unreadable || len(h.commitment) != 1 {
		return
	}
	transaction := h.commitment[0]
	f.set("transaction_uid", transaction)
	asker, asked := a.titles(dir)
	switch c.field {
	case nAction:
		f.set(policy.Expects, transaction+`\`+asker)
	case nEventReport:
		f.set(policy.Because, transaction+`\`+asked)
	}
}

// titles are those of who asks in a direction, and of whom.
func (a *association) titles(dir sdk.Direction) (asker, asked string) {
	if dir == sdk.Forward {
		return a.calling, a.called
	}
	return a.called, a.calling
}

// movement joins what no AE title contains a backslash of (PS3.5 6.2).
func movement(to, asker string, id uint16) string { return to + `\` + asker + `\` + fmt.Sprint(id) }

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// tail cuts NULs and spaces off the end.
func tail(b []byte) []byte { return bytes.TrimRight(b, "\x00 ") }

// first returns the fault found first.
func first(a, b *fault) *fault {
	if a != nil {
		return a
	}
	return b
}

func priorityName(n uint16) string {
	switch n {
	case 0:
		return "medium"
	case 1:
		return "high"
	case 2:
		return "low"
	}
	return fmt.Sprint(n)
}

// tagName writes a tag as "gggg,eeee".
func tagName(tag uint32) string { return fmt.Sprintf("%04X,%04X", tag>>16, tag&0xffff) }
