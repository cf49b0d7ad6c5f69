package astm

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestMalformedFrames has frames refused that may be sent again: right behind it the right
// one passes.
func TestMalformedFrames(t *testing.T) {
	right := fr(1, recH, recP)
	long := strings.Repeat("x", 201)
	for _, test := range []struct{ what, frame, name string }{
		{"wrong checksum", right[:len(right)-4] + "00\r\n", "astm:frame"},
		{"no checksum", right[:len(right)-4] + "G0\r\n", "astm:frame"},
		{"no number", sealed('H', recH[1:]+"\r", etx), "astm:frame"},
		{"number 8", sealed('8', recH+"\r", etx), "astm:frame"},
		{"no text", sealed('1', "", etx), "astm:frame"},
		{"nothing at all", "\x02\x0303\r\n", "astm:frame"},
		{"number that is not the next", fr(2, recH), "astm:H"},
		{"no header", fr(1, recP), "astm:P"},
		{"two headers", fr(1, recH, recH), "astm:H"},
		{"two messages", fr(1, recH, recL, recH, recL), "astm:H"},
		{"behind the end", fr(1, recH, recL, recM), "astm:M"},
		{"header without delimiters", fr(1, `H|\^`), "astm:H"},
		{"delimiters that are alike", fr(1, `H|\\&|x`), "astm:H"},
		{"delimiter that is a letter", fr(1, `H|\a&|x`), "astm:H"},
		{"delimiter that is a digit", fr(1, `H|\1&|x`), "astm:H"},
		{"delimiter that is a control character", fr(1, "H|\\\x1f&|x"), "astm:H"},
		{"more delimiters than there are", fr(1, `H|\^&~|x`), "astm:H"},
		{"records end in two ways", sealed('1', recH+"\r"+recC+"\n", etx), "astm:C"},
		{"a record inside another for who takes LF for an end", sealed('1', recH+"\rC|1|I|x\nM|1|y\r", etx), "astm:C"},
		{"a record that could go on", sealed('1', recH+"\r"+recO[:40], etx), "astm:O"},
		{"hidden code", fr(1, recH, `O|1|S-55||^^^GLU|R||||||&X43&`), "astm:O"},
		{"hidden test", fr(1, recH, `R|1|^^^G&X4C&U|1`), "astm:R"},
		{"long value", fr(1, recH, "R|1|^^^"+long), "astm:R"},
		{"empty records alone", fr(1, ""), "astm:unknown"},
	} {
		d := opened(test.what).Reverse(test.frame).Reverse(right).Forward(sACK).Reverse(sEOT)
		conformance.Run(t, Protocol(), `{}`, d.
			WantRefusal(fromDevice(2), sNAK).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantInvalid(test.name, classOf(test.name)).
			WantOperation("astm:P", policy.ClassWrite).
			WantForward(sACK+sNAK+sACK).WantReverse(sENQ+right+sEOT))
	}
}

