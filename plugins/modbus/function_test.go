package modbus

import (
	"slices"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// functionTest is a request, a response to it, and what policy is told.
type functionTest struct {
	name     string
	class    policy.Class
	request  string // PDU
	response string // PDU; empty: there is none
	facts    []any
}

func functionTests() []functionTest {
	many := func(n int, value int64) []int64 {
		list := make([]int64, n)
		for i := range list {
			list[i] = value
		}
		return list
	}
	pdu := bytesOf
	return []functionTest{
		{"read_coils", policy.ClassRead, pdu(1, word(19, 19)), pdu(1, 3, 0xcd, 0x6b, 0x05),
			[]any{"table", "coils", "address", 19, "address_end", 37, "quantity", 19}},
		{"read_coils", policy.ClassRead, pdu(1, word(0, 2000)), pdu(1, 250, strings.Repeat("\xff", 250)), []any{"address_end", 1999}},
		{"read_discrete_inputs", policy.ClassRead, pdu(2, word(196, 22)), pdu(2, 3, 0xac, 0xdb, 0x35),
			[]any{"table", "discrete_inputs", "address", 196, "address_end", 217, "quantity", 22}},
		{"read_holding_registers", policy.ClassRead, pdu(3, word(107, 3)), pdu(3, 6, word(555, 0, 100)),
			[]any{"table", "holding_registers", "address", 107, "address_end", 109, "quantity", 3}},
		{"read_holding_registers", policy.ClassRead, pdu(3, word(65411, 125)), pdu(3, 250, strings.Repeat("\xff", 250)), []any{"address_end", 65535}},
		{"read_input_registers", policy.ClassRead, pdu(4, word(8, 1)), pdu(4, 2, word(10)),
			[]any{"table", "input_registers", "address", 8, "address_end", 8, "quantity", 1}},
		{"write_single_coil", policy.ClassWrite, pdu(5, word(172, 0xff00)), pdu(5, word(172, 0xff00)),
			[]any{"table", "coils", "address", 172, "address_end", 172, "quantity", 1, "values", []int64{1}}},
		{"write_single_coil", policy.ClassWrite, pdu(5, word(172, 0)), pdu(5, word(172, 0)), []any{"values", []int64{0}}},
		{"write_single_register", policy.ClassWrite, pdu(6, word(65535, 65535)), pdu(6, word(65535, 65535)),
			[]any{"table", "holding_registers", "address", 65535, "address_end", 65535, "values", []int64{65535}}},
		{"read_exception_status", policy.ClassRead, pdu(7), pdu(7, 0x6d), []any{"table", nil, "address", nil}},
		{"diagnostics", policy.ClassSession, pdu(8, word(0, 0xa537)), pdu(8, word(0, 0xa537)), []any{"sub_function", 0, "values", nil}},
		{"diagnostics", policy.ClassSession, pdu(8, word(0, 1, 2, 3, 4, 5)), pdu(8, word(0, 1, 2, 3, 4, 5)), []any{"sub_function", 0}},
		{"diagnostics", policy.ClassAdmin, pdu(8, word(1, 0xff00)), pdu(8, word(1, 0xff00)), []any{"sub_function", 1, "values", []int64{0xff00}}},
		{"diagnostics", policy.ClassAdmin, pdu(8, word(4, 0)), "", []any{"sub_function", 4}},
		{"diagnostics", policy.ClassAdmin, pdu(8, word(10, 0)), pdu(8, word(10, 0)), []any{"sub_function", 10}},
		{"diagnostics", policy.ClassAdmin, pdu(8, word(11, 0)), pdu(8, word(11, 4711)), []any{"sub_function", 11}},
		{"get_comm_event_counter", policy.ClassRead, pdu(11), pdu(11, word(0xffff, 264)), nil},
		{"get_comm_event_log", policy.ClassRead, pdu(12), pdu(12, 8, word(0, 264, 289), 0x20, 0), nil},
		{"write_multiple_coils", policy.ClassWrite, pdu(15, word(19, 10), 2, 0xcd, 0x01), pdu(15, word(19, 10)),
			[]any{"table", "coils", "address", 19, "address_end", 28, "quantity", 10, "values", []int64{1, 0, 1, 1, 0, 0, 1, 1, 1, 0}, "anomalies", nil}},
		{"write_multiple_coils", policy.ClassWrite, pdu(15, word(0, 1968), 246, strings.Repeat("\xff", 246)), pdu(15, word(0, 1968)),
			[]any{"address_end", 1967, "values", many(1968, 1)}},
		{"write_multiple_registers", policy.ClassWrite, pdu(16, word(1, 2), 4, word(10, 258)), pdu(16, word(1, 2)),
			[]any{"table", "holding_registers", "address", 1, "address_end", 2, "quantity", 2, "values", []int64{10, 258}}},
		{"write_multiple_registers", policy.ClassWrite, pdu(16, word(0, 123), 246, strings.Repeat("\xff", 246)), pdu(16, word(0, 123)),
			[]any{"values", many(123, 65535)}},
		{"report_server_id", policy.ClassRead, pdu(17), pdu(17, 5, "pump", 0xff), nil},
		{"read_file_record", policy.ClassRead, pdu(20, 14, 6, word(4, 1, 2), 6, word(3, 9, 2)),
			pdu(20, 12, 5, 6, word(0x0dfe, 0x20), 5, 6, word(0x33cd, 0x40)),
			[]any{"files", []int64{4, 3}, "records", []int64{1, 9}, "lengths", []int64{2, 2}, "values", nil}},
		{"write_file_record", policy.ClassAdmin, pdu(21, 13, 6, word(4, 7, 3, 0x06af, 0x04be, 0x100d)), pdu(21, 13, 6, word(4, 7, 3, 0x06af, 0x04be, 0x100d)),
			[]any{"files", []int64{4}, "records", []int64{7}, "lengths", []int64{3}, "values", []int64{0x06af, 0x04be, 0x100d}}},
		{"mask_write_register", policy.ClassWrite, pdu(22, word(4, 0xf2, 0x25)), pdu(22, word(4, 0xf2, 0x25)),
			[]any{"table", "holding_registers", "address", 4, "address_end", 4, "and_mask", 0xf2, "or_mask", 0x25, "values", nil}},
		{"read_write_multiple_registers", policy.ClassWrite, pdu(23, word(3, 6, 14, 3), 6, word(255, 256, 257)), pdu(23, 12, word(254, 2765, 1, 3, 13, 255)),
			[]any{"table", "holding_registers", "address", 14, "address_end", 16, "quantity", 3, "values", []int64{255, 256, 257},
				"read_address", 3, "read_address_end", 8, "read_quantity", 6}},
		{"read_write_multiple_registers", policy.ClassWrite, pdu(23, word(0, 125, 0, 121), 242, strings.Repeat("\xff", 242)), pdu(23, 250, strings.Repeat("\xff", 250)),
			[]any{"values", many(121, 65535)}},
		{"read_fifo_queue", policy.ClassRead, pdu(24, word(1246)), pdu(24, word(6, 2, 440, 4740)),
			[]any{"table", "holding_registers", "address", 1246, "quantity", nil}},
		{"canopen_general_reference", policy.ClassUnknown, pdu(43, 13, "anything"), pdu(43, 13, "something"), []any{"mei_type", 13, "size", 8}},
		{"read_device_identification", policy.ClassRead, pdu(43, 14, 1, 0), pdu(43, 14, 1, 1, 0, 0, 3, 0, 4, "ACME", 1, 2, "P7", 2, 0),
			[]any{"mei_type", 14, "read_code", 1, "object", 0}},
		{"function_0x2b", policy.ClassUnknown, pdu(43, 15, 1), pdu(43, 15, 2), []any{"mei_type", 15, "size", 1}},
		{"function_0x5a", policy.ClassUnknown, pdu(90, 0, 1), pdu(90, 0xfe), []any{"size", 2, "table", nil}},
		{"function_0x7f", policy.ClassUnknown, pdu(127), pdu(127), []any{"size", 0}},
		{"function_0x13", policy.ClassUnknown, pdu(19, "x"), pdu(19, "y"), []any{"size", 1}},
	}
}

// TestFunction passes and refuses each function, by policy and in doubt in turn.
func TestFunction(t *testing.T) {
	doubt := sdk.Refusal{Code: conformance.Code, Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}
	allowed, refused := conformance.Named("allowed"), conformance.Named("refused")
	var requests, responses, refusals string
	for i, test := range functionTests() {
		op, function := sdk.OpID(i+1), int(test.request[0])
		request, response := adu(i, test.request), adu(i, test.response)
		if test.response == "" {
			response = ""
		}
		requests, responses = requests+request, responses+response
		name, facts := namePrefix+test.name, append([]any{"unit", 1, "function", function}, test.facts...)
		allowed = allowed.Forward(request).Reverse(response).WantOperation(name, test.class, facts...)
		refusal := exception(i, function, illegalFunction)
		if i%2 == 0 {
			refused = refused.Refused(op)
		} else {
			refused = refused.RefusedWith(doubt, op)
			refusal = exception(i, function, serverDeviceBusy)
		}
		refusals += refusal
		refused = refused.Forward(request).WantOperation(name, test.class, facts...).WantRefusal(op, refusal)
	}
	conformance.Run(t, Protocol(), `{"max_outstanding":128}`,
		allowed.WantForward(requests).WantReverse(responses),
		refused.WantForward("").WantReverse(refusals),
	)
}

// otherSizes are a PDU with one byte more and one less.
func otherSizes(pdu string) []string {
	list := []string{pdu + "\x00", pdu[:len(pdu)-1]}
	return slices.DeleteFunc(list, func(pdu string) bool { return len(pdu) == 0 || len(pdu) > maxPDU })
}

// TestFunctionSize shows every known function with a byte more and one less.
func TestFunctionSize(t *testing.T) {
	set := &settings{}
	for _, test := range functionTests() {
		if r := set.read(&frame{unit: 1, pdu: []byte(test.request)}); r.wrong != nil {
			t.Errorf("%s: %x is refused: %s", test.name, test.request, r.wrong.reason)
		}
		if test.class == policy.ClassUnknown {
			continue
		}
		for _, pdu := range otherSizes(test.request) {
			if r := set.read(&frame{unit: 1, pdu: []byte(pdu)}); r.wrong != wrongSize {
				t.Errorf("%s: %x: %v, want %v", test.name, pdu, r.wrong, wrongSize)
			}
		}
	}
}

// TestFunctionResponse shows each known response with a byte more and one less: the session
// ends.
func TestFunctionResponse(t *testing.T) {
	for _, test := range functionTests() {
		if test.class == policy.ClassUnknown || test.response == "" {
			continue
		}
		for _, pdu := range append(otherSizes(test.response), test.response) {
			in := open(t, `{}`)
			var steps sdk.Steps
			steps.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, []byte(adu(1, test.request)), false, &steps)
			steps.Begin(sdk.Reverse)
			in.Inspect(sdk.Reverse, []byte(adu(1, pdu)), false, &steps)
			list := steps.List()
			ended := len(list) == 2 && list[0].Invalid && list[1].Kind == sdk.StepEnd
			if ended == (pdu == test.response) {
				t.Errorf("%s: response %x: %v", test.name, pdu, list)
			}
		}
	}
}

