package hl7

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxAnswer is the length of the longest refusal a device is told: sdk.MaxRefusal.
const maxAnswer = 16 << 10

// Answer checks what an inspector would tell a device: nil if b is nothing, or one frame with
// nothing but negative acknowledgements, each of MSH, MSA and ERR, MSA-1 being AR, AE, CR or CE.
// Around several there may be a batch, and before the frame what MLLP owes: the CR of the frame
// before it, the commit acknowledgement of release 2. The gateway calls it, in its own process: a
// plugin that was taken over could otherwise acknowledge a device's results, which the device
// then no longer keeps. It shares no code with the inspector.
func Answer(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("check a refusal for a device: %d bytes, above %d", len(b), maxAnswer)
	}
	b = bytes.TrimPrefix(b, []byte("\r"))
	b = bytes.TrimPrefix(b, []byte("\x0b\x06\x1c\r")) // only before what takes it back
	b, begun := bytes.CutPrefix(b, []byte("\x0b"))
	b, ended := bytes.CutSuffix(b, []byte("\r\x1c\r"))
	if !begun || !ended {
		return errors.New("check a refusal for a device: not one MLLP frame")
	}
	segments := strings.Split(string(b), "\r")
	if err := negative(segments); err != nil {
		return fmt.Errorf("check a refusal for a device: %w", err)
	}
	return nil
}

// negative checks a message's segments, or a batch's.
func negative(segments []string) error {
	for _, s := range segments {
		for i := range len(s) {
			if s[i] < ' ' || s[i] > '~' {
				return fmt.Errorf("byte %#02x in a segment", s[i])
			}
		}
	}
	if !strings.HasPrefix(segments[0], "BHS") {
		if len(segments) != 3 {
			return fmt.Errorf("%d segments, not MSH, MSA and ERR", len(segments))
		}
		return acknowledgement(segments)
	}
	head, last := segments[0], segments[len(segments)-1]
	messages := segments[1 : len(segments)-1]
	if len(messages) == 0 || len(messages)%3 != 0 || len(head) < 5 || strings.Count(head[4:], head[3:4]) > 0 || !isSeparator(head[3]) ||
		last != "BTS"+head[3:4]+strconv.Itoa(len(messages)/3) {
		return errors.New("a batch that is none")
	}
	for ; len(messages) > 0; messages = messages[3:] {
		if err := acknowledgement(messages[:3]); err != nil {
			return err
		}
	}
	return nil
}

// acknowledgement checks MSH, MSA and ERR (HL7 2.9 sections 2.13, 2.9.2). Each has the fields of
// a refusal and no more, so that no reader finds another answer in them.
func acknowledgement(segments []string) error {
	msh, msa, err := segments[0], segments[1], segments[2]
	if len(msh) < 5 || msh[:3] != "MSH" || !isSeparator(msh[3]) {
		return errors.New("no MSH segment")
	}
	separator := msh[3:4]
	head := strings.Split(msh, separator)                                           // head[n-1] is MSH-n
	if len(head) != 12 && len(head) != 18 || len(head[1]) < 2 || len(head[1]) > 5 { // MSH-18 is the character set
		return errors.New("MSH segment with other fields than a refusal has")
	}
	for i := range len(head[1]) {
		if !isSeparator(head[1][i]) || strings.IndexByte(head[1], head[1][i]) != i {
			return fmt.Errorf("encoding characters %q", head[1])
		}
	}
	if kind, _, _ := strings.Cut(head[8], head[1][:1]); kind != "ACK" {
		return errors.New("a message that is no acknowledgement")
	}
	fields := strings.Split(msa, separator)
	if len(fields) < 3 || len(fields) > 4 || fields[0] != "MSA" {
		return errors.New("no MSA segment")
	}
	switch fields[1] {
	case "AR", "AE", "CR", "CE":
	default:
		return errors.New("an acknowledgement that is not negative")
	}
	fields = strings.Split(err, separator)
	switch {
	case fields[0] != "ERR" || len(fields) != 2 && len(fields) != 9:
		return errors.New("no ERR segment")
	case len(fields) == 9 && fields[4] != "E": // neither a warning nor information
		return errors.New("an ERR segment that is no error's")
	}
	return nil
}

// isSeparator reports whether a character can part what a message says and be no part of it.
func isSeparator(c byte) bool {
	return c > ' ' && c <= '~' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}
