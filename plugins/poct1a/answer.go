package poct1a

import (
	"errors"
	"fmt"
	"strings"
)

// maxAnswer is the length of the longest refusal a device is told.
const maxAnswer = 4 << 10

// Answer checks what an inspector would tell a device: nil if b is nothing, or an ACK.R01
// with the code AE, or END.R01, or the one and then the other, written in the one way a
// refusal is written. The gateway calls it, in its own process, so that a plugin that was
// taken over cannot speak to a device in any other way. It shares no code with the
// inspector.
func Answer(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("check a refusal for a device: %d bytes, above %d", len(b), maxAnswer)
	}
	rest := string(b)
	if after, ok := answered(rest, "ACK.R01", `<ACK><ACK.type_cd V="AE"/><ACK.ack_control_id V="`, 384, `"/><ACK.note_txt V="`, 960, `"/></ACK>`); ok {
		rest = after
	}
	if after, ok := answered(rest, "END.R01", `<TRM><TRM.reason_cd V="ABN"/></TRM>`); ok {
		rest = after
	}
	if rest != "" {
		return errors.New("check a refusal for a device: neither ACK.R01 with the code AE nor END.R01")
	}
	return nil
}

// answered cuts one document off b: its header, then body, in which a number stands for a
// value of at most so many bytes.
func answered(b, root string, body ...any) (after string, ok bool) {
	b, framed := strings.CutPrefix(b, "\x02")
	parts := []any{"<" + root + `><HDR><HDR.message_type V="` + root + `"/><HDR.control_id V="`, 9, `"/><HDR.version_id V="`, 120, `"/>`}
	if b, ok = match(b, parts); !ok {
		return "", false
	}
	if timed, ok := match(b, []any{`<HDR.creation_dttm V="`, 35, `"/>`}); ok {
		b = timed
	}
	parts = append(append([]any{"</HDR>"}, body...), "</"+root+">")
	if b, ok = match(b, parts); !ok {
		return "", false
	}
	if framed {
		if b, ok = strings.CutPrefix(b, "\x03"); !ok {
			return "", false
		}
	}
	return strings.TrimPrefix(b, "\x00"), true
}

func match(b string, parts []any) (after string, ok bool) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			if b, ok = strings.CutPrefix(b, p); !ok {
				return "", false
			}
		case int:
			n := strings.IndexByte(b, '"')
			if n < 1 || n > p || !harmless(b[:n]) {
				return "", false
			}
			b = b[n:]
		}
	}
	return b, true
}

// harmless reports whether v is printable ASCII in which no markup begins.
func harmless(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' || v[i] == '<' || v[i] == '>' {
			return false
		}
	}
	for _, part := range strings.Split(v, "&")[1:] {
		name, _, ended := strings.Cut(part, ";")
		if !ended || name != "lt" && name != "gt" && name != "amp" && name != "quot" {
			return false
		}
	}
	return true
}
