package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Class says what an operation does to the device or the patient.
type Class string

// Operation classes. ClassUnknown is refused unless the device's own profile
// allows it by name.
const (
	ClassSession Class = "session" // opens, keeps or ends a dialogue
	ClassRead    Class = "read"    // takes data out
	ClassQuery   Class = "query"   // asks what there is
	ClassWrite   Class = "write"   // puts data in: a result, an order, an image
	ClassControl Class = "control" // changes therapy or the device's state
	ClassAdmin   Class = "admin"   // firmware, configuration, diagnostics
	ClassNotify  Class = "notify"  // an alarm or an event
	ClassUnknown Class = "unknown" // the inspector cannot say
)

// Classes lists every class, in the order of the documentation.
var Classes = [...]Class{ClassSession, ClassRead, ClassQuery, ClassWrite, ClassControl, ClassAdmin, ClassNotify, ClassUnknown}

// Valid reports whether c is one of Classes.
func (c Class) Valid() bool { return slices.Contains(Classes[:], c) }

// Operation is one thing a subject asks of a device: an HL7 message, a DIMSE
// command, a Modbus request. Name carries the protocol: "hl7:ORU^R01".
type Operation struct {
	Name       string     `json:"name"`
	Class      Class      `json:"class"`
	Attributes Attributes `json:"attributes"`
}

// Attribute is one named fact about an operation. Value is a string, an int64,
// a []string or a []int64; nothing else is ever put there.
type Attribute struct {
	Name  string
	Value any
}

// Attributes are an operation's facts, sorted by name, each name once. They are
// a JSON object to everyone outside this process.
type Attributes []Attribute

// Set adds or replaces one attribute and keeps the order. Value must be of the
// types Attribute names.
func (a *Attributes) Set(name string, value any) {
	i, found := slices.BinarySearchFunc(*a, name, func(x Attribute, n string) int { return strings.Compare(x.Name, n) })
	if found {
		(*a)[i].Value = value
		return
	}
	*a = slices.Insert(*a, i, Attribute{name, value})
}

// Get returns the value under name, or nil.
func (a Attributes) Get(name string) any {
	i, found := slices.BinarySearchFunc(a, name, func(x Attribute, n string) int { return strings.Compare(x.Name, n) })
	if !found {
		return nil
	}
	return a[i].Value
}

// UnmarshalJSON reads what MarshalJSON wrote. Numbers become int64; a list is a
// []int64 if it holds numbers, else a []string.
func (a *Attributes) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*a = nil
	for name, r := range raw {
		v, err := attributeValue(r)
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
		a.Set(name, v)
	}
	return nil
}

func attributeValue(r json.RawMessage) (any, error) {
	list := bytes.HasPrefix(r, []byte("["))
	var s string
	var n int64
	var ss []string
	var ns []int64
	switch {
	case !list && json.Unmarshal(r, &s) == nil:
		return s, nil
	case !list && json.Unmarshal(r, &n) == nil:
		return n, nil
	case list && json.Unmarshal(r, &ss) == nil:
		return ss, nil
	case list && json.Unmarshal(r, &ns) == nil:
		return ns, nil
	}
	return nil, fmt.Errorf("%.40q is neither string, integer nor a list of one of them", r)
}
