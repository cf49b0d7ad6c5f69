package hl7

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// open makes an inspector.
func open(t testing.TB, settings string) sdk.Inspector {
	t.Helper()
	make, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return make()
}

// drive shows an inspector bytes of one direction in pieces and tells what it says in a
// form that does not depend on them. Refused operations are told so at once.
func drive(in sdk.Inspector, steps *sdk.Steps, dir sdk.Direction, data string, size int, end bool) string {
	var said strings.Builder
	var last sdk.OpID
	from := steps.Covered(dir)
	base := from
	shown := []byte(data)
	span := func() {
		if last != 0 {
			fmt.Fprintf(&said, "span %d to %d\n", last, from)
		}
		last = 0
	}
	say := func(list []sdk.Step) (refused []sdk.OpID, why []sdk.Refusal) {
		for _, s := range list {
			if s.Kind != sdk.StepSpan || s.Op != last {
				span()
			}
			switch s.Kind {
			case sdk.StepOperation:
				fmt.Fprintf(&said, "%d %s %t %s\n", s.Op, s.Operation.Name, s.Invalid, s.Reason)
				if s.Invalid {
					refused, why = append(refused, s.Op), append(why, sdk.Refusal{Code: "7QF-21", Cause: policy.CauseProtocol, Reason: s.Reason})
				}
			case sdk.StepSpan:
				last = s.Op
				from += s.N
			case sdk.StepAbort:
				fmt.Fprintf(&said, "abort %d %s\n", s.Op, s.Reason)
				refused, why = append(refused, s.Op), append(why, sdk.Refusal{Code: "7QF-21", Cause: policy.CauseProtocol, Reason: s.Reason})
			case sdk.StepRefusal:
				fmt.Fprintf(&said, "refusal %d %q\n", s.Op, s.Bytes)
			case sdk.StepEnd:
				fmt.Fprintf(&said, "end %s\n", s.Reason)
			}
		}
		return refused, why
	}
	for at := 0; ; {
		at = min(at+size, len(data))
		covered := min(steps.Covered(dir)-base, int64(at))
		if covered < int64(at) || at == len(data) && end {
			steps.Begin(dir)
			in.Inspect(dir, shown[covered:at:at], end && at == len(data), steps)
			ops, why := say(steps.List())
			for i, op := range ops {
				steps.Begin(dir)
				in.Refuse(op, why[i], steps)
				say(steps.List())
			}
		}
		if at == len(data) {
			span()
			return said.String()
		}
	}
}

// large is a message of n bytes of body in one OBX, without its frame.
func large(n int, tail ...string) string {
	head := lines("\r", msh("ORU^R01", "1", "2.5.1"), "PID|1||4711", "OBX|1|ED|PDF||^AP^^Base64^")
	return strings.TrimSuffix(head, "\r") + strings.Repeat("QUJD", n/4) + lines("\r", append([]string{""}, tail...)...)
}

