package demo

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// Visit does act through the gateway at address. config carries the visitor's certificate,
// or none. It returns what became of it, and the decision code if the answer held one.
func Visit(ctx context.Context, address string, config *tls.Config, act Act, number int) (Outcome, string, error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return Stopped, "", nil
	}
	defer c.Close()
	if act.What == "session" {
		return visitStream(c)
	}
	return visitHL7(c, act, number)
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
	return Refused, code, nil
}

// visitStream says one line. A stream has no words for a refusal: the gateway hangs up.
func visitStream(c net.Conn) (Outcome, string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	if _, err := fmt.Fprintln(c, "log"); err != nil {
		return Refused, "", nil
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return Refused, "", nil
	}
	if line != "ok log\n" {
		return "", "", fmt.Errorf("the device answered %q", line)
	}
	return Allowed, "", nil
}

// Message is an HL7 v2.5.1 message of the type and trigger given. Its patient is invented.
func Message(typ, from, to, control string) string {
	return fmt.Sprintf("MSH|^~\\&|%s|WARD|%s|WARD|20261122120000||%s^%s|%s|P|2.5.1\r"+
		"PID|1||100123^^^HOSP^MR||DEMO^PATIENT\r"+
		"OBR|1|||85354-9^Blood pressure^LN\r"+
		"OBX|1|NM|8480-6^Systolic^LN||121|mm[Hg]|||||F\r",
		from, to, typ, strings.ReplaceAll(typ, "^", "_"), control)
}
