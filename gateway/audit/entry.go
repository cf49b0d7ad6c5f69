package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"cordon/policy"
)

// Kind says what an entry records. Callers may use others; these are the log's words.
type Kind string

const (
	KindDecision   Kind = "decision"   // an operation or a session was allowed or refused
	KindHandshake  Kind = "handshake"  // a TLS handshake was refused
	KindStart      Kind = "start"      // the gateway started
	KindStop       Kind = "stop"       // the gateway stopped
	KindReload     Kind = "reload"     // policy or facts of devices were replaced while the gateway ran, or that was refused: see Note
	KindGrant      Kind = "grant"      // access for a time was granted, began or ended: see Note, which begins with its id
	KindWindow     Kind = "window"     // a device's maintenance or learning was announced, began or ended
	KindQuarantine Kind = "quarantine" // a device was cut off
	KindRelease    Kind = "release"    // a quarantine ended

	KindIssued  Kind = "certificate-issued"  // to a client, by an operator: see Note, which begins with its serial number
	KindRevoked Kind = "certificate-revoked" // by an operator

	// Break-glass. Exporters map opened to the ATNA message Security Alert (DCM 110113) of type
	// Emergency Override Started (110127), closed to Emergency Override Stopped (110138); see
	// DICOM PS3.15 A.5.3.11 and PS3.16 CID 400, 401. The note begins with the emergency's id. Decisions
	// in between that it took have the obligation emergency-override, and the id in their rule.
	KindBreakGlassOpened   Kind = "break-glass-opened"
	KindBreakGlassClosed   Kind = "break-glass-closed"
	KindBreakGlassReviewed Kind = "break-glass-reviewed"
	KindBreakGlassOverdue  Kind = "break-glass-overdue" // it was not reviewed in time
	KindBreakGlassRefused  Kind = "break-glass-refused" // somebody tried to open it, and may not
	KindBreakGlassSealed   Kind = "break-glass-sealed"  // new offline codes were made, those before are void
	KindBreakGlassDrill    Kind = "break-glass-drill"   // it was tried how an emergency would go; nothing was opened

	KindBackup  Kind = "backup"  // a copy of everything the gateway keeps was begun, its keys included: see Note
	KindRestore Kind = "restore" // from here on the log goes on from a copy: see Note, which names the last entry in it

	KindGap Kind = "gap" // written by the log itself: it could not record for a while, or a crash tore a write
)

// MaxEntry is the longest entry in bytes of JSON.
const MaxEntry = 256 << 10

// Entry is one line of the log. Append assigns Index, Time and Code.
type Entry struct {
	Index    int64           // position in the log, from 0
	Time     time.Time       // when it was appended, UTC, by the gateway's clock
	Code     string          // decision code, "7QF-21"
	Kind     Kind            // never empty
	Gateway  string          // which gateway recorded it; empty: Config.Gateway
	Input    json.RawMessage // the exact policy input, one JSON object without newlines; nil if nothing was asked
	Decision policy.Decision // the answer, with the digests of the policy and data that gave it
	Note     string          // free text, no patient data
}

// check looks for what would break the line. It does not parse Input: the caller just
// encoded it.
func (e *Entry) check() error {
	n := len(e.Input)
	switch {
	case e.Kind == "":
		return errors.New("it has no kind")
	case n > 0 && (e.Input[0] != '{' || e.Input[n-1] != '}'):
		return errors.New("its input is not a JSON object")
	case bytes.IndexByte(e.Input, '\n') >= 0:
		return errors.New("its input holds a newline")
	}
	return nil
}

// refuses reports whether e records that something was not done. Only such an entry may
// use the last space on a full disk.
func (e *Entry) refuses() bool {
	return !e.Decision.Allow && (e.Kind == KindDecision || e.Kind == KindHandshake || e.Kind == KindQuarantine || e.Kind == KindRevoked)
}

