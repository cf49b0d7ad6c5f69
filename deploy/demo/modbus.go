package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Function codes (Modbus Application Protocol V1.1b3, section 6), and the bit that makes
// an exception of a response.
const (
	readHolding = 0x03
	writeSingle = 0x06
	exception   = 0x80
)

// setpoint is the register with the temperature to hold, in tenths of a degree.
const setpoint = 11

// speakModbus holds one register, and lets anybody set it.
func speakModbus(c net.Conn) error {
	value := uint16(210)
	for {
		head, pdu, err := readADU(c)
		if err != nil {
			return err
		}
		var answer []byte
		switch {
		case len(pdu) == 5 && pdu[0] == readHolding && binary.BigEndian.Uint16(pdu[1:]) == setpoint && binary.BigEndian.Uint16(pdu[3:]) == 1:
			answer = binary.BigEndian.AppendUint16([]byte{readHolding, 2}, value)
		case len(pdu) == 5 && pdu[0] == writeSingle && binary.BigEndian.Uint16(pdu[1:]) == setpoint:
			value = binary.BigEndian.Uint16(pdu[3:])
			answer = pdu
		default:
			answer = []byte{pdu[0] | exception, 1}
		}
		if err := writeADU(c, head, answer); err != nil {
			return err
		}
	}
}

// visitModbus reads or sets the setpoint. An exception has no room for a decision code.
func visitModbus(c net.Conn, act Act, number int) (Outcome, string, error) {
	pdu := []byte{readHolding, 0, setpoint, 0, 1}
	if act.What == "setpoint" {
		pdu = []byte{writeSingle, 0, setpoint, 0, 230}
	}
	transaction := uint16(number)
	if err := writeADU(c, transaction, pdu); err != nil {
		return Stopped, "", nil
	}
	got, answer, err := readADU(c)
	switch {
	case err != nil:
		return Stopped, "", nil
	case got != transaction:
		return "", "", fmt.Errorf("an answer to transaction %d, not to %d", got, transaction)
	case answer[0] == pdu[0]|exception:
		return Refused, "", nil
	case answer[0] != pdu[0]:
		return "", "", fmt.Errorf("function %#02x answered to %#02x", answer[0], pdu[0])
	}
	return Allowed, "", nil
}

// readADU reads one message of unit 1 and returns its transaction identifier and PDU.
func readADU(c net.Conn) (transaction uint16, pdu []byte, err error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	head := make([]byte, 7)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint16(head[4:])
	if length < 2 || length > 254 {
		return 0, nil, errors.New("no Modbus message")
	}
	pdu = make([]byte, length-1)
	_, err = io.ReadFull(c, pdu)
	return binary.BigEndian.Uint16(head), pdu, err
}

func writeADU(c net.Conn, transaction uint16, pdu []byte) error {
	b := binary.BigEndian.AppendUint16(nil, transaction)
	b = binary.BigEndian.AppendUint16(append(b, 0, 0), uint16(len(pdu)+1))
	_, err := c.Write(append(append(b, 1), pdu...))
	return err
}
