package poct1a

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestNoDocument has bytes that end the session: where the next document begins, two
// parsers could see differently.
func TestNoDocument(t *testing.T) {
	const empty = "<KPA.R01/>"
	raw := func(inner string) string { return "<KPA.R01>" + inner + "</KPA.R01>" }
	for name, sent := range map[string]string{
		"another protocol":           "GET / HTTP/1.1\r\n\r\n",
		"a letter before":            "x" + empty,
		"too much before":            strings.Repeat("\n", 65) + empty,
		"half a byte order mark":     "\xef\xbb" + empty,
		"byte order mark alone":      "\ufeff\r\n" + empty,
		"document type":              `<!DOCTYPE x [<!ENTITY a "b">]>` + empty,
		"comment":                    raw("<!-- </KPA.R01> -->"),
		"CDATA":                      raw("<![CDATA[</KPA.R01>]]>"),
		"end of CDATA":               raw("a]]>"),
		"processing instruction":     `<?xml-stylesheet href="a"?>` + empty,
		"instruction inside":         raw("<?php ?>"),
		"declaration inside":         raw(`<?xml version="1.0"?>`),
		"declaration twice":          `<?xml version="1.0"?><?xml version="1.0"?>` + empty,
		"XML 1.1":                    `<?xml version="1.1"?>` + empty,
		"no version":                 `<?xml encoding="UTF-8"?>` + empty,
		"empty declaration":          `<?xml?>` + empty,
		"UTF-16":                     `<?xml version="1.0" encoding="UTF-16"?>` + empty,
		"UTF-7":                      `<?xml version="1.0" encoding="UTF-7"?>` + empty,
		"standalone maybe":           `<?xml version="1.0" standalone="maybe"?>` + empty,
		"text behind declaration":    `<?xml version="1.0"?>x` + empty,
		"unknown entity":             raw("&nbsp;"),
		"bare ampersand":             raw("a & b"),
		"empty number":               raw("&#;"),
		"hex without digits":         raw("&#x;"),
		"wrong digit":                raw("&#1f;"),
		"long entity":                raw("&" + strings.Repeat("a", 20) + ";"),
		"entity in a value":          raw(`<A V="&x;"/>`),
		"tag in a value":             raw(`<A V="</KPA.R01>"/>`),
		"attribute twice":            raw(`<A V="1" V="2"/>`),
		"no quotes":                  raw(`<A V=1/>`),
		"no value":                   raw(`<A V/>`),
		"no space between":           raw(`<A V="1"W="2"/>`),
		"many attributes":            raw("<A" + numbered(17, ` a%d=""`) + "/>"),
		"long name":                  raw("<" + strings.Repeat("A", 65) + "/>"),
		"namespace":                  raw(`<x:A xmlns:x="y"/>`),
		"no name":                    raw("<>"),
		"space before the name":      raw("< A/>"),
		"digit as a name":            raw("<1/>"),
		"wrong end":                  "<KPA.R01></KPA.R02>",
		"end in another case":        "<KPA.R01></kpa.R01>",
		"ends crossed":               raw("<A><B></A></B>"),
		"end before start":           "</KPA.R01>",
		"deep":                       strings.Repeat("<A>", 33) + strings.Repeat("</A>", 33),
		"long tag":                   raw(`<A V="` + strings.Repeat("v", 8<<10) + `"/>`),
		"control character":          raw("\x1b"),
		"NUL inside":                 raw("\x00"),
		"NUL in a tag":               "<KPA.R01\x00></KPA.R01>",
		"not UTF-8":                  raw("\xe9"),
		"not ASCII":                  `<?xml version="1.0" encoding="US-ASCII"?>` + raw("\u00e9"),
		"cut":                        status[:40],
		"cut in a tag":               status[:12],
		"long document":              "<KPA.R01>" + strings.Repeat("<A/>", 400) + "</KPA.R01>",
		"long document of long text": "<KPA.R01>" + strings.Repeat("a", 1500) + "</KPA.R01>",
	} {
		refusal := untimed(ended(1))
		conformance.Run(t, Protocol(), `{"max_message":1024}`,
			conformance.Named(name+", from the client").Forward(sent).ForwardEnds().
				WantInvalid(malformedName, policy.ClassUnknown).WantRefusal(1, refusal).WantEnd().WantForward(""),
			conformance.Named(name+", from the device").Reverse(sent).ReverseEnds().
				WantInvalid(malformedName, policy.ClassUnknown).WantRefusal(toDevice(1), refusal).WantEnd().WantReverse(""))
	}
	// What is known of it is answered.
	conformance.Run(t, Protocol(), `{}`,
		talk("comment behind the header").Forward(strings.Replace(result("7"), "<OPR>", "<!-- x --><OPR>", 1)+result("8")).
			WantInvalid(malformedName, policy.ClassUnknown).
			WantRefusal(2, nak(2, "7", "document type, comment or CDATA section")+ended(2)).WantEnd().WantForward(brief))
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// untimed is the refusal of what has no time of its own.
func untimed(refusal string) string {
	return strings.Replace(refusal, f("HDR.creation_dttm", written), "", 1)
}

// TestWrongMessages has documents that are answered, and the conversation goes on.
func TestWrongMessages(t *testing.T) {
	obs := func(old, new string) string { return strings.Replace(result("7"), old, new, 1) }
	dtv := func(inner string) string { return doc("DTV.R01", "7", inner) }
	tests := []struct {
		name, message, reason string
		manager               bool
	}{
		{"type of another message", obs(`type V="OBS.R01"`, `type V="DTV.R01"`), otherType.reason, false},
		{"two control ids", obs("</HDR>", f("HDR.control_id", "8")+"</HDR>"), fieldTwice.reason, false},
		{"two types", obs("</HDR>", f("HDR.message_type", "OBS.R01")+"</HDR>"), fieldTwice.reason, false},
		{"two commands", dtv(in("DTV", f("DTV.command_cd", "START_CONTINUOUS"), f("DTV.command_cd", "LOCK"))), fieldTwice.reason, true},
		{"command outside", dtv(f("DTV.command_cd", "LOCK")), misplacedField.reason, true},
		{"command elsewhere", dtv(in("NTE", f("DTV.command_cd", "LOCK"))), misplacedField.reason, true},
		{"header inside", obs("<OPR>", in("HDR", f("HDR.version_id", "POCT1"))+"<OPR>"), misplacedField.reason, false},
		{"text in a field", dtv(in("DTV", `<DTV.command_cd V="LOCK">UNLOCK</DTV.command_cd>`)), contentInField.reason, true},
		{"element in a field", dtv(in("DTV", `<DTV.command_cd V="LOCK"><A/></DTV.command_cd>`)), contentInField.reason, true},
		{"number in a command", dtv(in("DTV", f("DTV.command_cd", "LOC&#75;"))), writtenOtherwise.reason, true},
		{"line end in a command", dtv(in("DTV", f("DTV.command_cd", "LOCK\n"))), writtenOtherwise.reason, true},
		{"long command", dtv(in("DTV", f("DTV.command_cd", strings.Repeat("A", 201)))), longValue.reason, true},
		{"directive in a result", obs("<OPR>", in("DTV", f("DTV.command_cd", "LOCK"))+"<OPR>"), foreignObject.reason, false},
		{"request in a directive", dtv(in("REQ")), foreignObject.reason, true},
		{"passwords for an analyser's result", obs("<OPR>", in("ACC")+"<OPR>"), foreignObject.reason, false},
		{"update in a complete list", doc("OPL.R01", "7", in("UPD", f("UPD.action_cd", "D"))), foreignObject.reason, true},
		{"acknowledgement in a result", obs("<OPR>", in("ACK")+"<OPR>"), foreignObject.reason, false},
		{"manager reports", result("7"), wrongParty.reason, true},
		{"manager reports an event", doc("EVS.R01", "7"), wrongParty.reason, true},
		{"manager has a status", doc("DST.R01", "7"), wrongParty.reason, true},
		{"manager greets", doc("HEL.R01", "7"), secondAnalyser.reason, true},
		{"analyser directs", dtv(in("DTV", f("DTV.command_cd", "LOCK"))), wrongParty.reason, false},
		{"analyser directs as a vendor", doc("DTV.ACME.X", "7"), wrongParty.reason, false},
		{"analyser asks", doc("REQ.R01", "7"), wrongParty.reason, false},
		{"analyser sets operators", doc("OPL.R02", "7"), wrongParty.reason, false},
		{"analyser sets patients", doc("PTL.R01", "7"), wrongParty.reason, false},
	}
	for _, test := range tests {
		m := message{root: test.message[1:strings.IndexByte(test.message, '>')]}
		d := talk(test.name)
		if test.manager {
			d = d.Reverse(test.message).Reverse(lock).Forward(ack("50")).
				WantInvalid(m.name(), classIn(test.message)).WantOperation("poct1a:DTV.R01", policy.ClassAdmin).
				WantRefusal(toDevice(1), nak(1, "7", test.reason)).
				WantForward(brief + nak(1, "7", test.reason) + ack("50")).WantReverse(ack("1") + lock)
		} else {
			d = d.Forward(test.message).Forward(status).Reverse(ack("2")).
				WantInvalid(m.name(), classIn(test.message)).WantOperation("poct1a:DST.R01", policy.ClassSession).
				WantRefusal(2, nak(2, "7", test.reason)).
				WantForward(brief + status).WantReverse(ack("1") + nak(2, "7", test.reason) + ack("2"))
		}
		conformance.Run(t, Protocol(), `{}`, d)
	}
}

// TestManyValues: a list is told whole or the message is refused.
func TestManyValues(t *testing.T) {
	observations := func(n int) string {
		return doc("OBS.R01", "7", numbered(n, "<OBS>"+f("OBS.observation_id", "%d")+"</OBS>"))
	}
	staff := func(n int) string {
		return doc("OPL.R01", "7", numbered(n, "<OPR>"+f("OPR.operator_id", "1%05d")+"</OPR>"))
	}
	for _, test := range []struct {
		text  string
		wrong *fault
	}{
		{observations(256), nil}, {observations(257), manyValues}, {observations(2) + " ", nil},
		{staff(2000), nil}, {staff(2200), manyValues},
	} {
		d := document{}
		if done, wrong := d.read([]byte(test.text), maxMessage); !done || wrong != "" {
			t.Fatalf("%.60s: %s", test.text, wrong)
		}
		if m := &d.message; m.wrong != test.wrong {
			t.Errorf("%.60s, %d bytes: %v, want %v", test.text, len(test.text), m.wrong, test.wrong)
		}
	}
	// The longest list there can be fits into the facts of an operation.
	d := document{}
	text := doc("PTL.R01", "7", strings.Repeat("<PT>"+f("PT.patient_id", strings.Repeat("é", 100))+"</PT>", 105))
	if done, wrong := d.read([]byte(text), maxMessage); !done || d.message.wrong != nil {
		t.Fatal(wrong, d.message.wrong)
	}
	s := newSession(&settings{})
	told, err := s.operation(&s.sides[0], &d.message, policy.ClassAdmin).Attributes.MarshalJSON()
	if err != nil || len(told) > sdk.MaxFacts {
		t.Errorf("%d bytes of facts (%v)", len(told), err)
	}
}

// classIn reads a message's class.
func classIn(text string) policy.Class {
	d := document{}
	d.read([]byte(text), maxMessage)
	class, _ := d.message.classOf()
	return class
}

// TestEndOfConversation has what cannot be followed by anything.
func TestEndOfConversation(t *testing.T) {
	doubt := sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}
	nobody := strings.Replace(result("7"), f("HDR.control_id", "7"), "", 1)
	session, unknown := policy.ClassSession, policy.ClassUnknown
	answer := func(inner string) string { return doc("ACK.R01", "9", inner) }
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("hello refused").Forward(hello).Refused(1).WantOperation("poct1a:HEL.R01", session).
			WantRefusal(1, nak(1, "1", "not permitted")+ended(1)).WantEnd().WantForward(""),
		conformance.Named("the device's hello refused").Reverse(hello).Refused(toDevice(1)).WantOperation("poct1a:HEL.R01", session).
			WantRefusal(toDevice(1), nak(1, "1", "not permitted")+ended(1)).WantEnd().WantReverse(""),
		conformance.Named("result before hello").Forward(result("7")).WantInvalid("poct1a:OBS.R01", policy.ClassWrite).
			WantRefusal(1, nak(1, "7", notGreeted.reason)+ended(1)).WantEnd(),
		conformance.Named("directive before hello").Forward(lock).WantInvalid("poct1a:DTV.R01", policy.ClassAdmin).
			WantRefusal(1, nak(1, "50", notGreeted.reason)+ended(1)).WantEnd(),
		conformance.Named("result before hello is answered").Forward(hello+result("7")).WantOperation("poct1a:HEL.R01", session).
			WantInvalid("poct1a:OBS.R01", policy.ClassWrite).WantRefusal(2, nak(2, "7", notGreeted.reason)+ended(2)).WantEnd(),
		conformance.Named("directive to who was not accepted").Forward(hello).Reverse(ackAs("AE", "1")).Reverse(lock).WantOperation("poct1a:HEL.R01", session).
			WantInvalid("poct1a:DTV.R01", policy.ClassAdmin).WantRefusal(toDevice(1), nak(1, "50", notGreeted.reason)+ended(1)).WantEnd(),
		talk("doubt").Forward(result("7")).RefusedWith(doubt, 2).WantOperation("poct1a:OBS.R01", policy.ClassWrite).
			WantRefusal(2, nak(2, "7", "temporarily unavailable")+ended(2)).WantEnd(),
		talk("no control id").Forward(nobody).WantInvalid("poct1a:OBS.R01", policy.ClassWrite).WantRefusal(2, ended(2)).WantEnd(),
		talk("control id of another alphabet").Forward(strings.Replace(result("7"), `id V="7"`, `id V="ä"`, 1)).
			WantInvalid("poct1a:OBS.R01", policy.ClassWrite).WantRefusal(2, ended(2)).WantEnd(),

		talk("answer to nothing").Forward(status).Reverse(ack("9")).WantOperation("poct1a:DST.R01", session).
			WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd().WantReverse(ack("1")),
		talk("answer twice").Forward(status).Reverse(ack("2")).Reverse(ack("2")).WantOperation("poct1a:DST.R01", session).
			WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd().WantReverse(ack("1")+ack("2")),
		talk("answer to what was refused").Forward(status).Reverse(ack("2")).Refused(2).WantOperation("poct1a:DST.R01", session).
			WantRefusal(2, nak(2, "2", "not permitted")).
			WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd(),
		talk("answer to what was malformed").Forward(strings.Replace(status, "DST>", "DTV>", 2)).Reverse(ack("2")).WantInvalid("poct1a:DST.R01", session).
			WantRefusal(2, nak(2, "2", foreignObject.reason)).
			WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd(),
		talk("answer to one's own").Forward(status).Forward(ack("2")).WantOperation("poct1a:DST.R01", session).
			WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(3, untimed(ended(3))).WantEnd().WantForward(brief+status),
		talk("directive in an answer").Forward(status).Reverse(answer(in("ACK", f("ACK.type_cd", "AA"), f("ACK.ack_control_id", "2"))+in("DTV", f("DTV.command_cd", "LOCK")))).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), ended(1)).WantEnd().WantReverse(ack("1")),
		talk("vendor's object in an answer").Forward(status).Reverse(answer(in("ACK", f("ACK.type_cd", "AA"), f("ACK.ack_control_id", "2"))+in("SIEM"))).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), ended(1)).WantEnd(),
		talk("answer of the type of a directive").Forward(status).Reverse(strings.Replace(doc("ACK.R01", "9", in("ACK", f("ACK.type_cd", "AA"), f("ACK.ack_control_id", "2"))), `type V="ACK.R01"`, `type V="DTV.R01"`, 1)).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), ended(1)).WantEnd(),
		talk("answer without a code").Forward(status).Reverse(answer(in("ACK", f("ACK.ack_control_id", "2")))).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), ended(1)).WantEnd(),
		talk("answer of another code").Forward(status).Reverse(ackAs("LOCK", "2")).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd(),
		talk("answer to two").Forward(status).Reverse(answer(in("ACK", f("ACK.type_cd", "AA"), f("ACK.ack_control_id", "2"), f("ACK.ack_control_id", "3")))).
			WantOperation("poct1a:DST.R01", session).WantInvalid("poct1a:ACK.R01", unknown).WantRefusal(toDevice(1), ended(1)).WantEnd(),
	)
	conformance.Run(t, Protocol(), `{"max_refusals":2}`,
		talk("persists").Reverse(lock).Reverse(lock).Refused(toDevice(1), toDevice(2)).
			WantOperation("poct1a:DTV.R01", policy.ClassAdmin).WantOperation("poct1a:DTV.R01", policy.ClassAdmin).
			WantRefusal(toDevice(1), nak(1, "50", "not permitted")).WantRefusal(toDevice(2), nak(2, "50", "not permitted")+ended(2)).WantEnd(),
		talk("begins a new row").Forward(result("7")).Forward(status).Reverse(ack("2")).Forward(result("8")).Refused(2, 4).
			WantOperation("poct1a:OBS.R01", policy.ClassWrite).WantOperation("poct1a:DST.R01", session).WantOperation("poct1a:OBS.R01", policy.ClassWrite).
			WantRefusal(2, nak(2, "7", "not permitted")).WantRefusal(4, nak(4, "8", "not permitted")))
}
