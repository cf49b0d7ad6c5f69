package demo

import (
	"context"
	"crypto/tls"
	"net"
)

// voices are how the protocols are spoken, by devices and by visitors. A visitor's act is
// the number-th of the play.
var voices = map[string]struct {
	speak func(net.Conn) error
	visit func(c net.Conn, act Act, number int) (Outcome, string, error)
}{
	"astm":   {speakASTM, visitASTM},
	"dicom":  {speakDICOM, visitDICOM},
	"hl7":    {speakHL7, visitHL7},
	"http":   {speakHTTP, visitHTTP},
	"modbus": {speakModbus, visitModbus},
	"stream": {speakStream, visitStream},
}

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
	return voices[protocolOf(act.Device)].visit(c, act, number)
}

func protocolOf(device string) string {
	for _, d := range Devices() {
		if d.ID == device {
			return d.Protocol
		}
	}
	return ""
}
