package modbus

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// adu is a message to or from unit 1 with a PDU whose bytes are given as numbers, or as
// strings of bytes.
func adu(id int, pdu ...any) string { return unit(1, id, pdu...) }

func unit(unit byte, id int, pdu ...any) string {
	b := bytesOf(pdu...)
	h := binary.BigEndian.AppendUint16(nil, uint16(id))
	h = append(h, 0, 0)
	h = binary.BigEndian.AppendUint16(h, uint16(1+len(b)))
	return string(append(h, unit)) + b
}

func bytesOf(parts ...any) string {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		}
	}
	return string(b)
}

// word is a field of two bytes.
func word(n ...int) string {
	var b []byte
	for _, n := range n {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return string(b)
}

// exception is the one that answers a function.
func exception(id, function, code int) string { return adu(id, function|exceptionBit, code) }

// read asks for ten holding registers from address 100 on; tenRegisters answers it.
func read(id int) string { return adu(id, 3, word(100, 10)) }

func tenRegisters(id int) string { return adu(id, 3, 20, word(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)) }

// write sets a register; a device returns the same.
func write(id, address, value int) string { return adu(id, 6, word(address, value)) }

const (
	readName  = "modbus:read_holding_registers"
	writeName = "modbus:write_single_register"
)

func open(t testing.TB, settings string) sdk.Inspector {
	t.Helper()
	maker, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return maker()
}

func TestDialogue(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("read, then write").
			Forward(read(1)).Reverse(tenRegisters(1)).Forward(write(2, 11, 200)).Reverse(write(2, 11, 200)).
			WantOperation(readName, policy.ClassRead, "unit", 1, "function", 3, "table", "holding_registers", "address", 100,
				"address_end", 109, "quantity", 10, "values", nil, "anomalies", nil).
			WantOperation(writeName, policy.ClassWrite, "table", "holding_registers", "address", 11, "address_end", 11,
				"quantity", 1, "values", []int64{200}).
			WantForward(read(1)+write(2, 11, 200)).WantReverse(tenRegisters(1)+write(2, 11, 200)),
		conformance.Named("several in flight, answered in another order, one refused").
			Forward(read(1)+read(2)+write(3, 11, 999)+read(4)).Refused(3).
			Reverse(tenRegisters(4)).Reverse(tenRegisters(1)).Reverse(tenRegisters(2)).
			WantOperation(readName, policy.ClassRead).WantOperation(readName, policy.ClassRead).
			WantOperation(writeName, policy.ClassWrite).WantOperation(readName, policy.ClassRead).
			WantRefusal(3, exception(3, 6, 1)).
			WantForward(read(1)+read(2)+read(4)).
			WantReverse(exception(3, 6, 1)+tenRegisters(4)+tenRegisters(1)+tenRegisters(2)),
		conformance.Named("a refusal stands between two responses").
			Forward(read(1)+read(2)).Reverse(tenRegisters(1)).Forward(write(3, 1, 1)).Reverse(tenRegisters(2)).Refused(3).
			WantOperation(readName, policy.ClassRead).WantOperation(readName, policy.ClassRead).WantOperation(writeName, policy.ClassWrite).
			WantRefusal(3, exception(3, 6, 1)).
			WantReverse(tenRegisters(1)+exception(3, 6, 1)+tenRegisters(2)),
		conformance.Named("the device's own exception").
			Forward(read(1)).Reverse(exception(1, 3, 2)).Forward(read(2)).Reverse(tenRegisters(2)).
			WantOperation(readName, policy.ClassRead).WantOperation(readName, policy.ClassRead).
			WantReverse(exception(1, 3, 2)+tenRegisters(2)),
		conformance.Named("client closes its half and waits").
			Forward(read(1)).ForwardEnds().Reverse(tenRegisters(1)).
			WantOperation(readName, policy.ClassRead).WantReverse(tenRegisters(1)),
	)
}

// TestUnreadable has what leaves nothing to say.
func TestUnreadable(t *testing.T) {
	for name, sent := range map[string]string{
		"protocol identifier":              "\x00\x02\x00\x01\x00\x06\x01\x03\x00\x00\x00\x01",
		"length of nothing":                "\x00\x02\x00\x00\x00\x00\x01\x03",
		"length without a function code":   "\x00\x02\x00\x00\x00\x01\x01",
		"length above 254":                 "\x00\x02\x00\x00\x00\xff\x01\x03" + string(make([]byte, 253)),
		"length of 65535":                  "\x00\x02\x00\x00\xff\xff\x01\x03",
		"a request of serial lines":        "\x01\x03\x00\x64\x00\x0a\x84\x12",
		"end inside a request":             read(1)[:11],
		"end inside a header":              read(1)[:5],
		"end inside a request, behind one": read(1) + read(2)[:7],
	} {
		in := open(t, `{}`)
		var steps sdk.Steps
		steps.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, []byte(sent), true, &steps)
		list := steps.List()
		if len(list) == 0 || list[len(list)-1].Kind != sdk.StepEnd || len(list) > 1 && !strings.HasPrefix(name, "end") {
			t.Errorf("%s: %v", name, list)
		}
	}
	conformance.Run(t, Protocol(), `{}`, conformance.Named("behind a request").
		Forward(read(1)+"\x00\x02\x00\x00\x00\xff\x01\x03"+read(3)).WantOperation(readName, policy.ClassRead).WantEnd().WantForward(read(1)))
}

