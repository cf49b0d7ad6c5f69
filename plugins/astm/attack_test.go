package astm

import (
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestTwoReadings has frames in which some devices would see other records or other values
// than those that are told.
func TestTwoReadings(t *testing.T) {
	for _, test := range []struct{ what, frame, name string }{
		{"NUL, behind which a C program sees nothing", fr(1, recH, "O|1|S-55||^^^GLU\x00||||||||C", recM), "astm:O"},
		{"BS, which a terminal takes back", fr(1, recH, "R|1|^^^GLU\x08\x08\x08POT|1"), "astm:R"},
		{"DEL", fr(1, recH, "R|1|^^^GLU\x7f|1"), "astm:R"},
		{"standard field delimiter where there is another", fr(1, `H!\^&!!!HOST`, `O!|1|S-55||^^^GLU|||||||C`), "astm:O"},
		{"query beside a patient", fr(1, recH, recP, recQ, recL), "astm:unknown"},
		{"query beside an order", fr(1, recH, recQ, recO, recL), "astm:unknown"},
	} {
		d := opened(test.what).Reverse(test.frame).WantOperation("astm:ENQ", policy.ClassSession)
		if test.name == "astm:unknown" {
			conformance.Run(t, Protocol(), `{}`, d.WantOperation(test.name, policy.ClassUnknown))
			continue
		}
		conformance.Run(t, Protocol(), `{}`, d.WantInvalid(test.name, classOf(test.name)).
			WantRefusal(fromDevice(2), sNAK).WantReverse(sENQ))
	}
	conformance.Run(t, Protocol(), `{}`,
		opened("blanks of all kinds around a code").Reverse(fr(1, recH, "O|1|S-55\t||^^^\tGLU\x0b|R||||||\tC ")).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:O", policy.ClassControl, "actions", listed("C"), "tests", listed("GLU"), "specimen_ids", listed("S-55")),
		opened("test identifiers that are in neither of their places").Reverse(fr(1, recH, `R|1|^GLU^^\^^POT^\^^^NA^2|1`)).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:R", policy.ClassWrite, "tests", listed("GLU", "POT", "NA")),
		opened("comment about a query").Reverse(fr(1, recH, recQ, recC, recL)).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:Q", policy.ClassQuery))
}

// TestCutBetweenCRLF has a record's end cut in two by the length of a frame.
func TestCutBetweenCRLF(t *testing.T) {
	first, second := cut(1, recH+"\r\n"+recP+"\r"), sealed('2', "\n"+recO+"\r\n"+recL+"\r\n", etx)
	conformance.Run(t, Protocol(), `{}`,
		opened("goes on").Reverse(first).Forward(sACK).Reverse(second).Forward(sACK).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:P", policy.ClassWrite, "partial", 1).
			WantOperation("astm:O", policy.ClassWrite, "records", listed("P", "O", "L"), "patient_ids", listed("100123", "L77"), "partial", nil).
			WantReverse(sENQ+first+second),
		opened("does not go on").Reverse(first).Forward(sACK).Reverse(fr(2, recO)).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:P", policy.ClassWrite).
			WantInvalid("astm:P", policy.ClassWrite).WantRefusal(fromDevice(3), sNAK).WantReverse(sENQ+first))
}

// TestBareLineEnd has the last LF of a message come behind the answer to it.
func TestBareLineEnd(t *testing.T) {
	message := recH + "\r\n" + recL + "\r"
	conformance.Run(t, Protocol(), `{"bare":true}`,
		conformance.Named("LF behind the answer").Reverse(message).Forward(sACK).Reverse("\n").Reverse(message).
			WantOperation("astm:H", policy.ClassSession).WantOperation("astm:H", policy.ClassSession).
			WantReverse(message+"\n"+message).WantForward(sACK),
		conformance.Named("a second answer").Reverse(message).Forward(sACK+sACK).
			WantOperation("astm:H", policy.ClassSession).WantInvalid("astm:malformed", policy.ClassUnknown).
			WantRefusal(1, "").WantEnd().WantForward(sACK))
}
