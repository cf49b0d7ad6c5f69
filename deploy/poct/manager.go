package poct

import "fmt"

// Greeted waits for an analyser's HEL.R01 and DST.R01 and accepts them. It returns the first.
func (c *Conn) Greeted() (hello Element, err error) {
	for _, kind := range []string{"HEL.R01", "DST.R01"} {
		m, err := c.Receive()
		if err != nil {
			return hello, err
		}
		if m.Kind() != kind {
			return hello, fmt.Errorf("%s came, want %s", m.Kind(), kind)
		}
		if kind == "HEL.R01" {
			hello = m
		}
		if err := c.Acknowledge(&m, "AA", ""); err != nil {
			return hello, err
		}
	}
	return hello, nil
}

// Results asks for results and accepts what comes, up to the topic's end.
func (c *Conn) Results() ([]Element, error) {
	if _, err := c.Send("REQ.R01", Object("REQ", Field("REQ.request_cd", "ROBS"))); err != nil {
		return nil, err
	}
	var results []Element
	for {
		m, err := c.Receive()
		if err != nil {
			return results, err
		}
		if m.Kind() == "EOT.R01" {
			return results, nil
		}
		results = append(results, m)
		if m.Kind() == "ACK.R01" {
			return results, nil // the request was refused
		}
		if err := c.Acknowledge(&m, "AA", ""); err != nil {
			return results, err
		}
	}
}

// Direct sends a directive and waits for its acknowledgement.
func (c *Conn) Direct(command string) (Answer, error) {
	return c.Ask("DTV.R01", Object("DTV", Field("DTV.command_cd", command)))
}
