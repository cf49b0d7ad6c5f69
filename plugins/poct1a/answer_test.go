package poct1a

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

func TestAnswer(t *testing.T) {
	refused, last := nak(1, "50", "not permitted"), ended(1)
	framed := "\x02" + refused + "\x03"
	for name, b := range map[string]string{
		"nothing":             "",
		"an acknowledgement":  refused,
		"an end":              last,
		"both":                refused + last,
		"in frames":           framed + "\x02" + last + "\x03",
		"with NULs":           refused + "\x00" + last + "\x00",
		"without a time":      strings.Replace(refused, f("HDR.creation_dttm", written), "", 1),
		"escaped":             nak(1, "a&amp;b", "&lt;&gt;&quot;"),
		"the longest control": nak(1, strings.Repeat("&quot;", 64), "x"),
	} {
		if err := Answer([]byte(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cut := func(old, new string) string {
		if !strings.Contains(refused+last, old) {
			t.Fatalf("%q is not in a refusal", old)
		}
		return strings.Replace(refused+last, old, new, 1)
	}
	for name, b := range map[string]string{
		"accepted":             cut(`"AE"`, `"AA"`),
		"a directive":          lock,
		"a directive before":   lock + refused,
		"a directive behind":   refused + lock,
		"a directive between":  refused + lock + last,
		"a directive inside":   cut("</ACK>", "</ACK><DTV/>"),
		"two":                  refused + refused,
		"the other way round":  last + refused,
		"two ends":             last + last,
		"an operator list":     operators("OPL.R01", "1"),
		"another type":         cut(`type V="ACK.R01"`, `type V="DTV.R01"`),
		"no control id":        cut(`"900000001"`, `""`),
		"long control id":      cut(`"900000001"`, `"9000000011"`),
		"no header":            cut(`<HDR.version_id V="POCT1"/>`, ""),
		"nothing answered":     cut(`id V="50"`, `id V=""`),
		"long what":            cut(`id V="50"`, `id V="`+strings.Repeat("5", 385)+`"`),
		"long note":            cut("not permitted", strings.Repeat("n", 961)),
		"markup in the note":   cut("not permitted", "<b>"),
		"another entity":       cut("not permitted", "&x;"),
		"a number":             cut("not permitted", "&#60;"),
		"half an entity":       cut("not permitted", "&lt"),
		"end of value":         cut("not permitted", `a" b="c`),
		"control character":    cut("not permitted", "\n"),
		"not ASCII":            cut("not permitted", "é"),
		"another reason":       cut(`"ABN"`, `"NRM"`),
		"long time":            cut(written, strings.Repeat("1", 36)),
		"a declaration":        `<?xml version="1.0"?>` + refused,
		"space before":         " " + refused,
		"line end behind":      refused + "\n",
		"STX alone":            "\x02" + refused,
		"ETX alone":            refused + "\x03",
		"only frames":          "\x02\x03",
		"two NULs":             refused + "\x00\x00",
		"cut short":            refused[:len(refused)-1],
		"a byte":               "<",
		"more than can be":     strings.Repeat(refused, 20),
		"ACK's end of another": strings.Replace(refused, "</ACK.R01>", "</DTV.R01>", 1),
	} {
		if Answer([]byte(b)) == nil {
			t.Errorf("%s: %q is accepted", name, b)
		}
	}
}

// FuzzRefusal: whatever a message and a decision contain, what the asker is told is read by
// encoding/xml as the documents it should be, and accepted for a device.
func FuzzRefusal(f *testing.F) {
	f.Add("7", written, "POCT1", "7QF-21", "not permitted", true, true, true)
	f.Add(`<">&'`, "2026", "a&b", "\x00\n", "é\"<>", false, false, true)
	f.Add("", "", "", "", "", true, false, false)
	f.Add(strings.Repeat(`"`, 64), strings.Repeat("1", 35), strings.Repeat("&", 20), strings.Repeat("&", 256), strings.Repeat("<", 256), true, true, true)
	f.Fuzz(func(t *testing.T, id, created, version, code, reason string, framed, nul, last bool) {
		if id != "" && !isID(id) {
			return
		}
		x := exchange{op: 7, id: id, created: created, version: version, stx: framed, nul: nul,
			why: sdk.Refusal{Code: code, Reason: reason, Cause: policy.CausePolicy}}
		b := x.answer(last)
		if err := Answer(b); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		var roots []string
		answers := ""
		text := strings.NewReplacer("\x00", "", "\x02", "", "\x03", "").Replace(string(b))
		for d, depth := xml.NewDecoder(strings.NewReader(text)), 0; ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%q: %v", b, err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				if depth++; depth == 1 {
					roots = append(roots, e.Name.Local)
				}
				if e.Name.Local == "ACK.ack_control_id" {
					answers = e.Attr[0].Value
				}
			case xml.EndElement:
				depth--
			}
		}
		want := ""
		if id != "" {
			want = ackRoot
		}
		if last {
			want += endRoot
		}
		if got := strings.Join(roots, ""); got != want || answers != id {
			t.Fatalf("%q: documents %s, want %s; it answers %q, want %q", b, got, want, answers, id)
		}
	})
}
