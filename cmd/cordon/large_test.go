package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

const mebibyte = 1 << 20

// tellLarge sends a result with an embedded document of 200 MiB. It arrives as it was
// sent, and neither the gateway nor the plugin grows with it.
func tellLarge(t *testing.T, cordon string) {
	s := newSite(t, cordon, "--set", "max_message=268435456")
	s.issueStaff(t)
	d := s.serve(t)
	c := s.dial(t, "engine")
	small := framed(message("ORU^R01", "R1", "2.5.1"))
	if answer := send(t, c, small); !strings.Contains(answer, "\rMSA|AA|R1\r") {
		t.Fatalf("a small message is answered with %q", answer)
	}
	idle := memory(t, d.cmd.Process.Pid, "VmRSS")

	const size = 200 * mebibyte
	sent := make(chan string, 1)
	go func() {
		sum := sha256.New()
		io.WriteString(sum, small)
		w := bufio.NewWriterSize(io.MultiWriter(c, sum), 64<<10)
		sendLarge(w, "R2", size)
		w.Flush()
		sent <- fmt.Sprintf("%x", sum.Sum(nil))
	}()
	if answer := readFrame(t, c); !strings.Contains(answer, "\rMSA|AA|R2\r") {
		t.Fatalf("the large message is answered with %q", answer)
	}
	sum := <-sent
	for process, peak := range memory(t, d.cmd.Process.Pid, "VmHWM") {
		grown := (peak - idle[process]) / mebibyte
		t.Logf("%s: idle %d MiB, at its peak %d MiB", process, idle[process]/mebibyte, peak/mebibyte)
		if grown >= 64 {
			t.Errorf("%s grew by %d MiB over a message of %d MiB", process, grown, size/mebibyte)
		}
	}
	c.Close()
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	got := s.device.all()[0]
	if arrived := fmt.Sprintf("%x", got.sum.Sum(nil)); got.size < size || got.ends != 2 || arrived != sum {
		t.Errorf("%d bytes and %d messages with SHA-256 %s arrived, want that of what was sent, %s", got.size, got.ends, arrived, sum)
	}
}

// tellEndless sends a message longer than the service allows. It is refused in the
// protocol, and the device never sees its end.
func tellEndless(t *testing.T, cordon string) {
	s := newSite(t, cordon, "--set", "max_message=2097152")
	s.issueStaff(t)
	d := s.serve(t)
	c := s.dial(t, "engine")
	sent := make(chan bool)
	go func() {
		sendLarge(bufio.NewWriterSize(c, 64<<10), "R1", 4*mebibyte)
		close(sent)
	}()
	answer := readFrame(t, c)
	c.Close()
	<-sent
	if !strings.Contains(answer, "\rMSA|AR|R1\r") {
		t.Errorf("the message is answered with %q", answer)
	}
	code := decisionCode.FindString(answer[strings.Index(answer, "MSA"):])
	if out := s.run(t, "audit", "show", code, "--dir", s.gw()); out.code != exit.Done {
		t.Errorf("audit show %s, from %q: %s", code, answer, out.stderr)
	}
	d.stop(t)
	if got := s.device.all()[0]; got.size > 1+2*mebibyte || got.ends != 0 {
		t.Errorf("the device received %d bytes and %d end blocks", got.size, got.ends)
	}
}

// sendLarge writes a framed result whose document has size bytes of base64.
func sendLarge(w io.Writer, control string, size int) {
	io.WriteString(w, "\v"+message("ORU^R01", control, "2.5.1")+"\rOBX|2|ED|PDF^Report||^application^pdf^Base64^")
	line := bytes.Repeat([]byte("JVBERi0xLjcK"), 4096)
	for size > 0 {
		n, err := w.Write(line[:min(size, len(line))])
		if err != nil {
			return
		}
		size -= n
	}
	io.WriteString(w, "\r\x1c\r")
}

// dial connects as an interface engine does that brings its own TLS.
func (s *site) dial(t *testing.T, badge string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.listen, s.badge(t, badge))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(2 * patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// send sends a frame and returns the one that answers.
func send(t *testing.T, c *tls.Conn, frame string) string {
	t.Helper()
	if _, err := io.WriteString(c, frame); err != nil {
		t.Fatal(err)
	}
	return readFrame(t, c)
}

func readFrame(t *testing.T, c *tls.Conn) string {
	t.Helper()
	var frame []byte
	for buf := make([]byte, 4096); !bytes.HasSuffix(frame, []byte("\x1c\r")); {
		n, err := c.Read(buf)
		frame = append(frame, buf[:n]...)
		if err != nil {
			t.Fatalf("after %q: %v", frame, err)
		}
	}
	return string(frame)
}
