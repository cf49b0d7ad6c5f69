package hl7

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func newSteps() *sdk.Steps { return new(sdk.Steps) }

// modes makes a message that values MSH-15 and MSH-16.
func modes(id, accept, application string) string {
	return frame(msh("ORU^R01^ORU_R01", id, "2.5.1") + "|||" + accept + "|" + application)
}

func reply(code, id string) string {
	return frame(msh("ACK^R01^ACK", "d"+id, "2.5.1"), "MSA|"+code+"|"+id)
}

func TestReplies(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	cr := func(op, id string) string { return nak(op, id, "CR", denied, "not permitted") }
	ar := func(op, id string) string { return nak(op, id, "AR", denied, "not permitted") }
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("accept, then application acknowledgement").
			Forward(modes("1", "AL", "AL")).Reverse(reply("CA", "1")).Reverse(reply("AA", "1")).
			WantOperation(name, write, "accept_ack", "AL", "app_ack", "AL"),
		conformance.Named("a refusal waits for the accept acknowledgement, not for the application's").
			Forward(modes("1", "AL", "AL")+modes("2", "AL", "AL")).Reverse(reply("CA", "1")).Reverse(reply("AA", "1")).Refused(2).
			WantOperation(name, write).WantOperation(name, write).WantRefusal(2, cr("2", "2")).
			WantReverse(reply("CA", "1")+cr("2", "2")+reply("AA", "1")),
		conformance.Named("nothing waits for an application acknowledgement").
			Forward(modes("1", "NE", "AL")+oru("2")).Refused(2).
			WantOperation(name, write).WantOperation(name, write).WantRefusal(2, ar("2", "2")).WantReverse(ar("2", "2")),
		conformance.Named("two accept acknowledgements").
			Forward(modes("1", "AL", "AL")).Reverse(reply("CA", "1")).Reverse(reply("CA", "1")).
			WantOperation(name, write).WantInvalid("hl7:ACK^R01", policy.ClassUnknown).WantEnd(),
		conformance.Named("two answers in original mode").
			Forward(oru("1")).Reverse(ack("1")).Reverse(ack("1")).
			WantOperation(name, write).WantInvalid("hl7:ACK^R01", policy.ClassUnknown).WantEnd(),
		conformance.Named("commit rejection ends an exchange").
			Forward(modes("1", "AL", "AL")).Reverse(reply("CR", "1")).Reverse(reply("AA", "1")).
			WantOperation(name, write).WantInvalid("hl7:ACK^R01", policy.ClassUnknown).WantEnd(),
		conformance.Named("answers out of order").
			Forward(oru("1")+oru("2")).Reverse(ack("2")).Reverse(ack("1")).
			WantOperation(name, write).WantOperation(name, write).WantReverse(ack("2")+ack("1")),
		conformance.Named("answer to a refused message").
			Forward(oru("1")).Reverse(ack("1")).Refused(1).
			WantOperation(name, write).WantRefusal(1, ar("1", "1")).WantInvalid("hl7:ACK^R01", policy.ClassUnknown).WantEnd(),
		conformance.Named("reply without MSA").
			Forward(oru("1")).Reverse(oru("1")).
			WantOperation(name, write).WantInvalid(name, policy.ClassUnknown).WantEnd(),
		conformance.Named("reply without MSH").
			Forward(oru("1")).Reverse(frame("MSA|AA|1")).
			WantOperation(name, write).WantInvalid(unknownName, policy.ClassUnknown).WantEnd(),
		conformance.Named("device banner").
			Reverse(strings.Repeat("welcome ", 9)).WantInvalid(unknownName, policy.ClassUnknown).WantEnd(),
		conformance.Named("device closes before it answers").
			Forward(oru("1")+oru("2")).ReverseEnds().Refused(2).
			WantOperation(name, write).WantOperation(name, write).WantRefusal(2, ar("2", "2")),
		conformance.Named("device closes inside a reply").
			Forward(oru("1")).Reverse(ack("1")[:60]).ReverseEnds().
			WantOperation(name, write).WantEnd(),
		conformance.Named("reply ended by the next one").
			Forward(oru("1")).Reverse(ack("1")[:40]+ack("1")).
			WantOperation(name, write).WantEnd(),
		conformance.Named("reply with LF ends").
			Forward(oru("1")).Reverse(strings.ReplaceAll(ack("1")[:len(ack("1"))-2], "\r", "\n")+"\x1c\r").
			WantOperation(name, write),
	)
	t.Run("no_ack", func(t *testing.T) {
		conformance.Run(t, Protocol(), `{"no_ack":true}`,
			conformance.Forward(oru("1")+oru("2")).Refused(2).
				WantOperation(name, write).WantOperation(name, write).WantRefusal(2, "").WantForward(oru("1")))
	})
	t.Run("loose_ack", func(t *testing.T) {
		conformance.Run(t, Protocol(), `{"loose_ack":true}`,
			conformance.Forward(oru("1")).Reverse(ack("0001")).WantOperation(name, write).WantReverse(ack("0001")))
	})
}

// A refused message is answered while an earlier one is still being sent, and its body is
// followed to its end.
func TestRefusedWhileStreaming(t *testing.T) {
	sent := raw(large(2 * headSize))
	in, steps := open(t, `{}`), newSteps()
	steps.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(sent[:headSize+100]), false, steps)
	steps.Begin(sdk.Forward)
	in.Refuse(1, policyRefusal, steps)
	if n := len(steps.List()); n != 1 || steps.List()[0].Kind != sdk.StepRefusal {
		t.Fatalf("steps %v", steps.List())
	}
	steps.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(sent[headSize+100:]+oru("2")), false, steps)
	var ops []sdk.OpID
	for _, s := range steps.List() {
		if s.Kind == sdk.StepOperation {
			ops = append(ops, s.Op)
		}
	}
	if len(ops) != 1 || steps.Covered(sdk.Forward) != int64(len(sent)+len(oru("2"))) {
		t.Errorf("steps %v", steps.List())
	}
}

