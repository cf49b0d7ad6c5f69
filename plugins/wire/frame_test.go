package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"
	"testing/iotest"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// frames holds one of each kind, with every field used.
func frames() []any {
	return []any{
		Open{Session: 7, Service: math.MaxUint32},
		Notice{Session: 1 << 63, Dir: sdk.Reverse, Window: 3, Arrived: math.MaxInt64, End: true},
		Refuse{Session: 1, Op: 9, After: 77, Why: sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted"}},
		Refuse{Session: 1, Op: sdk.Reverse.Operation(2), Why: sdk.Refusal{Cause: policy.CausePolicy, Obligations: []string{"a:b", "a:c"}}},
		Close{Session: 0},
		Steps{Session: 5, To: TypeNotice, Dir: sdk.Reverse, More: true, List: []sdk.Step{
			{Kind: sdk.StepOperation, Op: 1, Invalid: true, Reason: "two MSH", Operation: policy.Operation{
				Name: "hl7:ORU^R01", Class: policy.ClassWrite, Attributes: policy.Attributes{
					{Name: "codes", Value: []int64{-1, math.MaxInt64}}, {Name: "ids", Value: []string{"", "é"}},
					{Name: "size", Value: int64(math.MinInt64)}, {Name: "version", Value: "2.5.1"}}}},
			{Kind: sdk.StepSpan, Op: 1, N: sdk.Unlimited},
			{Kind: sdk.StepAbort, Op: 1, Reason: "too long"},
			{Kind: sdk.StepKeep, Op: 1},
			{Kind: sdk.StepDone, Op: sdk.Reverse.Operation(1)},
			{Kind: sdk.StepRefusal, Op: 1, At: 12, Bytes: []byte{0, 255}},
			{Kind: sdk.StepEnd, Reason: "over"},
		}},
		Steps{Session: 6, To: TypeOpen, List: []sdk.Step{}},
	}
}

func stream(all []any) []byte {
	var b []byte
	for _, f := range all {
		b = f.(interface{ Append([]byte) []byte }).Append(b)
	}
	return b
}

func readAll(t *testing.T, r io.Reader, size int) []any {
	t.Helper()
	var got []any
	for br := bufio.NewReaderSize(r, size); ; {
		f, err := Read(br)
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f)
	}
}

// What is sent is what arrives, wherever the stream is cut and however small the buffer is.
func TestFrames(t *testing.T) {
	want := frames()
	b := stream(want)
	for _, size := range []int{16, 64, 64 << 10} {
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(b), "by byte": iotest.OneByteReader(bytes.NewReader(b)), "halves": iotest.HalfReader(bytes.NewReader(b))} {
			if got := readAll(t, r, size); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, buffer of %d: got\n%+v\nwant\n%+v", name, size, got, want)
			}
		}
	}
	for cut := 1; cut < len(b); cut++ {
		_, err := readUntilError(bytes.NewReader(b[:cut]))
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func readUntilError(r io.Reader) (n int, err error) {
	for br := bufio.NewReader(r); ; n++ {
		if _, err = Read(br); err != nil {
			return n, err
		}
	}
}

// A bad list of steps is one session's trouble; any other bad frame is everybody's.
func TestMalformed(t *testing.T) {
	step := func(s sdk.Step) []byte { return Steps{Session: 3, To: TypeOpen, List: []sdk.Step{s}}.Append(nil) }
	op := func(o policy.Operation) []byte { return step(sdk.Step{Kind: sdk.StepOperation, Op: 1, Operation: o}) }
	many := make([]sdk.Step, sdk.MaxSteps+1)
	for i := range many {
		many[i] = sdk.Step{Kind: sdk.StepSpan, Op: 1, N: 1}
	}
	for name, b := range map[string][]byte{
		"kind":             step(sdk.Step{Kind: 9}),
		"negative span":    step(sdk.Step{Kind: sdk.StepSpan, Op: 1, N: -1}),
		"long refusal":     step(sdk.Step{Kind: sdk.StepRefusal, Op: 1, Bytes: make([]byte, sdk.MaxRefusal+1)}),
		"class":            op(policy.Operation{Name: "x", Class: "harmless"}),
		"long name":        op(policy.Operation{Name: string(make([]byte, sdk.MaxName+1)), Class: policy.ClassRead}),
		"not UTF-8":        op(policy.Operation{Name: "x\xff", Class: policy.ClassRead}),
		"unsorted":         op(policy.Operation{Class: policy.ClassRead, Attributes: policy.Attributes{{Name: "b", Value: ""}, {Name: "a", Value: ""}}}),
		"twice":            op(policy.Operation{Class: policy.ClassRead, Attributes: policy.Attributes{{Name: "a", Value: ""}, {Name: "a", Value: ""}}}),
		"foreign type":     op(policy.Operation{Class: policy.ClassRead, Attributes: policy.Attributes{{Name: "a", Value: 1.5}}}),
		"facts":            op(policy.Operation{Class: policy.ClassRead, Attributes: policy.Attributes{{Name: "a", Value: string(make([]byte, sdk.MaxFacts))}}}),
		"too many":         Steps{Session: 3, List: many}.Append(nil),
		"reason":           step(sdk.Step{Kind: sdk.StepEnd, Reason: string(make([]byte, sdk.MaxReason+1))}),
		"bytes left over":  {5, 0, 0, 0, byte(TypeSteps), 3, 1, 0, 0},
		"more than it has": {8, 0, 0, 0, byte(TypeSteps), 3, 1, 0, 0, 200, 31, 2},
	} {
		f, err := Read(bufio.NewReader(bytes.NewReader(b)))
		s, ok := f.(Steps)
		if err != nil || !ok || s.Session != 3 || !errors.Is(s.Err, ErrMalformed) || s.List != nil {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	for name, b := range map[string][]byte{
		"type":       {2, 0, 0, 0, 99, 0},
		"empty":      {0, 0, 0, 0},
		"huge":       {0, 0, 0, 255, 1, 1},
		"number":     {3, 0, 0, 0, byte(TypeOpen), 0x80, 0x80},
		"direction":  {4, 0, 0, 0, byte(TypeNotice), 1, 2, 0},
		"flag":       {5, 0, 0, 0, byte(TypeSteps), 3, 1, 0, 2},
		"left over":  {4, 0, 0, 0, byte(TypeClose), 1, 0, 0},
		"big offset": append([]byte{15, 0, 0, 0, byte(TypeNotice), 1, 0, 0, 0}, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
	} {
		if f, err := Read(bufio.NewReader(bytes.NewReader(b))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// Any bytes are decoded or refused, in memory a small multiple of theirs; what is decoded
// survives being sent again.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames() {
		f.Add(stream([]any{frame})[4:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, err := Decode(body)
		if err != nil {
			return
		}
		if s, ok := frame.(Steps); ok && s.Err != nil {
			return
		}
		again, err := Decode(stream([]any{frame})[4:])
		if err != nil || !reflect.DeepEqual(frame, again) {
			t.Errorf("%+v became %+v, %v", frame, again, err)
		}
	})
}
