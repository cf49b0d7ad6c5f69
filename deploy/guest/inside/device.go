package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"

	"cordon/deploy/guest"
)

// device listens at the addresses given, as protocol=address, and tells of each connection what
// came over it. It acknowledges results and sends all other bytes back.
func device(args []string) error {
	failed := make(chan error)
	for _, arg := range args {
		protocol, address, _ := strings.Cut(arg, "=")
		serve := map[string]func(net.Conn, *guest.Talk){"hl7": takeResults, "stream": takeFlood}[protocol]
		if serve == nil {
			return fmt.Errorf("device %s: expected hl7=ADDRESS or stream=ADDRESS", arg)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go func() {
					defer c.Close()
					talk := guest.Talk{Protocol: protocol}
					serve(c, &talk)
					tell(talk)
				}()
			}
		}()
	}
	return <-failed
}

func takeResults(c net.Conn, talk *guest.Talk) {
	var got []byte
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		for {
			end := bytes.Index(got, []byte("\x1c\r"))
			if end < 0 {
				break
			}
			one := got[:end+2]
			control := controlOf(one)
			switch {
			case string(one) != message(control):
				talk.Wrong = fmt.Sprintf("%q came", one)
			case strings.HasPrefix(control, guest.Denied):
				talk.Wrong = "a result came that is not permitted: " + control
			}
			got = got[end+2:]
			talk.Done++
			if _, err := io.WriteString(c, acknowledgement(control)); err != nil {
				talk.Error = err.Error()
				return
			}
		}
		if err != nil {
			if !begins(got) {
				talk.Wrong = fmt.Sprintf("at the end %q came", got)
			}
			if err != io.EOF {
				talk.Error = err.Error()
			}
			return
		}
	}
}

func takeFlood(c net.Conn, talk *guest.Talk) {
	seed := make([]byte, 8)
	if _, err := io.ReadFull(c, seed); err != nil {
		talk.Error = err.Error()
		return
	}
	if _, err := c.Write(seed); err != nil {
		talk.Error = err.Error()
		return
	}
	talk.Done = 8
	want := newFlood(binary.BigEndian.Uint64(seed))
	want.seed = nil
	b, w := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		want.Read(w[:n])
		if !bytes.Equal(b[:n], w[:n]) {
			talk.Wrong = fmt.Sprintf("other bytes came behind byte %d", talk.Done)
			return
		}
		talk.Done += n
		if err == nil {
			_, err = c.Write(b[:n])
		}
		if err != nil {
			if err != io.EOF {
				talk.Error = err.Error()
			}
			return
		}
	}
}
