package modbus

import (
	"encoding/json"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func seeds() []conformance.Dialogue {
	list := []conformance.Dialogue{
		conformance.Forward(read(1)).Reverse(tenRegisters(1)).Forward(write(2, 11, 200)).Refused(2),
		conformance.Forward(read(1) + read(2) + write(3, 11, 999)).Reverse(tenRegisters(2) + tenRegisters(1)),
		conformance.Forward(write(1, 11, 200) + write(1, 11, 200)).Reverse(write(1, 11, 200)),
		conformance.Forward(unit(0, 1, 6, word(1, 1)) + unit(0, 2, 3, word(0, 1))).Reverse(unit(0, 2, 3, 2, word(7))),
		conformance.Forward(adu(1, 15, word(0, 1), 1, 3) + adu(2, 3, word(0, 0)) + read(3)).Reverse(tenRegisters(7)),
		conformance.Forward("\x00\x01\x00\x00\x00\xff\x01\x03"),
		conformance.Forward(read(1)).Reverse(exception(1, 3, 2) + read(1)),
	}
	for _, test := range functionTests() {
		list = append(list, conformance.Forward(adu(1, test.request)).Reverse(adu(1, test.response)))
	}
	return list
}

// untilRefused is an inspector that ends with the first refusal that is not its own. Whether
// a request is open depends on when its refusal is given: the next one with its transaction
// identifier, or one too many, is refused if the client sent it before it had an answer,
// and not if it waited. What a message means must still not depend on how it arrives.
type untilRefused struct{ *session }

func (u untilRefused) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	open := len(u.open)
	u.session.Refuse(op, why, out)
	if why.Cause != policy.CauseProtocol && len(u.open) < open {
		u.end("refused", out)
	}
}

func fuzzed() sdk.Protocol {
	p := Protocol()
	configure := p.Configure
	p.Configure = func(raw json.RawMessage) (func() sdk.Inspector, error) {
		maker, err := configure(raw)
		if err != nil {
			return nil, err
		}
		return func() sdk.Inspector { return untilRefused{maker().(*session)} }, nil
	}
	return p
}

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, fuzzed(), `{}`, seeds()...) }

func FuzzLooseDialogue(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), `{"shared_ids":true,"loose_responses":true,"broadcast":"allow","max_outstanding":3,"refuse":["padding_bits"]}`, seeds()...)
}

// FuzzDevice shows what passes to a device that does not look at the length in a header but
// sizes a request by its function, as some do: it finds the same requests, and none that
// was refused. decisions are those of each operation in turn, cuts how much arrives at a
// time.
func FuzzDevice(f *testing.F) {
	for _, test := range functionTests() {
		f.Add([]byte(adu(1, test.request)+adu(2, test.request)+read(3)), []byte{5, 30}, uint64(2))
	}
	f.Add([]byte(adu(1, 3, word(0, 1), write(2, 11, 999))+read(3)), []byte{255}, uint64(0))
	f.Fuzz(func(t *testing.T, sent, cuts []byte, decisions uint64) {
		in := open(t, `{}`)
		var out sdk.Steps
		var passed []byte
		var allowed []sdk.OpID
		covered, end := 0, false
		for arrived := 0; arrived < len(sent) && !end; {
			n := len(sent) - arrived
			if len(cuts) > 0 {
				n, cuts = min(n, 1+int(cuts[0])), cuts[1:]
			}
			arrived += n
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, sent[covered:arrived], false, &out)
			refused := map[sdk.OpID]bool{}
			for _, step := range out.List() {
				switch step.Kind {
				case sdk.StepOperation:
					refused[step.Op] = step.Invalid || step.Operation.Class == policy.ClassUnknown || decisions>>(step.Op%64)&1 != 0
				case sdk.StepSpan:
					if !refused[step.Op] {
						passed = append(passed, sent[covered:covered+int(step.N)]...)
						allowed = append(allowed, step.Op)
					}
					covered += int(step.N)
				case sdk.StepEnd:
					end = true
				}
			}
			for op, no := range refused {
				if no {
					in.Refuse(op, sdk.Refusal{Cause: policy.CausePolicy}, &out)
				}
			}
		}
		for _, op := range allowed {
			n := sizeByFunction(passed)
			if n > len(passed) {
				t.Fatalf("operation %d: a device reads %d bytes of %x", op, n, passed)
			}
			if length := int(passed[4])<<8 | int(passed[5]); n != prefix+length {
				t.Fatalf("operation %d: a device reads %d bytes of %x", op, n, passed)
			}
			passed = passed[n:]
		}
		if len(passed) != 0 {
			t.Fatalf("a device reads %x besides", passed)
		}
	})
}

// sizeByFunction is how many bytes a device that knows all functions reads as one request.
func sizeByFunction(b []byte) int {
	at := func(i int) int {
		if i < len(b) {
			return int(b[i])
		}
		return 0
	}
	switch at(7) {
	case 1, 2, 3, 4, 5, 6:
		return 12
	case 15, 16:
		return 13 + at(12)
	case 20, 21:
		return 9 + at(8)
	case 22:
		return 14
	case 23:
		return 17 + at(16)
	case 24:
		return 10
	case 8:
		if at(8) == 0 && at(9) == 0 {
			return prefix + at(4)<<8 + at(5) // the echo has no length of its own
		}
		return 12
	case 43:
		return 11
	}
	return 8
}