func TestLargeMessage(t *testing.T) {
	const n = 300 << 10
	head := int64(1 + headSize)
	op := "1 hl7:ORU^R01 false \n"
	refused := func(wrong *fault) string {
		return fmt.Sprintf("refusal 1 %q\nend a message was refused that cannot be followed by another\n",
			nak("1", "1", "AR", fmt.Sprintf("%s|%d^%s", wrong.at, wrong.code, errorText(wrong.code)), wrong.reason))
	}
	spoiled := func(good int, wrong *fault) string {
		return op + fmt.Sprintf("span 1 to %d\nabort 1 %s\n", good, wrong.reason) + fmt.Sprintf("span 1 to %d\n", int64(sdk.Unlimited)) + refused(wrong)
	}
	whole := large(n)
	tests := []struct {
		name, settings, sent string
		end                  bool
		want                 string
	}{
		{"fits the head", `{}`, raw(large(1 << 10)), false, op + fmt.Sprintf("span 1 to %d\n", len(raw(large(1<<10))))},
		{"streams", `{}`, raw(whole), false, op + fmt.Sprintf("span 1 to %d\n", len(whole)+3)},
		{"then another", `{}`, raw(whole) + raw(large(8)), false, op + fmt.Sprintf("span 1 to %d\n2 hl7:ORU^R01 false \nspan 2 to %d\n", len(whole)+3, len(whole)+3+len(raw(large(8))))},
		{"start block in the body", `{}`, "\x0b" + whole + "\x0b" + whole, false, spoiled(1+len(whole), startInside)},
		{"second header in the body", `{}`, raw(whole + "MSH|^~\\&|\r"), false, spoiled(1+len(whole)+3, secondHeader)},
		{"patient in the body", `{}`, raw(whole + "PID|1||2\r"), false, spoiled(1+len(whole)+3, decisiveLate)},
		{"control character in the body", `{}`, raw(whole + "NTE|\x00"), false, spoiled(1+len(whole)+4, controlInside)},
		{"line that is no segment in the body", `{}`, raw(whole + "nte|"), false, spoiled(1+len(whole)+3, noSegment)},
		{"too long", `{"max_message":200000}`, raw(whole), false, spoiled(1+200000, tooLong)},
		{"exactly as long as allowed", fmt.Sprintf(`{"max_message":%d}`, len(whole)), raw(whole), false, op + fmt.Sprintf("span 1 to %d\n", len(whole)+3)},
		{"a byte too long", fmt.Sprintf(`{"max_message":%d}`, len(whole)-1), raw(whole), false, spoiled(len(whole), tooLong)},
		{"too long for a small limit", `{"max_message":2000}`, raw(large(4000)), false,
			"1 hl7:ORU^R01 true " + tooLong.reason + "\nspan 1 to 9223372036854775807\n" + refused(tooLong)},
		{"cut off", `{}`, "\x0b" + whole, true, spoiled(1+len(whole), unfinished)},
		{"cut off in the head", `{}`, "\x0b" + large(100), true,
			"1 hl7:ORU^R01 true " + unfinished.reason + "\nspan 1 to 9223372036854775807\n" + refused(unfinished)},
		{"patient across the head's end", `{}`, raw(lines("\r", msh("ORU^R01", "1", "2.5.1"), "PID|1||4711|"+strings.Repeat("x", n))), false,
			"1 hl7:ORU^R01 true " + headLong.reason + "\nspan 1 to 9223372036854775807\n" + refused(headLong)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{len(test.sent), 7, 1448, 65536, headSize, headSize + 1, headSize + 2, int(head) + n} {
				var steps sdk.Steps
				if got := drive(open(t, test.settings), &steps, sdk.Forward, test.sent, size, test.end); got != test.want {
					t.Fatalf("pieces of %d:\n%s\nwant\n%s", size, got, test.want)
				}
			}
		})
	}
}

func TestLargeHeadFacts(t *testing.T) {
	var steps sdk.Steps
	steps.Begin(sdk.Forward)
	open(t, `{}`).Inspect(sdk.Forward, []byte(raw(large(200<<10))), false, &steps)
	a := steps.List()[0].Operation.Attributes
	if a.Get("size") != nil || a.Get("inspected") != int64(headSize) {
		t.Errorf("size %v, inspected %v", a.Get("size"), a.Get("inspected"))
	}
	if got := fmt.Sprint(a.Get("patient_ids"), a.Get("obs_codes")); got != "[4711] [PDF]" {
		t.Errorf("facts of the head: %s", got)
	}
}

// A reply of any size passes, and only what would hide a second message ends it.
func TestLargeReply(t *testing.T) {
	reply := "\x0b" + lines("\r", msh("RSP^K22", "9", "2.5"), "MSA|AA|1", "OBX|1|ED|PDF||"+strings.Repeat("QUJD", 100<<10)+"\t") + "\x1c\r"
	for _, size := range []int{1, 1448, 1 << 20} {
		var steps sdk.Steps
		in := open(t, `{}`)
		drive(in, &steps, sdk.Forward, raw(large(8)), 1<<20, false)
		want := fmt.Sprintf("span 1 to %d\n", len(reply))
		if got := drive(in, &steps, sdk.Reverse, reply, size, false); got != want {
			t.Errorf("pieces of %d: %s\nwant %s", size, got, want)
		}
		bad := strings.Replace(reply, "OBX", "MSH", 1)
		in, steps = open(t, `{}`), sdk.Steps{}
		drive(in, &steps, sdk.Forward, raw(large(8)), 1<<20, false)
		if got := drive(in, &steps, sdk.Reverse, bad, size, false); !strings.HasSuffix(got, "end reply: two MSH segments in one frame\n") {
			t.Errorf("pieces of %d: %s", size, got)
		}
	}
}