// TestResponse has what a device may and may not send. It is told that the session ends;
// nothing is asked of it again.
func TestResponse(t *testing.T) {
	refused := func(name, settings, asked, sent, operation string) {
		t.Helper()
		in := open(t, settings)
		var steps sdk.Steps
		steps.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, []byte(asked), false, &steps)
		steps.Begin(sdk.Reverse)
		in.Inspect(sdk.Reverse, []byte(sent), false, &steps)
		list := slices.DeleteFunc(steps.List(), func(s sdk.Step) bool { return s.Kind == sdk.StepSpan })
		if len(list) != 2 || !list[0].Invalid || list[0].Operation.Name != operation || list[1].Kind != sdk.StepEnd {
			t.Errorf("%s: %v", name, list)
		}
	}
	refused("another transaction", `{}`, read(1), tenRegisters(2), readName)
	refused("another unit", `{}`, read(1), unit(2, 1, tenRegisters(1)[header:]), readName)
	refused("another function", `{}`, read(1), adu(1, 4, tenRegisters(1)[header+1:]), "modbus:read_input_registers")
	refused("another function's exception", `{}`, read(1), exception(1, 4, 2), "modbus:read_input_registers")
	refused("exception without a code", `{}`, read(1), adu(1, 0x83), readName)
	refused("exception with more", `{}`, read(1), adu(1, 0x83, 2, 0), readName)
	refused("fewer registers", `{}`, read(1), adu(1, 3, 18, word(0, 1, 2, 3, 4, 5, 6, 7, 8)), readName)
	refused("count without registers", `{}`, read(1), adu(1, 3, 20), readName)
	refused("more than counted", `{}`, read(1), adu(1, 3, 20, word(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)), readName)
	refused("another address written", `{}`, write(1, 11, 200), write(1, 12, 200), writeName)
	refused("another value written", `{}`, write(1, 11, 200), write(1, 11, 201), writeName)
	refused("answered twice", `{}`, read(1), tenRegisters(1)+tenRegisters(1), readName)
	refused("answered twice, and once more", `{}`, read(1), tenRegisters(1)+tenRegisters(1)+tenRegisters(1), readName)
	refused("not Modbus", `{}`, read(1), "HTTP/1.1 400 Bad Request\r\n\r\n", malformedName)
	refused("length above 254", `{}`, read(1), "\x00\x01\x00\x00\x00\xff\x01\x03", malformedName)
	refused("exception to what is malformed and not refused yet", `{}`, adu(1, 3, word(0, 126)), exception(1, 3, 3), readName)
	records := adu(1, 20, 14, 6, word(4, 1, 1), 6, word(4, 2, 1))
	refused("file record of another type", `{}`, records, adu(1, 20, 8, 3, 6, word(1), 3, 5, word(1)), "modbus:read_file_record")
	refused("file record longer than the rest", `{}`, records, adu(1, 20, 8, 3, 6, word(1), 5, 6, word(1)), "modbus:read_file_record")
	refused("file record of half a register", `{}`, records, adu(1, 20, 8, 4, 6, word(1), 0, 2, 6, 0), "modbus:read_file_record")
	refused("fits no request that is open", `{"loose_responses":true}`, read(1), tenRegisters(1)+tenRegisters(2), readName)

	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("unasked").Reverse(tenRegisters(1)).WantInvalid(readName, policy.ClassUnknown).WantEnd(),
		conformance.Named("device ends inside a response").Forward(read(1)).Reverse(tenRegisters(1)[:20]).
			WantOperation(readName, policy.ClassRead).WantEnd(),
		conformance.Named("response to what was refused").Forward(read(1)).Refused(1).Reverse(tenRegisters(1)).
			WantOperation(readName, policy.ClassRead).WantRefusal(1, exception(1, 3, 1)).
			WantInvalid(readName, policy.ClassUnknown).WantEnd(),
		conformance.Named("response to what was malformed").Forward(adu(1, 3, word(0, 126))).Reverse(exception(1, 3, 3)).
			WantInvalid(readName, policy.ClassRead).WantRefusal(1, exception(1, 3, 3)).
			WantInvalid(readName, policy.ClassUnknown).WantEnd(),
	)
	conformance.Run(t, Protocol(), `{"loose_responses":true}`,
		conformance.Named("device that returns no transaction identifier").
			Forward(read(7)).Reverse(tenRegisters(0)).Forward(read(8)).Reverse(tenRegisters(0)).
			WantOperation(readName, policy.ClassRead, "anomalies", nil).
			WantOperation(readName, policy.ClassRead, "anomalies", []string{"loose_response"}).
			WantReverse(tenRegisters(0)+tenRegisters(0)),
		conformance.Named("device that returns the value it took").
			Forward(write(1, 11, 999)).Reverse(write(1, 11, 240)).Forward(read(2)).
			WantOperation(writeName, policy.ClassWrite).
			WantOperation(readName, policy.ClassRead, "anomalies", []string{"loose_response"}),
	)
}
