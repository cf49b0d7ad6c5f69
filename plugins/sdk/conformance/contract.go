package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Limits of the channel between gateway and plugin, beyond those of package sdk.
const (
	maxAnswer     = 1 << 20 // bytes of the steps of one call, encoded
	maxAttributes = 256     // of one operation
)

// checkInspect checks the steps of one call of Inspect that do not depend on what the
// gateway decides.
func (s *session) checkInspect(dir sdk.Direction, list []sdk.Step) error {
	for i := range list {
		step := &list[i]
		if i > 0 && list[i-1].Kind == sdk.StepEnd {
			return fmt.Errorf("%s after End", describe(step))
		}
		if step.Kind == sdk.StepOperation {
			s.announced[dir] = step.Op.Number()
			if err := s.checkOperation(&step.Operation); err != nil {
				return fmt.Errorf("operation %d: %w", step.Op, err)
			}
		}
		if step.Kind != sdk.StepEnd && (step.Op.Number() == 0 || step.Op.Number() > s.announced[step.Op.Direction()]) {
			return fmt.Errorf("%s, which was not announced", describe(step))
		}
		var told *operation // if the inspector was told that it is refused
		if op := s.operation(step.Op); op != nil && op.told {
			told = op
		}
		switch {
		case step.Kind == sdk.StepRefusal && told == nil:
			return fmt.Errorf("%s, which was not refused", describe(step))
		case step.Kind == sdk.StepAbort && told != nil:
			return fmt.Errorf("%s, which was refused before", describe(step))
		case step.Kind == sdk.StepSpan && told != nil && told.dir != dir:
			return fmt.Errorf("%s, which was refused: there is no reply to it", describe(step))
		}
		if step.Invalid || step.Kind == sdk.StepAbort || step.Kind == sdk.StepEnd {
			if err := checkReason(step.Reason); err != nil {
				return fmt.Errorf("%s: %w", describe(step), err)
			}
		}
		if len(step.Bytes) > sdk.MaxRefusal {
			return fmt.Errorf("%s of %d bytes; MaxRefusal is %d", describe(step), len(step.Bytes), sdk.MaxRefusal)
		}
	}
	return nil
}

// checkRefuse checks the steps of one call of Refuse, and marks an End as its own.
func checkRefuse(op sdk.OpID, list []sdk.Step) error {
	for i := range list {
		step := &list[i]
		if i > 0 && list[i-1].Kind == sdk.StepEnd {
			return fmt.Errorf("%s after End", describe(step))
		}
		switch step.Kind {
		case sdk.StepRefusal:
			if len(step.Bytes) > sdk.MaxRefusal {
				return fmt.Errorf("%s of %d bytes; MaxRefusal is %d", describe(step), len(step.Bytes), sdk.MaxRefusal)
			}
		case sdk.StepEnd:
			step.Op = op
			if err := checkReason(step.Reason); err != nil {
				return fmt.Errorf("%s: %w", describe(step), err)
			}
		default:
			return fmt.Errorf("%s; only Refusal and End may be used in Refuse", describe(step))
		}
	}
	return nil
}

// checkAnswer checks that all steps of one call fit into one answer. What does not fit
// ends the plugin's process, with the sessions of everybody else.
func checkAnswer(list []sdk.Step) error {
	if len(list) > sdk.MaxSteps {
		return fmt.Errorf("%d steps in the answer; MaxSteps is %d", len(list), sdk.MaxSteps)
	}
	size := 0
	for i := range list {
		step := &list[i]
		size += 16 + len(step.Operation.Name) + len(step.Reason) + len(step.Bytes) + sizeOf(step.Operation.Attributes)
	}
	if size > maxAnswer {
		return fmt.Errorf("an answer of some %d bytes, above %d: cover less in one call", size, maxAnswer)
	}
	return nil
}

