package poct1a

import (
	"bytes"
	"slices"

	"cordon/plugins/sdk"
)

// Bounds of what is read from a message.
const (
	maxValue    = 200 // bytes of a value
	maxDistinct = 256 // values of a field
	maxRoom     = sdk.MaxFacts * 2 / 3
)

// message is what is read from a document.
type message struct {
	root    string
	size    int
	single  [fieldCount]string
	found   [fieldCount]bool
	lists   [fieldCount][]string
	objects [len(counted)]int
	system  string // the code system of DTV.command_cd, its SN
	room    int    // bytes of values
	wrong   *fault
	quirks  anomaly
}

// field is one that is read, by its place in fields.
type field int

const (
	ackControlID field = iota
	ackType
	deviceID
	modelID
	serialID
	vendorID
	connectionProfile
	directives
	maxMessageSize
	topics
	condition
	newEvents
	newObservations
	command
	topic
	escDetail
	escControlID
	severity
	controlID
	created
	messageType
	version
	method
	observation
	resultStatus
	operator
	patient
	request
	reason
	role
	testStatus
	setTime
	endReason
	action
	fieldCount
)

// rule is how a field is read.
type rule struct {
	name  string
	fact  string // of the operation's attributes; "" if there is none by that name
	times times
}

// times is how often a field may stand in a message.
type times uint8

const (
	once     times = iota
	distinct       // each value is told once
	every          // each is told
)

// fields are those that are read, sorted by name. Where they stand is not compared with the
// standard's tables, but each has to be in its object, and one that is told as a single
// value has to be there once: parsers that search and parsers that follow a path then find
// the same. Names, passwords and results are not among them.
var fields = [fieldCount]rule{
	ackControlID:      {"ACK.ack_control_id", "", once},
	ackType:           {"ACK.type_cd", "", once},
	deviceID:          {"DEV.device_id", "", once},
	modelID:           {"DEV.model_id", "", once},
	serialID:          {"DEV.serial_id", "", once},
	vendorID:          {"DEV.vendor_id", "", once},
	connectionProfile: {"DSC.connection_profile_cd", "connection_profile", once},
	directives:        {"DSC.directives_supported_cd", "directives", distinct},
	maxMessageSize:    {"DSC.max_message_sz", "max_message_size", once},
	topics:            {"DSC.topics_supported_cd", "topics", distinct},
	condition:         {"DST.condition_cd", "condition", once},
	newEvents:         {"DST.new_events_qty", "new_events", once},
	newObservations:   {"DST.new_observations_qty", "new_observations", once},
	command:           {"DTV.command_cd", "command", once},
	topic:             {"EOT.topic_cd", "topic", once},
	escDetail:         {"ESC.detail_cd", "detail", once},
	escControlID:      {"ESC.esc_control_id", "esc_control_id", once},
	severity:          {"EVS.severity_cd", "severities", distinct},
	controlID:         {"HDR.control_id", "control_id", once},
	created:           {"HDR.creation_dttm", "", once},
	messageType:       {"HDR.message_type", "", once},
	version:           {"HDR.version_id", "version", once},
	method:            {"OBS.method_cd", "methods", distinct},
	observation:       {"OBS.observation_id", "observation_ids", distinct},
	resultStatus:      {"OBS.status_cd", "observation_status", distinct},
	operator:          {"OPR.operator_id", "operator_ids", every},
	patient:           {"PT.patient_id", "patient_ids", every},
	request:           {"REQ.request_cd", "request", once},
	reason:            {"SVC.reason_cd", "reasons", distinct},
	role:              {"SVC.role_cd", "roles", distinct},
	testStatus:        {"SVC.status_cd", "service_status", distinct},
	setTime:           {"TM.dttm", "time", once},
	endReason:         {"TRM.reason_cd", "reason", once},
	action:            {"UPD.action_cd", "actions", distinct},
}

// counted are the objects that are counted.
var counted = [...]struct{ name, fact string }{
	{"EVS", "event_count"}, {"OBS", "observation_count"}, {"OPR", "operator_count"}, {"PT", "patient_count"},
}

// owners are the objects that decide what a message does, with the messages that have them.
var owners = [...]struct{ object, root string }{
	{"ACC", "OPL."}, {"ACK", "ACK."}, {"DTV", "DTV."}, {"REQ", "REQ."}, {"UPD", "OPL.R02"}, {"UPD", "PTL.R02"},
}

