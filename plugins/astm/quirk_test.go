package astm

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// opened begins a dialogue with a transmission of the device that the client has accepted.
func opened(name string) conformance.Dialogue {
	return conformance.Named(name).Reverse(sENQ).Forward(sACK)
}

// TestQuirks has what devices are known to do pass, with its name, and be refused where the
// service says so.
func TestQuirks(t *testing.T) {
	lower := func() string { // a frame whose checksum has a letter
		for i := range 256 {
			f := fr(1, recH, fmt.Sprintf("C|1|I|%d", i), recL)
			sum := f[len(f)-4 : len(f)-2]
			if strings.ToLower(sum) != sum {
				return f[:len(f)-4] + strings.ToLower(sum) + "\r\n"
			}
		}
		return ""
	}()
	for _, test := range []struct{ anomaly, frame, name string }{
		{"lf_ends", sealed('1', recH+"\n"+recM+"\n"+recL+"\n", etx), "astm:M"},
		{"crlf_ends", sealed('1', recH+"\r\n"+recM+"\r\n"+recL+"\r\n", etx), "astm:M"},
		{"missing_record_end", sealed('1', recH+"\r"+recM+"\r"+recL, etx), "astm:M"},
		{"empty_record", sealed('1', recH+"\r\r"+recM+"\r", etx), "astm:M"},
		{"lower_case_type", fr(1, recH, "m|1|x", recL), "astm:M"},
		{"lower_case_type", fr(1, "h"+recH[1:], recM), "astm:M"},
		{"odd_delimiters", fr(1, `H!~$%!!!BGA`, `O!1!S-1!!$$$GLU!!!!!!!C`), "astm:O"},
		{"escaped_value", fr(1, `H|\^&|||A&F&B`), "astm:H"},
		{"latin1_text", fr(1, "H|\\^&|||M\xfcnster"), "astm:H"},
		{"lower_case_checksum", lower, "astm:C"},
		{"first_frame_0", fr(0, recH, recM), "astm:M"},
	} {
		class := map[string]policy.Class{"astm:M": policy.ClassAdmin, "astm:O": policy.ClassControl,
			"astm:H": policy.ClassSession, "astm:C": policy.ClassWrite}[test.name]
		conformance.Run(t, Protocol(), `{}`, opened(test.anomaly).
			Reverse(test.frame).Forward(sACK).Reverse(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation(test.name, class, "anomalies", listed(test.anomaly)).
			WantReverse(sENQ+test.frame+sEOT))
		conformance.Run(t, Protocol(), `{"refuse":["`+test.anomaly+`"]}`, opened(test.anomaly+" refused").
			Reverse(test.frame).Reverse(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantInvalid(test.name, class, "anomalies", listed(test.anomaly)).
			WantRefusal(fromDevice(2), sNAK).WantReverse(sENQ+sEOT))
	}
	conformance.Run(t, Protocol(), `{}`,
		opened("values as they are meant").
			Reverse(fr(1, "H|\\^&|||M\xfcnster", "R|1|^^^GLU^2\\K^^^POT\\^only|5")).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:R", policy.ClassWrite, "sender", "Münster", "tests", listed("GLU", "K", "POT", "only")),
		opened("the record before a patient is about the one before").
			Reverse(fr(1, recH, recP, recO)).Forward(sACK).Reverse(fr(2, recR, "P|2|200", "O|1|S-66||^^^K")).Forward(sACK).Reverse(fr(3, "R|1|^^^K|4.1")).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:O", policy.ClassWrite).
			WantOperation("astm:O", policy.ClassWrite, "patient_ids", listed("100123", "L77", "200"), "specimen_ids", listed("S-55", "S-66")).
			WantOperation("astm:R", policy.ClassWrite, "patient_ids", listed("200"), "specimen_ids", listed("S-66")),
	)
}

// TestFrameEnd has frames end with their checksum, and be followed by what senders put there.
func TestFrameEnd(t *testing.T) {
	whole := fr(1, recH, recL)
	for _, tail := range []string{"", "\r", "\n", "\r\n"} {
		f := strings.TrimSuffix(whole, "\r\n") + tail
		conformance.Run(t, Protocol(), `{"frame_end":"checksum"}`,
			opened(fmt.Sprintf("%q", tail)).Reverse(f).Forward(sACK).Reverse(sEOT).WantReverse(sENQ+f+sEOT),
			opened(fmt.Sprintf("%q refused", tail)).Reverse(f).Refused(fromDevice(2)).Reverse(sEOT).
				WantForward(sACK+sNAK).WantReverse(sENQ+sEOT))
		if tail != "\r\n" {
			conformance.Run(t, Protocol(), `{}`, opened(fmt.Sprintf("%q is too little", tail)).Reverse(f+sEOT).
				WantOperation("astm:ENQ", policy.ClassSession).WantInvalid("astm:malformed", policy.ClassUnknown).
				WantRefusal(fromDevice(2), sNAK).WantEnd().WantReverse(sENQ))
		}
	}
}

func TestBare(t *testing.T) {
	message := func(records ...string) string { return strings.Join(records, "\r") + "\r" }
	result, order := message(recH, recP, recR, recL), message(recH, recX, recL)
	crlf := strings.ReplaceAll(result, "\r", "\r\n")
	conformance.Run(t, Protocol(), `{"bare":true,"max_frame":240}`,
		conformance.Named("both sides").Reverse(result).Forward(sACK).Forward(order).Reverse(sNAK).Reverse(crlf).
			WantOperation("astm:R", policy.ClassWrite, "patient_ids", listed("100123", "L77"), "tests", listed("GLU"), "anomalies", nil).
			WantOperation("astm:O", policy.ClassControl).
			WantOperation("astm:R", policy.ClassWrite, "anomalies", listed("crlf_ends")).
			WantForward(sACK+order).WantReverse(result+sNAK+crlf),
		conformance.Named("a refusal ends it").Reverse(result).Forward(order).Reverse(result).Refused(1).
			WantOperation("astm:R", policy.ClassWrite).WantOperation("astm:O", policy.ClassControl).
			WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("half a message").Forward(order[:len(order)-1]).ForwardEnds().
			WantInvalid("astm:malformed", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("too long").Forward(message(recH, "C|1|I|"+strings.Repeat("x", 240), recL)).
			WantInvalid("astm:malformed", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("frames").Forward(sENQ).
			WantInvalid("astm:malformed", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("control character").Forward(message(recH, "C|1|"+sENQ, recL)).
			WantInvalid("astm:malformed", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("ambiguous").Forward(message(recH, recH, recL)).
			WantInvalid("astm:H", policy.ClassSession).WantRefusal(1, "").WantEnd().WantForward(""),
		conformance.Named("an answer to nothing").Forward(sACK).
			WantInvalid("astm:malformed", policy.ClassUnknown).WantRefusal(1, "").WantEnd().WantForward(""),
	)
	conformance.Run(t, Protocol(), `{"bare":true,"refuse":["crlf_ends"]}`,
		conformance.Named("refused quirk").Reverse(crlf).
			WantInvalid("astm:R", policy.ClassWrite).WantRefusal(fromDevice(1), "").WantEnd().WantReverse(""))
}
