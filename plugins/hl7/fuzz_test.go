package hl7

import (
	"bytes"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

var seeds = []conformance.Dialogue{
	conformance.Forward(oru("1")).Reverse(ack("1")).Forward(oru("2")).Refused(2),
	conformance.Forward(oru("1") + oru("2")).Reverse(ack("1")).Refused(2),
	conformance.Forward("\r\n" + endBlockOf(oru("1"))).Reverse("\r" + endBlockOf(ack("1"))).Forward(oru("")),
	conformance.Forward(modes("1", "AL", "NE")).Reverse(reply("CA", "1") + reply("AA", "1")),
	conformance.Forward(raw(lines("\n", msh("ADT^A01", "1", "2.3"), "PID|1||1~2"))).Reverse(frame(msh("ACK", "1", "2.3"), "MSA|AE|1")),
	conformance.Forward(charsetMessage("~ISO IR87", "\x1b$B|^\x1b(B") + charsetMessage("SHIFT_JIS", "\x83\x7c")),
	conformance.Forward(raw("BHS|^~\\&\r" + lines("\r", msh("ORU^R01", "1", "2.5"), msh("ORU^R01", "2", "2.5")) + "BTS|2\r")).
		Reverse(raw("BHS|^~\\&\r" + lines("\r", msh("ACK", "1", "2.5"), "MSA|AA|1"))),
	conformance.Forward(oru("1")).Reverse("\x0b\x06\x1c\r" + ack("1")).Forward("\x0b\x06\x1c\r").Reverse("\x0b\x15\x1c\r"),
	conformance.Forward("\x0b" + oru("1")).Reverse("\x0bMSH|\x1c"),
}

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, Protocol(), `{}`, seeds...) }

// Setting commit is left out: a client that acknowledges what it has not been sent yet may be
// early or not, depending on how its bytes are cut.
func FuzzLooseDialogue(f *testing.F) {
	conformance.Fuzz(f, Protocol(), `{"batch":"allow","loose_segments":true,"loose_ack":true,
		"allow_control":["TAB","LF"],"assumed_charset":"GB18030","max_message":1024,"deny_code":"AE"}`, seeds...)
}

// Whatever a message and a decision contain, the refusal is one frame of whole segments.
func FuzzRefusal(f *testing.F) {
	for _, head := range []string{msh("ORU^R01", "1", "2.5"), msh("ADT^A01", "1", "2.3"), `MSH-.+/=-a-b-c-d---ORU.R01-1-P-2.5`, `MSH|~~~~|a~b|c^d|e|f|||ORU^R01|1|P|2.5`} {
		f.Add([]byte(head+"\r"), "7QF-21", "not permitted")
	}
	set := &settings{denyCode: "AR", maxMessage: defaultMessage}
	f.Fuzz(func(t *testing.T, content []byte, code, reason string) {
		m, ok := set.read(content, true, 0)
		if !ok {
			return
		}
		s := session{set: set, op: 1, latest: 1}
		s.remember(&m, m.wrong)
		answer := string(set.answer(&refused{s.open[0], sdk.Refusal{Code: code, Cause: policy.CausePolicy, Reason: reason}}))
		if answer == "" {
			return
		}
		inner, ok := strings.CutPrefix(answer, "\x0b")
		inner, cut := strings.CutSuffix(inner, "\r\x1c\r")
		if !ok || !cut || len(answer) > sdk.MaxRefusal {
			t.Fatalf("%q: frame of %d bytes", answer, len(answer))
		}
		for _, segment := range strings.Split(inner, "\r") {
			if strings.Trim(segment, asciiText) != "" || !strings.Contains("MSH MSA ERR BHS BTS", segment[:3]) {
				t.Fatalf("%q", answer)
			}
		}
		h, ok := parseHeader(inner[strings.Index(inner, "MSH"):])
		if !ok || h.odd {
			t.Fatalf("%q: header that cannot be read", answer)
		}
		if err := Answer([]byte(answer)); err != nil {
			t.Fatalf("%q: a device is not told it: %v", answer, err)
		}
	})
}

// FuzzAnswer: what Answer accepts, the inspector reads as negative acknowledgements, if as anything.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{nak("1", "1", "AR", denied, "not permitted"), "\r" + nak("1", "1", "AE", denied, "x"), oldNak, batchNak} {
		f.Add([]byte(seed))
	}
	set := &settings{denyCode: "AR", maxMessage: defaultMessage, batch: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		if Answer(b) != nil || len(b) == 0 {
			return
		}
		content := b[bytes.LastIndexByte(b, startBlock)+1 : len(b)-2]
		m, ok := set.read(content, true, 0)
		if !ok {
			t.Fatalf("%q: no message", b)
		}
		if m.wrong != nil {
			return
		}
		if name := m.op.Name; !strings.HasPrefix(name, "hl7:ACK") {
			t.Fatalf("%q: read as %s", b, name)
		}
		for _, segment := range strings.Split(string(content), "\r") {
			if strings.HasPrefix(segment, "MSA") && !strings.Contains("AR AE CR CE", segment[4:6]) {
				t.Fatalf("%q: %s", b, segment)
			}
		}
	})
}
