package poct1a

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestDeviations has what is tolerated, and what it is called. Each is refused if the
// service says so.
func TestDeviations(t *testing.T) {
	session := policy.ClassSession
	tests := []struct {
		name, message string
		anomaly       string // "": it is none
	}{
		{"line ends between", "\r\n" + status, ""},
		{"indented", strings.ReplaceAll(status, "><", ">\r\n\t<"), ""},
		{"declaration", `<?xml version="1.0" encoding="utf-8"?>` + status, ""},
		{"declaration, standalone", `<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>` + "\n" + status, ""},
		{"declaration without encoding", `<?xml version="1.0"?>` + status, ""},
		{"ASCII", `<?xml version="1.0" encoding="us-ascii"?>` + status, ""},
		{"Latin 1", `<?xml version="1.0" encoding="ISO-8859-1"?>` + strings.Replace(status, "<DST>", "<DST>"+f("DST.name", "\xe9"), 1), ""},
		{"UTF-8", strings.Replace(status, "<DST>", "<DST>"+f("DST.name", "é"), 1), ""},
		{"start and end tag", strings.Replace(status, f("DST.condition_cd", "R"), `<DST.condition_cd V="R"> </DST.condition_cd >`, 1), ""},
		{"space in tags", strings.Replace(status, f("DST.condition_cd", "R"), "<DST.condition_cd\n V = 'R' />", 1), ""},
		{"schema", strings.Replace(status, "<DST.R01>", `<DST.R01 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="DST.R01.xsd">`, 1), ""},
		{"no type", strings.Replace(status, f("HDR.message_type", "DST.R01"), "", 1), ""},
		{"type of a code system", strings.Replace(status, `V="DST.R01"`, `V="DST.R01" SN="POCT1" SV="1.0"`, 1), ""},
		{"numbered character in a note", strings.Replace(status, "<DST>", `<DST><NTE><NTE.text V="a&#10;b&#xE9;"/></NTE>`, 1), ""},
		{"text in a vendor's element", strings.Replace(status, "<DST>", `<DST><ACME.key ENC="B64">c2Vj &amp;</ACME.key>`, 1), ""},
		{"vendor's object", strings.Replace(status, "<DST>", `<ACME.X><Y z="1"/></ACME.X><DST>`, 1), ""},
		{"entities", strings.Replace(status, "<DST>", `<DST><NTE.text V="&lt;&gt;&amp;&quot;&apos;"/>`, 1), ""},
		{"quotes", strings.Replace(status, "<DST>", `<DST><NTE.text V='a "b"' W="it's"/>`, 1), ""},
		{"greater than", strings.Replace(status, "<DST>", `<DST><NTE.text V="a>b"/>`, 1), "raw_greater"},
		{"byte order mark", "\ufeff" + status, "byte_order_mark"},
		{"version 2", strings.Replace(status, `V="POCT1"`, `V="POCT1-A2"`, 1), "other_version"},
		{"no version", strings.Replace(status, f("HDR.version_id", "POCT1"), "", 1), "other_version"},
		{"NUL before", "\x00" + status, "nul"},
		{"STX and ETX", "\x02" + status + "\x03", "stx_etx"},
		{"ETX before", "\x03\r\n" + status, "stx_etx"},
	}
	for _, test := range tests {
		d := talk(test.name).Forward(test.message).Reverse(ack("2"))
		if test.anomaly == "" {
			conformance.Run(t, Protocol(), `{}`,
				d.WantOperation("poct1a:DST.R01", session, "anomalies", nil, "condition", "R").WantForward(brief+test.message).WantReverse(ack("1")+ack("2")))
			continue
		}
		conformance.Run(t, Protocol(), `{}`,
			d.WantOperation("poct1a:DST.R01", session, "anomalies", []string{test.anomaly}).WantForward(brief+test.message))
		list, err := json.Marshal([]string{test.anomaly})
		if err != nil {
			t.Fatal(err)
		}
		conformance.Run(t, Protocol(), `{"refuse":`+string(list)+`}`,
			talk(test.name+", refused").Forward(test.message).WantInvalid("poct1a:DST.R01", session, "anomalies", []string{test.anomaly}).
				WantRefusal(2, refusedAs(test.message, test.anomaly)))
	}
}

// refusedAs is the refusal of a status as its sender frames and versions it.
func refusedAs(message, anomaly string) string {
	refusal := nak(2, "2", refusedQuirk.reason)
	switch {
	case message[0] == stx:
		return "\x02" + refusal + "\x03"
	case anomaly == "nul":
		return refusal + "\x00"
	case strings.Contains(message, "POCT1-A2"):
		return strings.Replace(refusal, `V="POCT1"`, `V="POCT1-A2"`, 1)
	}
	return refusal
}

// TestTranslation: a coded result may come with its code in another system, but for that
// with nothing.
func TestTranslation(t *testing.T) {
	with := func(inner string) string {
		return strings.Replace(result("7"), f("OBS.observation_id", "2339-0"), `<OBS.observation_id V="2339-0" SN="LN">`+inner+`</OBS.observation_id>`, 1)
	}
	write := policy.ClassWrite
	conformance.Run(t, Protocol(), `{}`,
		talk("translated").Forward(with(`<TRANSLTN V="GLU" />`)).Reverse(ack("7")).
			WantOperation("poct1a:OBS.R01", write, "observation_ids", []string{"2339-0", "2947-0"}).WantForward(brief+with(`<TRANSLTN V="GLU" />`)),
		talk("text").Forward(with("GLU")).WantInvalid("poct1a:OBS.R01", write).WantRefusal(2, nak(2, "7", contentInField.reason)),
		talk("another element").Forward(with("<A/>")).WantInvalid("poct1a:OBS.R01", write).WantRefusal(2, nak(2, "7", contentInField.reason)),
	)
}

