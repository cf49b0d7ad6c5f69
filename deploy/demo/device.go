package demo

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"cordon/deploy/dimse"
)

// MLLP framing (HL7 Implementation Guide: MLLP, Release 1).
const (
	startBlock = 0x0B
	endBlock   = 0x1C
	carriage   = 0x0D
)

const ioTimeout = 10 * time.Second

// Serve plays the devices until ctx is done. It returns their addresses at once, by id,
// and a function that waits for the end.
func Serve(ctx context.Context, devices []Device) (map[string]string, func(), error) {
	var listeners []net.Listener
	var playing sync.WaitGroup
	addresses := map[string]string{}
	stop := func() {
		for _, l := range listeners {
			l.Close()
		}
		playing.Wait()
	}
	for _, d := range devices {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("simulate device %q: %w", d.ID, err)
		}
		listeners = append(listeners, l)
		addresses[d.ID] = l.Addr().String()
		speak := speakHL7
		switch d.Protocol {
		case "stream":
			speak = speakStream
		case "dicom":
			speak = speakDICOM
		}
		playing.Go(func() { accept(ctx, l, &playing, speak) })
	}
	return addresses, stop, nil
}

func accept(ctx context.Context, l net.Listener, playing *sync.WaitGroup, speak func(net.Conn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		hangUp := context.AfterFunc(ctx, func() { c.Close() })
		playing.Go(func() {
			defer c.Close()
			defer hangUp()
			speak(c) // a client that goes away in the middle is its own business
		})
	}
}

// speakHL7 acknowledges every message, as a device without any access control does.
func speakHL7(c net.Conn) error {
	r := bufio.NewReader(c)
	for {
		message, err := readFrame(c, r)
		if err != nil {
			return err
		}
		head := strings.Split(firstLine(message), "|")
		if len(head) < 12 {
			return fmt.Errorf("a header of %d fields", len(head))
		}
		trigger := head[8]
		if _, t, ok := strings.Cut(trigger, "^"); ok {
			trigger = t
		}
		ack := fmt.Sprintf("MSH|^~\\&|%s|%s|%s|%s|%s||ACK^%s|D%s|P|%s\rMSA|AA|%s\r",
			head[4], head[5], head[2], head[3], time.Now().UTC().Format("20060102150405"), trigger, head[9], head[11], head[9])
		if err := writeFrame(c, ack); err != nil {
			return err
		}
	}
}

// speakDICOM takes what it is sent, and holds one study.
func speakDICOM(c net.Conn) error {
	c.SetDeadline(time.Now().Add(ioTimeout))
	device := dimse.SCP{Objects: []dimse.Object{dimse.CTImage("2.25.3.100123", patient, 0)}}
	return device.Serve(c)
}

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

// readFrame returns the message of the next frame.
func readFrame(c net.Conn, r *bufio.Reader) (string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	frame, err := r.ReadBytes(endBlock)
	if err != nil {
		return "", err
	}
	if b, err := r.ReadByte(); err != nil || b != carriage {
		return "", fmt.Errorf("a frame that does not end: %w", err)
	}
	at := bytes.IndexByte(frame, startBlock)
	if at < 0 {
		return "", fmt.Errorf("a frame that does not begin")
	}
	return string(frame[at+1 : len(frame)-1]), nil
}

func writeFrame(c net.Conn, message string) error {
	c.SetDeadline(time.Now().Add(ioTimeout))
	_, err := fmt.Fprintf(c, "%c%s%c%c", startBlock, message, endBlock, carriage)
	return err
}

func firstLine(message string) string {
	line, _, _ := strings.Cut(message, "\r")
	return line
}
