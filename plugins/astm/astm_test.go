package astm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// The control characters as a line sends them.
const (
	sENQ = "\x05"
	sEOT = "\x04"
	sACK = "\x06"
	sNAK = "\x15"
)

// sealed is a frame with its number, end and the right checksum.
func sealed(number byte, text string, end byte) string {
	body := string(number) + text + string(end)
	sum := byte(0)
	for i := range len(body) {
		sum += body[i]
	}
	return "\x02" + body + fmt.Sprintf("%02X", sum) + "\r\n"
}

// fr is a frame that ends in ETX, of records without their ends.
func fr(number int, records ...string) string {
	return sealed(byte('0'+number), strings.Join(records, "\r")+"\r", etx)
}

// cut is a frame that ends in ETB, of exactly this text.
func cut(number int, text string) string { return sealed(byte('0'+number), text, etb) }

// Records as an analyser and a host send them.
const (
	recH = `H|\^&|4711|secret|BGA^9^1.2|||||LIS||P|LIS2-A2|20261122120000`
	recP = `P|1|100123|L77||DEMO^PATIENT`
	recO = `O|1|S-55^1^2||^^^GLU\^^^NA|R||20261122115500||||N||||||||||||||F`
	recX = `O|1|S-55||^^^GLU|R||||||C`
	recR = `R|1|^^^GLU|182|mg/dL||H||F`
	recC = `C|1|I|clotted`
	recQ = `Q|1|^S-55||^^^ALL||||||||O`
	recM = `M|1|REAGENT|12`
	recL = `L|1|N`
)

// listed are facts as attributes have them.
func listed(values ...string) []string { return values }

// beat begins a dialogue with a heartbeat of the device. What comes first from the client is
// what the kit sends a window full of, and of ENQ that takes long.
func beat(name string) conformance.Dialogue {
	return conformance.Named(name).Reverse(sENQ).Forward(sACK).Reverse(sEOT)
}

