package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// toy is an inspector that keeps its contract. A request is a line, "get KEY", or
// "put N" and N bytes without a NUL; a reply is a line; replies come in order.
type toy struct {
	waiting []asked
	op      sdk.OpID // the last request
	body    int64    // its bytes still to come
	refused sdk.OpID // the last one refused
}

type asked struct {
	op      sdk.OpID
	refusal []byte
}

func toyProtocol(open func() sdk.Inspector) sdk.Protocol {
	return sdk.Protocol{
		Name: "toy", Version: "1",
		Modes: [2]sdk.Mode{sdk.Held, sdk.Observed},
		Configure: func(settings json.RawMessage) (func() sdk.Inspector, error) {
			if string(settings) != `{}` {
				return nil, errors.New("there is nothing to set")
			}
			return open, nil
		},
	}
}

func (t *toy) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for len(data) > 0 {
		n := t.next(dir, data, out)
		if n == 0 {
			break
		}
		data = data[n:]
	}
	if end && dir == sdk.Reverse && len(t.waiting) > 0 {
		out.End("no more replies")
	}
}

// next covers one part of data and returns its length, or 0.
func (t *toy) next(dir sdk.Direction, data []byte, out *sdk.Steps) int {
	if dir == sdk.Forward && t.body > 0 {
		return t.put(data, out)
	}
	n := bytes.IndexByte(data, '\n') + 1
	switch {
	case n > 100 || n == 0 && len(data) >= 100:
		out.End("line too long")
		return 0
	case n == 0:
		return 0
	case dir == sdk.Reverse && len(t.waiting) == 0:
		out.End("a reply to nothing")
		return 0
	case dir == sdk.Reverse:
		out.Span(t.waiting[0].op, int64(n))
		t.waiting = t.waiting[1:]
		t.answer(out)
		return n
	case len(t.waiting) == sdk.MaxOpen:
		out.End("too many requests")
		return 0
	}
	t.request(string(data[:n-1]), out)
	out.Span(t.op, int64(n))
	t.waiting = append(t.waiting, asked{op: t.op})
	return n
}

func (t *toy) request(line string, out *sdk.Steps) {
	op := policy.Operation{Name: "toy:other", Class: policy.ClassUnknown}
	switch {
	case len(line) > 4 && line[:4] == "get ":
		op.Name, op.Class = "toy:get", policy.ClassRead
		op.Attributes.Set("key", fmt.Sprintf("%q", line[4:]))
		op.Attributes.Set("length", int64(len(line)))
		t.op = out.Operation(op)
		return
	case len(line) > 4 && line[:4] == "put ":
		if n, err := strconv.ParseInt(line[4:], 10, 62); err == nil && n > 0 {
			op.Name, op.Class = "toy:put", policy.ClassWrite
			t.op, t.body = out.Operation(op), n
			return
		}
	}
	t.op = out.Invalid(op, "neither get nor put")
}

// put covers a body as it comes, up to a NUL.
func (t *toy) put(data []byte, out *sdk.Steps) int {
	n := int(min(t.body, int64(len(data))))
	i := bytes.IndexByte(data[:n], 0)
	if i >= 0 {
		n = i
	}
	out.Span(t.op, int64(n))
	t.body -= int64(n)
	if i >= 0 {
		if t.op != t.refused {
			out.Abort(t.op, "a NUL in the body")
		}
		out.End("cannot go on")
		return 0
	}
	return n
}

func (t *toy) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	t.refused = op
	for i := range t.waiting {
		if t.waiting[i].op == op {
			t.waiting[i].refusal = []byte("no " + why.Code + "\n")
		}
	}
	t.answer(out)
}

func (t *toy) answer(out *sdk.Steps) {
	for len(t.waiting) > 0 && t.waiting[0].refusal != nil {
		out.Refusal(t.waiting[0].op, t.waiting[0].refusal)
		t.waiting = t.waiting[1:]
	}
}

// altered is a toy with one method, or both, replaced.
type altered struct {
	*toy
	inspect func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps)
	refuse  func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps)
}

func (a altered) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if a.inspect == nil {
		a.toy.Inspect(dir, data, end, out)
		return
	}
	a.inspect(a.toy, dir, data, end, out)
}

func (a altered) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	if a.refuse == nil {
		a.toy.Refuse(op, why, out)
		return
	}
	a.refuse(a.toy, op, why, out)
}
