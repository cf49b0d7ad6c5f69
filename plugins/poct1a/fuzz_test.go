package poct1a

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
)

func seeds() []conformance.Dialogue {
	return []conformance.Dialogue{
		conformance.Forward(hello).Reverse(ack("1")).Forward(status).Reverse(ack("2")).Forward(result("3")).Refused(3),
		conformance.Reverse(brief).Forward(ack("1") + lock + operators("OPL.R01", "1")).Reverse(ack("50") + status).Refused(1),
		conformance.Forward("\x02" + brief + "\x03\r\n").Reverse("\x02" + ack("1") + "\x03").Forward("\x02" + status + "\x03").Refused(2),
		conformance.Forward(brief + "\x00").Reverse(ack("1") + "\x00").Forward(result("007") + "\x00").Reverse(ack("7")),
		conformance.Forward("\ufeff" + `<?xml version="1.0" encoding="ISO-8859-1" standalone="no"?>` + brief).Reverse(ackAs("AE", "1")).Forward(end),
		conformance.Forward(brief).Reverse(ack("1") + `<DTV.ACME.X a='"' b=">"><!-- x -->`).Forward(`<A V="&#x41;&lt;"><B>&amp;</B></A>`),
	}
}

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, Protocol(), `{}`, seeds()...) }

// FuzzTalking fuzzes what follows a hello that was accepted.
func FuzzTalking(f *testing.F) {
	p := Protocol()
	configure := p.Configure
	p.Configure = func(raw json.RawMessage) (func() sdk.Inspector, error) {
		maker, err := configure(raw)
		if err != nil {
			return nil, err
		}
		return func() sdk.Inspector {
			s := maker().(*session)
			s.state, s.analyser = talking, sdk.Forward
			return s
		}, nil
	}
	conformance.Fuzz(f, p, `{"max_message":1024,"max_refusals":2}`,
		conformance.Forward(status).Reverse(ack("2")+lock).Forward(ack("50")).Refused(1),
		conformance.Forward(result("3")+result("4")+result("5")).Reverse(ack("5")+ack("3")).Refused(2),
		conformance.Reverse(operators("OPL.R02", "1", "2")).Forward("\x02"+doc("KPA.R01", "9")).Reverse(ack("9")).Forward("\x03").Refused(1),
	)
}

// FuzzDocument: what is read as a document, encoding/xml reads as the same one, to the same
// byte, and however it is cut it is read the same.
func FuzzDocument(f *testing.F) {
	for _, text := range []string{hello, status, result("7"), operators("OPL.R01", "1"), `<?xml version="1.0"?>` + lock,
		`<A b = '"' c=">">&lt;&#65;</A >`, "<A/>", "<A></B>", `<A b="1"c="2"/>`, "<A><![CDATA[</A>]]></A>"} {
		f.Add([]byte(text), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		whole := document{}
		done, wrong := whole.read(b, maxMessage)
		cut := document{}
		cutDone, cutWrong := false, ""
		for n := 0; n < len(b) && !cutDone && cutWrong == ""; {
			n = min(len(b), n+1+int(step))
			cutDone, cutWrong = cut.read(b[:n], maxMessage)
		}
		if done != cutDone || wrong != cutWrong || done && (whole.at != cut.at || whole.message.root != cut.message.root || whole.message.wrong != cut.message.wrong) {
			t.Fatalf("%q: whole %t %q to %d, cut %t %q to %d", b, done, wrong, whole.at, cutDone, cutWrong, cut.at)
		}
		if !done || whole.charset != utf8Set {
			return
		}
		text := string(b[strings.IndexByte(string(b), '<'):whole.at])
		if strings.ContainsAny(text, "\ufffe\uffff\x7f") || strings.Contains(text, "&#") {
			return // characters that no value is read from
		}
		d := xml.NewDecoder(strings.NewReader(text))
		ids := 0
		for depth := 0; ; {
			token, err := d.RawToken()
			if err == io.EOF && depth == 0 {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				depth++
				if depth > 1 && e.Name.Local == "HDR.control_id" && whole.message.wrong == nil {
					for _, a := range e.Attr {
						if a.Name.Local == "V" && a.Name.Space == "" {
							ids++
							if a.Value != whole.message.single[controlID] {
								t.Fatalf("%q: control id %q, want %q", text, whole.message.single[controlID], a.Value)
							}
						}
					}
				}
			case xml.EndElement:
				depth--
			case xml.Comment, xml.Directive:
				t.Fatalf("%q: there is more in it", text)
			}
		}
		if ids > 1 {
			t.Fatalf("%q: %d control ids", text, ids)
		}
	})
}
