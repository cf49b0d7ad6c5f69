package modbus

import (
	"reflect"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestRepeated has requests with the transaction identifier of one that is not answered.
func TestRepeated(t *testing.T) {
	const reads, writes = policy.ClassRead, policy.ClassWrite
	set := func(id int) string { return write(id, 11, 200) }
	conformance.Run(t, Protocol(), `{}`, conformance.Named("strict").
		// A write is sent again before it is answered, and again after it.
		Forward(set(1)+set(1)+set(1)).Reverse(set(1)).Forward(set(1)).Reverse(set(1)).
		WantOperation(writeName, writes).WantInvalid(writeName, writes).WantInvalid(writeName, writes).WantOperation(writeName, writes).
		WantRefusal(2, exception(1, 6, 6)).WantRefusal(3, exception(1, 6, 6)).
		// Another request.
		Forward(read(2)+set(2)).Reverse(tenRegisters(2)).
		WantOperation(readName, reads).WantInvalid(writeName, writes).WantRefusal(6, exception(2, 6, 6)).
		// Another unit.
		Forward(read(3)+unit(2, 3, 3, word(0, 1))).Reverse(tenRegisters(3)).
		WantOperation(readName, reads).WantInvalid(readName, reads).WantRefusal(8, unit(2, 3, 0x83, 6)).
		// One that was malformed, or refused, has been answered.
		Forward(adu(4, 3, word(0, 0))+read(4)).Reverse(tenRegisters(4)).
		WantInvalid(readName, reads).WantOperation(readName, reads).WantRefusal(9, exception(4, 3, 3)).
		Forward(set(5)).Refused(11).Forward(read(6)).Reverse(tenRegisters(6)).Forward(set(5)).Reverse(set(5)).
		WantOperation(writeName, writes).WantOperation(readName, reads).WantOperation(writeName, writes).WantRefusal(11, exception(5, 6, 1)).
		WantForward(set(1)+set(1)+read(2)+read(3)+read(4)+read(6)+set(5)))
	conformance.Run(t, Protocol(), `{"shared_ids":true}`, conformance.Named("reads may").
		Forward(read(0)+adu(0, 3, word(0, 1))+set(0)).Reverse(tenRegisters(0)).Reverse(adu(0, 3, 2, word(7))).
		WantOperation(readName, reads, "anomalies", nil).WantOperation(readName, reads, "anomalies", []string{"shared_id"}).
		WantInvalid(writeName, writes).WantRefusal(3, exception(0, 6, 6)).
		Forward(set(0)+read(0)).WantOperation(writeName, writes).WantInvalid(readName, reads).WantRefusal(5, exception(0, 3, 6)).
		WantReverse(exception(0, 6, 6)+tenRegisters(0)+adu(0, 3, 2, word(7))+exception(0, 3, 6)))

	in, out := open(t, `{"shared_ids":true,"refuse":["shared_id"]}`), &sdk.Steps{}
	if ask(in, out, read(0)) == 0 || ask(in, out, read(0)) != 0 {
		t.Error("reads share an identifier where that is refused")
	}
}

func TestOutstanding(t *testing.T) {
	d := conformance.Named("one more than may be")
	for id := range defaultOutstanding {
		d = d.Forward(read(id)).WantOperation(readName, policy.ClassRead)
	}
	conformance.Run(t, Protocol(), `{}`, d.
		Forward(read(16)).WantInvalid(readName, policy.ClassRead).WantRefusal(17, exception(16, 3, 6)).
		Reverse(tenRegisters(7)).
		Forward(read(17)).WantOperation(readName, policy.ClassRead).
		Forward(read(18)).WantInvalid(readName, policy.ClassRead).WantRefusal(19, exception(18, 3, 6)))
	conformance.Run(t, Protocol(), `{"max_outstanding":1}`, conformance.Named("one at a time").
		Forward(read(1)+write(2, 1, 1)).Reverse(tenRegisters(1)).Forward(write(3, 1, 1)).
		WantOperation(readName, policy.ClassRead).WantInvalid(writeName, policy.ClassWrite).WantOperation(writeName, policy.ClassWrite).
		WantRefusal(2, exception(2, 6, 6)))
}

// TestFlood shows a window full of requests: as much of it at a time as an answer may hold.
func TestFlood(t *testing.T) {
	window := []byte(strings.Repeat(read(1), sdk.WindowSize/12))
	in, out := open(t, `{}`), &sdk.Steps{}
	for covered := 0; covered < len(window); covered = int(out.Covered(sdk.Forward)) {
		out.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, window[covered:], false, out)
		if n := len(out.List()); n == 0 || n > sdk.MaxSteps {
			t.Fatalf("%d steps in an answer", n)
		}
	}
	if n := len(in.(*session).open); n > sdk.MaxOpen {
		t.Errorf("%d requests are open", n)
	}
}