// element takes an element at that depth, inside of parent, and returns what may stand in it.
func (m *message) element(depth int, parent []byte, t *tag, c charset) content {
	if depth == 0 {
		m.root = string(t.name)
		return anything
	}
	if m.isMessage(t.name) {
		m.fault(messageInside)
	}
	object, rest, isField := bytes.Cut(t.name, []byte("."))
	if m.root == ackRoot && string(object) != "HDR" && string(object) != "ACK" && string(object) != "NTE" {
		m.fault(foreignObject) // it passes without being decided on
	}
	if !isField || len(rest) == 0 {
		m.object(t.name)
		return anything
	}
	f, found := slices.BinarySearchFunc(fields[:], t.name, func(r rule, name []byte) int { return compare(r.name, name) })
	if found && fields[f].name != string(t.name) || !found && f > 0 && extends(t.name, fields[f-1].name) {
		m.fault(foreignName)
	}
	if !found {
		return anything
	}
	if !bytes.Equal(object, parent) || string(object) == "HDR" && depth != 2 {
		m.fault(misplacedField)
	}
	if raw, ok := t.value("V"); ok {
		m.value(field(f), raw, c)
	}
	if t.hidesValue() {
		m.fault(hiddenValue)
	}
	if field(f) == command {
		system, _ := t.value("SN")
		if len(system) > maxValue {
			m.fault(longValue)
			system = nil
		}
		m.system = c.text(system)
	}
	if fields[f].times == once {
		return nothing
	}
	return translations
}

// isMessage reports whether an element below the root has the name of a message, or one that
// begins with the root's: who searches for the end tag would find it too early, and take what
// follows for the next document.
func (m *message) isMessage(name []byte) bool {
	if len(name) >= len(m.root) && compare(m.root, name[:len(m.root)]) == 0 {
		return true
	}
	_, behind, _ := bytes.Cut(name, []byte("."))
	if len(behind) == 0 || behind[0] < 'A' || behind[0] > 'Z' { // as no message's
		return false
	}
	if bytes.HasPrefix(name, []byte("DTV.")) {
		return true
	}
	for i := range messages {
		if messages[i].root == string(name) {
			return true
		}
	}
	return false
}

// compare orders a name of fields and one of a document, without making a string of it. The
// case of letters does not count.
func compare(name string, with []byte) int {
	for i := range min(len(name), len(with)) {
		if a, b := fold(name[i]), fold(with[i]); a != b {
			return int(a) - int(b)
		}
	}
	return len(name) - len(with)
}

// extends reports whether a name begins with one of fields: a search finds it in its place.
func extends(name []byte, field string) bool {
	return len(name) > len(field) && compare(field, name[:len(field)]) == 0
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func (m *message) object(name []byte) {
	for i := range counted {
		if counted[i].name == string(name) {
			m.objects[i]++
		}
	}
	owned, its := false, false
	for _, o := range owners {
		if o.object == string(name) {
			owned = true
			its = its || len(m.root) >= len(o.root) && m.root[:len(o.root)] == o.root
		}
	}
	if owned && !its {
		m.fault(foreignObject)
	}
}

// value takes a field's value, as it is written.
func (m *message) value(f field, raw []byte, c charset) {
	switch {
	case bytes.Contains(raw, []byte("&#")), bytes.ContainsAny(raw, "\t\r\n"):
		m.fault(writtenOtherwise)
		return
	case len(raw) > maxValue:
		m.fault(longValue)
		return
	case m.room > maxRoom:
		return
	}
	v := c.text(raw)
	if fields[f].times == once {
		if m.found[f] {
			m.fault(fieldTwice)
			return
		}
		m.single[f], m.found[f] = v, true
		m.room += len(v)
		return
	}
	if v == "" || fields[f].times == distinct && slices.Contains(m.lists[f], v) {
		return
	}
	m.lists[f] = append(m.lists[f], v)
	if m.room += len(v) + 4; m.room > maxRoom || fields[f].times == distinct && len(m.lists[f]) > maxDistinct {
		m.fault(manyValues)
	}
}

// fault remembers the first thing that is wrong.
func (m *message) fault(f *fault) {
	if m.wrong == nil {
		m.wrong = f
	}
}