func (s *session) checkOperation(op *policy.Operation) error {
	prefix := s.protocol.Name + ":"
	switch {
	case !strings.HasPrefix(op.Name, prefix) || len(op.Name) == len(prefix):
		return fmt.Errorf("name %q does not begin with the protocol's: %q", op.Name, prefix)
	case len(op.Name) > sdk.MaxName:
		return fmt.Errorf("name of %d bytes; MaxName is %d", len(op.Name), sdk.MaxName)
	case !utf8.ValidString(op.Name) || strings.ContainsFunc(op.Name, unicode.IsControl):
		return fmt.Errorf("name %q is not one line of UTF-8", op.Name)
	case !op.Class.Valid():
		return fmt.Errorf("class %q is not one of policy.Classes", op.Class)
	case len(op.Attributes) > maxAttributes:
		return fmt.Errorf("%d attributes, above %d", len(op.Attributes), maxAttributes)
	}
	for i, a := range op.Attributes {
		switch {
		case a.Name == "" || len(a.Name) > sdk.MaxName || !utf8.ValidString(a.Name):
			return fmt.Errorf("attribute name %q is empty, not UTF-8 or above MaxName, %d bytes", a.Name, sdk.MaxName)
		case a.Name == policy.Origin || a.Name == policy.OriginCode || a.Name == policy.OriginSubject:
			return fmt.Errorf("attribute %q is the gateway's to set", a.Name)
		case i > 0 && op.Attributes[i-1].Name >= a.Name:
			return fmt.Errorf("attribute %q is out of order or there twice: use Attributes.Set", a.Name)
		}
		if err := checkValue(a.Value); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
	}
	if n := sizeOf(op.Attributes); n > sdk.MaxFacts {
		return fmt.Errorf("attributes of %d bytes; MaxFacts is %d", n, sdk.MaxFacts)
	}
	return nil
}

func checkValue(v any) error {
	text := []string(nil)
	switch v := v.(type) {
	case int64, []int64:
	case string:
		text = []string{v}
	case []string:
		text = v
	default:
		return fmt.Errorf("a %T; only string, int64 and lists of them are permitted", v)
	}
	for _, s := range text {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8", s)
		}
	}
	return nil
}

func checkReason(reason string) error {
	switch {
	case reason == "":
		return errors.New("no reason is given")
	case len(reason) > sdk.MaxReason:
		return fmt.Errorf("reason of %d bytes; MaxReason is %d", len(reason), sdk.MaxReason)
	case strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("reason %q is not one line of printable ASCII", reason)
	}
	return nil
}

// sizeOf returns the bytes that attributes take in an answer, their number excepted.
func sizeOf(attributes policy.Attributes) int {
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, a := range attributes {
		text(a.Name)
		b = append(b, 0) // type of the value
		switch v := a.Value.(type) {
		case string:
			text(v)
		case int64:
			b = binary.AppendVarint(b, v)
		case []string:
			b = binary.AppendUvarint(b, uint64(len(v)))
			for _, s := range v {
				text(s)
			}
		case []int64:
			b = binary.AppendUvarint(b, uint64(len(v)))
			for _, n := range v {
				b = binary.AppendVarint(b, n)
			}
		}
	}
	return len(b)
}

// clone copies steps and everything they point to.
func clone(list []sdk.Step) []sdk.Step {
	list = slices.Clone(list)
	for i := range list {
		step := &list[i]
		step.Reason = strings.Clone(step.Reason)
		step.Bytes = bytes.Clone(step.Bytes)
		step.Operation.Name = strings.Clone(step.Operation.Name)
		step.Operation.Class = policy.Class(strings.Clone(string(step.Operation.Class)))
		step.Operation.Attributes = slices.Clone(step.Operation.Attributes)
		for j := range step.Operation.Attributes {
			a := &step.Operation.Attributes[j]
			a.Name = strings.Clone(a.Name)
			switch v := a.Value.(type) {
			case string:
				a.Value = strings.Clone(v)
			case []string:
				v = slices.Clone(v)
				for k := range v {
					v[k] = strings.Clone(v[k])
				}
				a.Value = v
			case []int64:
				a.Value = slices.Clone(v)
			}
		}
	}
	return list
}

// describe names a step in an error.
func describe(step *sdk.Step) string {
	switch step.Kind {
	case sdk.StepOperation:
		return fmt.Sprintf("announcement of operation %d", step.Op)
	case sdk.StepSpan:
		return fmt.Sprintf("a span of operation %d", step.Op)
	case sdk.StepAbort:
		return fmt.Sprintf("an abort of operation %d", step.Op)
	case sdk.StepRefusal:
		return fmt.Sprintf("a refusal of operation %d", step.Op)
	case sdk.StepKeep:
		return fmt.Sprintf("Keep of operation %d", step.Op)
	case sdk.StepDone:
		return fmt.Sprintf("Done of operation %d", step.Op)
	case sdk.StepEnd:
		return "End"
	}
	return fmt.Sprintf("step of kind %d", step.Kind)
}