// ask shows an inspector a request, and returns the operation's number, or 0 if it is
// invalid.
func ask(in sdk.Inspector, out *sdk.Steps, sent string) sdk.OpID {
	out.Begin(sdk.Forward)
	in.Inspect(sdk.Forward, []byte(sent), false, out)
	step := out.List()[0]
	if step.Invalid {
		in.Refuse(step.Op, sdk.Refusal{Cause: policy.CauseProtocol}, out)
		return 0
	}
	return step.Op
}

// TestForgotten leaves a request without an answer: it counts as open for sdk.MaxOpen more,
// and then its identifier and its place are free again.
func TestForgotten(t *testing.T) {
	in, out := open(t, `{"max_outstanding":2}`), &sdk.Steps{}
	ask(in, out, write(1, 11, 200))
	for id := 2; id < sdk.MaxOpen; id++ {
		if ask(in, out, read(id)) == 0 {
			t.Fatalf("request %d is invalid", id)
		}
		out.Begin(sdk.Reverse)
		in.Inspect(sdk.Reverse, []byte(tenRegisters(id)), false, out)
	}
	if ask(in, out, write(1, 11, 200)) != 0 {
		t.Error("a write is sent again while it may still be answered")
	}
	if ask(in, out, write(1, 11, 200)) == 0 {
		t.Error("a write is never forgotten")
	}
	if n := len(in.(*session).open); n != 1 {
		t.Errorf("%d requests are open", n)
	}
}

// TestLateRefusal refuses a request that cannot be named any more.
func TestLateRefusal(t *testing.T) {
	in, out := open(t, `{"broadcast":"allow"}`), &sdk.Steps{}
	for range sdk.MaxOpen + 1 {
		ask(in, out, unit(0, 1, 6, word(1, 1)))
	}
	out.Begin(sdk.Forward)
	in.Refuse(1, sdk.Refusal{}, out)
	if list := out.List(); len(list) != 1 || list[0].Kind != sdk.StepEnd {
		t.Errorf("%v", list)
	}
	if n := len(in.(*session).open); n > sdk.MaxOpen {
		t.Errorf("%d requests are open", n)
	}
}

