package poct1a

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

const written = "2026-11-22T09:00:00+01:00"

// f is a field with its value.
func f(name, value string) string { return "<" + name + ` V="` + value + `"/>` }

// doc is a document with a header of that control id, and objects.
func doc(root, id string, objects ...string) string {
	return "<" + root + "><HDR>" + f("HDR.message_type", root) + f("HDR.control_id", id) + f("HDR.version_id", "POCT1") +
		f("HDR.creation_dttm", written) + "</HDR>" + strings.Join(objects, "") + "</" + root + ">"
}

// in puts fields into an object.
func in(object string, fields ...string) string {
	return "<" + object + ">" + strings.Join(fields, "") + "</" + object + ">"
}

func ackAs(code, of string) string {
	return in("ACK.R01", in("HDR", f("HDR.control_id", "a"), f("HDR.version_id", "POCT1")), in("ACK", f("ACK.type_cd", code), f("ACK.ack_control_id", of)))
}

func ack(of string) string { return ackAs("AA", of) }

var (
	hello = doc("HEL.R01", "1", in("DEV", f("DEV.device_id", "00:20:4a:01"), f("DEV.vendor_id", "ACME"), f("DEV.model_id", "G7"), f("DEV.serial_id", "S1"),
		in("DCP", f("DCP.application_timeout", "60")),
		in("DSC", f("DSC.connection_profile_cd", "SA"), f("DSC.topics_supported_cd", "D_EV"), f("DSC.topics_supported_cd", "OP_LST"),
			f("DSC.directives_supported_cd", "SET_TIME"), f("DSC.max_message_sz", "8000"))))
	brief  = in("HEL.R01", in("HDR", f("HDR.control_id", "1"), f("HDR.version_id", "POCT1")))
	status = doc("DST.R01", "2", in("DST", f("DST.status_dttm", written), f("DST.new_observations_qty", "3"), f("DST.condition_cd", "R")))
	lock   = doc("DTV.R01", "50", in("DTV", f("DTV.command_cd", "LOCK")))
	end    = doc("END.R01", "99", in("TRM", f("TRM.reason_cd", "NRM")))
)

func result(id string) string {
	return doc("OBS.R01", id, in("SVC", f("SVC.role_cd", "OBS"), f("SVC.observation_dttm", written), f("SVC.reason_cd", "NEW"),
		in("PT", f("PT.patient_id", "4711"), f("PT.name", "DEMO"),
			in("OBS", f("OBS.observation_id", "2339-0"), f("OBS.value", "107"), f("OBS.method_cd", "M")),
			in("OBS", f("OBS.observation_id", "2947-0"), f("OBS.value", "141"), f("OBS.method_cd", "M"))),
		in("OPR", f("OPR.operator_id", "5047"), f("OPR.name", "RAY"))))
}

func operators(root string, ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, in("OPR", f("OPR.operator_id", id), f("OPR.name", "X"), in("ACC", f("ACC.method_cd", "ALL"), `<ACC.password ENC="B64">c2VjcmV0</ACC.password>`)))
	}
	return doc(root, "60", list...)
}

// nak is the refusal of the number-th operation of its direction, whose control id is id.
func nak(number int, id, reason string) string {
	return fmt.Sprintf(`<ACK.R01><HDR><HDR.message_type V="ACK.R01"/><HDR.control_id V="%d"/><HDR.version_id V="POCT1"/>`+
		`<HDR.creation_dttm V="%s"/></HDR><ACK><ACK.type_cd V="AE"/><ACK.ack_control_id V="%s"/><ACK.note_txt V="Refused 7QF-21: %s"/></ACK></ACK.R01>`,
		900_000_000+number, written, id, reason)
}

// ended is the END.R01 behind it.
func ended(number int) string {
	return fmt.Sprintf(`<END.R01><HDR><HDR.message_type V="END.R01"/><HDR.control_id V="%d"/><HDR.version_id V="POCT1"/>`+
		`<HDR.creation_dttm V="%s"/></HDR><TRM><TRM.reason_cd V="ABN"/></TRM></END.R01>`, 950_000_000+number, written)
}

