package hl7

import (
	"bytes"
	"strings"

	"cordon/policy"
)

// message is what is known of one frame when its operation is announced.
type message struct {
	header
	more  []string // headers of a batch's further messages
	op    policy.Operation
	wrong *fault
	whole bool // its end has been seen
	size  int  // bytes seen

	text  text  // goes on through the body
	shift shift // likewise, if escapes occur
}

// read reads a message: the whole content of a frame, or its head. quirks were seen before
// it. ok is false if it has no header that could be answered.
func (set *settings) read(content []byte, whole bool, quirks anomaly) (m message, ok bool) {
	f := facts{anomalies: quirks, room: maxRoom}
	if len(content) > 3 && isBatch(content[:3]) {
		m, ok = set.readBatch(content, whole, &f)
	} else {
		m, ok = set.readMessage(content, whole, &f)
	}
	if !ok {
		return m, false
	}
	if m.wrong == nil {
		m.wrong = f.wrong
	}
	m.whole, m.size = whole, len(content)
	m.op = f.operation(&m)
	if m.wrong == nil && f.anomalies&set.refuse != 0 {
		m.wrong = refusedQuirk
	}
	return m, true
}

func (set *settings) readMessage(content []byte, whole bool, f *facts) (m message, ok bool) {
	first, ended := firstLine(content)
	m.header, ok = parseHeader(string(first[:min(len(first), maxHeader)]))
	if !ok {
		return m, false
	}
	f.delimiters = m.delimiters
	declared := charsetOf(m.fields[18], m.repetition)
	if declared.text == undeclared {
		declared.escapes = declared.escapes || set.assumed == iso2022
	}
	m.text = text{set: set, field: m.field, escapes: declared.escapes}
	_, wrong := m.text.check(content)
	switch {
	case !ended && !whole, len(first) > maxHeader:
		m.wrong = longField
	default:
		m.wrong = m.header.check()
	}
	if m.wrong == nil {
		m.wrong = wrong
	}
	if m.wrong != nil {
		return m, true
	}
	if declared.text == wideSet {
		m.wrong = wideText
		return m, true
	}
	f.anomalies |= m.anomalies()
	plain, undecided, wrong := set.plain(&m, declared, content, whole, f)
	if m.wrong = wrong; wrong != nil {
		return m, true
	}
	if f.anomalies |= undecided; undecided != 0 {
		return m, true
	}
	for ended := true; ended; {
		var line []byte
		line, plain, ended = m.text.ends.line(plain)
		f.segment(line, !ended && !whole)
	}
	return m, true
}

// plain returns content with all that is not a delimiter hidden where it could be taken for
// one, and how the rest is text.
func (set *settings) plain(m *message, declared charset, content []byte, whole bool, f *facts) ([]byte, anomaly, *fault) {
	f.text = declared.text
	if declared.text == undeclared {
		f.text = set.assumed
	}
	high := hasHigh(content)
	if !high && !m.text.escaped {
		return content, 0, nil
	}
	switch {
	case f.text == unknownSet:
		return nil, unknownCharset, nil
	case f.text == undeclared && high:
		f.anomalies |= undeclaredCharset
	}
	masked, ok := f.text.mask(content, whole)
	if !ok {
		return nil, undecidableCharset, nil
	}
	if f.text != set.assumed && set.assumed.hides() {
		// A device of a set whose characters hide delimiters may not look at MSH-18.
		other, ok := set.assumed.mask(content, whole)
		if !ok || !m.sameDelimiters(masked, other) {
			return nil, undecidableCharset, nil
		}
	}
	if m.text.escaped {
		masked = bytes.Clone(masked)
		f.text = highSet // hidden bytes are no text
		if m.shift.follow(masked, content) < len(content) || whole && m.shift.open() {
			return nil, 0, openEscape
		}
	}
	return masked, 0, nil
}

