package hl7

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// charsetMessage declares set in MSH-18; its PID-5 contains name, its PID-3 follows what is
// given as PID-2.
func charsetMessage(set, pid2 string) string {
	head := msh("ORU^R01", "1", "2.5")
	if set != "" {
		head += "||||||" + set
	}
	return frame(head, "PID|1|"+pid2+"|4711^^^HOSP", "OBX|1|NM|8867-4^x")
}

// A delimiter that is the second byte of a character is none. Each message below, split by
// bytes, would give a patient that its receiver does not see.
func TestCharset(t *testing.T) {
	const patient, none = "[4711^HOSP]", "<nil>"
	tests := []struct {
		name, settings, set, pid2, patients, anomalies string
	}{
		{"ASCII", `{}`, "ASCII", "", patient, none},
		{"Latin 1 converted", `{}`, "8859/1", "\xe9", "[é 4711^HOSP]", none},
		{"blank, Latin 1", `{}`, "", "\xe9", "[é 4711^HOSP]", "[undeclared_charset]"},
		{"blank, UTF-8", `{}`, "", "é", "[é 4711^HOSP]", "[undeclared_charset]"},
		{"UTF-8", `{}`, "UNICODE UTF-8", "山", "[山 4711^HOSP]", none},
		{"bad UTF-8", `{}`, "UNICODE UTF-8", "\xe9", patient, "[unconverted_text]"},
		{"Latin 2 not converted", `{}`, "8859/2", "\xe9", patient, "[unconverted_text]"},
		{"EUC-KR", `{}`, "KS X 1001", "\xb1\xe8", patient, "[unconverted_text]"},

		// 表 is 95 5C, ソ 83 5C, ポ 83 7C.
		{"Shift-JIS hides a separator", `{}`, "SHIFT_JIS", "\x83\x7c", patient, "[unconverted_text]"},
		{"Shift-JIS assumed", `{"assumed_charset":"SHIFT_JIS"}`, "", "\x83\x7c", patient, "[unconverted_text]"},
		{"Shift-JIS katakana", `{}`, "SHIFT_JIS", "\xb1", patient, "[unconverted_text]"},
		{"Shift-JIS cut by a separator", `{}`, "SHIFT_JIS", "\x83", none, "[unconverted_text]"},
		{"Shift-JIS cut by a segment end", `{}`, "SHIFT_JIS", "\x83\rNTE|1|", none, "[undecidable_charset]"},
		{"other set declared to a Shift-JIS device", `{"assumed_charset":"SHIFT_JIS"}`, "8859/1", "\x83\x7c", none, "[undecidable_charset]"},
		{"other set declared, no difference", `{"assumed_charset":"SHIFT_JIS"}`, "8859/1", "\x83A", "[\u0083A 4711^HOSP]", none},
		{"GB 18030, two bytes", `{}`, "GB 18030-2000", "\x81\x7c", patient, "[unconverted_text]"},
		{"GB 18030, four bytes", `{}`, "GB 18030-2000", "\x81\x30\x81\x30", patient, "[unconverted_text]"},
		{"Big5", `{}`, "BIG-5", "\xa5\x5c", patient, "[unconverted_text]"},
		{"Big5 bad", `{}`, "BIG-5", "\xa5\x80", none, "[undecidable_charset]"},
		{"ISO 2022", `{}`, "~ISO IR87", "\x1b$B|^~&\x1b(B", patient, "[unconverted_text]"},
		{"unknown set, ASCII text", `{}`, "KLINGON", "", patient, none},
		{"unknown set", `{}`, "KLINGON", "\xe9", none, "[unknown_charset]"},
	}
	for _, test := range tests {
		sent := charsetMessage(test.set, test.pid2)
		set, err := parseSettings([]byte(test.settings))
		if err != nil {
			t.Fatal(err)
		}
		m, ok := set.read([]byte(sent[1:len(sent)-2]), true, 0)
		seen := fmt.Sprint(m.op.Attributes.Get("patient_ids"), m.op.Attributes.Get("anomalies"))
		if want := test.patients + " " + test.anomalies; !ok || m.wrong != nil || seen != want {
			t.Errorf("%s: %q, %v, %s\nwant %s", test.name, sent, m.wrong, seen, want)
		}
	}
}

func TestCharsetRefused(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	var list []conformance.Dialogue
	for title, sent := range map[string]string{
		"ESC without a set that uses it": charsetMessage("8859/1", "\x1b$B"),
		"ESC in a message without a set": charsetMessage("", "\x1b(B"),
		"escape open at a segment's end": frame(msh("ORU^R01", "1", "2.5")+"||||||~ISO IR87", "PID|1|\x1b$B!!"),
		"escape cut by a segment's end":  frame(msh("ORU^R01", "1", "2.5")+"||||||~ISO IR87", "PID|1|\x1b$"),
		"UTF-32":                         charsetMessage("UNICODE UTF-32", ""),
	} {
		list = append(list, conformance.Named(title).Forward(sent).Forward(oru("2")).
			WantInvalid(name, write, "patient_ids", nil).WantOperation(name, write).WantForward(oru("2")).
			WantRefusal(1, answerTo(t, `{}`, sent[1:len(sent)-2], policyRefusal)))
	}
	conformance.Run(t, Protocol(), `{}`, list...)
}

// In a body that streams, escapes are followed from piece to piece.
func TestCharsetOfBody(t *testing.T) {
	head := "\x0b" + lines("\r", msh("ORU^R01", "1", "2.5")+"||||||~ISO IR87") + "OBX|1|TX|1||" + strings.Repeat("x", headSize)
	good := head + "\x1b$B|^~&\x1b(B\r\x1c\r"
	bad := head + "\x1b$B|^~&\rOBX|2\r\x1c\r"
	for _, size := range []int{1, 5, 1 << 20} {
		for _, test := range []struct{ sent, end string }{{good, fmt.Sprintf("span 1 to %d\n", len(good))}, {bad, "end a message was refused that cannot be followed by another\n"}} {
			if got := drive(open(t, `{}`), newSteps(), 0, test.sent, size, false); !strings.HasSuffix(got, test.end) {
				t.Errorf("pieces of %d: %s\nwant %s", size, got, test.end)
			}
		}
	}
}