// talk begins a dialogue of an analyser that called the manager, in few words.
func talk(name string) conformance.Dialogue {
	return conformance.Named(name).Forward(brief).Reverse(ack("1")).WantOperation("poct1a:HEL.R01", policy.ClassSession)
}

// toDevice is the number-th operation that the side which was called has asked.
func toDevice(number uint64) sdk.OpID { return sdk.Reverse.Operation(number) }

func TestConversation(t *testing.T) {
	who := []any{"device_id", "00:20:4a:01", "vendor_id", "ACME", "model_id", "G7", "serial_id", "S1"}
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("analyser calls").
			Forward(hello).Reverse(ack("1")).Forward(status).Reverse(ack("2")+doc("REQ.R01", "40", in("REQ", f("REQ.request_cd", "ROBS")))).
			Forward(result("3")).Reverse(ack("3")).Forward(doc("EOT.R01", "4", in("EOT", f("EOT.topic_cd", "OBS")))).
			Reverse(lock).Forward(ack("50")).Forward(end).Reverse(ack("99")).
			WantOperation("poct1a:HEL.R01", policy.ClassSession, append(who, "control_id", "1", "version", "POCT1", "sender", "analyser",
				"connection_profile", "SA", "topics", []string{"D_EV", "OP_LST"}, "directives", []string{"SET_TIME"}, "max_message_size", "8000",
				"size", len(hello), "anomalies", nil)...).
			WantOperation("poct1a:DST.R01", policy.ClassSession, append(who, "new_observations", "3", "condition", "R")...).
			WantOperation("poct1a:REQ.R01", policy.ClassQuery, append(who, "request", "ROBS", "sender", "manager")...).
			WantOperation("poct1a:OBS.R01", policy.ClassWrite, append(who, "observation_ids", []string{"2339-0", "2947-0"}, "observation_count", 2,
				"methods", []string{"M"}, "roles", []string{"OBS"}, "reasons", []string{"NEW"}, "patient_ids", []string{"4711"}, "patient_count", 1,
				"operator_ids", []string{"5047"})...).
			WantOperation("poct1a:EOT.R01", policy.ClassSession, "topic", "OBS").
			WantOperation("poct1a:DTV.R01", policy.ClassAdmin, "command", "LOCK").
			WantOperation("poct1a:END.R01", policy.ClassSession, "reason", "NRM").
			WantForward(hello+status+result("3")+doc("EOT.R01", "4", in("EOT", f("EOT.topic_cd", "OBS")))+ack("50")+end),
		conformance.Named("manager calls").
			Reverse(hello).Forward(ack("1")).Forward(lock).Reverse(ack("50")).Reverse(result("3")).Forward(ack("3")).
			WantOperation("poct1a:HEL.R01", policy.ClassSession, "sender", "analyser").
			WantOperation("poct1a:DTV.R01", policy.ClassAdmin, "sender", "manager", "serial_id", "S1").
			WantOperation("poct1a:OBS.R01", policy.ClassWrite, "sender", "analyser").
			WantForward(ack("1")+lock+ack("3")).WantReverse(hello+ack("50")+result("3")),
		conformance.Named("hello is not accepted, then is").
			Forward(hello).Reverse(ackAs("AE", "1")).Forward(hello).Reverse(ack("1")).Forward(status).
			WantOperation("poct1a:HEL.R01", policy.ClassSession).WantOperation("poct1a:HEL.R01", policy.ClassSession).
			WantOperation("poct1a:DST.R01", policy.ClassSession),
		conformance.Named("end before anything").Forward(end).Reverse(ack("99")).WantOperation("poct1a:END.R01", policy.ClassSession).WantForward(end),
		talk("acknowledgements that never come").Reverse(lock).Reverse(doc("REQ.R01", "51", in("REQ", f("REQ.request_cd", "RDEV")))).
			Forward(doc("ESC.R01", "5", in("ESC", f("ESC.esc_control_id", "50"), f("ESC.detail_cd", "CNC")))).
			WantOperation("poct1a:DTV.R01", policy.ClassAdmin).WantOperation("poct1a:REQ.R01", policy.ClassQuery).
			WantOperation("poct1a:ESC.R01", policy.ClassSession, "esc_control_id", "50", "detail", "CNC"),
	)
}

