package dicom

import (
	"encoding/binary"
	"fmt"
	"strings"

	"cordon/policy"
)

// Command fields (PS3.7 E.1). A response has the highest bit besides.
const (
	cStore       = 0x0001
	cGet         = 0x0010
	cFind        = 0x0020
	cMove        = 0x0021
	cEcho        = 0x0030
	nEventReport = 0x0100
	nGet         = 0x0110
	nSet         = 0x0120
	nAction      = 0x0130
	nCreate      = 0x0140
	nDelete      = 0x0150
	cCancel      = 0x0fff
	responseBit  = 0x8000
)

const (
	maxCommand  = 64 << 10
	maxElements = 64
	noDataSet   = 0x0101
)

// command is a command set: of a request, or of a response.
type command struct {
	field        uint16
	messageID    uint16
	respondedTo  uint16
	status       uint16
	priority     uint16
	eventType    uint16
	actionType   uint16
	originatorID uint16
	hasData      bool
	prioritized  bool // there is a priority
	originated   bool // there is the message ID of a C-MOVE
	sopClass     string
	sopInstance  string
	destination  string
	originator   string
	tags         []string // attribute identifier list
	quirks       anomaly
	wrong        *fault // the first of what makes it invalid, though it can be answered
}

// Elements of a command set (PS3.7 E.1), as bits of those seen.
const (
	hasField = 1 << iota
	hasMessageID
	hasRespondedTo
	hasDataSetType
	hasStatus
	hasAffectedClass
	hasRequestedClass
	hasAffectedInstance
	hasRequestedInstance
)

// readCommand reads a command set: implicit VR little endian, whatever the transfer syntax
// (PS3.7 6.3.1), elements in ascending order.
func readCommand(b []byte) (c command, wrong *violation) {
	seen, count, last := 0, 0, -1
	if len(b) < 12 || binary.LittleEndian.Uint32(b) != 0 ||
		binary.LittleEndian.Uint32(b[8:]) != uint32(len(b)-12) {
		c.quirks |= groupLength
	}
	for len(b) > 0 {
		if len(b) < 8 || binary.LittleEndian.Uint16(b) != 0 {
			return c, badCommand
		}
		element := int(binary.LittleEndian.Uint16(b[2:]))
		n := binary.LittleEndian.Uint32(b[4:])
		if element <= last || uint64(n) > uint64(len(b)-8) {
			return c, badCommand
		}
		if count++; count > maxElements {
			return c, longCommand
		}
		if n%2 != 0 {
			c.quirks |= oddLength
		}
		if !c.element(element, b[8:8+n], &seen) {
			return c, badCommand
		}
		last, b = element, b[8+n:]
	}
	switch {
	case seen&hasField == 0 || seen&hasDataSetType == 0:
		return c, incomplete
	case c.isResponse() && (seen&hasRespondedTo == 0 || seen&hasStatus == 0 || c.field == cCancel|responseBit):
		return c, incomplete
	case c.field == cCancel:
		if seen&hasRespondedTo == 0 {
			return c, incomplete
		}
	case !c.isResponse() && seen&hasMessageID == 0:
		return c, incomplete
	}
	c.check(seen)
	return c, nil
}

// element takes one element, and reports whether its value is one.
func (c *command) element(element int, b []byte, seen *int) bool {
	number := func(to *uint16, bit int) bool {
		if len(b) != 2 {
			return false
		}
		*to = binary.LittleEndian.Uint16(b)
		*seen |= bit
		return true
	}
	name := func(to *string, bit int) bool {
		if len(b) == 0 {
			return true
		}
		text, quirks, ok := uid(b)
		c.quirks |= quirks
		if !ok {
			c.invalid(statusCannotUnderstand, "UID that is none")
		}
		*to = text
		*seen |= bit
		return true
	}
	title := func(to *string) bool {
		if len(strings.Trim(string(b), " ")) == 0 {
			return true
		}
		text, quirks, ok := aeTitle(b)
		c.quirks |= quirks
		if !ok {
			c.invalid(statusCannotUnderstand, "AE title that is none")
		}
		*to = text
		return true
	}
	switch element {
	case 0x0002:
		return name(&c.sopClass, hasAffectedClass)
	case 0x0003:
		return name(&c.sopClass, hasRequestedClass)
	case 0x0100:
		return number(&c.field, hasField)
	case 0x0110:
		return number(&c.messageID, hasMessageID)
	case 0x0120:
		return number(&c.respondedTo, hasRespondedTo)
	case 0x0600:
		return title(&c.destination)
	case 0x0700:
		c.prioritized = true
		return number(&c.priority, 0)
	case 0x0800:
		var kind uint16
		ok := number(&kind, hasDataSetType)
		c.hasData = kind != noDataSet
		return ok
	case 0x0900:
		return number(&c.status, hasStatus)
	case 0x1000:
		return name(&c.sopInstance, hasAffectedInstance)
	case 0x1001:
		return name(&c.sopInstance, hasRequestedInstance)
	case 0x1002:
		return number(&c.eventType, 0)
	case 0x1005:
		if len(b)%4 != 0 {
			return false
		}
		for ; len(b) > 0; b = b[4:] {
			tag := uint32(binary.LittleEndian.Uint16(b))<<16 | uint32(binary.LittleEndian.Uint16(b[2:]))
			c.tags = append(c.tags, tagName(tag))
		}
	case 0x1008:
		return number(&c.actionType, 0)
	case 0x1030:
		return title(&c.originator)
	case 0x1031:
		c.originated = true
		return number(&c.originatorID, 0)
	}
	return true
}

