package dimse

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Command fields (PS3.7 E.1). A response has bit 15 set besides.
const (
	cStore   = 0x0001
	cGet     = 0x0010
	cFind    = 0x0020
	cMove    = 0x0021
	cEcho    = 0x0030
	nSet     = 0x0120
	nCreate  = 0x0140
	cCancel  = 0x0FFF
	response = 0x8000
)

// Elements of a command set, all of group 0000 (PS3.7 E.1).
const (
	groupLength       = 0x0000
	affectedClass     = 0x0002
	requestedClass    = 0x0003
	commandField      = 0x0100
	messageID         = 0x0110
	respondedTo       = 0x0120
	moveDestination   = 0x0600
	priority          = 0x0700
	dataSetType       = 0x0800
	statusElement     = 0x0900
	errorComment      = 0x0902
	affectedInstance  = 0x1000
	requestedInstance = 0x1001
	remainingCount    = 0x1020
	completedCount    = 0x1021
	failedCount       = 0x1022
	warningCount      = 0x1023
)

const (
	noDataSet  = 0x0101
	hasDataSet = 0x0001 // any other value
)

// Statuses (PS3.7 C, PS3.4).
const (
	Success                = 0x0000
	NotAuthorized          = 0x0124
	UnrecognizedOperation  = 0x0211
	MoveDestinationUnknown = 0xA801
	Pending                = 0xFF00
)

const maxCommand = 64 << 10 // bytes of a command set

// command is a command set: Implicit VR Little Endian whatever was negotiated (PS3.7
// 6.3.1), values by element number, without the group length.
type command map[uint16][]byte

func (c command) setNumber(element, value uint16) {
	c[element] = binary.LittleEndian.AppendUint16(nil, value)
}

// setText sets a value unless it is empty, padded to even length.
func (c command) setText(element uint16, value string) {
	if value == "" {
		return
	}
	pad := " "
	if element != errorComment && element != moveDestination {
		pad = "\x00" // a UID (PS3.5 9.1)
	}
	if len(value)%2 == 1 {
		value += pad
	}
	c[element] = []byte(value)
}

// number returns an element's value, 0 if it is absent.
func (c command) number(element uint16) uint16 {
	if v := c[element]; len(v) == 2 {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (c command) text(element uint16) string { return strings.Trim(string(c[element]), " \x00") }

func (c command) hasData() bool { return c.number(dataSetType) != noDataSet }

func (c command) encode() []byte {
	var b []byte
	for _, e := range slices.Sorted(maps.Keys(c)) {
		b = appendCommand(b, e, c[e])
	}
	length := binary.LittleEndian.AppendUint32(nil, uint32(len(b)))
	return append(appendCommand(nil, groupLength, length), b...)
}

func appendCommand(b []byte, element uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(append(b, 0, 0), element)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

var errCommand = errors.New("a command set that does not consist of elements of group 0000")

func decodeCommand(b []byte) (command, error) {
	c := command{}
	for len(b) > 0 {
		if len(b) < 8 || binary.LittleEndian.Uint16(b) != 0 {
			return nil, errCommand
		}
		element, length := binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		if b = b[8:]; uint64(length) > uint64(len(b)) {
			return nil, errCommand
		}
		if element != groupLength {
			c[element] = b[:length]
		}
		b = b[length:]
	}
	if len(c[commandField]) != 2 || len(c[dataSetType]) != 2 {
		return nil, errors.New("a command set without command field or data set type")
	}
	return c, nil
}

// answerTo begins the response to a request.
func answerTo(request command, status uint16) command {
	c := command{}
	c.setNumber(commandField, request.number(commandField)|response)
	c.setNumber(respondedTo, request.number(messageID))
	c.setNumber(dataSetType, noDataSet)
	c.setNumber(statusElement, status)
	class, instance := request.text(affectedClass), request.text(affectedInstance)
	if class == "" { // a response has the affected ones in any case (PS3.7 10.3)
		class, instance = request.text(requestedClass), request.text(requestedInstance)
	}
	c.setText(affectedClass, class)
	c.setText(affectedInstance, instance)
	return c
}