// TestClasses is the table of what each message is, allowed and refused.
func TestClasses(t *testing.T) {
	dtv := func(root, command string, more ...string) string {
		return doc(root, "60", in("DTV", append([]string{f("DTV.command_cd", command)}, more...)...))
	}
	vendor := strings.Replace(dtv("DTV.R01", "LOCK"), `"LOCK"`, `"LOCK" SN="SIEM"`, 1)
	tests := []struct {
		message string
		name    string
		class   policy.Class
		analyse bool // it is the analyser's
		facts   []any
	}{
		{doc("DST.R01", "60", in("DST", f("DST.new_events_qty", "2"))), "DST.R01", policy.ClassSession, true, []any{"new_events", "2"}},
		{result("60"), "OBS.R01", policy.ClassWrite, true, nil},
		{doc("OBS.R02", "60", in("SVC", f("SVC.role_cd", "LQC"), f("SVC.status_cd", "NRM"), in("CTC", f("CTC.name", "QC")), in("OBS", f("OBS.observation_id", "GLU"), f("OBS.status_cd", "A")))),
			"OBS.R02", policy.ClassWrite, true, []any{"roles", []string{"LQC"}, "service_status", []string{"NRM"}, "observation_status", []string{"A"}, "patient_ids", nil}},
		{doc("EVS.R01", "60", in("EVS", f("EVS.description_cd", "Door"), f("EVS.severity_cd", "W"))), "EVS.R01", policy.ClassNotify, true, []any{"event_count", 1, "severities", []string{"W"}}},
		{doc("REQ.R01", "60", in("REQ", f("REQ.request_cd", "ROBS"))), "REQ.R01", policy.ClassQuery, false, []any{"request", "ROBS"}},
		{dtv("DTV.R01", "START_CONTINUOUS"), "DTV.R01", policy.ClassControl, false, []any{"command", "START_CONTINUOUS"}},
		{dtv("DTV.R01", "LOCK"), "DTV.R01", policy.ClassAdmin, false, nil},
		{dtv("DTV.R01", "UNLOCK"), "DTV.R01", policy.ClassAdmin, false, nil},
		{doc("DTV.R02", "60", in("DTV", f("DTV.command_cd", "SET_TIME")), in("TM", f("TM.dttm", written))), "DTV.R02", policy.ClassAdmin, false, []any{"command", "SET_TIME", "time", written}},
		{dtv("DTV.R01", "UPDATE_FW"), "DTV.R01", policy.ClassUnknown, false, []any{"command", "UPDATE_FW"}},
		{dtv("DTV.R01", "lock"), "DTV.R01", policy.ClassUnknown, false, nil},
		{dtv("DTV.R01", ""), "DTV.R01", policy.ClassUnknown, false, nil},
		{vendor, "DTV.R01", policy.ClassUnknown, false, []any{"command", "LOCK", "command_system", "SIEM"}},
		{dtv("DTV.SIEM.DVCMD", "FORCE_HIGH"), "DTV.SIEM.DVCMD", policy.ClassUnknown, false, []any{"command", "FORCE_HIGH"}},
		{operators("OPL.R01", "1", "2"), "OPL.R01", policy.ClassAdmin, false, []any{"operator_ids", []string{"1", "2"}, "operator_count", 2}},
		{doc("OPL.R02", "60", in("UPD", f("UPD.action_cd", "D"), in("OPR", f("OPR.operator_id", "7")))), "OPL.R02", policy.ClassAdmin, false, []any{"actions", []string{"D"}, "operator_ids", []string{"7"}}},
		{doc("PTL.R01", "60", in("PT", f("PT.patient_id", "4711"))), "PTL.R01", policy.ClassAdmin, false, []any{"patient_ids", []string{"4711"}, "patient_count", 1}},
		{doc("PTL.R02", "60", in("UPD", f("UPD.action_cd", "I"), in("PT", f("PT.patient_id", "4711")))), "PTL.R02", policy.ClassAdmin, false, []any{"actions", []string{"I"}}},
		{doc("KPA.R01", "60"), "KPA.R01", policy.ClassSession, true, nil},
		{doc("KPA.R01", "60"), "KPA.R01", policy.ClassSession, false, nil},
		{doc("EOT.R01", "60", in("EOT", f("EOT.topic_cd", "OBS"))), "EOT.R01", policy.ClassSession, true, []any{"topic", "OBS"}},
		{doc("EOT.R01", "60", in("EOT", f("EOT.topic_cd", "OPL"))), "EOT.R01", policy.ClassAdmin, false, []any{"topic", "OPL"}},
		{doc("ESC.R01", "60", in("ESC", f("ESC.esc_control_id", "7"))), "ESC.R01", policy.ClassSession, false, nil},
		{doc("END.R01", "60", in("TRM", f("TRM.reason_cd", "ABN"))), "END.R01", policy.ClassSession, false, []any{"reason", "ABN"}},
		{doc("ZZZ.R01", "60"), "ZZZ.R01", policy.ClassUnknown, false, nil},
		{doc("OBS.R09", "60"), "OBS.R09", policy.ClassUnknown, true, nil},
		{doc("obs.r01", "60"), "other", policy.ClassUnknown, true, nil},
		{doc("DTV."+strings.Repeat("A", 50), "60"), "other", policy.ClassUnknown, false, nil},
	}
	for _, test := range tests {
		name, d := "poct1a:"+test.name, talk(test.name)
		if test.analyse {
			d = d.Forward(test.message).Forward(test.message).Refused(2).Reverse(ack("60")).
				WantRefusal(2, nak(2, "60", "not permitted")).
				WantForward(brief + test.message).WantReverse(ack("1") + nak(2, "60", "not permitted") + ack("60"))
		} else {
			d = d.Reverse(test.message).Reverse(test.message).Refused(toDevice(1)).Forward(ack("60")).
				WantRefusal(toDevice(1), nak(1, "60", "not permitted")).
				WantReverse(ack("1") + test.message).WantForward(brief + nak(1, "60", "not permitted") + ack("60"))
		}
		conformance.Run(t, Protocol(), `{}`, d.WantOperation(name, test.class, test.facts...).WantOperation(name, test.class, test.facts...))
	}
}

