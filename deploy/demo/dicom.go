package demo

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cordon/deploy/dimse"
)

// speakDICOM takes what it is sent, and holds one study.
func speakDICOM(c net.Conn) error {
	c.SetDeadline(time.Now().Add(ioTimeout))
	device := dimse.SCP{Objects: []dimse.Object{dimse.CTImage("2.25.3.100123", patient, 0)}}
	return device.Serve(c)
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
