package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Kinds of attribute values on the wire.
const (
	valueString  = 1
	valueInt     = 2
	valueStrings = 3
	valueInts    = 4
)

func appendStep(b []byte, s *sdk.Step) []byte {
	b = append(b, byte(s.Kind))
	if s.Kind == sdk.StepEnd {
		return appendString(b, s.Reason)
	}
	b = binary.AppendUvarint(b, uint64(s.Op))
	switch s.Kind {
	case sdk.StepOperation:
		b = append(b, flag(s.Invalid))
		b = appendString(b, s.Reason)
		b = appendString(b, s.Operation.Name)
		b = appendString(b, string(s.Operation.Class))
		b = binary.AppendUvarint(b, uint64(len(s.Operation.Attributes)))
		for _, a := range s.Operation.Attributes {
			b = appendString(b, a.Name)
			b = appendValue(b, a.Value)
		}
	case sdk.StepSpan:
		b = binary.AppendUvarint(b, uint64(s.N))
	case sdk.StepAbort:
		b = appendString(b, s.Reason)
	case sdk.StepRefusal:
		b = binary.AppendUvarint(b, uint64(s.At))
		b = appendString(b, string(s.Bytes))
	}
	return b
}

// appendValue writes a value of a type policy.Attribute allows. Any other type becomes
// kind 0, which the gateway refuses: an inspector's mistake must not go unnoticed.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendString(append(b, valueString), v)
	case int64:
		return binary.AppendVarint(append(b, valueInt), v)
	case []string:
		return appendStrings(append(b, valueStrings), v)
	case []int64:
		b = binary.AppendUvarint(append(b, valueInts), uint64(len(v)))
		for _, n := range v {
			b = binary.AppendVarint(b, n)
		}
		return b
	}
	return append(b, 0)
}

func (d *decoder) steps() []sdk.Step {
	n := d.upTo(sdk.MaxSteps)
	if n > uint64(len(d.b)) { // a step takes two bytes at least
		d.fail("%d steps in %d bytes", n, len(d.b))
		return nil
	}
	list := make([]sdk.Step, 0, n)
	for range n {
		s := sdk.Step{Kind: sdk.StepKind(d.byte())}
		switch {
		case s.Kind == sdk.StepEnd:
			s.Reason = d.string(sdk.MaxReason)
		case s.Kind >= sdk.StepOperation && s.Kind <= sdk.StepDone:
			s.Op = sdk.OpID(d.uint())
			d.step(&s)
		default:
			d.fail("step kind %d", s.Kind)
		}
		if d.err != nil {
			return nil
		}
		list = append(list, s)
	}
	return list
}

func (d *decoder) step(s *sdk.Step) {
	switch s.Kind {
	case sdk.StepOperation:
		s.Invalid = d.flag()
		s.Reason = d.string(sdk.MaxReason)
		s.Operation.Name = d.string(sdk.MaxName)
		s.Operation.Class = policy.Class(d.string(16))
		if d.err == nil && !s.Operation.Class.Valid() {
			d.fail("class %q", s.Operation.Class)
		}
		s.Operation.Attributes = d.attributes()
	case sdk.StepSpan:
		s.N = d.offset()
	case sdk.StepAbort:
		s.Reason = d.string(sdk.MaxReason)
	case sdk.StepRefusal:
		s.At = d.offset()
		if b := d.bytes(sdk.MaxRefusal); len(b) > 0 {
			s.Bytes = append([]byte(nil), b...)
		}
	}
}

func (d *decoder) attributes() policy.Attributes {
	n := d.upTo(256)
	if n == 0 {
		return nil
	}
	before := len(d.b)
	list := make(policy.Attributes, 0, n)
	for range n {
		name := d.string(sdk.MaxName)
		if d.err == nil && len(list) > 0 && list[len(list)-1].Name >= name {
			d.fail("attribute %q out of order", name)
		}
		list = append(list, policy.Attribute{Name: name, Value: d.value()})
		if before-len(d.b) > sdk.MaxFacts {
			d.fail("attributes of more than %d bytes", sdk.MaxFacts)
		}
		if d.err != nil {
			return nil
		}
	}
	return list
}

func (d *decoder) value() any {
	switch kind := d.byte(); kind {
	case valueString:
		return d.string(sdk.MaxFacts)
	case valueInt:
		return d.int()
	case valueStrings:
		return d.strings()
	case valueInts:
		return d.ints()
	default:
		d.fail("value kind %d", kind)
		return nil
	}
}

// decoder reads fields off b and keeps the first error.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
		d.b = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("cut short")
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) flag() bool {
	c := d.byte()
	if c > 1 {
		d.fail("flag %d", c)
	}
	return c == 1
}

func (d *decoder) direction() sdk.Direction {
	c := d.byte()
	if c > byte(sdk.Reverse) {
		d.fail("direction %d", c)
	}
	return sdk.Direction(c)
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) upTo(limit uint64) uint64 {
	v := d.uint()
	if v > limit {
		d.fail("%d above limit %d", v, limit)
		return 0
	}
	return v
}

func (d *decoder) offset() int64 { return int64(d.upTo(math.MaxInt64)) }

func (d *decoder) bytes(limit uint64) []byte {
	n := d.upTo(limit)
	if n > uint64(len(d.b)) {
		d.fail("cut short")
		return nil
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

// string reads text. All text is UTF-8: an inspector that knows another character set
// converts, one that does not has no fact to give.
func (d *decoder) string(limit uint64) string {
	b := d.bytes(limit)
	if !utf8.Valid(b) {
		d.fail("text is not UTF-8")
		return ""
	}
	return string(b)
}

func (d *decoder) strings() []string {
	n := d.listLen()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for i := 0; i < n && d.err == nil; i++ {
		list = append(list, d.string(sdk.MaxFacts))
	}
	return list
}

func (d *decoder) ints() []int64 {
	n := d.listLen()
	list := make([]int64, 0, n)
	for i := 0; i < n && d.err == nil; i++ {
		list = append(list, d.int())
	}
	return list
}

// listLen reads a list's length, which cannot exceed the bytes left: an element takes one
// byte at least.
func (d *decoder) listLen() int {
	n := d.upTo(sdk.MaxFacts)
	if n > uint64(len(d.b)) {
		d.fail("cut short")
		return 0
	}
	return int(n)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}
