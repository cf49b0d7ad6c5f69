package hl7

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// frame joins segments into a frame.
func frame(segments ...string) string {
	return "\x0b" + strings.Join(segments, "\r") + "\r\x1c\r"
}

// msh returns a header with the message type, control id and version given.
func msh(kind, id, version string) string {
	return `MSH|^~\&|LAB|HOSP|MON|WARD|20261122||` + kind + `|` + id + `|P|` + version
}

func oru(id string) string {
	return frame(msh("ORU^R01^ORU_R01", id, "2.5.1"), "PID|1||4711^^^HOSP^MR", "OBR|1|||GLU", "OBX|1|NM|150344^MDC_TEMP^MDC||37.1")
}

func ack(id string) string {
	return frame(`MSH|^~\&|MON|WARD|LAB|HOSP|20261122||ACK^R01^ACK|d`+id+`|P|2.5.1`, "MSA|AA|"+id)
}

// nak is the refusal of operation op, a message of the kind msh makes, version 2.5.1.
func nak(op, id, code, condition, reason string) string {
	return frame(`MSH|^~\&|MON|WARD|LAB|HOSP|||ACK^R01^ACK|7QF-21.`+op+`|P|2.5.1`, "MSA|"+code+"|"+id,
		"ERR||"+condition+"^HL70357|E|7QF-21||"+reason+"|Refused by the gateway, decision code 7QF-21")
}

const denied = "MSH^1^9|207^Application internal error"

func TestDialogue(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("allowed and acknowledged").
			Forward(oru("1")).Reverse(ack("1")).Forward(oru("2")).Reverse(ack("2")).
			WantOperation(name, write, "control_id", "1", "msg_type", "ORU", "trigger", "R01", "structure", "ORU_R01",
				"sending_app", "LAB", "sending_facility", "HOSP", "receiving_app", "MON", "receiving_facility", "WARD",
				"processing_id", "P", "version", "2.5.1", "patient_ids", []string{"4711^HOSP^MR"}, "test_code", []string{"GLU"},
				"obs_codes", []string{"150344"}, "segments", []string{"MSH", "PID", "OBR", "OBX"}, "anomalies", nil,
				"size", len(oru("1"))-3).
			WantOperation(name, write, "control_id", "2").
			WantForward(oru("1")+oru("2")).WantReverse(ack("1")+ack("2")),
		conformance.Named("refused, then allowed").
			Forward(oru("1")).Forward(oru("2")).Reverse(ack("2")).Refused(1).
			WantOperation(name, write).WantOperation(name, write).
			WantRefusal(1, nak("1", "1", "AR", denied, "not permitted")).
			WantForward(oru("2")).WantReverse(nak("1", "1", "AR", denied, "not permitted")+ack("2")),
		conformance.Named("a refusal waits for the reply before it").
			Forward(oru("1")+oru("2")+oru("3")).Reverse(ack("1")).Reverse(ack("3")).Refused(2).
			WantOperation(name, write).WantOperation(name, write).WantOperation(name, write).
			WantRefusal(2, nak("2", "2", "AR", denied, "not permitted")).
			WantReverse(ack("1")+nak("2", "2", "AR", denied, "not permitted")+ack("3")),
		conformance.Named("doubt ends the session").
			Forward(oru("1")).RefusedWith(sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "no policy"}, 1).
			WantOperation(name, write).
			WantRefusal(1, strings.Replace(nak("1", "1", "AR", denied, "no policy"), "7QF-21\r", "7QF-21. Try again later.\r", 1)).
			WantEnd(),
		conformance.Named("device answers nothing asked").
			Forward(oru("1")).Reverse(ack("9")).
			WantOperation(name, write).WantInvalid("hl7:ACK^R01", policy.ClassUnknown).WantEnd(),
		conformance.Named("device speaks unasked").
			Reverse(oru("1")).
			WantInvalid(name, policy.ClassUnknown).WantEnd(),
		conformance.Named("query and response").
			Forward(frame(msh("QBP^Q22^QBP_Q21", "q", "2.5"), "QPD|IHE|t")).
			Reverse(frame(msh("RSP^K22^RSP_K21", "r", "2.5"), "MSA|AA|q", "QAK|t|OK", "PID|1||1")).
			WantOperation("hl7:QBP^Q22", policy.ClassQuery),
	)
}
