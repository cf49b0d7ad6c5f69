package demo

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cordon/deploy/dimse"
)

// Visit does act through the gateway at address. config carries the visitor's certificate,
// or none. It returns what became of it and, if it was refused in a way that has room for
// it, the decision code.
func Visit(ctx context.Context, address string, config *tls.Config, act Act, number int) (Outcome, string, error) {
	ctx, cancel := context.WithTimeout(ctx, ioTimeout)
	defer cancel()
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return Stopped, "", nil
	}
	defer c.Close()
	switch {
	case act.What == "session":
		return visitStream(c)
	case strings.HasPrefix(act.What, "C-"):
		return visitDICOM(c, act, number)
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
	if code == "" {
		return "", "", fmt.Errorf("no decision code in %q", answer)
	}
	return Refused, code, nil
}

// visitDICOM opens an association for one operation. One that is rejected has no room for a
// decision code; an operation's refusal ends its error comment with it.
func visitDICOM(c net.Conn, act Act, number int) (Outcome, string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	a, err := dimse.Associate(c, dimse.Request{
		CalledAE: strings.ToUpper(act.Device), CallingAE: act.Who.AETitle,
		SOPClasses: []string{dimse.Verification, dimse.CTImageStorage, dimse.StudyRootFind, dimse.StudyRootMove},
	})
	if _, rejected := errors.AsType[*dimse.Rejection](err); rejected {
		return Refused, "", nil
	}
	if err != nil {
		return Stopped, "", nil
	}
	answer, err := perform(a, act, number)
	if err != nil {
		return "", "", err
	}
	if err := a.Release(); err != nil {
		return "", "", err
	}
	if answer.Status == dimse.Success {
		return Allowed, "", nil
	}
	said := strings.Fields(answer.Comment)
	if len(said) == 0 {
		return "", "", fmt.Errorf("status %04X without a decision code", answer.Status)
	}
	return Refused, said[len(said)-1], nil
}

func perform(a *dimse.Association, act Act, number int) (dimse.Answer, error) {
	switch act.What {
	case "C-ECHO":
		return a.Echo()
	case "C-STORE":
		return a.Store(dimse.CTImage(fmt.Sprintf("2.25.4.%d", number), patient, 512*512*2))
	case "C-MOVE":
		return a.Move(dimse.StudyRootMove, act.Who.AETitle, dimse.StudyKeys(patient))
	case "C-FIND":
		studies, answer, err := a.Find(dimse.StudyRootFind, dimse.StudyKeys(patient))
		if err == nil && answer.Status == dimse.Success && len(studies) != 1 {
			err = fmt.Errorf("%d studies were found, not 1", len(studies))
		}
		return answer, err
	}
	return dimse.Answer{}, fmt.Errorf("nobody knows how to %s", act.What)
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

// patient is the ward's, and invented.
const patient = "100123"

// Message is an HL7 v2.5.1 message of the type and trigger given.
func Message(typ, from, to, control string) string {
	return fmt.Sprintf("MSH|^~\\&|%s|WARD|%s|WARD|20261122120000||%s^%s|%s|P|2.5.1\r"+
		"PID|1||"+patient+"^^^HOSP^MR||DEMO^PATIENT\r"+
		"OBR|1|||85354-9^Blood pressure^LN\r"+
		"OBX|1|NM|8480-6^Systolic^LN||121|mm[Hg]|||||F\r",
		from, to, typ, strings.ReplaceAll(typ, "^", "_"), control)
}