// A malformed body of a message that was refused already is not refused again.
func TestRefusedThenSpoiled(t *testing.T) {
	sent := raw(large(2*headSize) + "PID|9\r")
	in, steps := open(t, `{}`), newSteps()
	steps.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(sent[:headSize+100]), false, steps)
	steps.Begin(sdk.Forward)
	in.Refuse(1, policyRefusal, steps)
	steps.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(sent[headSize+100:]), false, steps)
	list := steps.List()
	if last := list[len(list)-1]; last.Kind != sdk.StepEnd || list[0].Kind != sdk.StepSpan {
		t.Errorf("steps %v", list)
	}
}

// More messages than can be named end the session, before one is lost.
func TestCrowd(t *testing.T) {
	for _, sent := range []string{oru("1"), frame("MSH|^~|x")} {
		in, steps := open(t, `{}`), newSteps()
		ended := false
		for range sdk.MaxOpen + 1 {
			steps.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, []byte(sent), false, steps)
			for _, s := range steps.List() {
				ended = ended || s.Kind == sdk.StepEnd
			}
		}
		if !ended {
			t.Errorf("%q: %d messages without an answer are accepted", sent, sdk.MaxOpen+1)
		}
	}
	in, steps := open(t, `{"no_ack":true}`), newSteps()
	for range 4 * sdk.MaxOpen {
		steps.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, []byte(oru("1")), false, steps)
	}
	if n := len(in.(*session).open); n > sdk.MaxOpen {
		t.Errorf("%d messages are remembered", n)
	}
}

func TestBatch(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	inner := func(id, patient string) string {
		return lines("\r", msh("ORU^R01^ORU_R01", id, "2.5.1"), "PID|1||"+patient)
	}
	batch := raw("FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r" + inner("1", "a") + inner("2", "b") + "BTS|2\rFTS|1\r")
	answer := func(id, suffix string) string {
		n := nak("1"+suffix, id, "AR", denied, "not permitted")
		return n[1 : len(n)-2]
	}
	conformance.Run(t, Protocol(), `{"batch":"allow"}`,
		conformance.Named("answered one by one").
			Forward(batch).Reverse(reply("AA", "1")).Reverse(reply("AA", "2")).
			WantOperation(name, write, "messages", 2, "patient_ids", []string{"a", "b"}).WantForward(batch),
		conformance.Named("answered by a batch").
			Forward(batch).Reverse(raw("BHS|^~\\&\r"+reply("AA", "1")[1:len(reply("AA", "1"))-2]+reply("AA", "2")[1:len(reply("AA", "2"))-2]+"BTS|2\r")).
			WantOperation(name, write),
		conformance.Named("refused as a whole").
			Forward(batch).Forward(oru("3")).Refused(1).
			WantOperation(name, write).WantOperation(name, write).
			WantRefusal(1, raw("BHS|^~\\&\r"+answer("1", "")+answer("2", ".1")+"BTS|2\r")).
			WantForward(oru("3")),
		conformance.Named("of different messages").
			Forward(raw("BHS|^~\\&\r"+inner("1", "a")+lines("\r", msh("RGV^O15^RGV_O15", "2", "2.5.1"))+"BTS|2\r")).
			WantInvalid(name, write).WantForward("").
			WantRefusal(1, nak("1", "1", "AR", "MSH^2|100^Segment sequence error", batchMixed.reason)),
		conformance.Named("single message").Forward(oru("1")).WantOperation(name, write, "messages", nil),
	)
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("not allowed").Forward(batch).Forward(oru("3")).
			WantInvalid(name, write).WantOperation(name, write).WantForward(oru("3")).
			WantRefusal(1, answerTo(t, `{}`, batch[1:len(batch)-2], policyRefusal)))
}

// MLLP release 2: every frame is acknowledged by a frame of one character.
func TestCommit(t *testing.T) {
	name, write := "hl7:ORU^R01", policy.ClassWrite
	const yes, no = "\x0b\x06\x1c\r", "\x0b\x15\x1c\r"
	conformance.Run(t, Protocol(), `{"commit":true}`,
		conformance.Named("both ways").
			Forward(oru("1")).Reverse(yes).Reverse(ack("1")).Forward(yes).Forward(oru("2")).Reverse(yes).
			WantOperation(name, write).WantOperation(name, write).
			WantForward(oru("1")+yes+oru("2")).WantReverse(yes+ack("1")+yes),
		conformance.Named("refused: the client's acknowledgement does not reach the device").
			Forward(oru("1")+oru("2")).Reverse(yes).Reverse(ack("1")).Forward(yes+yes).Refused(2).
			WantOperation(name, write).WantOperation(name, write).WantRefusal(2, yes+nak("2", "2", "AR", denied, "not permitted")).
			WantForward(oru("1")+yes),
		conformance.Named("device sends again").
			Forward(oru("1")).Reverse(yes).Reverse(ack("1")).Forward(no).Reverse(ack("1")).Forward(yes).
			WantOperation(name, write).WantForward(oru("1")+no+yes),
		conformance.Named("client sends again").
			Forward(oru("1")).Reverse(no).Forward(oru("1")).Reverse(yes).
			WantOperation(name, write).WantOperation(name, write),
		conformance.Named("acknowledgement of nothing").Forward(yes).WantEnd(),
	)
}