// TestMalformed has requests that are answered by the gateway alone.
func TestMalformed(t *testing.T) {
	pdu := bytesOf
	for _, test := range []struct {
		name  string
		pdu   string
		code  int
		wrong *fault
	}{
		{"function 0", pdu(0), 1, noFunction},
		{"exception as a request", pdu(0x83, 2), 1, noFunction},
		{"no coils", pdu(1, word(0, 0)), 3, wrongQuantity},
		{"too many coils", pdu(1, word(0, 2001)), 3, wrongQuantity},
		{"too many inputs", pdu(2, word(0, 2001)), 3, wrongQuantity},
		{"no registers", pdu(3, word(0, 0)), 3, wrongQuantity},
		{"too many registers", pdu(3, word(0, 126)), 3, wrongQuantity},
		{"too many input registers", pdu(4, word(0, 126)), 3, wrongQuantity},
		{"all registers", pdu(3, word(0, 65535)), 3, wrongQuantity},
		{"range past the end", pdu(3, word(65535, 2)), 2, pastEnd},
		{"bits past the end", pdu(1, word(65000, 1000)), 2, pastEnd},
		{"coil of another value", pdu(5, word(0, 1)), 3, wrongCoil},
		{"coil of a nearly right value", pdu(5, word(0, 0xff01)), 3, wrongCoil},
		{"no coils written", pdu(15, word(0, 0), 0), 3, wrongQuantity},
		{"too many coils written", pdu(15, word(0, 1969), 247, strings.Repeat("x", 247)), 3, wrongQuantity},
		{"coils of a count too large", pdu(15, word(0, 8), 2, 0, 0), 3, wrongCount},
		{"coils of a count too small", pdu(15, word(0, 9), 1, 0), 3, wrongCount},
		{"coils past the end", pdu(15, word(65535, 2), 1, 0), 2, pastEnd},
		{"no registers written", pdu(16, word(0, 0), 0), 3, wrongQuantity},
		{"too many registers written", pdu(16, word(0, 124), 246, strings.Repeat("x", 246)), 3, wrongQuantity},
		{"registers of a count too small", pdu(16, word(0, 2), 2, word(1)), 3, wrongCount},
		{"registers of a count too large", pdu(16, word(0, 1), 4, word(1, 2)), 3, wrongCount},
		{"registers of an odd count", pdu(16, word(0, 1), 3, word(1), 0), 3, wrongCount},
		{"registers past the end", pdu(16, word(65535, 2), 4, word(1, 2)), 2, pastEnd},
		{"count of more than there is", pdu(16, word(0, 2), 4, word(1)), 3, wrongSize},
		{"too many read by 23", pdu(23, word(0, 126, 0, 1), 2, word(1)), 3, wrongQuantity},
		{"too many written by 23", pdu(23, word(0, 1, 0, 122), 242, strings.Repeat("x", 242)), 3, wrongQuantity},
		{"23 reads past the end", pdu(23, word(65535, 2, 0, 1), 2, word(1)), 2, pastEnd},
		{"23 writes past the end", pdu(23, word(0, 1, 65535, 2), 4, word(1, 2)), 2, pastEnd},
		{"23 of a count too small", pdu(23, word(0, 1, 0, 2), 2, word(1)), 3, wrongCount},
		{"23 of a count too large", pdu(23, word(0, 1, 0, 1), 4, word(1, 2)), 3, wrongCount},
		{"no file record", pdu(20, 0), 3, wrongCount},
		{"half a file record", pdu(20, 8, 6, word(1, 0, 1), 6), 3, wrongCount},
		{"file record of another type", pdu(20, 7, 5, word(1, 0, 1)), 3, wrongReference},
		{"file record of nothing", pdu(20, 7, 6, word(1, 0, 0)), 3, wrongQuantity},
		{"file records beyond a response", pdu(20, 14, 6, word(1, 0, 61), 6, word(1, 0, 61)), 3, wrongQuantity},
		{"file 0", pdu(20, 7, 6, word(0, 0, 1)), 2, noRecord},
		{"file record past the end", pdu(20, 7, 6, word(1, 9999, 2)), 2, noRecord},
		{"file record written in half", pdu(21, 9, 6, word(1, 0, 2, 5)), 3, wrongCount},
		{"file record written, and less than a group", pdu(21, 10, 6, word(1, 0, 1, 5), 6), 3, wrongCount},
		{"file record of another type written", pdu(21, 9, 7, word(1, 0, 1, 5)), 3, wrongReference},
		{"echo of an odd length", pdu(8, word(0), 1, 2, 3), 3, wrongSize},
		{"diagnostics with more than a word", pdu(8, word(10, 0, 0)), 3, wrongSize},
		{"function 43 of no type", pdu(43), 3, wrongSize},
		{"identification code 0", pdu(43, 14, 0, 0), 3, wrongReadCode},
		{"identification code 5", pdu(43, 14, 5, 0), 3, wrongReadCode},
	} {
		in, out := open(t, `{}`), &sdk.Steps{}
		sent := adu(7, test.pdu)
		if ask(in, out, sent) != 0 {
			t.Errorf("%s: not refused", test.name)
			continue
		}
		list := out.List() // the operation, its span, its refusal
		op, fn := list[0].Operation, functionOf([]byte(test.pdu))
		if op.Name != fn.name || op.Class != fn.class || list[0].Reason != test.wrong.reason || list[1].N != int64(len(sent)) {
			t.Errorf("%s: %v", test.name, list)
		}
		if got, want := string(list[2].Bytes), exception(7, int(test.pdu[0]), test.code); got != want {
			t.Errorf("%s: answered by %x, want %x", test.name, got, want)
		}
	}
}
