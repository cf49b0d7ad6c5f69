package astm

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// pair is two lines with a connection between them.
func pair(t *testing.T) (host, device *Line) {
	t.Helper()
	a, b := net.Pipe()
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
	}
	return &Line{Conn: a}, &Line{Conn: b}
}

func TestAnalyser(t *testing.T) {
	for _, test := range []struct {
		name string
		line Line
	}{{"usual", Line{}}, {"short frames", Line{Text: 20}}, {"bulk", Line{Bulk: true}}, {"bulk in parts", Line{Text: 50, Bulk: true}}} {
		t.Run(test.name, func(t *testing.T) {
			host, device := pair(t)
			host.Text, host.Bulk = test.line.Text, test.line.Bulk
			device.Text, device.Bulk = test.line.Text, test.line.Bulk
			ended := make(chan error, 1)
			go func() { ended <- Analyse(device) }()
			if err := host.Send(Order("100123", "S-1", true, "GLU")...); err != nil {
				t.Fatal(err)
			}
			if err := host.Send(Order("100123", "S-2", false, "GLU", "NA")...); err != nil {
				t.Fatal(err)
			}
			got, err := host.Receive()
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"P|1|100123", `O|1|S-2||^^^GLU\^^^NA`, "R|1|^^^GLU|90|mg/dL||N||F", "R|2|^^^NA|91|mg/dL||N||F", "L|1|N"}
			if !slices.Equal(got[1:], want) || !strings.HasPrefix(got[0], `H|\^&|||ANALYSER|`) {
				t.Errorf("got %q", got)
			}
			host.Conn.(io.Closer).Close()
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("the analyser ends with %v", err)
			}
		})
	}
}

// script answers with given bytes and keeps what it is told.
type script struct {
	answers io.Reader
	told    bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)  { return s.answers.Read(b) }
func (s *script) Write(b []byte) (int, error) { return s.told.Write(b) }

// frameExample is the frame that descriptions of the protocol begin with.
const frameExample = "\x021H|\\^&\r\x03E5\r\n"

func TestSend(t *testing.T) {
	for _, test := range []struct {
		name, answers, told string
		refused             bool
	}{
		{"accepted", "\x06\x06", "\x05" + frameExample + "\x04", false},
		{"accepted, and asked to stop", "\x06\x04", "\x05" + frameExample + "\x04", false},
		{"once more", "\x06\x15\x06", "\x05" + frameExample + frameExample + "\x04", false},
		{"refused", "\x06" + strings.Repeat("\x15", 6), "\x05" + strings.Repeat(frameExample, 6) + "\x04", true},
		{"not listening", "\x15", "\x05", true},
		{"contention", "\x05\x06\x06", "\x05" + frameExample + "\x04", false},
	} {
		s := &script{answers: strings.NewReader(test.answers)}
		err := (&Line{Conn: s}).Send(`H|\^&`)
		if errors.Is(err, ErrRefused) != test.refused || !test.refused && err != nil || s.told.String() != test.told {
			t.Errorf("%s: %v, told %q", test.name, err, s.told.String())
		}
	}
}

func TestReceive(t *testing.T) {
	const last = "\x022L|1\r\x033B\r\n"
	for _, test := range []struct{ name, sent, answers, want string }{
		{"message", "\x05" + frameExample + last + "\x04", "\x06\x06\x06", `H|\^&,L|1`},
		{"heartbeats", "\x04\x05\x04\x05" + frameExample + last + "\x04", "\x06\x06\x06\x06", `H|\^&,L|1`},
		{"wrong checksum", "\x05\x021H|\\^&\r\x03E4\r\n" + frameExample + last + "\x04", "\x06\x15\x06\x06", `H|\^&,L|1`},
		{"wrong number", "\x05" + last + frameExample + last + "\x04", "\x06\x15\x06\x06", `H|\^&,L|1`},
		{"begun again", "\x05" + frameExample + "\x05" + frameExample + last + "\x04", "\x06\x06\x06\x06\x06", `H|\^&,L|1`},
	} {
		s := &script{answers: strings.NewReader(test.sent)}
		got, err := (&Line{Conn: s}).Receive()
		if err != nil || strings.Join(got, ",") != test.want || s.told.String() != test.answers {
			t.Errorf("%s: %q, %v, told %q", test.name, got, err, s.told.String())
		}
	}
	s := &script{answers: strings.NewReader("\x05" + frameExample + "\x04")}
	if got, err := (&Line{Conn: s}).Receive(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("half a message is %q, %v", got, err)
	}
	for _, sent := range []string{"", "x", "\x05x", "\x05\x02" + strings.Repeat("x", maxText+1)} {
		if got, err := (&Line{Conn: &script{answers: strings.NewReader(sent)}}).Receive(); err == nil {
			t.Errorf("%.20q is the message %q", sent, got)
		}
	}
}
