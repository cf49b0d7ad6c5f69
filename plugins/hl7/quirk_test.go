package hl7

import (
	"strconv"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// raw puts content into a frame as it is.
func raw(content string) string { return "\x0b" + content + "\x1c\r" }

// endBlockOf cuts a frame behind its end block.
func endBlockOf(frame string) string { return strings.TrimSuffix(frame, "\r") }

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

func lines(end string, segments ...string) string { return strings.Join(segments, end) + end }

var content = []string{"PID|1||4711^^^HOSP^MR", "OBX|1|NM|150344^MDC_TEMP^MDC||37.1"}

func with(head string, tail ...string) []string { return append([]string{head}, tail...) }

// TestTolerated has a dialogue for each deviation that is let through, verbatim, and named.
func TestTolerated(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	patients := []string{"4711^HOSP^MR"}
	head := msh("ORU^R01^ORU_R01", "1", "2.5.1")
	list := func(names ...string) []string { return names }
	accepted := func(name, settings, sent string, facts ...any) {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, Protocol(), settings, conformance.Named("dialogue").
				Forward(sent).WantOperation("hl7:ORU^R01", write, facts...).WantForward(sent))
		})
	}
	accepted("LF ends", `{}`, raw(lines("\n", with(head, content...)...)), "patient_ids", patients, "anomalies", list("lf_ends"))
	accepted("LF ends, last CR", `{}`, raw(lines("\n", with(head, content...)...)+"\r"), "patient_ids", patients)
	accepted("CRLF ends", `{}`, raw(lines("\r\n", with(head, content...)...)), "patient_ids", patients, "anomalies", list("crlf_ends"))
	accepted("last segment without CR", `{}`, raw(strings.Join(with(head, content...), "\r")), "patient_ids", patients, "anomalies", nil)
	accepted("empty control id", `{}`, frame(with(msh("ORU^R01", "", "2.3"), content...)...), "control_id", nil, "anomalies", list("empty_control_id"))
	accepted("other delimiters", `{}`, frame(`MSH$%*!@$LAB%1$HOSP$MON$WARD$1$$ORU%R01$77$P$2.4`, `PID$1$$4711%%%HOSP@x%MR*4712$`),
		"sending_app", "LAB", "patient_ids", list("4711^HOSP^MR", "4712"), "anomalies", list("odd_delimiters"))
	accepted("truncation character", `{}`, frame(with(strings.Replace(msh("ORU^R01", "1", "2.7"), `^~\&`, `^~\&#`, 1), content...)...), "anomalies", nil)
	accepted("escaped delimiters", `{}`, frame(strings.Replace(msh("ORU^R01", "1", "2.4"), "LAB", `L\T\B\F\`, 1)), "sending_app", "L&B|")
	accepted("TAB", `{"allow_control":["TAB"]}`, frame(with(head, "OBX|1|TX|1||a\tb")...), "anomalies", nil)
	accepted("LF as data", `{"allow_control":["LF"]}`, frame(with(head, "OBX|1|TX|1||a\nb")...), "obs_codes", list("1"))
	accepted("line that is no segment", `{"loose_segments":true}`, frame(with(head, "NTE|1||a", "and so on")...), "anomalies", list("odd_segment"))
	accepted("empty segment", `{}`, frame(with(head, "", content[0])...), "patient_ids", patients, "anomalies", list("empty_segment"))
	accepted("structure of another type", `{"refuse":["lf_ends"]}`, frame(msh("ORU^R01^ORU_R30", "1", "2.5")), "structure", "ORU_R30")
	accepted("two patients", `{}`, frame(with(head, "PID|1||1", "OBX|1", "PID|2||2")...), "patient_ids", list("1", "2"), "anomalies", list("several_patients"))

	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("missing CR behind the end block").
			Forward(endBlockOf(oru("1"))).Reverse(ack("1")).Forward(oru("2")).
			WantOperation(name, write, "anomalies", nil).
			WantOperation(name, write, "anomalies", list("missing_end_cr")).
			WantForward(endBlockOf(oru("1"))+oru("2")),
		conformance.Named("late CR").
			Forward(endBlockOf(oru("1"))).Reverse(ack("1")).Forward("\r").Forward(oru("2")).
			WantOperation(name, write).WantOperation(name, write, "anomalies", nil).
			WantForward(oru("1")+oru("2")),
		conformance.Named("keep-alive line ends").
			Forward("\r\n").Forward(oru("1")).Reverse(ack("1")).Forward("\r\n\r\n").Forward(oru("2")).Forward("\r\n").
			WantOperation(name, write, "anomalies", list("leading_bytes")).
			WantOperation(name, write, "anomalies", list("leading_bytes")).
			WantForward("\r\n"+oru("1")+"\r\n\r\n"+oru("2")+"\r\n"),
		conformance.Named("64 bytes before a frame").
			Forward(strings.Repeat(" ", 64)+oru("1")).WantOperation(name, write),
		conformance.Named("several frames in one piece").
			Forward(oru("1")+oru("2")+oru("3")).Reverse(ack("1")).Reverse(ack("2")).Reverse(ack("3")).
			WantOperation(name, write).WantOperation(name, write).WantOperation(name, write),
		conformance.Named("a connection that is not used").
			WantNothing().ForwardEnds(),
		conformance.Named("acknowledgement with empty MSA-2").
			Forward(frame(msh("ORU^R01", "", "2.3"))).Reverse(frame(msh("ACK", "9", "2.3"), "MSA|AA|")).
			WantOperation(name, write),
		conformance.Named("device keep-alive").
			Forward(oru("1")).Reverse(endBlockOf(ack("1"))).Reverse("\r").Reverse("\r").Reverse("\n").Forward(oru("2")).Refused(2).
			WantOperation(name, write).WantOperation(name, write).
			WantRefusal(2, nak("2", "2", "AR", denied, "not permitted")),
		conformance.Named("device without CR behind the end block").
			Forward(oru("1")).Reverse(endBlockOf(ack("1"))).Forward(oru("2")).Refused(2).
			WantOperation(name, write).WantOperation(name, write).
			WantRefusal(2, "\r"+nak("2", "2", "AR", denied, "not permitted")),
	)
}

// TestRefusedQuirk has a dialogue for each deviation that is answered negatively.
func TestRefusedQuirk(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	head := msh("ORU^R01^ORU_R01", "1", "2.5.1")
	one := func(title, settings, sent, condition string, wrong *fault, also func(conformance.Dialogue) conformance.Dialogue) {
		t.Helper()
		t.Run(title, func(t *testing.T) {
			t.Helper()
			d := conformance.Named("dialogue").Forward(sent).
				WantInvalid(name, write).
				WantRefusal(1, nak("1", "1", "AR", condition, wrong.reason)).
				WantForward("")
			if wrong.close {
				d = d.WantEnd()
			} else {
				d = d.Forward(oru("2")).WantOperation(name, write).WantForward(oru("2"))
			}
			if also != nil {
				d = also(d)
			}
			conformance.Run(t, Protocol(), settings, d)
		})
	}
	seq := func(at string) string { return at + "|100^Segment sequence error" }
	typ := func(at string) string { return at + "|102^Data type error" }

	one("start block inside", `{}`, raw(lines("\r", head, "OBX|1|TX|1||a\x0bb")), seq("MSH^1"), startInside, nil)
	one("frame ended by the next one", `{}`, "\x0b"+lines("\r", head)+oru("9"), seq("MSH^1"), startInside, nil)
	one("second MSH", `{}`, frame(head, "PID|1||1", head), seq("MSH^2"), secondHeader, nil)
	one("second MSH behind LF", `{"allow_control":["LF"]}`, frame(head, "OBX|1|TX|1||a\n"+head), seq("MSH^2"), secondHeader, nil)
	one("patient behind LF", `{"allow_control":["LF"]}`, frame(head, "OBX|1|TX|1||a\nPID|1||2"), seq("MSH^1"), decisiveLate, nil)
	one("second MSH for a lax parser", `{"loose_segments":true}`, frame(head, " msh|^~"), seq("MSH^2"), secondHeader, nil)
	one("batch segment inside", `{}`, frame(head, "BTS|1"), seq("MSH^1"), batchInside, nil)
	one("NUL", `{}`, frame(head, "OBX|1|TX|1||a\x00"), typ("MSH^1"), controlInside, nil)
	one("TAB", `{}`, frame(head, "OBX|1|TX|1||a\tb"), typ("MSH^1"), controlInside, nil)
	one("LF in a CR message", `{}`, frame(head, "OBX|1|TX|1||a\nb"), typ("MSH^1"), controlInside, nil)
	one("CR in an LF message", `{}`, raw(lines("\n", head)+"PID|1||1\rOBX|1\n"), seq("MSH^1"), mixedEnds, nil)
	one("line that is no segment", `{}`, frame(head, "and so on"), seq("MSH^1"), noSegment, nil)
	one("tolerated by default, refused by setting", `{"refuse":["several_patients"]}`, frame(head, "PID|1||1", "PID|2||2"), seq("MSH^1"), refusedQuirk, nil)
	one("encoding characters repeat", `{}`, frame(strings.Replace(head, `^~\&`, `^~\^`, 1)), typ("MSH^1^2"), badDelimiters, nil)
	one("too many patients", `{}`, frame(head, "PID|1||"+strings.Join(numbers(maxList+1), "~")), "PID^1^3|104^Value too long", longIDs, nil)
	one("patient identifier too long", `{}`, frame(head, "PID|1||"+strings.Repeat("1", maxValue+1)), "PID^1^3|104^Value too long", longIDs, nil)
	one("header not ASCII", `{}`, frame(strings.Replace(head, "20261122", "\xe9", 1)), typ("MSH^1^18"), notASCII, nil)
	one("UTF-16", `{}`, frame(head+"||||||UNICODE UTF-16"), "MSH^1^18|103^Table value not found", wideText,
		func(d conformance.Dialogue) conformance.Dialogue {
			return conformance.Named("dialogue").Forward(frame(head+"||||||UNICODE UTF-16")).WantInvalid(name, write).
				WantRefusal(1, strings.Replace(nak("1", "1", "AR", "MSH^1^18|103^Table value not found", wideText.reason), "|2.5.1\r", "|2.5.1||||||UNICODE UTF-16\r", 1))
		})
}

// TestUnanswerable has the cases in which nothing sensible can be said.
func TestUnanswerable(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("more than 64 bytes before a frame").Forward(strings.Repeat("\n", 65)+oru("1")).WantEnd().WantForward(""),
		conformance.Named("message without a start block").Forward(oru("1")[1:]).WantEnd().WantForward(""),
		conformance.Named("header before a frame").Forward(`MSH|^~\&|||||||RGV^O15|`+oru("1")).WantEnd().WantForward(""),
		conformance.Named("segment behind an end block without CR").
			Forward(endBlockOf(oru("1"))+"\nOBX|2\r"+oru("2")).
			WantOperation("hl7:ORU^R01", policy.ClassWrite).WantEnd().WantForward(endBlockOf(oru("1"))),
		conformance.Named("end block before a frame").Forward("x\x1c\r"+oru("1")).WantEnd().WantForward(""),
		conformance.Named("frame without MSH").Forward(raw("PID|1\r")).WantEnd().WantForward(""),
		conformance.Named("empty frame").Forward(raw("")).WantEnd().WantForward(""),
		conformance.Named("alphanumeric separator").Forward(frame("MSHA^~")).WantEnd().WantForward(""),
		conformance.Named("batch without message").Forward(frame("FHS|^~", "BHS|^~", "BTS|0")).WantEnd().WantForward(""),
		conformance.Named("commit acknowledgement").Forward("\x0b\x06\x1c\r").WantEnd().WantForward(""),
		conformance.Named("end block inside").
			Forward(raw(lines("\r", msh("ORU^R01", "1", "2.3"), "OBX|1|TX|1||a\x1cb"))).
			WantOperation("hl7:ORU^R01", policy.ClassWrite).WantEnd(),
	)
}
