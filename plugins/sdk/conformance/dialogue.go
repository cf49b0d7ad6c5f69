package conformance

import (
	"fmt"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Code is the decision code that a refused asker is told, unless RefusedWith says
// otherwise.
const Code = "7QF-21"

// Dialogue is a recorded session: what was sent in each direction in which order, which
// operations the gateway refuses, and what the inspector is expected to make of it. Write
// each message as a chunk of its own; the kit does the cutting and the joining. A
// refusal may then stand between chunks, and nowhere else.
//
// A Dialogue is a value: every method returns a longer one and leaves its receiver as it
// was. One with a Want of some kind must yield the operations, refusals and the end it
// names, and no other; one without is only held to the contract.
type Dialogue struct {
	name    string
	chunks  []chunk
	refused []refused
	want    want
}

// chunk is what arrives in one direction at a time. With end nothing follows it.
type chunk struct {
	dir  sdk.Direction
	data []byte
	end  bool
}

// refused is a decision of the gateway.
type refused struct {
	op  sdk.OpID
	why sdk.Refusal
}

// Named begins a dialogue with the name its failures are reported under.
func Named(name string) Dialogue { return Dialogue{name: name} }

// Forward begins a dialogue with bytes from the side that opened the session.
func Forward(data string) Dialogue { return Dialogue{}.Forward(data) }

// Reverse begins a dialogue with bytes from the side that was called.
func Reverse(data string) Dialogue { return Dialogue{}.Reverse(data) }

// Forward adds bytes from the side that opened the session.
func (d Dialogue) Forward(data string) Dialogue { return d.add(sdk.Forward, data, false) }

// Reverse adds bytes from the side that was called.
func (d Dialogue) Reverse(data string) Dialogue { return d.add(sdk.Reverse, data, false) }

// ForwardEnds says that the side that opened the session closes here. Where a dialogue does
// not say it, Forward ends after the last chunk, and Reverse after that.
func (d Dialogue) ForwardEnds() Dialogue { return d.add(sdk.Forward, "", true) }

// ReverseEnds says that the side that was called closes here.
func (d Dialogue) ReverseEnds() Dialogue { return d.add(sdk.Reverse, "", true) }

func (d Dialogue) add(dir sdk.Direction, data string, end bool) Dialogue {
	d.chunks = append(slices.Clip(d.chunks), chunk{dir, []byte(data), end})
	return d
}

// Refusals as the gateway words them.
var (
	notPermitted = sdk.Refusal{Code: Code, Cause: policy.CausePolicy, Reason: "not permitted"}
	unavailable  = sdk.Refusal{Code: Code, Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}
)

// Refused says that the gateway's policy refuses these operations, with Code.
func (d Dialogue) Refused(ops ...sdk.OpID) Dialogue { return d.RefusedWith(notPermitted, ops...) }

// RefusedWith says that the gateway refuses these operations for the reason given.
func (d Dialogue) RefusedWith(why sdk.Refusal, ops ...sdk.OpID) Dialogue {
	d.refused = slices.Clip(d.refused)
	for _, op := range ops {
		d.refused = append(d.refused, refused{op, why})
	}
	return d
}

// WantOperation expects the next operation. facts are attributes to compare, names and
// values in turn: "patient", "4711", "lines", 3. A nil value expects that the attribute
// is not there; attributes not named here are not compared.
func (d Dialogue) WantOperation(name string, class policy.Class, facts ...any) Dialogue {
	return d.wantOperation(wantOperation{name: name, class: class}, facts)
}

// WantInvalid is WantOperation for an operation the inspector itself calls invalid.
func (d Dialogue) WantInvalid(name string, class policy.Class, facts ...any) Dialogue {
	return d.wantOperation(wantOperation{name: name, class: class, invalid: true}, facts)
}

func (d Dialogue) wantOperation(w wantOperation, facts []any) Dialogue {
	if len(facts)%2 != 0 {
		panic(fmt.Sprintf("conformance: facts of %s are not pairs of name and value", w.name))
	}
	for i := 0; i < len(facts); i += 2 {
		value := facts[i+1]
		if n, ok := value.(int); ok {
			value = int64(n)
		}
		w.facts = append(w.facts, policy.Attribute{Name: facts[i].(string), Value: value})
	}
	d.want.some = true
	d.want.operations = append(slices.Clip(d.want.operations), w)
	return d
}

// WantRefusal expects the next refusal: for op, these bytes.
func (d Dialogue) WantRefusal(op sdk.OpID, answer string) Dialogue {
	d.want.some = true
	d.want.refusals = append(slices.Clip(d.want.refusals), wantRefusal{op, answer})
	return d
}

// WantAbort expects that the inspector aborts op.
func (d Dialogue) WantAbort(op sdk.OpID) Dialogue {
	d.want.some = true
	d.want.aborts = append(slices.Clip(d.want.aborts), op)
	return d
}

// WantEnd expects that the inspector ends the session.
func (d Dialogue) WantEnd() Dialogue {
	d.want.some, d.want.end = true, true
	return d
}

// WantNothing expects no operation, no refusal and no end.
func (d Dialogue) WantNothing() Dialogue {
	d.want.some = true
	return d
}

// WantForward expects these bytes to leave the gateway in the Forward direction, over the
// whole session.
func (d Dialogue) WantForward(data string) Dialogue {
	d.want.out[sdk.Forward] = &data
	return d
}

// WantReverse expects these bytes to leave the gateway in the Reverse direction, refusals
// in their places.
func (d Dialogue) WantReverse(data string) Dialogue {
	d.want.out[sdk.Reverse] = &data
	return d
}
