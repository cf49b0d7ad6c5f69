// Command acme is a plugin that comes from elsewhere: a module of its own that imports
// nothing of cordon but the sdk. Its protocol is made up: each line is a request, "get KEY"
// or "set KEY VALUE", and is answered by one line; a refusal reads "no CODE".
package main

import (
	"bytes"
	"encoding/json"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
	"cordon/policy"
)

func main() {
	serve.Serve(sdk.Protocol{
		Name: "acme", Version: "0.1.0",
		Modes: [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Observed},
		Configure: func(settings json.RawMessage) (func() sdk.Inspector, error) {
			if err := (sdk.Settings{}).Read(settings); err != nil { // it has none
				return nil, err
			}
			return func() sdk.Inspector { return &inspector{} }, nil
		},
	})
}

// maxLine and maxOpen bound what one session may make it keep.
const (
	maxLine = 4096
	maxOpen = 64
)

type inspector struct {
	open []request // oldest first
}

type request struct {
	op      sdk.OpID
	refusal []byte // nil: the device answers
}

func (i *inspector) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for !out.Full() {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			if len(data) > maxLine {
				out.End("a line is too long")
			}
			return
		}
		switch {
		case dir == sdk.Forward && len(i.open) == maxOpen:
			out.End("too many requests without an answer")
			return
		case dir == sdk.Forward:
			op := out.Operation(operation(data[:n-1]))
			out.Span(op, int64(n))
			i.open = append(i.open, request{op: op})
		case len(i.open) == 0:
			out.End("an answer to nothing")
			return
		default:
			out.Span(i.open[0].op, int64(n))
			i.open = i.open[1:]
			i.answer(out)
		}
		data = data[n:]
	}
}

// operation is what policy is told of a line.
func operation(line []byte) policy.Operation {
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	key, _, _ := bytes.Cut(rest, []byte(" "))
	op := policy.Operation{Name: "acme:unknown", Class: policy.ClassUnknown}
	switch string(verb) {
	case "get":
		op.Name, op.Class = "acme:get", policy.ClassRead
	case "set":
		op.Name, op.Class = "acme:set", policy.ClassControl
	}
	op.Attributes.Set("key", string(bytes.ToValidUTF8(key, []byte("?"))))
	return op
}

// Refuse implements sdk.Inspector.
func (i *inspector) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	for r := range i.open {
		if i.open[r].op == op {
			i.open[r].refusal = []byte("no " + why.Code + "\n")
		}
	}
	i.answer(out)
}

// answer gives the refusals whose turn it is: answers come in the order of the requests.
func (i *inspector) answer(out *sdk.Steps) {
	for len(i.open) > 0 && i.open[0].refusal != nil {
		out.Refusal(i.open[0].op, i.open[0].refusal)
		i.open = i.open[1:]
	}
}
