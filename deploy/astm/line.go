package astm

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Control characters of the line.
const (
	stx = 0x02
	etx = 0x03
	eot = 0x04
	enq = 0x05
	ack = 0x06
	nak = 0x15
	etb = 0x17
)

const (
	usualText  = 240       // bytes of a frame's text (E1381-95)
	maxText    = 64_000    // LIS01-A2
	maxMessage = 1 << 20   // bytes of a message kept
	tries      = 6         // of a frame
	recordEnd  = "\r"      // LIS02-A2
	lastRecord = "L"       // of a message
	trailer    = 2 + 1 + 1 // checksum, CR, LF
)

// ErrRefused is a frame, or an ENQ, that the other side did not accept.
var ErrRefused = errors.New("the other side does not accept it")

// ErrIncomplete is a transmission that ended before its message's last record.
var ErrIncomplete = errors.New("the message has no end")

// Line is one end of a connection. It sends or receives, one at a time.
type Line struct {
	Conn io.ReadWriter
	Text int  // bytes of a frame's text at most; 0: 240
	Bulk bool // frames are filled with records; otherwise each has one, or a part of one

	waiting byte // what came while something else was awaited: ENQ; 0: nothing
}

// Send sends one message, whose records are without their ends. A frame that is refused is
// sent six times; then the error is ErrRefused and the receiver, told EOT, has no message.
func (l *Line) Send(records ...string) error {
	if err := l.write(enq); err != nil {
		return err
	}
	if answer, err := l.answer(); err != nil {
		return err
	} else if answer != ack {
		return fmt.Errorf("send ENQ: %w: answer %#02x", ErrRefused, answer)
	}
	for i, text := range l.texts(records) {
		if err := l.sendFrame(byte(i+1)%8, text); err != nil {
			return errors.Join(err, l.write(eot))
		}
	}
	return l.write(eot)
}

// texts cuts a message into the texts of its frames, each with its end.
func (l *Line) texts(records []string) []string {
	size := l.Text
	if size == 0 {
		size = usualText
	}
	var parts []string
	for _, r := range records {
		parts = append(parts, r+recordEnd)
	}
	if l.Bulk {
		parts = []string{strings.Join(parts, "")}
	}
	var texts []string
	for _, part := range parts {
		for len(part) > size {
			texts = append(texts, part[:size]+string(rune(etb)))
			part = part[size:]
		}
		texts = append(texts, part+string(rune(etx)))
	}
	return texts
}

func (l *Line) sendFrame(number byte, text string) error {
	body := string(rune('0'+number)) + text
	frame := fmt.Appendf([]byte{stx}, "%s%02X\r\n", body, sum(body))
	for range tries {
		if _, err := l.Conn.Write(frame); err != nil {
			return fmt.Errorf("send frame %d: %w", number, err)
		}
		answer, err := l.answer()
		switch {
		case err != nil:
			return err
		case answer == ack, answer == eot: // EOT: accepted, but stop soon
			return nil
		}
	}
	return fmt.Errorf("send frame %d, %.20q: %w", number, text, ErrRefused)
}

func sum(body string) byte {
	n := byte(0)
	for i := range len(body) {
		n += body[i]
	}
	return n
}

// answer waits for ACK, NAK or EOT. An ENQ that crossed one's own is kept.
func (l *Line) answer() (byte, error) {
	for {
		c, err := l.read()
		switch {
		case err != nil:
			return 0, err
		case c == enq:
			l.waiting = c
		case c == ack, c == nak, c == eot:
			return c, nil
		default:
			return 0, fmt.Errorf("wait for an answer: got %#02x", c)
		}
	}
}

// Receive waits for a message and returns its records, without their ends. It passes over
// heartbeats. A message that ends before its terminator record is discarded: ErrIncomplete.
func (l *Line) Receive() ([]string, error) {
	for {
		if err := l.awaitENQ(); err != nil {
			return nil, err
		}
		text, err := l.transmission()
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		records := strings.Split(strings.TrimSuffix(text, recordEnd), recordEnd)
		if last := records[len(records)-1]; !strings.HasPrefix(last, lastRecord) {
			return nil, fmt.Errorf("receive a message of %d records: %w", len(records), ErrIncomplete)
		}
		return records, nil
	}
}

func (l *Line) awaitENQ() error {
	if l.waiting == enq {
		l.waiting = 0
		return l.write(ack)
	}
	for {
		c, err := l.read()
		switch {
		case err != nil:
			return err
		case c == enq:
			return l.write(ack)
		case c != eot:
			return fmt.Errorf("wait for ENQ: got %#02x", c)
		}
	}
}

// transmission receives frames up to EOT and returns their texts, each once.
func (l *Line) transmission() (string, error) {
	var message strings.Builder
	for next := byte(1); ; {
		c, err := l.read()
		switch {
		case err != nil:
			return "", err
		case c == eot:
			return message.String(), nil
		case c == enq: // it begins again
			message.Reset()
			next = 1
		case c != stx:
			return "", fmt.Errorf("wait for a frame: got %#02x", c)
		default:
			body, err := l.body()
			if err != nil {
				return "", err
			}
			if body == "" || body[0] != '0'+next || message.Len()+len(body) > maxMessage {
				if err := l.write(nak); err != nil {
					return "", err
				}
				continue
			}
			message.WriteString(body[1 : len(body)-1])
			next = (next + 1) % 8
		}
		if err := l.write(ack); err != nil {
			return "", err
		}
	}
}

// body receives what is behind STX and returns it from the number to ETX or ETB, or nothing
// if the checksum is wrong.
func (l *Line) body() (string, error) {
	var b []byte
	for len(b) == 0 || b[len(b)-1] != etx && b[len(b)-1] != etb {
		c, err := l.read()
		if err != nil {
			return "", err
		}
		if b = append(b, c); len(b) > maxText {
			return "", fmt.Errorf("receive a frame: more than %d bytes", maxText)
		}
	}
	var end [trailer]byte
	if _, err := io.ReadFull(l.Conn, end[:]); err != nil {
		return "", fmt.Errorf("receive a checksum: %w", err)
	}
	if string(end[:]) != fmt.Sprintf("%02X\r\n", sum(string(b))) || len(b) < 2 {
		return "", nil
	}
	return string(b), nil
}

func (l *Line) read() (byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(l.Conn, b[:]); err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	return b[0], nil
}

func (l *Line) write(c byte) error {
	if _, err := l.Conn.Write([]byte{c}); err != nil {
		return fmt.Errorf("send %#02x: %w", c, err)
	}
	return nil
}