// TestBroadcast has requests to unit 0, by setting.
func TestBroadcast(t *testing.T) {
	write := unit(0, 1, 6, word(11, 200))
	restart := unit(0, 2, 8, word(1, 0))
	read, answer := unit(0, 3, 3, word(0, 1)), unit(0, 3, 3, 2, word(7))
	vendor := unit(0, 4, 90, 1)
	malformed := unit(0, 5, 6, word(11))
	run := func(settings string, write1, restart1 policy.Class, silent bool) {
		t.Helper()
		refusal := func(function, id, code int) string {
			if silent {
				return ""
			}
			return unit(0, id, function|exceptionBit, code)
		}
		all := write + restart + read + vendor + malformed
		conformance.Run(t, Protocol(), settings, conformance.Named(settings).Forward(all).Reverse(answer).
			WantOperation(writeName, write1, "unit", 0).
			WantOperation("modbus:diagnostics", restart1).
			WantOperation(readName, policy.ClassRead).
			WantOperation("modbus:function_0x5a", policy.ClassUnknown).
			WantInvalid(writeName, write1).
			WantRefusal(5, refusal(6, 5, 3)).
			WantForward(write+restart+read+vendor).WantReverse(refusal(6, 5, 3)+answer))
		in, out := open(t, settings), &sdk.Steps{}
		for sent, want := range map[string]string{write: refusal(6, 1, 1), restart: refusal(8, 2, 1), read: unit(0, 3, 0x83, 1), vendor: refusal(90, 4, 1)} {
			op := ask(in, out, sent)
			out.Begin(sdk.Forward)
			in.Refuse(op, sdk.Refusal{Cause: policy.CausePolicy}, out)
			if list := out.List(); len(list) != 1 || string(list[0].Bytes) != want {
				t.Errorf("%s: %x is refused by %v", settings, sent, list)
			}
		}
	}
	run(`{}`, policy.ClassAdmin, policy.ClassAdmin, true)
	run(`{"broadcast":"allow"}`, policy.ClassWrite, policy.ClassAdmin, true)
	run(`{"broadcast":"none"}`, policy.ClassWrite, policy.ClassAdmin, false)

	// Nobody knows whether unit 0 answers: it may, it need not, and it may be asked again.
	conformance.Run(t, Protocol(), `{"max_outstanding":1}`, conformance.Named("answered or not").
		Forward(read+write+write).Reverse(write).Reverse(answer).
		WantOperation(readName, policy.ClassRead).WantOperation(writeName, policy.ClassAdmin).WantOperation(writeName, policy.ClassAdmin).
		WantForward(read+write+write).WantReverse(write+answer))
}

// TestObligation has the exceptions that a policy chooses.
func TestObligation(t *testing.T) {
	for _, test := range []struct {
		cause       policy.Cause
		obligations []string
		code        int
	}{
		{policy.CausePolicy, nil, 1},
		{policy.CausePolicy, []string{"modbus:illegal-data-address"}, 2},
		{policy.CausePolicy, []string{"modbus:illegal-data-value"}, 3},
		{policy.CausePolicy, []string{"modbus:gateway-path-unavailable"}, 0x0a},
		{policy.CausePolicy, []string{"modbus:illegal-data-address", "modbus:illegal-data-value"}, 2},
		{policy.CausePolicy, []string{"modbus:something"}, 1},
		{policy.CauseDoubt, []string{"modbus:illegal-data-value"}, 6},
		{policy.CauseProtocol, nil, 3},
	} {
		why := sdk.Refusal{Code: conformance.Code, Cause: test.cause, Reason: "not permitted", Obligations: test.obligations}
		in, out := open(t, `{}`), &sdk.Steps{}
		op := ask(in, out, write(0x1234, 11, 999))
		out.Begin(sdk.Forward)
		in.Refuse(op, why, out)
		if list := out.List(); len(list) != 1 || string(list[0].Bytes) != exception(0x1234, 6, test.code) {
			t.Errorf("%s %v: %v", test.cause, test.obligations, list)
		}
	}
}

func TestPaddingBits(t *testing.T) {
	sent := adu(1, 15, word(0, 1), 1, 0x03)
	in, out := open(t, `{}`), &sdk.Steps{}
	if ask(in, out, sent) == 0 {
		t.Error("padding bits are refused")
	}
	if got := out.List()[0].Operation.Attributes.Get("anomalies"); !reflect.DeepEqual(got, []string{"padding_bits"}) {
		t.Errorf("anomalies = %v", got)
	}
	if ask(open(t, `{"refuse":["padding_bits"]}`), out, sent) != 0 {
		t.Error("padding bits are not refused")
	}
}

// TestListenOnly: a device that was told not to answer does not fill the places.
func TestListenOnly(t *testing.T) {
	d := conformance.Named("not answered")
	for id := range 3 {
		d = d.Forward(adu(id, 8, word(listenOnly, 0))).WantOperation("modbus:diagnostics", policy.ClassAdmin)
	}
	conformance.Run(t, Protocol(), `{"max_outstanding":1}`, d.Forward(read(9)).WantOperation(readName, policy.ClassRead))
}