// check looks whether the command has what its service needs.
func (c *command) check(seen int) {
	requested := seen & (hasRequestedClass | hasRequestedInstance)
	affected := seen & (hasAffectedClass | hasAffectedInstance)
	if requested != 0 && affected != 0 {
		c.invalid(statusCannotUnderstand, "SOP class or instance both affected and requested")
	}
	if c.isResponse() {
		return
	}
	class, instance, data := c.sopClass != "", c.sopInstance != "", c.hasData
	ok := true
	switch c.field {
	case cStore:
		ok = class && instance && data
	case cFind, cGet:
		ok = class && data
	case cMove:
		ok = class && data && c.destination != ""
	case cEcho:
		ok = class && !data
	case nCreate:
		ok = class
	case nEventReport:
		ok = class && instance
	case nGet, nDelete:
		ok = class && instance && !data && affected == 0
	case nSet, nAction:
		ok = class && instance && affected == 0
	case cCancel:
		ok = !data
	}
	if !ok {
		c.wrong = first(c.wrong, c.cannot("command without what its service needs, or with more"))
	}
}

func (c *command) isResponse() bool { return c.field&responseBit != 0 }

func (c *command) invalid(status uint16, reason string) {
	if c.wrong == nil {
		c.wrong = &fault{status, reason}
	}
}

var commandNames = map[uint16]string{
	cStore: "dicom:C-STORE", cGet: "dicom:C-GET", cFind: "dicom:C-FIND", cMove: "dicom:C-MOVE", cEcho: "dicom:C-ECHO",
	nEventReport: "dicom:N-EVENT-REPORT", nGet: "dicom:N-GET", nSet: "dicom:N-SET", nAction: "dicom:N-ACTION",
	nCreate: "dicom:N-CREATE", nDelete: "dicom:N-DELETE", cCancel: "dicom:C-CANCEL",
}

func (c *command) known() bool { return commandNames[c.field] != "" }

// name returns the operation's name: "dicom:C-STORE".
func (c *command) name() string {
	if !c.known() {
		return fmt.Sprintf("dicom:0x%04X", c.field)
	}
	return commandNames[c.field]
}

const (
	storageCommitment = "1.2.840.10008.1.20.1"
	printManagement   = "1.2.840.10008.5.1.1."
)

// class says what a command does.
func (c *command) class() policy.Class {
	switch c.field {
	case cEcho, cCancel:
		return policy.ClassSession
	case cFind:
		return policy.ClassQuery
	case cGet, cMove, nGet:
		return policy.ClassRead
	case cStore, nCreate, nSet:
		return policy.ClassWrite
	case nAction:
		if c.sopClass == storageCommitment || strings.HasPrefix(c.sopClass, printManagement) {
			return policy.ClassWrite
		}
		return policy.ClassControl
	case nEventReport:
		return policy.ClassNotify
	case nDelete:
		if strings.HasPrefix(c.sopClass, printManagement) {
			return policy.ClassWrite // a film session or box at the end of its print job
		}
		return policy.ClassAdmin
	}
	return policy.ClassUnknown
}

// pending reports whether a response of this status is followed by another (PS3.7
// 9.1, PS3.4: pending).
func (c *command) pending() bool {
	switch c.field &^ responseBit {
	case cFind, cGet, cMove:
		return c.status == statusPending || c.status == statusPendingWarning
	}
	return false
}