// TestLists: a list of which a part did not arrive is not put in force.
func TestLists(t *testing.T) {
	admin := policy.ClassAdmin
	part := func(id string) string { return doc("OPL.R01", id, in("OPR", f("OPR.operator_id", id))) }
	last := doc("EOT.R01", "69", in("EOT", f("EOT.topic_cd", "OPL")))
	conformance.Run(t, Protocol(), `{}`,
		talk("whole").Reverse(part("61")).Forward(ack("61")).Reverse(part("62")).Forward(ack("62")).Reverse(last).Forward(ack("69")).
			WantOperation("poct1a:OPL.R01", admin).WantOperation("poct1a:OPL.R01", admin).WantOperation("poct1a:EOT.R01", admin, "topic", "OPL").
			WantReverse(ack("1")+part("61")+part("62")+last),
		talk("part refused, then whole").Reverse(part("61")).Refused(toDevice(1)).Reverse(part("62")).Forward(ack("62")).Reverse(last).
			Reverse(part("63")).Forward(ack("63")).Reverse(last).
			WantOperation("poct1a:OPL.R01", admin).WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).
			WantOperation("poct1a:OPL.R01", admin).WantOperation("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(1), nak(1, "61", "not permitted")).WantRefusal(toDevice(3), nak(3, "69", tornList.reason)).
			WantReverse(ack("1")+part("62")+part("63")+last),
		talk("not acknowledged").Reverse(part("61")+last).WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(2), nak(2, "69", tornList.reason)),
	)
}
