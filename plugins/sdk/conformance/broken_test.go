package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"cordon/plugins/sdk"
	"cordon/policy"
)

type (
	inspectFunc func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps)
	refuseFunc  func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps)
)

// announcing is a toy's Inspect whose every line is the operation given.
func announcing(op policy.Operation) inspectFunc {
	return func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
		if n := bytes.IndexByte(data, '\n') + 1; n > 0 {
			out.Span(out.Operation(op), int64(n))
		}
	}
}

// keeping is a toy's Inspect that keeps its first operations, and says of some of them that
// it need not; every reply is the first one's.
func keeping(keep, done int) inspectFunc {
	return func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
		if dir == sdk.Reverse {
			out.Span(1, int64(len(data)))
			return
		}
		for ; len(data) >= 6; data = data[6:] {
			op := out.Operation(with("a", "b"))
			out.Span(op, 6)
			if op.Number() <= uint64(keep) {
				out.Keep(op)
			}
			if op.Number() <= uint64(done) {
				out.Done(op)
			}
		}
	}
}

func with(name string, value any) policy.Operation {
	return policy.Operation{Name: "toy:x", Class: policy.ClassRead, Attributes: policy.Attributes{{Name: name, Value: value}}}
}

// Every way to break the contract is caught, and called what it is.
func TestBroken(t *testing.T) {
	get := Forward("get a\n").Reverse("1\n")
	refused := Forward("get a\n").Refused(1)
	tests := []struct {
		name     string
		dialogue Dialogue
		inspect  inspectFunc
		refuse   refuseFunc
		want     string
	}{
		{"writes to data", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			t.Inspect(dir, data, end, out)
			if len(data) > 0 {
				data[0] = 0
			}
		}, nil, "data was written to"},
		{"keeps data in a step", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Forward && len(data) > 5 {
				key := unsafe.String(&data[4], 1)
				out.Span(out.Operation(with("key", key)), 6)
			}
		}, nil, "points into data"},
		{"depends on a cut", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Forward && len(data) > 0 {
				out.Span(out.Operation(with("length", int64(len(data)))), int64(len(data)))
			}
		}, nil, "steps depend on how bytes arrive"},
		{"span of an operation never announced", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			out.Span(7, int64(len(data)))
		}, nil, "a span of operation 7, which was not announced"},
		{"span of operation 0", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			out.Span(0, int64(len(data)))
		}, nil, "a span of operation 0, which was not announced"},
		{"span of an operation long gone", Forward(strings.Repeat("get a\n", sdk.MaxOpen+1)).Reverse("1\n"),
			func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
				if dir == sdk.Forward {
					for ; len(data) >= 6; data = data[6:] {
						out.Span(out.Operation(with("a", "b")), 6)
					}
				} else if len(data) > 0 {
					out.Span(1, 2)
				}
			}, nil, "which is not among the latest 256"},
		{"negative span", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Forward && len(data) > 0 {
				out.Span(out.Operation(with("a", "b")), -6)
			}
		}, nil, "its span was forgotten, or not positive"},
		{"operation where replies come", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if len(data) > 0 {
				out.Span(out.Operation(with("a", "b")), int64(len(data)))
			}
		}, nil, "which Protocol.Modes does not hold"},
		{"covers nothing", Forward(strings.Repeat("x", sdk.WindowSize+1)), func(*toy, sdk.Direction, []byte, bool, *sdk.Steps) {}, nil, "is left uncovered"},
		{"steps after End", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if len(data) > 0 {
				out.End("enough")
				t.Inspect(dir, data, end, out)
			}
		}, nil, "operation 1 after End"},
		{"panics on a byte", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if i := bytes.IndexByte(data, 'a'); i >= 0 {
				_ = data[:i][i+len(data)]
			}
		}, nil, "panic: "},
		{"panics on a refusal", refused, nil, func(*toy, sdk.OpID, sdk.Refusal, *sdk.Steps) { panic("no") }, "Refuse(1): panic: no"},

		{"two refusals", refused, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			out.Refusal(op, nil)
			out.Refusal(op, nil)
		}, "a second refusal of operation 1"},
		{"no refusal", refused.ReverseEnds(), nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			t.waiting = nil
		}, "never answered"},
		{"refusal of what is allowed", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			t.Inspect(dir, data, end, out)
			if dir == sdk.Reverse {
				out.Refusal(1, nil)
			}
		}, nil, "a refusal of operation 1, which was not refused"},
		{"span in Refuse", refused, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			out.Span(op, 3)
		}, "only Refusal and End may be used in Refuse"},
		{"refusal too long", refused, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			out.Refusal(op, make([]byte, sdk.MaxRefusal+1))
		}, "MaxRefusal"},
		{"refusal inside a reply", Forward("get a\n").Reverse("one\n").Forward("get b\n").Refused(2), insideReply, nil,
			"would stand at reverse offset 1, inside the message that goes from 0 to 4"},
		{"reply to a refused operation", refused.Reverse("1\n"), func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Reverse && len(data) > 0 {
				out.Span(1, int64(len(data)))
				return
			}
			t.Inspect(dir, data, end, out)
		}, nil, "which was refused: there is no reply to it"},
		{"abort of what is refused", Forward("put 3\na\x00b").Refused(1), nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			t.Refuse(op, why, out)
			t.refused = 0
		}, "which was refused before"},

		{"abort of the other side's, twice", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			t.Inspect(dir, data, end, out)
			if dir == sdk.Reverse {
				out.Abort(1, "a bad reply")
			}
		}, nil, "an abort of operation 1, which was refused before"},
		{"keeps too many", Forward(strings.Repeat("get a\n", sdk.MaxKept+1)), keeping(sdk.MaxKept+1, 0), nil, "operation 17 is kept besides 16 others"},
		{"keeps what is long gone", Forward(strings.Repeat("get a\n", sdk.MaxOpen+1)), func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			keeping(0, 0)(t, dir, data, end, out)
			if dir == sdk.Forward && len(data) > 0 {
				out.Keep(1)
			}
		}, nil, "a keep of operation 1, which is not among the latest 256"},
		{"names what is kept no longer", Forward(strings.Repeat("get a\n", sdk.MaxOpen+1)).Reverse("1\n"), keeping(1, 1), nil,
			"a span of operation 1, which is not among the latest 256"},
		{"refusal of another operation", Forward("get a\nget b\n").Refused(2), nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			out.Refusal(op-1, nil)
		}, "a refusal of operation 1, which was not refused"},
		{"no refusal after a reply", Forward("get a\nget b\n").Refused(2).Reverse("1\n"), func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			t.Inspect(dir, data, end, out)
			if dir == sdk.Reverse {
				t.body = -1
			}
		}, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			if t.body != -1 {
				t.Refuse(op, why, out)
				return
			}
			t.waiting = nil
		}, "with late decisions: operation 2 (toy:get) was refused and never answered"},
		{"no refusal where no device is", get, nil, func(*toy, sdk.OpID, sdk.Refusal, *sdk.Steps) {},
			"with everything refused: operation 1 (toy:get) was refused and never answered"},
		{"panics on much", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if len(data) > 100_000 {
				panic("too much")
			}
			t.Inspect(dir, data, end, out)
		}, nil, "over and over in one window"},

		{"reason of two lines", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			out.End("one\ntwo")
		}, nil, "not one line of printable ASCII"},
		{"reason too long", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			out.End(strings.Repeat("x", sdk.MaxReason+1))
		}, nil, "MaxReason"},
		{"no reason", refused, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) { out.End("") }, "no reason is given"},
		{"wrong prefix", get, announcing(policy.Operation{Name: "hl7:get", Class: policy.ClassRead}), nil, `does not begin with the protocol's: "toy:"`},
		{"nothing but the prefix", get, announcing(policy.Operation{Name: "toy:", Class: policy.ClassRead}), nil, "does not begin with"},
		{"name too long", get, announcing(policy.Operation{Name: "toy:" + strings.Repeat("x", sdk.MaxName), Class: policy.ClassRead}), nil, "MaxName"},
		{"name with a line break", get, announcing(policy.Operation{Name: "toy:a\nb", Class: policy.ClassRead}), nil, "not one line"},
		{"no such class", get, announcing(policy.Operation{Name: "toy:get", Class: "reading"}), nil, `class "reading"`},
		{"attribute not UTF-8", get, announcing(with("a", "\xff")), nil, "is not UTF-8"},
		{"attribute in a list not UTF-8", get, announcing(with("a", []string{"a", "\xff"})), nil, "is not UTF-8"},
		{"attribute of another type", get, announcing(with("a", 3)), nil, "a int; only string, int64"},
		{"attributes out of order", get, announcing(policy.Operation{Name: "toy:x", Class: policy.ClassRead, Attributes: policy.Attributes{{Name: "b", Value: ""}, {Name: "a", Value: ""}}}), nil, "out of order"},
		{"attribute of the gateway", get, announcing(with(policy.OriginCode, "7QF-21")), nil, "the gateway's to set"},
		{"attributes too long", get, announcing(with("a", strings.Repeat("x", sdk.MaxFacts))), nil, "MaxFacts"},
		{"attributes too many", get, announcing(policy.Operation{Name: "toy:x", Class: policy.ClassRead, Attributes: make(policy.Attributes, maxAttributes+1)}), nil, "257 attributes"},
		{"steps too many", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			for range sdk.MaxSteps/2 + 1 {
				out.Span(out.Operation(with("a", "b")), 1)
			}
		}, nil, "MaxSteps"},
		{"answer too long", get, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			for range 40 {
				out.Span(out.Operation(with("a", strings.Repeat("x", 30<<10))), 1)
			}
		}, nil, "an answer of some"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := toyProtocol(func() sdk.Inspector { return altered{&toy{}, test.inspect, test.refuse} })
			open, err := configure(p, `{}`)
			if err != nil {
				t.Fatal(err)
			}
			_, err = test.dialogue.check(p, open)
			wantError(t, err, test.want)
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// keeper looks at the data of an earlier call.
type keeper struct {
	toy
	before []byte
}

func (k *keeper) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if dir == sdk.Forward && len(data) >= 6 {
		out.Span(out.Operation(with("before", fmt.Sprintf("%x", k.before))), 6)
		k.before = data
	}
}

func TestKeeps(t *testing.T) {
	d := Forward("get a\n").Reverse("").Forward("get b\n").Reverse("1\n").Forward("get c\n")
	_, err := d.check(toyProtocol(nil), func() sdk.Inspector { return &keeper{} })
	wantError(t, err, "data is kept beyond the call")
}

func TestShares(t *testing.T) {
	sessions := 0
	open := func() sdk.Inspector {
		sessions++
		return altered{&toy{}, announcing(with("session", int64(sessions/3))), nil}
	}
	_, err := Forward("get a\n").check(toyProtocol(nil), open)
	wantError(t, err, "do inspectors share something?")
}

// insideReply covers replies as they come and refuses at once.
func insideReply(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if dir == sdk.Forward {
		t.Inspect(dir, data, end, out)
		if len(t.waiting) > 1 { // the first is not waited for
			t.waiting = t.waiting[1:]
		}
	} else if len(data) > 0 {
		out.Span(1, int64(len(data)))
	}
}
