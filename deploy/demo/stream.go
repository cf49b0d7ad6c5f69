package demo

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"
)

// speakStream greets, and answers lines.
func speakStream(c net.Conn) error {
	r := bufio.NewReader(c)
	for {
		c.SetDeadline(time.Now().Add(ioTimeout))
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, "ok "+line); err != nil {
			return err
		}
	}
}

// visitStream says one line. A stream has no words for a refusal: the gateway hangs up.
func visitStream(c net.Conn, _ Act, _ int) (Outcome, string, error) {
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
