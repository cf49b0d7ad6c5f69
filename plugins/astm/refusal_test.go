package astm

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// fromDevice is the nth operation the device asks for.
func fromDevice(n uint64) sdk.OpID { return sdk.Reverse.Operation(n) }

// TestClasses has a record of each class pass and be refused, from either side. Behind what
// is refused only the sender's EOT reaches the other side, which so discards the message.
func TestClasses(t *testing.T) {
	for _, test := range []struct {
		record, name string
		class        policy.Class
	}{
		{"C|1|I|clotted", "astm:C", policy.ClassWrite},
		{recP, "astm:P", policy.ClassWrite},
		{recO, "astm:O", policy.ClassWrite},
		{recX, "astm:O", policy.ClassControl},
		{`O|1|S-55||^^^GLU|R||||||A\c`, "astm:O", policy.ClassControl},
		{`O|1|S-55||^^^GLU|R|||||| C^all`, "astm:O", policy.ClassControl},
		{recR, "astm:R", policy.ClassWrite},
		{recQ, "astm:Q", policy.ClassQuery},
		{"S|1|any", "astm:S", policy.ClassWrite},
		{recM, "astm:M", policy.ClassAdmin},
		{"m|1|REAGENT", "astm:M", policy.ClassAdmin},
		{recL, "astm:L", policy.ClassSession},
		{"X|1|?", "astm:unknown", policy.ClassUnknown},
		{"OK|1|?", "astm:unknown", policy.ClassUnknown},
		{"1|?", "astm:unknown", policy.ClassUnknown},
	} {
		head, record, last := fr(1, recH), fr(2, test.record), fr(3, recL)
		if test.name == "astm:L" {
			last = ""
		}
		answered := strings.Repeat(sACK, strings.Count(last, "\x02"))
		conformance.Run(t, Protocol(), `{}`,
			beat(test.record+" allowed").
				Forward(sENQ).Reverse(sACK).Forward(head).Reverse(sACK).Forward(record).Reverse(sACK).
				Forward(last).Reverse(answered).Forward(sEOT).
				WantForward(sACK+sENQ+head+record+last+sEOT).WantReverse(sENQ+sEOT+sACK+sACK+sACK+answered),
			beat(test.record+" refused").
				Forward(sENQ).Reverse(sACK).Forward(head).Reverse(sACK).Forward(record).Refused(3).Forward(sEOT).
				WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
				WantOperation("astm:H", policy.ClassSession).WantOperation(test.name, test.class).
				WantRefusal(3, sNAK).
				WantForward(sACK+sENQ+head+sEOT).WantReverse(sENQ+sEOT+sACK+sACK+sNAK),
			conformance.Named(test.record+" refused to the device").
				Reverse(sENQ).Forward(sACK).Reverse(head).Forward(sACK).Reverse(record).Refused(fromDevice(3)).Reverse(sEOT).
				WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:H", policy.ClassSession).
				WantOperation(test.name, test.class).
				WantRefusal(fromDevice(3), sNAK).
				WantForward(sACK+sACK+sNAK).WantReverse(sENQ+head+sEOT),
		)
	}
}

