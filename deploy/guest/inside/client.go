package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"cordon/deploy/guest"
)

// client holds one conversation and tells how it went.
func client(args []string) error {
	f := flag.NewFlagSet("client", flag.ContinueOnError)
	protocol := f.String("protocol", "hl7", "hl7 or stream")
	to := f.String("to", "", "the gateway's address")
	name := f.String("cert", "", "NAME of the certificate's files, with ca.pem beside them")
	n := f.Int("n", 1, "how many results, or bytes")
	control := f.String("control", "a", "how the results' control ids begin")
	told := f.Bool("tell", false, "write each acknowledged control id")
	seconds := f.Int("seconds", 120, "when to give up")
	if err := f.Parse(args); err != nil {
		return err
	}
	talk := guest.Talk{Protocol: *protocol}
	c, err := dial(*to, *name, time.Duration(*seconds)*time.Second)
	if err == nil {
		defer c.Close()
		if *protocol == "hl7" {
			err = sendResults(c, *control, *n, *told, &talk)
		} else {
			err = sendFlood(c, *n, &talk)
		}
	}
	if err != nil {
		talk.Error = err.Error()
	}
	tell(talk)
	return nil
}

func dial(to, name string, patience time.Duration) (*tls.Conn, error) {
	certificate, err := tls.LoadX509KeyPair(name+".pem", name+".key")
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(name[:strings.LastIndexByte(name, '/')+1] + "ca.pem")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := tls.Dial("tcp", to, &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

func sendResults(c *tls.Conn, control string, n int, told bool, talk *guest.Talk) error {
	b := make([]byte, 64<<10)
	for i := range n {
		id := fmt.Sprintf("%s-%d", control, i)
		if _, err := io.WriteString(c, message(id)); err != nil {
			return err
		}
		var answer []byte
		for !bytes.HasSuffix(answer, []byte("\x1c\r")) {
			got, err := c.Read(b)
			answer = append(answer, b[:got]...)
			if err != nil {
				if len(answer) > 0 && !strings.HasPrefix(acknowledgement(id), string(answer)) && !bytes.Contains(answer, []byte("MSA|AR|"+id)) {
					talk.Wrong = fmt.Sprintf("at the end %q came", answer)
				}
				return err
			}
		}
		switch {
		case string(answer) == acknowledgement(id):
			talk.Done++
			if told {
				printing.Lock()
				fmt.Println(id)
				printing.Unlock()
			}
		case bytes.Contains(answer, []byte("\rMSA|AR|"+id)):
			talk.Refused++
		default:
			talk.Wrong = fmt.Sprintf("to %s the answer is %q", id, answer)
			return nil
		}
	}
	return nil
}

func sendFlood(c *tls.Conn, n int, talk *guest.Talk) error {
	seed := uint64(time.Now().UnixNano())
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c, newFlood(seed), int64(n))
		sent <- err
	}()
	b, w := make([]byte, 64<<10), make([]byte, 64<<10)
	want := newFlood(seed)
	for talk.Done < n {
		got, err := c.Read(b)
		if _, failed := io.ReadFull(want, w[:got]); failed != nil || !bytes.Equal(b[:got], w[:got]) {
			talk.Wrong = fmt.Sprintf("other bytes came behind byte %d", talk.Done)
			return failed
		}
		talk.Done += got
		if err != nil {
			c.Close()
			return errors.Join(err, <-sent)
		}
	}
	return <-sent
}
