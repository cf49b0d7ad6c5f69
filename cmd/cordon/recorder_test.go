package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a device without any protection of its own: it records every byte that
// reaches it and acknowledges every HL7 message.
type recorder struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	sessions []*recording
}

// recording is what arrived over one connection. The recorder's mutex guards it.
type recording struct {
	conn  net.Conn
	bytes []byte    // the first ones
	size  int64     // of all
	sum   hash.Hash // of all
	ends  int       // end blocks
}

// kept is how much of a connection is kept to be compared; beyond it, there is the sum.
const kept = 16 << 20

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return record(t, l)
}

// record is a recorder that listens already.
func record(t *testing.T, l net.Listener) *recorder {
	t.Helper()
	r := &recorder{listener: l}
	r.serving.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *recorder) address() string { return r.listener.Addr().String() }

func (r *recorder) close() {
	r.listener.Close()
	for _, s := range r.all() {
		s.conn.Close()
	}
	r.serving.Wait()
}

func (r *recorder) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		s := &recording{conn: c, sum: sha256.New()}
		r.mu.Lock()
		r.sessions = append(r.sessions, s)
		r.mu.Unlock()
		r.serving.Go(func() { r.serve(s) })
	}
}

// serve records a connection and acknowledges each message at its end block.
func (r *recorder) serve(s *recording) {
	defer s.conn.Close()
	buf := make([]byte, 64<<10)
	var head []byte // of the message under way
	for {
		n, err := s.conn.Read(buf)
		arrived := buf[:n]
		r.mu.Lock()
		s.record(arrived)
		r.mu.Unlock()
		for len(arrived) > 0 {
			message, rest, ended := bytes.Cut(arrived, []byte{0x1C})
			head = append(head, message[:min(len(message), 4<<10-len(head))]...)
			arrived = rest
			if !ended {
				break
			}
			if _, err := s.conn.Write(acknowledge(head)); err != nil {
				return
			}
			head = head[:0]
		}
		if err != nil {
			return
		}
	}
}

func (s *recording) record(b []byte) {
	s.bytes = append(s.bytes, b[:min(len(b), kept-len(s.bytes))]...)
	s.size += int64(len(b))
	s.sum.Write(b)
	s.ends += bytes.Count(b, []byte{0x1C})
}

// acknowledge answers a message that begins with head.
func acknowledge(head []byte) []byte {
	line, _, _ := strings.Cut(string(bytes.TrimLeft(head, "\r\n\v")), "\r")
	fields := strings.Split(line, "|")
	if len(fields) < 12 {
		fields = make([]string, 12)
	}
	return fmt.Appendf(nil, "\vMSH|^~\\&|MON|WARD|%s|WARD|20261122120000||ACK|D%s|P|%s\rMSA|AA|%s\r\x1c\r", fields[2], fields[9], fields[11], fields[9])
}

// all returns a copy of every recording, in the order of connecting.
func (r *recorder) all() []recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []recording
	for _, s := range r.sessions {
		all = append(all, *s)
	}
	return all
}

// received returns what arrived, one connection after the other.
func (r *recorder) received() string {
	var text strings.Builder
	for _, s := range r.all() {
		text.Write(s.bytes)
	}
	return text.String()
}

// want fails unless exactly these bytes arrived, over so many connections. Something may
// still be on its way.
func (r *recorder) want(t *testing.T, connections int, text string) {
	t.Helper()
	if !eventually(func() bool { return len(r.received()) >= len(text) }) || r.received() != text {
		t.Errorf("the device received\n%q, want\n%q", r.received(), text)
	}
	if n := len(r.all()); n != connections {
		t.Errorf("the device has seen %d connections, want %d", n, connections)
	}
}

// eventually waits for something that is about to happen.
func eventually(holds func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return holds()
}