func TestDialogue(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("results, record by record, asked by the device").
			Reverse(sENQ).Forward(sACK).
			Reverse(fr(1, recH)).Forward(sACK).Reverse(fr(2, recP)).Forward(sACK).
			Reverse(fr(3, recO)).Forward(sACK).Reverse(fr(4, recR)).Forward(sACK).
			Reverse(fr(5, recC)).Forward(sACK).Reverse(fr(6, recL)).Forward(sACK).Reverse(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession, "sender", "BGA^9^1.2", "receiver", "LIS", "processing_id", "P",
				"version", "LIS2-A2", "control_id", "4711", "patient_ids", nil, "anomalies", nil).
			WantOperation("astm:P", policy.ClassWrite, "sender", "BGA^9^1.2", "patient_ids", listed("100123", "L77"), "records", listed("P")).
			WantOperation("astm:O", policy.ClassWrite, "patient_ids", listed("100123", "L77"), "specimen_ids", listed("S-55"),
				"tests", listed("GLU", "NA"), "actions", listed("N"), "report_types", listed("F"), "priorities", listed("R")).
			WantOperation("astm:R", policy.ClassWrite, "patient_ids", listed("100123", "L77"), "specimen_ids", listed("S-55"),
				"tests", listed("GLU"), "flags", listed("H"), "result_statuses", listed("F"), "partial", nil).
			WantOperation("astm:C", policy.ClassWrite, "sender", "BGA^9^1.2", "specimen_ids", listed("S-55")).
			WantOperation("astm:L", policy.ClassSession, "sender", "BGA^9^1.2", "termination", listed("N"), "patient_ids", nil),
		conformance.Named("a query and its orders, both sides asking").
			Reverse(sENQ).Forward(sACK).Reverse(fr(1, recH, recQ, recL)).Forward(sACK).Reverse(sEOT).
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, recP, recO, recL)).Reverse(sACK).Forward(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:Q", policy.ClassQuery, "query_ids", listed("^S-55"), "tests", listed("ALL"), "query_status", listed("O"),
				"records", listed("H", "Q", "L")).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:O", policy.ClassWrite, "records", listed("H", "P", "O", "L")).
			WantForward(sACK+sACK+sENQ+fr(1, recH, recP, recO, recL)+sEOT).
			WantReverse(sENQ+fr(1, recH, recQ, recL)+sEOT+sACK+sACK),
		beat("the next message of a transmission").
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, recL)).Reverse(sACK).Forward(fr(2, recH, recM, recL)).Reverse(sACK).
			Forward(fr(1, recH, recX, recL)).Reverse(sACK).Forward(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession, "records", listed("H", "L"), "anomalies", nil).
			WantOperation("astm:M", policy.ClassAdmin, "anomalies", nil).
			WantOperation("astm:O", policy.ClassControl, "actions", listed("C"), "anomalies", listed("frame_restart")),
		beat("a long record is decided as it begins and when it is whole").
			Forward(sENQ).Reverse(sACK).Forward(cut(1, recH+"\r"+recX[:7])).Reverse(sACK).
			Forward(cut(2, recX[7:22])).Reverse(sACK).Forward(fr(3, recX[22:], recL)).Refused(4).Forward(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:O", policy.ClassWrite, "partial", 1, "specimen_ids", nil, "tests", nil, "actions", nil).
			WantOperation("astm:O", policy.ClassWrite, "partial", 1, "specimen_ids", listed("S-55"), "tests", listed("GLU"), "records", listed("O")).
			WantOperation("astm:O", policy.ClassControl, "partial", nil, "actions", listed("C"), "records", listed("O", "L")).
			WantRefusal(4, sNAK).
			WantForward(sACK+sENQ+cut(1, recH+"\r"+recX[:7])+cut(2, recX[7:22])+sEOT).
			WantReverse(sENQ+sEOT+sACK+sACK+sACK+sNAK),
		beat("frames are counted past 7").
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH)).Reverse(sACK).
			Forward(fr(2, recC)).Reverse(sACK).Forward(fr(3, recC)).Reverse(sACK).Forward(fr(4, recC)).Reverse(sACK).
			Forward(fr(5, recC)).Reverse(sACK).Forward(fr(6, recC)).Reverse(sACK).Forward(fr(7, recC)).Reverse(sACK).
			Forward(fr(0, recC)).Reverse(sACK).Forward(fr(1, recL)).Reverse(sACK).Forward(sEOT).
			WantForward(sACK+sENQ+fr(1, recH)+fr(2, recC)+fr(3, recC)+fr(4, recC)+fr(5, recC)+fr(6, recC)+fr(7, recC)+fr(0, recC)+fr(1, recL)+sEOT),
		conformance.Named("heartbeats").
			Reverse(sENQ).Forward(sACK).Reverse(sEOT).Reverse(sENQ).Reverse(sENQ).Reverse(sEOT).Forward(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:EOT", policy.ClassSession, "anomalies", listed("idle_eot")).
			WantForward(sACK+sEOT).WantReverse(sENQ+sEOT+sENQ+sENQ+sEOT),
		beat("contention: both wait, and the instrument tries again").
			Forward(sENQ).Reverse(sENQ).Reverse(sENQ).Forward(sACK).Reverse(fr(1, recH, recL)).Forward(sACK).Reverse(sEOT).
			WantForward(sACK+sENQ+sACK+sACK).WantReverse(sENQ+sEOT+sENQ+sENQ+fr(1, recH, recL)+sEOT),
		beat("contention: the host yields at once").
			Forward(sENQ).Reverse(sENQ).Forward(sACK).Reverse(fr(1, recH, recL)).Forward(sACK).Reverse(sEOT).
			Forward(sENQ).Reverse(sNAK).Forward(sENQ).Reverse(sACK).Forward(sEOT).
			WantForward(sACK+sENQ+sACK+sACK+sENQ+sENQ+sEOT).WantReverse(sENQ+sEOT+sENQ+fr(1, recH, recL)+sEOT+sNAK+sACK),
		beat("the receiver asks to stop, the sender's frame is accepted").
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH)).Reverse(sEOT).Forward(fr(2, recL)).Reverse(sACK).Forward(sEOT).
			WantForward(sACK+sENQ+fr(1, recH)+fr(2, recL)+sEOT).WantReverse(sENQ+sEOT+sACK+sEOT+sACK),
		beat("the receiver has a frame sent again").
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH)).Reverse(sNAK).Forward(fr(1, recH)).Reverse(sACK).
			Forward(fr(2, recL)).Reverse(sACK).Forward(sEOT).
			WantForward(sACK+sENQ+fr(1, recH)+fr(1, recH)+fr(2, recL)+sEOT).WantReverse(sENQ+sEOT+sACK+sNAK+sACK+sACK),
		conformance.Named("an ENQ that was sent twice is answered twice").
			Reverse(sENQ).Reverse(sENQ).Forward(sACK).Forward(sACK).Reverse(fr(1, recH, recL)).Forward(sACK).Reverse(sEOT).
			WantOperation("astm:ENQ", policy.ClassSession).WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession, "anomalies", listed("late_reply")).
			WantForward(sACK+sACK+sACK),
		beat("answers behind EOT").
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, recL)).Forward(sEOT).Reverse(sACK).
			Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, recL)).Reverse(sACK).Forward(sEOT).Reverse(sACK).Forward(sENQ).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession).
			WantOperation("astm:H", policy.ClassSession).
			WantOperation("astm:ENQ", policy.ClassSession, "anomalies", listed("late_reply")).
			WantOperation("astm:H", policy.ClassSession, "anomalies", nil).
			WantOperation("astm:ENQ", policy.ClassSession, "anomalies", listed("late_reply")).
			WantReverse(sENQ+sEOT+sACK+sACK+sACK+sACK+sACK),
	)
}

func TestSettings(t *testing.T) {
	for _, test := range []struct{ raw, wrong string }{
		{`{}`, ""},
		{`{"max_frame":240,"frame_end":"checksum","bare":true,"refuse":["lf_ends","late_reply"]}`, ""},
		{`{"max_frame":239}`, "not between 240 and 64000"},
		{`{"max_frame":"1MiB"}`, "not between 240 and 64000"},
		{`{"frame_end":"lf"}`, "not one of"},
		{`{"bare":"yes"}`, "bare"},
		{`{"refuse":["nothing"]}`, "not one of"},
		{`{"frames":1}`, "no such setting"},
	} {
		_, err := Protocol().Configure(json.RawMessage(test.raw))
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("%s: %v, want %q", test.raw, err, test.wrong)
		}
	}
}

func TestAnswer(t *testing.T) {
	for _, b := range []string{"", sNAK} {
		if err := Answer([]byte(b)); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	}
	for _, b := range []string{sACK, sEOT, sENQ, sNAK + sNAK, sNAK + sACK, fr(1, recH), "\x00"} {
		if Answer([]byte(b)) == nil {
			t.Errorf("a device may be told %q", b)
		}
	}
}
