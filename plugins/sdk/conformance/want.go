package conformance

import (
	"fmt"
	"reflect"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// want is what a dialogue expects.
type want struct {
	some       bool // operations, refusals, aborts and the end are compared
	operations []wantOperation
	refusals   []wantRefusal
	aborts     []sdk.OpID
	end        bool
	out        [2]*string // by Direction; nil: not compared
}

type wantOperation struct {
	name    string
	class   policy.Class
	invalid bool
	facts   policy.Attributes // as the test gives them; a nil value is not to be there
}

type wantRefusal struct {
	op     sdk.OpID
	answer string
}

// check compares a session with what was expected of it.
func (w want) check(s *session) error {
	for dir, out := range w.out {
		if got := s.flows[dir].out; out != nil && string(got) != *out {
			return fmt.Errorf("%s bytes that leave the gateway:\n got %q\nwant %q", sdk.Direction(dir), got, *out)
		}
	}
	if !w.some {
		return nil
	}
	r := &s.record
	for i := range max(len(w.operations), len(r.operations)) {
		switch {
		case i >= len(r.operations):
			return fmt.Errorf("operation %d: got none, want %s", i+1, w.operations[i].name)
		case i >= len(w.operations):
			return fmt.Errorf("got %s, want no more operations", r.operations[i])
		}
		if err := w.operations[i].check(r.operations[i]); err != nil {
			return err
		}
	}
	for i := range max(len(w.refusals), len(r.refusals)) {
		switch {
		case i >= len(r.refusals):
			return fmt.Errorf("refusal of operation %d: got none, want %q", w.refusals[i].op, w.refusals[i].answer)
		case i >= len(w.refusals):
			return fmt.Errorf("got the refusal of operation %d, %q, want no more", r.refusals[i].op, r.refusals[i].bytes)
		}
		got, want := r.refusals[i], w.refusals[i]
		if got.op != want.op || string(got.bytes) != want.answer {
			return fmt.Errorf("refusal:\n got operation %d, %q\nwant operation %d, %q", got.op, got.bytes, want.op, want.answer)
		}
	}
	var aborts []sdk.OpID
	for _, a := range r.aborts {
		aborts = append(aborts, a.op)
	}
	if !slices.Equal(aborts, w.aborts) {
		return fmt.Errorf("aborted operations: got %v, want %v", aborts, w.aborts)
	}
	switch {
	case r.end == nil && w.end:
		return fmt.Errorf("got no end of the session, want one")
	case r.end != nil && !w.end:
		return fmt.Errorf("got %q, want no end", *r.end)
	}
	return nil
}

func (w wantOperation) check(got announcement) error {
	if got.Name != w.name || got.Class != w.class || got.invalid != w.invalid {
		return fmt.Errorf("got %s\nwant %s, %s, invalid %t", got, w.name, w.class, w.invalid)
	}
	for _, f := range w.facts {
		if v := got.Attributes.Get(f.Name); !reflect.DeepEqual(v, f.Value) {
			return fmt.Errorf("operation %d (%s): attribute %q: got %#v, want %#v", got.id, got.Name, f.Name, v, f.Value)
		}
	}
	return nil
}
