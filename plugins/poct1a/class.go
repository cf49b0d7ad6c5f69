package poct1a

import (
	"slices"
	"strings"

	"cordon/policy"
)

const (
	ackRoot = "ACK.R01"
	endRoot = "END.R01"
	eotRoot = "EOT.R01"
	helRoot = "HEL.R01"
)

// party is who may send a message.
type party uint8

const (
	either party = iota
	analyser
	manager
)

// messages are those of POCT1-A2. Their order is that of a conversation.
var messages = []struct {
	root  string
	from  party
	class policy.Class
}{
	{ackRoot, either, policy.ClassSession},
	{helRoot, analyser, policy.ClassSession},
	{"DST.R01", analyser, policy.ClassSession}, // without it nothing is asked for
	{"OBS.R01", analyser, policy.ClassWrite},
	{"OBS.R02", analyser, policy.ClassWrite},
	{"EVS.R01", analyser, policy.ClassNotify},
	{"REQ.R01", manager, policy.ClassQuery},
	{"DTV.R01", manager, policy.ClassUnknown}, // its command decides
	{"DTV.R02", manager, policy.ClassUnknown},
	{"OPL.R01", manager, policy.ClassAdmin},
	{"OPL.R02", manager, policy.ClassAdmin},
	{"PTL.R01", manager, policy.ClassAdmin},
	{"PTL.R02", manager, policy.ClassAdmin},
	{"KPA.R01", either, policy.ClassSession},
	{eotRoot, either, policy.ClassSession}, // a manager's puts a list in force
	{"ESC.R01", either, policy.ClassSession},
	{endRoot, either, policy.ClassSession},
}

// classOf says what a message does, and who may send it. A message or a directive of a
// vendor's own is unknown: some update firmware or run commands (CVE-2018-18564).
func (m *message) classOf() (policy.Class, party) {
	for _, k := range messages {
		if k.root != m.root {
			continue
		}
		if strings.HasPrefix(m.root, "DTV.") {
			return m.directive(), k.from
		}
		return k.class, k.from
	}
	if strings.HasPrefix(m.root, "DTV.") {
		return policy.ClassUnknown, manager
	}
	return policy.ClassUnknown, either
}

// sentByBoth reports whether a message could mean something from either side. An
// acknowledgement that bears its type could be taken for it.
func sentByBoth(root string) bool {
	for _, k := range messages {
		if k.root == root {
			return k.from == either
		}
	}
	return true
}

// isList reports whether a message is part of a list of operators or patients.
func isList(root string) bool {
	return strings.HasPrefix(root, "OPL.") || strings.HasPrefix(root, "PTL.")
}

// directive is the class of a DTV message, by a command that no vendor has redefined.
func (m *message) directive() policy.Class {
	if m.system != "" && m.system != "POCT1" {
		return policy.ClassUnknown
	}
	switch m.single[command] {
	case "START_CONTINUOUS", "STOP_CONTINUOUS":
		return policy.ClassControl
	case "SET_TIME", "LOCK", "UNLOCK":
		return policy.ClassAdmin
	}
	return policy.ClassUnknown
}

// malformedName is the operation that cannot be understood.
const malformedName = "poct1a:malformed"

// name returns the operation's name: "poct1a:OBS.R01". A root that is not written like
// those of the standard and its vendors is "poct1a:other".
func (m *message) name() string {
	if i := slices.IndexFunc([]byte(m.root), func(c byte) bool {
		return (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_'
	}); i >= 0 || len(m.root) > 48 {
		return "poct1a:other"
	}
	return "poct1a:" + m.root
}
