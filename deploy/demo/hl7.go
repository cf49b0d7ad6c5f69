package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
)

// MLLP framing (HL7 Implementation Guide: MLLP, Release 1).
const (
	startBlock = 0x0B
	endBlock   = 0x1C
	carriage   = 0x0D
)

// speakHL7 acknowledges every message, as a device without any access control does.
func speakHL7(c net.Conn) error {
	r := bufio.NewReader(c)
	for {
		message, err := readFrame(c, r)
		if err != nil {
			return err
		}
		head := strings.Split(firstLine(message), "|")
		if len(head) < 12 {
			return fmt.Errorf("a header of %d fields", len(head))
		}
		trigger := head[8]
		if _, t, ok := strings.Cut(trigger, "^"); ok {
			trigger = t
		}
		ack := fmt.Sprintf("MSH|^~\\&|%s|%s|%s|%s|%s||ACK^%s|D%s|P|%s\rMSA|AA|%s\r",
			head[4], head[5], head[2], head[3], time.Now().UTC().Format("20060102150405"), trigger, head[9], head[11], head[9])
		if err := writeFrame(c, ack); err != nil {
			return err
		}
	}
}

func visitHL7(c net.Conn, act Act, number int) (Outcome, string, error) {
	control := fmt.Sprintf("W%06d", number)
	if err := writeFrame(c, Message(act.What, act.Who.ID, act.Device, control)); err != nil {
		return Stopped, "", nil // under TLS 1.3 a client learns late that it was refused
	}
	answer, err := readFrame(c, bufio.NewReader(c))
	if err != nil {
		return Stopped, "", nil
	}
	var code string
	for _, segment := range strings.Split(answer, "\r") {
		fields := strings.Split(segment, "|")
		switch {
		case fields[0] == "MSA" && len(fields) > 2 && fields[2] != control:
			return "", "", fmt.Errorf("an answer to %q, not to %q", fields[2], control)
		case fields[0] == "MSA" && len(fields) > 1 && fields[1] == "AA":
			return Allowed, "", nil
		case fields[0] == "ERR" && len(fields) > 5:
			code = fields[5]
		}
	}
	if code == "" {
		return "", "", fmt.Errorf("no decision code in %q", answer)
	}
	return Refused, code, nil
}

// Message is an HL7 v2.5.1 message of the type and trigger given.
func Message(typ, from, to, control string) string {
	return fmt.Sprintf("MSH|^~\\&|%s|WARD|%s|WARD|20261122120000||%s^%s|%s|P|2.5.1\r"+
		"PID|1||"+patient+"^^^HOSP^MR||DEMO^PATIENT\r"+
		"OBR|1|||85354-9^Blood pressure^LN\r"+
		"OBX|1|NM|8480-6^Systolic^LN||121|mm[Hg]|||||F\r",
		from, to, typ, strings.ReplaceAll(typ, "^", "_"), control)
}

// readFrame returns the message of the next frame.
func readFrame(c net.Conn, r *bufio.Reader) (string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	frame, err := r.ReadBytes(endBlock)
	if err != nil {
		return "", err
	}
	if b, err := r.ReadByte(); err != nil || b != carriage {
		return "", fmt.Errorf("a frame that does not end: %w", err)
	}
	at := bytes.IndexByte(frame, startBlock)
	if at < 0 {
		return "", fmt.Errorf("a frame that does not begin")
	}
	return string(frame[at+1 : len(frame)-1]), nil
}

func writeFrame(c net.Conn, message string) error {
	c.SetDeadline(time.Now().Add(ioTimeout))
	_, err := fmt.Fprintf(c, "%c%s%c%c", startBlock, message, endBlock, carriage)
	return err
}

func firstLine(message string) string {
	line, _, _ := strings.Cut(message, "\r")
	return line
}