// TestBounds has no list of facts cut: what policy cannot be told whole is refused.
func TestBounds(t *testing.T) {
	set, err := parseSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		values, length int
		wrong          string
	}{
		{256, 5, ""}, {257, 5, "more values than policy can be told"},
		{100, 200, ""}, {110, 200, "more values than policy can be told"},
		{1, 201, "value longer than policy can be told"},
	} {
		record := "R|1|"
		for i := range test.values {
			record += fmt.Sprintf(`^^^%0*d\`, test.length, i)
		}
		r := set.read(nil, []byte(recH+"\r"+record+"\r"), true)
		if tests, _ := r.operation.Attributes.Get("tests").([]string); r.wrong != test.wrong || r.wrong == "" && len(tests) != test.values {
			t.Errorf("%d values of %d bytes: %d told, %q", test.values, test.length, len(tests), r.wrong)
		}
	}
}

func classOf(name string) policy.Class {
	letter := strings.TrimPrefix(name, "astm:")
	if len(letter) > 1 {
		return policy.ClassUnknown
	}
	return kindOf(letter[0]).class
}

func TestCutFrame(t *testing.T) {
	right := fr(1, recH)
	for _, test := range []struct{ what, bytes, wrong, broken string }{
		{"as it should be", right, "", ""},
		{"checksum", right[:len(right)-4] + "00\r\n", "checksum is wrong", ""},
		{"too long", sealed('1', strings.Repeat("x", 241), etx), "", "frame that is too long"},
		{"too long, as far as it goes", "\x021" + strings.Repeat("x", 241), "", "frame that is too long"},
		{"as long as may be", sealed('1', strings.Repeat("x", 240), etx), "", ""},
		{"ENQ inside", sealed('1', "H|\x05\r", etx), "", "control character in a frame"},
		{"STX inside", right[:10] + right, "", "control character in a frame"},
		{"no CR", right[:len(right)-2] + "x", "", "no CR LF behind a checksum"},
		{"no LF", right[:len(right)-1] + "\r", "", "no CR LF behind a checksum"},
	} {
		set, err := parseSettings([]byte(`{"max_frame":240}`))
		if err != nil {
			t.Fatal(err)
		}
		if f, _, broken := set.cutFrame([]byte(test.bytes), 0); f.wrong != test.wrong || broken != test.broken || broken == "" && f.size != len(test.bytes) {
			t.Errorf("%s: %q, %q, %d bytes of %d", test.what, f.wrong, broken, f.size, len(test.bytes))
		}
	}
}

// TestMalformed has the session end, as nobody knows any more where something begins.
func TestMalformed(t *testing.T) {
	whole := fr(1, recH)
	for _, test := range []struct{ what, sent string }{
		{"text without a frame", recH},
		{"NUL", "\x00"},
		{"line end", "\r\n"},
		{"ENQ in a frame", sealed('1', recH+sENQ+"\r", etx)},
		{"frame in a frame", whole[:10] + whole},
		{"NUL behind a checksum", whole[:len(whole)-2] + "\x00"},
		{"frame that is too long", sealed('1', strings.Repeat("x", 241), etx)},
		{"half a frame", whole[:10]},
		{"ACK of nothing", sACK},
		{"NAK of nothing", sNAK},
	} {
		conformance.Run(t, Protocol(), `{"max_frame":240}`,
			opened(test.what).Reverse(test.sent).ReverseEnds().
				WantOperation("astm:ENQ", policy.ClassSession).WantInvalid("astm:malformed", policy.ClassUnknown).
				WantRefusal(fromDevice(2), sNAK).WantEnd().WantReverse(sENQ).WantForward(sACK+sNAK),
			conformance.Named(test.what+", of the client").Forward(test.sent).ForwardEnds().
				WantInvalid("astm:malformed", policy.ClassUnknown).
				WantRefusal(1, sNAK).WantEnd().WantForward("").WantReverse(sNAK))
	}
	conformance.Run(t, Protocol(), `{"max_frame":240}`,
		opened("record of too many frames").
			Reverse(cut(1, recH+"\rC|1|I|"+strings.Repeat("x", 160))).Forward(sACK).Reverse(cut(2, strings.Repeat("x", 200))).Reverse(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:C", policy.ClassWrite, "partial", 1).
			WantInvalid("astm:C", policy.ClassWrite).WantRefusal(fromDevice(3), sNAK),
		opened("longest frame").Reverse(sealed('1', recH+"\rC|"+strings.Repeat("x", 240-len(recH)-4)+"\r", etx)).Forward(sACK).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:C", policy.ClassWrite),
		opened("frame of who receives").Forward(fr(1, recH)).Reverse(fr(1, recH)).Forward(sACK).
			WantOperation("astm:ENQ", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).WantOperation("astm:H", policy.ClassSession).
			WantRefusal(1, sNAK).WantReverse(sENQ+sNAK+fr(1, recH)))
}