// appendJSON appends e as one JSON object. index, time and code come first and always
// in this form: readers of many entries look only at them (parseHead).
func (e *Entry) appendJSON(b []byte) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, e.Index, 10)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","code":"`...)
	b = append(b, e.Code...)
	b = append(b, `","kind":`...)
	b = appendString(b, string(e.Kind))
	b = appendField(b, `,"gateway":`, e.Gateway)
	if len(e.Input) > 0 {
		b = append(b, `,"input":`...)
		b = append(b, e.Input...)
	}
	if d := &e.Decision; e.Kind == KindDecision || e.Kind == KindHandshake || !isZero(d) {
		b = append(b, `,"decision":{"allow":`...)
		b = strconv.AppendBool(b, d.Allow)
		b = appendField(b, `,"reason":`, d.Reason)
		b = appendField(b, `,"rule":`, d.Rule)
		for i, o := range d.Obligations {
			if i == 0 {
				b = append(b, `,"obligations":[`...)
			} else {
				b = append(b, ',')
			}
			b = appendString(b, o)
		}
		if len(d.Obligations) > 0 {
			b = append(b, ']')
		}
		if d.ValidUntil != 0 {
			b = append(b, `,"valid_until":`...)
			b = strconv.AppendInt(b, d.ValidUntil, 10)
		}
		b = appendField(b, `,"cause":`, string(d.Cause))
		b = appendField(b, `,"policy":`, d.Revision)
		b = appendField(b, `,"data":`, d.Data)
		b = append(b, '}')
	}
	b = appendField(b, `,"note":`, e.Note)
	return append(b, '}')
}

func isZero(d *policy.Decision) bool {
	return !d.Allow && d.Reason == "" && d.Rule == "" && len(d.Obligations) == 0 &&
		d.ValidUntil == 0 && d.Revision == "" && d.Data == "" && d.Cause == ""
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

// appendString appends s as a JSON string (RFC 8259 section 7). Like encoding/json it
// replaces invalid UTF-8 and escapes U+2028 and U+2029, which some readers take for
// line ends.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || size > 1) && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		done = i
	}
	return append(append(b, s[done:]...), '"')
}

// entryJSON is the form of a line for decoding.
type entryJSON struct {
	Index    int64           `json:"index"`
	Time     time.Time       `json:"time"`
	Code     string          `json:"code"`
	Kind     Kind            `json:"kind"`
	Gateway  string          `json:"gateway"`
	Input    json.RawMessage `json:"input"`
	Decision struct {
		Allow       bool         `json:"allow"`
		Reason      string       `json:"reason"`
		Rule        string       `json:"rule"`
		Obligations []string     `json:"obligations"`
		ValidUntil  int64        `json:"valid_until"`
		Cause       policy.Cause `json:"cause"`
		Policy      string       `json:"policy"`
		Data        string       `json:"data"`
	} `json:"decision"`
	Note string `json:"note"`
}

// ParseEntry reads the JSON of one entry, as Proof.Entry holds it.
func ParseEntry(b []byte) (Entry, error) {
	var j entryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Entry{}, fmt.Errorf("read entry %.60q: %w", b, err)
	}
	d := &j.Decision
	return Entry{
		Index: j.Index, Time: j.Time, Code: j.Code, Kind: j.Kind, Gateway: j.Gateway, Input: j.Input, Note: j.Note,
		Decision: policy.Decision{Allow: d.Allow, Reason: d.Reason, Rule: d.Rule, Obligations: d.Obligations,
			ValidUntil: d.ValidUntil, Cause: d.Cause, Revision: d.Policy, Data: d.Data},
	}, nil
}

// head is what every entry begins with.
type head struct {
	index int64
	time  time.Time
	code  []byte // within the entry
	kind  []byte // likewise; as it is written, with escapes
}

var errHead = errors.New("it does not begin with index, time and code")

// parseHead reads an entry's head without parsing the rest. It accepts only the one
// form appendJSON writes.
func parseHead(b []byte) (h head, err error) {
	digits, rest, ok := cut(b, `{"index":`, `,"time":"`)
	stamp, rest, ok2 := bytes.Cut(rest, []byte(`","code":"`))
	code, rest, ok3 := bytes.Cut(rest, []byte(`","kind":"`))
	kind, _, ok4 := bytes.Cut(rest, []byte(`"`))
	if !ok || !ok2 || !ok3 || !ok4 || len(digits) > 1 && digits[0] == '0' {
		return head{}, errHead
	}
	for _, c := range digits { // no sign: ParseInt would take one
		if c < '0' || c > '9' {
			return head{}, errHead
		}
	}
	if h.index, err = strconv.ParseInt(string(digits), 10, 64); err != nil {
		return head{}, errHead
	}
	if h.time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return head{}, errHead
	}
	h.code, h.kind = code, kind
	return h, nil
}

// cut returns what stands between before, which b must begin with, and after.
func cut(b []byte, before, after string) (between, rest []byte, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(before))
	if !ok {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(after))
}
