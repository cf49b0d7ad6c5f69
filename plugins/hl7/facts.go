package hl7

import (
	"bytes"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Bounds of an operation's facts. Together they stay well below sdk.MaxFacts.
const (
	maxHeader = 4 << 10 // bytes of an MSH segment
	maxValue  = 200     // bytes of a value; MSH-10 may have 199 from version 2.7 on
	maxList   = 64      // values of a list
	maxRoom   = sdk.MaxFacts * 2 / 3
)

// facts are what policy is told about a message, as they are found.
type facts struct {
	delimiters
	text encoding

	patients, orderControl, orderIDs, tests, observations, drugs, rates, segments []string

	location, visit, ackCode string
	patientSegments          int
	anomalies                anomaly
	room                     int // bytes left
	wrong                    *fault
}

// segment takes the facts of one segment. Of a cut one, only whole fields are read.
func (f *facts) segment(line []byte, cut bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != f.field {
		return
	}
	name := line[:3]
	f.segments = f.code(f.segments, name)
	if cut {
		if decisive(name) || string(name) == "MSH" {
			f.wrong = headLong
			return
		}
		line = line[:bytes.LastIndexByte(line, f.field)+1]
	}
	if len(line) < 5 {
		return
	}
	line = line[4:]
	var p [24][]byte // p[n-1] is field n
	switch string(name) {
	case "PID":
		split(line, f.field, p[:5])
		if f.patientSegments++; f.patientSegments > 1 {
			f.anomalies |= severalPatients
		}
		for _, ids := range p[1:4] { // PID-2 and PID-4 up to version 2.4
			f.patient(ids)
		}
	case "MRG":
		split(line, f.field, p[:5])
		f.patient(p[0])
		f.patient(p[3])
	case "PV1":
		split(line, f.field, p[:20])
		if f.location == "" {
			f.location = f.place(p[2])
		}
		if f.visit == "" {
			f.visit = f.value(component(p[18], f.component, 1))
		}
	case "ORC":
		split(line, f.field, p[:4])
		f.orderControl = f.identifier(f.orderControl, p[0])
		f.orderIDs = f.identifier(f.orderIDs, component(p[1], f.component, 1))
		f.orderIDs = f.identifier(f.orderIDs, component(p[2], f.component, 1))
	case "OBR":
		split(line, f.field, p[:5])
		f.orderIDs = f.code(f.orderIDs, component(p[1], f.component, 1))
		f.orderIDs = f.code(f.orderIDs, component(p[2], f.component, 1))
		f.tests = f.code(f.tests, component(p[3], f.component, 1))
	case "OBX":
		split(line, f.field, p[:4])
		f.observations = f.code(f.observations, component(p[2], f.component, 1))
	case "RXO":
		split(line, f.field, p[:2])
		f.drugs = f.identifier(f.drugs, component(p[0], f.component, 1))
	case "RXE":
		split(line, f.field, p[:])
		f.drugs = f.identifier(f.drugs, component(p[1], f.component, 1))
		f.rate(p[22], p[23])
	case "RXG":
		split(line, f.field, p[:17])
		f.drugs = f.identifier(f.drugs, component(p[3], f.component, 1))
		f.rate(p[14], p[15])
	case "MSA":
		split(line, f.field, p[:2])
		f.ackCode = f.value(p[0])
	}
}

// patient adds the identifiers of a CX field as "id^authority^type".
func (f *facts) patient(field []byte) {
	for more := len(field) > 0; more; {
		var one []byte
		one, field, more = cutByte(field, f.repetition)
		id := trim(component(one, f.component, 1))
		if len(id) == 0 || string(id) == `""` {
			continue
		}
		authority := component(component(one, f.component, 4), f.sub, 1)
		f.patients = f.identifier(f.patients, f.join(id, authority, component(one, f.component, 5)))
	}
}

// place returns the first components of a PL field: "point of care^room^bed^facility".
func (f *facts) place(field []byte) string {
	return f.value(f.join(component(field, f.component, 1), component(field, f.component, 2),
		component(field, f.component, 3), component(component(field, f.component, 4), f.sub, 1)))
}

// join puts parts together with the standard's component separator, whatever the message's
// own. It leaves the escape sequence of a separator inside a part alone.
func (f *facts) join(parts ...[]byte) []byte {
	last := 0
	for i, p := range parts {
		if len(trim(p)) > 0 {
			last = i
		}
	}
	if last == 0 && bytes.IndexByte(parts[0], '^') < 0 {
		return trim(parts[0])
	}
	out := make([]byte, 0, 64)
	for i, p := range parts[:last+1] {
		if i > 0 {
			out = append(out, '^')
		}
		p = trim(p)
		if bytes.IndexByte(p, '^') >= 0 {
			p = bytes.ReplaceAll(p, []byte("^"), []byte(`\S\`))
		}
		out = append(out, p...)
	}
	return out
}

func (f *facts) rate(amount, unit []byte) {
	amount, unit = trim(amount), trim(component(unit, f.component, 1))
	if len(amount) == 0 {
		return
	}
	f.rates = f.identifier(f.rates, append(append(append([]byte(nil), amount...), ' '), unit...))
}

// identifier adds a value that decisions rest on: if it cannot be told whole, the message
// is wrong.
func (f *facts) identifier(list []string, b []byte) []string {
	before := f.anomalies
	list = f.code(list, b)
	if f.anomalies&^before&(longValue|valuesCut) != 0 || before&valuesCut != 0 && f.room <= 0 {
		f.wrong = longIDs
	}
	return list
}

// code adds a value to a list, once.
func (f *facts) code(list []string, b []byte) []string {
	b = trim(b)
	if len(b) == 0 {
		return list
	}
	for i := len(list) - 1; i >= 0; i-- { // the latest is the likeliest to come again
		if list[i] == string(b) {
			return list
		}
	}
	if len(list) == maxList {
		f.anomalies |= valuesCut
		return list
	}
	if v := f.value(b); v != "" {
		if list == nil {
			list = make([]string, 0, 8)
		}
		return append(list, v)
	}
	return list
}

// value returns the text of a value, or "" if it cannot be given.
func (f *facts) value(b []byte) string {
	b = trim(b)
	if len(b) > maxValue {
		f.anomalies |= longValue
		return ""
	}
	v, ok := f.text.toUTF8(f.unescape(b))
	if !ok {
		f.anomalies |= unconvertedText
		return ""
	}
	if f.room -= len(v) + 8; f.room < 0 {
		f.anomalies |= valuesCut
		return ""
	}
	return v
}

// operation gives the facts their names. Attributes are appended in the order of their
// names.
func (f *facts) operation(m *message) policy.Operation {
	h := &m.header
	kind, trigger, structure := text7(h.componentOf(9, 1)), text7(h.componentOf(9, 2)), text7(h.componentOf(9, 3))
	op := policy.Operation{Name: nameOf(kind, trigger), Class: classOf(kind, trigger, structure)}
	if structure != "" && !sameKind(kind, structure) {
		f.anomalies |= structureMismatch
	}
	a := make(policy.Attributes, 0, 32)
	text := func(name, v string) {
		if v != "" {
			a = append(a, policy.Attribute{Name: name, Value: v})
		}
	}
	list := func(name string, v []string) {
		if len(v) > 0 {
			a = append(a, policy.Attribute{Name: name, Value: v})
		}
	}
	number := func(name string, v int) { a = append(a, policy.Attribute{Name: name, Value: int64(v)}) }

	text("accept_ack", text7(h.fields[15]))
	text("ack_code", f.ackCode)
	list("anomalies", f.anomalies.names())
	text("app_ack", text7(h.fields[16]))
	text("charset", text7(h.fields[18]))
	text("control_id", text7(h.fields[10]))
	list("drug", f.drugs)
	if !m.whole {
		number("inspected", m.size)
	}
	text("location", f.location)
	if m.more != nil {
		number("messages", 1+len(m.more))
	}
	text("msg_type", kind)
	list("obs_codes", f.observations)
	list("order_control", f.orderControl)
	list("order_ids", f.orderIDs)
	list("patient_ids", f.patients)
	text("processing_id", text7(h.componentOf(11, 1)))
	text("profile", text7(h.componentOf(21, 1)))
	list("rate", f.rates)
	text("receiving_app", f.headerText(h.componentOf(5, 1)))
	text("receiving_facility", f.headerText(h.componentOf(6, 1)))
	list("segments", f.segments)
	text("sending_app", f.headerText(h.componentOf(3, 1)))
	text("sending_facility", f.headerText(h.componentOf(4, 1)))
	if m.whole {
		number("size", m.size)
	}
	text("structure", structure)
	list("test_code", f.tests)
	text("trigger", trigger)
	text("version", text7(h.componentOf(12, 1)))
	text("visit", f.visit)
	op.Attributes = a
	return op
}

func (f *facts) headerText(v string) string {
	if f.escape != 0 && strings.IndexByte(v, f.escape) >= 0 {
		v = string(f.unescape([]byte(v)))
	}
	return text7(v)
}

// text7 returns a header value, which is ASCII and not long unless the message is wrong.
func text7(v string) string {
	v = trim(v)
	return strings.ToValidUTF8(v[:min(len(v), maxValue)], "?")
}

const unknownName = "hl7:unknown"

// nameOf returns the operation's name: "hl7:ORU^R01".
func nameOf(kind, trigger string) string {
	switch {
	case !isCode(kind), trigger != "" && !isCode(trigger):
		return unknownName
	case trigger == "":
		return "hl7:" + kind
	}
	return "hl7:" + kind + "^" + trigger
}

// isCode reports whether s can be a message type or a trigger event.
func isCode(s string) bool {
	if s == "" || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
