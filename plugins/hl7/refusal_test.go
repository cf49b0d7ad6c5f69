package hl7

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// answerTo returns the refusal of a message, given as the content of a frame.
func answerTo(t testing.TB, settings, content string, why sdk.Refusal) string {
	t.Helper()
	var steps sdk.Steps
	in := open(t, settings)
	steps.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(raw(content)), false, &steps)
	list := steps.List()
	if len(list) == 0 || list[0].Kind != sdk.StepOperation {
		t.Fatalf("steps of %q: %v", content, list)
	}
	if list[0].Invalid {
		why.Cause, why.Reason = policy.CauseProtocol, list[0].Reason
	}
	steps.Begin(sdk.Forward)
	in.Refuse(list[0].Op, why, &steps)
	for _, s := range steps.List() {
		if s.Kind == sdk.StepRefusal {
			return string(s.Bytes)
		}
	}
	t.Fatalf("%q: no refusal in %v", content, steps.List())
	return ""
}

var policyRefusal = sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted"}

// TestRefusalByVersion holds the wording of a refusal fixed for each version.
func TestRefusalByVersion(t *testing.T) {
	old := func(kind, version string) string {
		return frame(`MSH|^~\&|MON|WARD|LAB|HOSP|||`+kind+`|7QF-21.1|P|`+version, "MSA|AR|42|Refused 7QF-21: not permitted",
			"ERR|MSH^1^9^207&Application internal error&HL70357")
	}
	modern := func(version string) string {
		return frame(`MSH|^~\&|MON|WARD|LAB|HOSP|||ACK^R01^ACK|7QF-21.1|P|`+version, "MSA|AR|42",
			"ERR||MSH^1^9|207^Application internal error^HL70357|E|7QF-21||not permitted|Refused by the gateway, decision code 7QF-21")
	}
	tests := []struct{ version, want string }{
		{"2.1", old("ACK", "2.1")},
		{"2.3", old("ACK^R01", "2.3")},
		{"2.3.1", old("ACK^R01", "2.3.1")},
		{"2.4", old("ACK^R01", "2.4")},
		{"2.5", modern("2.5")},
		{"2.5.1", modern("2.5.1")},
		{"2.7", modern("2.7")},
		{"2.8.2", modern("2.8.2")},
		{"2.5^DEU", modern("2.5^DEU")},
		{"", old("ACK^R01", "")},
		{"x", old("ACK^R01", "x")},
	}
	for _, test := range tests {
		got := answerTo(t, `{}`, lines("\r", msh("ORU^R01", "42", test.version)), policyRefusal)
		if got != test.want {
			t.Errorf("version %q:\n got %q\nwant %q", test.version, got, test.want)
		}
	}
}

func TestAcknowledgementCode(t *testing.T) {
	doubt := sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}
	tests := []struct {
		accept, application string
		why                 sdk.Refusal
		settings, want      string
	}{
		{"", "", policyRefusal, `{}`, "AR"},
		{"", "", policyRefusal, `{"deny_code":"AE"}`, "AE"},
		{"", "", doubt, `{"deny_code":"AE"}`, "AR"},
		{"AL", "NE", policyRefusal, `{}`, "CR"},
		{"AL", "AL", policyRefusal, `{"deny_code":"AE"}`, "CE"},
		{"ER", "", policyRefusal, `{}`, "CR"},
		{"", "AL", policyRefusal, `{}`, "CR"},
		{"NE", "AL", policyRefusal, `{}`, "AR"},
		{"SU", "ER", policyRefusal, `{}`, "AR"},
		{"NE", "SU", policyRefusal, `{}`, ""},
		{"NE", "", policyRefusal, `{}`, ""},
		{"NE", "NE", policyRefusal, `{}`, ""},
		{"", "", policyRefusal, `{"no_ack":true}`, ""},
	}
	for _, test := range tests {
		head := msh("ORU^R01", "42", "2.4") + "|||" + test.accept + "|" + test.application
		got := answerTo(t, test.settings, lines("\r", head), test.why)
		if test.want == "" && got != "" || test.want != "" && !strings.Contains(got, "\rMSA|"+test.want+"|42|") {
			t.Errorf("MSH-15 %q, MSH-16 %q, %s: got %q, want %q", test.accept, test.application, test.settings, got, test.want)
		}
	}
	if got := answerTo(t, `{}`, lines("\r", msh("ACK^R01", "42", "2.4"), "MSA|AA|1"), policyRefusal); got != "" {
		t.Errorf("acknowledgement of an acknowledgement: %q", got)
	}
	if got := answerTo(t, `{}`, lines("\r", msh("ZZZ^Z01", "42", "2.4")), policyRefusal); !strings.Contains(got, "^200&Unsupported message type&") {
		t.Errorf("unknown type: %q", got)
	}
}

