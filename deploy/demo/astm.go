package demo

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cordon/deploy/astm"
)

// speakASTM takes orders and sends results.
func speakASTM(c net.Conn) error {
	c.SetDeadline(time.Now().Add(ioTimeout))
	return astm.Analyse(&astm.Line{Conn: c})
}

// visitASTM orders a test and waits for its result, or cancels the order. NAK has no room for a
// decision code.
func visitASTM(c net.Conn, act Act, number int) (Outcome, string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	line := &astm.Line{Conn: c}
	err := line.Send(astm.Order(patient, fmt.Sprintf("S%06d", number), act.What == "cancel", "GLU")...)
	switch {
	case errors.Is(err, astm.ErrRefused):
		return Refused, "", nil
	case err != nil:
		return Stopped, "", nil
	case act.What == "cancel":
		return Allowed, "", nil
	}
	results, err := line.Receive()
	if err != nil {
		return "", "", fmt.Errorf("wait for results: %w", err)
	}
	for _, record := range results {
		if strings.HasPrefix(record, "R|1|^^^GLU|") {
			return Allowed, "", nil
		}
	}
	return "", "", fmt.Errorf("no result in %q", results)
}