// sameDelimiters reports whether a and b, two readings of the same bytes, have the same
// delimiters.
func (d delimiters) sameDelimiters(a, b []byte) bool {
	if &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if a[i] != b[i] && (d.is(a[i]) || d.is(b[i])) {
			return false
		}
	}
	return true
}

func (d delimiters) is(c byte) bool {
	return c == d.field || c == d.component || c == d.repetition || c == d.escape || c == d.sub
}

// check finds what is wrong with a header.
func (h *header) check() *fault {
	if h.odd {
		return badDelimiters
	}
	for n := 3; n <= 18; n++ {
		for i := range len(h.fields[n]) {
			if c := h.fields[n][i]; c < ' ' || c > '~' {
				return notASCII
			}
		}
	}
	for _, n := range [...]int{3, 4, 5, 6, 9, 10, 11, 12, 15, 16, 18, 21} {
		if len(h.fields[n]) > maxValue {
			return longField
		}
	}
	kind, rest, _ := strings.Cut(h.fields[9], string(rune(h.component)))
	trigger, structure, _ := strings.Cut(rest, string(rune(h.component)))
	if len(trim(kind)) == 0 {
		return noType
	}
	for _, part := range [...]string{kind, trigger, structure} {
		if part = trim(part); part != "" && !isCode(part) {
			return badType
		}
	}
	return nil
}

// anomalies of the header and of the line ends.
func (m *message) anomalies() anomaly {
	var a anomaly
	switch m.text.ends {
	case endLF:
		a |= lfEnds
	case endCRLF:
		a |= crlfEnds
	}
	if m.text.blank {
		a |= emptySegment
	}
	if m.text.odd {
		a |= oddSegment
	}
	if !m.plain() {
		a |= oddDelimiters
	}
	if len(trim(m.fields[10])) == 0 {
		a |= emptyControlID
	}
	return a
}

// maxBatch bounds the messages of a batch: a refusal answers each.
const maxBatch = 32

// readBatch reads FHS and BHS batches. A batch is one operation: nothing of its first
// message may move before its last one is decided. So all its messages must be of one
// kind, from and to the same applications, and their facts are put together.
func (set *settings) readBatch(content []byte, whole bool, f *facts) (first message, ok bool) {
	var wrong *fault
	if !whole {
		wrong = batchLarge
	}
	for len(content) > 0 {
		line := content
		if i := indexControl(content); i >= 0 {
			line = content[:i]
			if content[i] != cr && content[i] != lf {
				wrong = controlInside
			}
		}
		if len(line) < 3 || string(line[:3]) != "MSH" {
			if len(line) > 0 && (len(line) < 4 || !isBatch(line[:3])) {
				wrong = batchInside
			}
			content = content[min(len(line)+1, len(content)):]
			continue
		}
		one := content[:batchMessage(content)]
		content = content[len(one):]
		m, readable := set.readMessage(one, true, f)
		switch {
		case !readable:
			wrong = batchInside
			continue
		case !ok:
			first, ok = m, true
		case !alike(&first.header, &m.header):
			wrong = batchMixed
		case len(first.more) == maxBatch-1:
			wrong = batchLarge
		default:
			first.more = append(first.more, m.raw)
		}
		if m.wrong != nil {
			wrong = m.wrong
		}
	}
	if ok && !set.batch {
		wrong = noBatch
	}
	first.wrong = wrong
	return first, ok
}

// batchMessage returns the length of the message b begins with: up to the next header or
// batch segment.
func batchMessage(b []byte) int {
	for i := 0; ; {
		j := indexControl(b[i:])
		if j < 0 || i+j+1 >= len(b) {
			return len(b)
		}
		i += j + 1
		if next := b[i:]; len(next) >= 3 && (string(next[:3]) == "MSH" || isBatch(next[:3])) {
			return i
		}
	}
}

func alike(a, b *header) bool {
	for _, n := range [...]int{1, 2, 3, 4, 5, 6, 9, 11, 12, 15, 16, 18, 21} {
		if a.fields[n] != b.fields[n] {
			return false
		}
	}
	return true
}