// Whatever a header contains, its refusal is one frame of the three segments, in ASCII.
func TestHostileHeader(t *testing.T) {
	long := strings.Repeat("A", 3000)
	for _, head := range []string{
		"MSH|^~\\&|\x1b|\x7f|\xff|é||\t|ORU^R01|\x01\xfe|\x80|2.5",
		"MSH|^~\\&|" + long + "|" + long + "|" + long + "|" + long + "||" + long + "|" + long + "|" + long + "|" + long + "|" + long,
		`MSH|||||||||||`,
		`MSH|~~~~|a~b|c^d|e|f|||ORU^R01|1|P|2.5`,
		`MSH^~\&^a|b^c~d^e^f^^^ORU|R01^1^P^2.3`,
		`MSH~^|\&~a~b~c~d~~~ORU^R01~1~P~2.5`,
		`MSH-.+/=-a-b-c-d---ORU.R01-1-P-2.5`,
		`MSH|^~|a|b|c|d|||ORU^R01|1|P|2.5`,
		`MSH|^~\&|a|b|c|d|||ORU^R01|1|P|` + strings.Repeat("9", 150) + "." + strings.Repeat("9", 40),
		`MSH|^~\&|a|b|c|d|||ORU^R01|1|P|-2.5`,
	} {
		got := answerTo(t, `{}`, head+"\r", sdk.Refusal{Code: "|^~\\&\r\x0b\x1c", Cause: policy.CausePolicy, Reason: "|^~\\&.-\r\nMSH|"})
		if len(got) > sdk.MaxRefusal || !strings.HasPrefix(got, "\x0bMSH") || !strings.HasSuffix(got, "\r\x1c\r") {
			t.Fatalf("%.60q: %q", head, got)
		}
		if err := Answer([]byte(got)); err != nil {
			t.Errorf("%.60q: a device is not told %q: %v", head, got, err)
		}
		inner := got[1 : len(got)-3]
		if strings.Trim(strings.ReplaceAll(inner, "\r", ""), asciiText) != "" || strings.Count(inner, "\r") != 2 {
			t.Errorf("%.60q: %q", head, got)
		}
	}
}

var asciiText = func() string {
	var b strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()

// TestRefusalIndependently lets python-hl7 read refusals.
func TestRefusalIndependently(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import hl7").Run(); err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatalf("the peer is missing: apt-get install python3-hl7 (%v)", err)
		}
		t.Skipf("the peer is missing: apt-get install python3-hl7 (%v)", err)
	}
	const script = `
import hl7, sys
for path in sys.argv[1:]:
    b = open(path, 'rb').read()
    assert b[:1] == b'\x0b' and b[-2:] == b'\x1c\r', b
    m = hl7.parse(b[1:-2].decode('ascii'))
    err = m.segment('ERR')
    code = err(3)(1)(1)(1) if len(err) > 3 else err(1)(1)(4)(1)
    print(m.segment('MSA')(1), m.segment('MSA')(2), code, m.segment('MSH')(5), m.segment('MSH')(12), '7QF-21' in str(m))
`
	args := []string{"-c", script}
	var want strings.Builder
	for i, version := range []string{"2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8.2"} {
		path := fmt.Sprintf("%s/%d", t.TempDir(), i)
		if err := os.WriteFile(path, []byte(answerTo(t, `{}`, lines("\r", msh("ORU^R01", "42", version)), policyRefusal)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
		fmt.Fprintf(&want, "AR 42 207 LAB %s True\n", version)
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	if err != nil || string(out) != want.String() {
		t.Errorf("python-hl7 (%v) reads\n%swant\n%s", err, out, want.String())
	}
}