// TestFrames: who frames documents is answered in frames, and never inside of one.
func TestFrames(t *testing.T) {
	session, write := policy.ClassSession, policy.ClassWrite
	stxOf := func(doc string) string { return "\x02" + doc + "\x03" }
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("STX and ETX").Forward(stxOf(brief)+"\r\n").Reverse(stxOf(ack("1"))).Forward(stxOf(result("7"))).Refused(2).
			WantOperation("poct1a:HEL.R01", session, "anomalies", []string{"stx_etx"}).WantOperation("poct1a:OBS.R01", write).
			WantRefusal(2, stxOf(nak(2, "7", "not permitted"))).WantForward(stxOf(brief)+"\r\n"),
		conformance.Named("NUL").Forward(brief+"\x00").Reverse(ack("1")).Reverse("\x00").Forward(result("7")+"\x00").Refused(2).
			WantOperation("poct1a:HEL.R01", session).WantOperation("poct1a:OBS.R01", write, "anomalies", []string{"nul"}).
			WantRefusal(2, nak(2, "7", "not permitted")+"\x00").WantForward(brief+"\x00"),
		conformance.Named("the refusal waits for the ETX before it").Forward(stxOf(brief)).Reverse(stxOf(ack("1"))).
			Reverse("\x02"+doc("KPA.R01", "70")).Forward(stxOf(result("7"))).Reverse("\x03").Refused(2).
			WantOperation("poct1a:HEL.R01", session).WantOperation("poct1a:KPA.R01", session).WantOperation("poct1a:OBS.R01", write).
			WantRefusal(2, stxOf(nak(2, "7", "not permitted"))).
			WantReverse(stxOf(ack("1"))+stxOf(doc("KPA.R01", "70"))+stxOf(nak(2, "7", "not permitted"))),
		conformance.Named("it does not wait for one that is left out").Forward(stxOf(brief)).Reverse(stxOf(ack("1"))).
			Reverse("\x02"+doc("KPA.R01", "70")).Forward(stxOf(result("7"))).Reverse("\x02"+doc("KPA.R01", "71")).Refused(2).
			WantOperation("poct1a:HEL.R01", session).WantOperation("poct1a:KPA.R01", session).WantOperation("poct1a:OBS.R01", write).
			WantOperation("poct1a:KPA.R01", session).WantRefusal(2, stxOf(nak(2, "7", "not permitted"))),
		talk("too much behind").Forward(status+strings.Repeat("\n", 65)).WantOperation("poct1a:DST.R01", session).
			WantInvalid(malformedName, policy.ClassUnknown).WantRefusal(3, untimed(ended(3))).WantEnd().
			WantForward(brief+status+strings.Repeat("\n", 64)),
	)
}

// TestAcknowledgements: how loosely one may name what it answers.
func TestAcknowledgements(t *testing.T) {
	session := policy.ClassSession
	padded := strings.Replace(result("x"), `id V="x"`, `id V="00007"`, 1)
	echoed := strings.Replace(ack("2"), "<HDR>", "<HDR>"+f("HDR.message_type", "DST.R01"), 1)
	conformance.Run(t, Protocol(), `{}`,
		talk("padded").Forward(padded).Reverse(ack("7")).Forward(status).
			WantOperation("poct1a:OBS.R01", policy.ClassWrite, "anomalies", nil).
			WantOperation("poct1a:DST.R01", session, "anomalies", []string{"padded_ack_id"}).WantReverse(ack("1")+ack("7")),
		talk("echoed header").Forward(status).Reverse(echoed).Forward(result("7")).WantOperation("poct1a:DST.R01", session).
			WantOperation("poct1a:OBS.R01", policy.ClassWrite, "anomalies", []string{"echoed_type"}).WantReverse(ack("1")+echoed),
		talk("the same control id twice").Forward(status+status).Reverse(ack("2")+ack("2")).
			WantOperation("poct1a:DST.R01", session).WantOperation("poct1a:DST.R01", session).WantReverse(ack("1")+ack("2")+ack("2")),
		talk("both sides count alike").Forward(doc("KPA.R01", "5")).Reverse(doc("KPA.R01", "5")).Forward(ack("5")).Reverse(ack("5")).
			WantOperation("poct1a:KPA.R01", session).WantOperation("poct1a:KPA.R01", session).WantForward(brief+doc("KPA.R01", "5")+ack("5")),
	)
	conformance.Run(t, Protocol(), `{"refuse":["padded_ack_id","echoed_type"]}`,
		talk("padded, refused").Forward(padded).Reverse(ack("7")).WantOperation("poct1a:OBS.R01", policy.ClassWrite).
			WantInvalid("poct1a:ACK.R01", policy.ClassUnknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd(),
		talk("echoed, refused").Forward(status).Reverse(echoed).WantOperation("poct1a:DST.R01", session).
			WantInvalid("poct1a:ACK.R01", policy.ClassUnknown).WantRefusal(toDevice(1), untimed(ended(1))).WantEnd(),
	)
}

// TestNoSecrets: names, passwords and results are never told.
func TestNoSecrets(t *testing.T) {
	for _, text := range []string{result("7"), operators("OPL.R01", "1")} {
		d := document{}
		if done, wrong := d.read([]byte(text), maxMessage); !done || wrong != "" {
			t.Fatal(wrong)
		}
		s := newSession(&settings{})
		told, err := s.operation(&s.sides[0], &d.message, policy.ClassWrite).Attributes.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"DEMO", "RAY", "107", `"X"`, "c2VjcmV0", "secret"} {
			if strings.Contains(string(told), secret) {
				t.Errorf("%s is told in %s", secret, told)
			}
		}
	}
}