func TestRefusals(t *testing.T) {
	head := fr(1, recH)
	conformance.Run(t, Protocol(), `{}`,
		beat("ENQ of a client").
			Forward(sENQ).Forward(head).Forward(head).Forward(head).Forward(sEOT).Forward(sENQ).Reverse(sACK).Refused(1).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantRefusal(1, sACK).WantRefusal(2, sNAK).WantRefusal(3, sNAK).WantRefusal(4, sNAK).
			WantForward(sACK+sENQ).WantReverse(sENQ+sEOT+sACK+sNAK+sNAK+sNAK+sACK),
		conformance.Named("ENQ of a device").
			Reverse(sENQ).Reverse(head).Reverse(sEOT).Reverse(sENQ).Refused(fromDevice(1)).
			WantOperation("astm:ENQ", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantRefusal(fromDevice(1), "").WantRefusal(fromDevice(2), sNAK).
			WantForward(sNAK).WantReverse(sENQ),
		conformance.Named("for doubt, too").
			Reverse(sENQ).Forward(sACK).Reverse(head).
			RefusedWith(sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}, fromDevice(2)).
			WantForward(sACK+sNAK),
		beat("six entries and no more").
			Forward(sENQ).Reverse(sACK).Forward(strings.Repeat(head, 40)).Forward(sEOT).Refused(2).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession).
			WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).
			WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:H", policy.ClassSession).
			WantRefusal(2, sNAK).WantRefusal(3, sNAK).WantRefusal(4, sNAK).WantRefusal(5, sNAK).WantRefusal(6, sNAK).WantRefusal(7, sNAK).
			WantForward(sACK+sENQ+sEOT).WantReverse(sENQ+sEOT+sACK+strings.Repeat(sNAK, 6)),
		beat("the receiver refuses for ever").
			Forward(sENQ).Reverse(sACK).
			Forward(head).Reverse(sNAK).Forward(head).Reverse(sNAK).Forward(head).Reverse(sNAK).
			Forward(head).Reverse(sNAK).Forward(head).Reverse(sNAK).Forward(head).Reverse(sNAK).
			Forward(head).Forward(head).Forward(head).Forward(sEOT).
			WantForward(sACK+sENQ+strings.Repeat(head, 6)+sEOT).WantReverse(sENQ+sEOT+sACK+strings.Repeat(sNAK, 7)),
		beat("what comes behind a refused frame, instead of it").
			Forward(sENQ).Reverse(sACK).Forward(head).Reverse(sACK).
			Forward(fr(2, recX)).Forward(fr(3, recL)).Forward(fr(2, recL)).Forward(sEOT).Refused(3).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession).WantOperation("astm:O", policy.ClassControl).
			WantInvalid("astm:L", policy.ClassSession).WantInvalid("astm:L", policy.ClassSession).
			WantRefusal(3, sNAK).WantRefusal(4, sNAK).WantRefusal(5, sNAK).
			WantForward(sACK+sENQ+head+sEOT),
		beat("a sender that does not wait").
			Forward(sENQ).Reverse(sACK).Forward(head).Forward(fr(2, recL)).Reverse(sACK).Forward(fr(2, recL)).Reverse(sACK).Forward(sEOT).
			WantRefusal(3, sNAK).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession).WantInvalid("astm:L", policy.ClassSession).WantOperation("astm:L", policy.ClassSession).
			WantForward(sACK+sENQ+head+fr(2, recL)+sEOT).WantReverse(sENQ+sEOT+sACK+sNAK+sACK+sACK),
		beat("a sender that does not wait, and gives up").
			Forward(sENQ).Reverse(sACK).Forward(head).Forward(fr(2, recL)).Forward(sEOT).
			WantReverse(sENQ+sEOT+sACK+sNAK),
		beat("all in one go").
			Forward(sENQ+head+fr(2, recL)+sEOT).Reverse(sACK).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantInvalid("astm:H", policy.ClassSession).WantInvalid("astm:L", policy.ClassSession).
			WantRefusal(2, sNAK).WantRefusal(3, sNAK).
			WantForward(sACK+sENQ+sEOT),
		beat("an answer to an ENQ that was refused").
			Forward(sENQ).Forward(sEOT).Refused(1).Reverse(sACK).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantInvalid("astm:malformed", policy.ClassUnknown).
			WantRefusal(1, sACK).WantRefusal(fromDevice(2), sNAK).WantEnd().
			WantForward(sACK+sNAK).WantReverse(sENQ+sEOT+sACK),
		conformance.Named("an EOT that nobody waits for").
			Reverse(sEOT).Refused(fromDevice(1)).Reverse(sENQ).
			WantOperation("astm:EOT", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantRefusal(fromDevice(1), "").WantReverse(sENQ),
	)
}
