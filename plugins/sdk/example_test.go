package sdk_test

import (
	"bytes"
	"encoding/json"
	"fmt"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// A whole plugin, for a made-up protocol: each line is a request, "get KEY" or
// "set KEY VALUE", and is answered by one line, in the order of the requests. Its main is
//
//	func main() { serve.Serve(lineProtocol()) }
func lineProtocol() sdk.Protocol {
	return sdk.Protocol{
		Name: "line", Version: "1.0.0",
		Modes: [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Observed},
		Configure: func(settings json.RawMessage) (func() sdk.Inspector, error) {
			longest := 4096
			err := sdk.Settings{"max_line": sdk.Size(&longest, 16, 64<<10)}.Read(settings)
			return func() sdk.Inspector { return &lineInspector{longest: longest} }, err
		},
	}
}

type lineInspector struct {
	longest int           // line, in bytes
	open    []lineRequest // not answered yet, oldest first
}

type lineRequest struct {
	op      sdk.OpID
	refusal []byte // what is owed to the asker of a refused request; else nil
}

func (l *lineInspector) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 && len(data) < l.longest {
			break // wait for the rest of the line
		}
		switch {
		case n == 0 || n > l.longest:
			out.End("a line is too long")
			return
		case dir == sdk.Forward && len(l.open) == sdk.MaxOpen:
			out.End("too many requests wait for a reply")
			return
		case dir == sdk.Forward:
			op := announce(data[:n-1], out)
			out.Span(op, int64(n))
			l.open = append(l.open, lineRequest{op: op})
		case len(l.open) == 0:
			out.End("a reply to nothing")
			return
		default:
			out.Span(l.open[0].op, int64(n))
			l.open = l.open[1:]
			l.answer(out)
		}
		data = data[n:]
	}
	if end && dir == sdk.Reverse && len(l.open) > 0 {
		out.End("there will be no more replies")
	}
}

func announce(line []byte, out *sdk.Steps) sdk.OpID {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	key, _, _ := bytes.Cut(rest, []byte(" "))
	op := policy.Operation{Name: "line:" + string(word), Class: policy.ClassRead}
	op.Attributes.Set("key", string(bytes.ToValidUTF8(key, []byte("?"))))
	switch string(word) {
	case "get":
		return out.Operation(op)
	case "set":
		op.Class = policy.ClassWrite
		return out.Operation(op)
	}
	op.Name, op.Class = "line:other", policy.ClassUnknown // never a name that the client chose
	return out.Invalid(op, "neither get nor set")
}

func (l *lineInspector) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	for i := range l.open {
		if l.open[i].op == op {
			l.open[i].refusal = []byte("refused " + why.Code + "\n")
		}
	}
	l.answer(out)
}

// answer gives the refusals that no reply has to go before.
func (l *lineInspector) answer(out *sdk.Steps) {
	for len(l.open) > 0 && l.open[0].refusal != nil {
		out.Refusal(l.open[0].op, l.open[0].refusal)
		l.open = l.open[1:]
	}
}

func Example() {
	open, err := lineProtocol().Configure(json.RawMessage(`{}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	inspector := open()

	// What a gateway does, by hand: show bytes, refuse the second operation.
	var steps sdk.Steps
	steps.Begin(sdk.Forward)
	inspector.Inspect(sdk.Forward, []byte("get pulse\nset limit 9"), false, &steps)
	print(steps.List())
	steps.Begin(sdk.Forward)
	inspector.Inspect(sdk.Forward, []byte("set limit 90\n"), false, &steps)
	print(steps.List())
	steps.Begin(sdk.Forward)
	inspector.Refuse(2, sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted"}, &steps)
	print(steps.List()) // nothing yet: the reply to get goes first
	steps.Begin(sdk.Reverse)
	inspector.Inspect(sdk.Reverse, []byte("72\n"), false, &steps)
	print(steps.List())

	// Output:
	// operation 1: line:get key=pulse
	// span of operation 1: 10 bytes
	// operation 2: line:set key=limit
	// span of operation 2: 13 bytes
	// span of operation 1: 3 bytes
	// refusal of operation 2 at 3: "refused 7QF-21\n"
}

func print(list []sdk.Step) {
	for _, s := range list {
		switch s.Kind {
		case sdk.StepOperation:
			fmt.Printf("operation %d: %s key=%s\n", s.Op, s.Operation.Name, s.Operation.Attributes.Get("key"))
		case sdk.StepSpan:
			fmt.Printf("span of operation %d: %d bytes\n", s.Op, s.N)
		case sdk.StepRefusal:
			fmt.Printf("refusal of operation %d at %d: %q\n", s.Op, s.At, s.Bytes)
		}
	}
}
