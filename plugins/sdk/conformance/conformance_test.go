package conformance

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

var toyDialogues = []Dialogue{
	Named("get").
		Forward("get a\n").Reverse("1\n").
		WantOperation("toy:get", policy.ClassRead, "key", `"a"`, "length", 5, "value", nil).
		WantForward("get a\n").
		WantReverse("1\n"),
	Named("refused").
		Forward("get a\n").Reverse("1\n").Forward("get b\n").Forward("get c\n").Refused(2).Reverse("3\n").
		WantOperation("toy:get", policy.ClassRead).
		WantOperation("toy:get", policy.ClassRead).
		WantOperation("toy:get", policy.ClassRead).
		WantRefusal(2, "no 7QF-21\n").
		WantForward("get a\nget c\n").
		WantReverse("1\nno 7QF-21\n3\n"),
	Named("pipelined").
		Forward("get a\n").Forward("get b\n").Forward("get c\n").Forward("get d\n").Refused(2, 4).
		Reverse("first\n").Reverse("third\n").
		WantForward("get a\nget c\n").
		WantReverse("first\nno 7QF-21\nthird\nno 7QF-21\n"),
	Named("refused in the middle of a reply").
		Forward("get a\n").Reverse("fir").Forward("get b\n").Refused(2).Reverse("st\n").
		WantForward("get a\n").
		WantReverse("first\nno 7QF-21\n"),
	Named("invalid").
		Forward("got a\n").
		WantInvalid("toy:other", policy.ClassUnknown).
		WantRefusal(1, "no 7QF-21\n").
		WantForward("").
		WantReverse("no 7QF-21\n"),
	Named("body").
		Forward("put 10\n0123456789").Reverse("done\n").Forward("put 3\nabc").Refused(2).
		WantForward("put 10\n0123456789").
		WantReverse("done\nno 7QF-21\n"),
	Named("aborted").
		Forward("put 10\n0123\x00").
		WantOperation("toy:put", policy.ClassWrite).
		WantAbort(1).
		WantRefusal(1, "no 7QF-21\n").
		WantEnd().
		WantForward("put 10\n0123"),
	Named("nothing"). // a dialogue without a word
				WantNothing(),
	Named("a reply to nothing").
		Reverse("1\n").
		WantEnd(),
	Named("no reply").
		Forward("get a\n").Forward("get b\n").Refused(2).
		WantOperation("toy:get", policy.ClassRead).
		WantOperation("toy:get", policy.ClassRead).
		WantEnd(),
	Named("half closed").
		Forward("get a\n").ForwardEnds().Reverse("1\n").
		WantReverse("1\n"),
}

func goodToy() sdk.Inspector { return &toy{} }

func TestRun(t *testing.T) {
	Run(t, toyProtocol(goodToy), `{}`, toyDialogues...)
}

func FuzzToy(f *testing.F) {
	Fuzz(f, toyProtocol(goodToy), `{}`, toyDialogues...)
}

// peer is a protocol in which both sides ask: every line is a request.
type peer struct{}

func (peer) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for n := bytes.IndexByte(data, '\n') + 1; n > 0; n = bytes.IndexByte(data, '\n') + 1 {
		if len(out.List()) > sdk.MaxSteps-2 {
			out.End("too much at once")
			return
		}
		op := out.Operation(policy.Operation{Name: "toy:line", Class: policy.ClassNotify})
		out.Span(op, int64(n))
		data = data[n:]
	}
}

func (peer) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	out.Refusal(op, []byte("no\n"))
}

func TestBothSidesAsk(t *testing.T) {
	p := toyProtocol(func() sdk.Inspector { return peer{} })
	p.Modes[sdk.Reverse] = sdk.Held
	Run(t, p, `{}`,
		Forward("one\n").Reverse("two\n").Forward("three\n").Reverse("four\n").Refused(2, sdk.Reverse.Operation(1)).
			WantForward("one\nno\n").
			WantReverse("no\nfour\n"))
}

// A reply to an operation that is kept may come however many follow it, and an operation may
// be aborted for its reply.
func TestKept(t *testing.T) {
	kept := func() sdk.Inspector { return altered{&toy{}, keeping(1, 0), refuseEmpty} }
	Run(t, toyProtocol(kept), `{}`, Forward(strings.Repeat("get a\n", sdk.MaxOpen+1)).Reverse("1\n").WantReverse("1\n"))
}

func refuseEmpty(_ *toy, op sdk.OpID, _ sdk.Refusal, out *sdk.Steps) { out.Refusal(op, nil) }

func TestAbortedForItsReply(t *testing.T) {
	suspicious := func() sdk.Inspector {
		return altered{&toy{}, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Reverse && bytes.IndexByte(data, 0) >= 0 && t.refused == 0 {
				out.Abort(1, "a NUL in a reply")
				return
			}
			t.Inspect(dir, data, end, out)
		}, nil}
	}
	p := toyProtocol(suspicious)
	p.Modes[sdk.Reverse] = sdk.Held
	Run(t, p, `{}`,
		Forward("get a\n").Reverse("1\x00").WantOperation("toy:get", policy.ClassRead).
			WantAbort(1).WantRefusal(1, "no 7QF-21\n").WantReverse("no 7QF-21\n"))
}

// closing is a toy that ends the session behind a refusal for doubt.
func closing() sdk.Inspector {
	return altered{&toy{}, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
		t.Refuse(op, why, out)
		if why.Cause == policy.CauseDoubt {
			out.End("try again later")
		}
	}}
}

// reporting is a toy that announces what is no reply.
func reporting() sdk.Inspector {
	return altered{&toy{}, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
		if dir == sdk.Reverse {
			for n := 1; n > 0 && len(data) > 0; data = data[n:] {
				if n = bytes.IndexByte(data, '\n') + 1; n > 0 && len(t.waiting) == 0 {
					op := policy.Operation{Name: "toy:unasked", Class: policy.ClassUnknown}
					out.Span(out.Invalid(op, "a reply to nothing"), int64(n))
				} else {
					n = t.next(dir, data, out)
				}
			}
		}
		t.Inspect(dir, data, end, out)
	}, nil}
}

func TestEndInRefuse(t *testing.T) {
	Run(t, toyProtocol(closing), `{}`,
		Forward("get a\n").Forward("get b\n").Forward("get c\n").RefusedWith(unavailable, 2).Reverse("1\n").
			WantForward("get a\n").
			WantReverse(""))
}

// An inspector that answers at once is told when no reply is under way.
func TestRefusedWithinReply(t *testing.T) {
	hasty := func() sdk.Inspector {
		return altered{&toy{}, nil, func(t *toy, op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
			t.waiting = slices.DeleteFunc(t.waiting, func(a asked) bool { return a.op == op })
			out.Refusal(op, []byte("no\n"))
		}}
	}
	Run(t, toyProtocol(hasty), `{}`,
		Forward("get a\n").Reverse("fir").Forward("get b\n").Refused(2).Reverse("st\n").
			WantReverse("first\nno\n"))
}

func TestUnasked(t *testing.T) {
	Run(t, toyProtocol(reporting), `{}`,
		Forward("get a\n").Reverse("1\n").Reverse("2\n").Reverse("3\n").
			WantOperation("toy:get", policy.ClassRead).
			WantInvalid("toy:unasked", policy.ClassUnknown).
			WantEnd())
}

// Inspectors that keep their contract are not accused, whatever is said.
func TestNoFalseAlarm(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"get a\n", "get b\n", "put 3\nabc", "put 2\n\x00", "x\n", "a reply\n", "ge"}
	text := func() (b []byte) {
		for range rnd.IntN(8) {
			b = append(b, words[rnd.IntN(len(words))]...)
		}
		return b
	}
	many := bytes.Repeat([]byte("get a\n"), sdk.MaxOpen+10)
	if err := dealt(many, nil, nil, 1<<64-1).checkAny(toyProtocol(nil), goodToy); err != nil {
		t.Errorf("many requests: %v", err)
	}
	for range 400 {
		tape := make([]byte, rnd.IntN(8))
		for i := range tape {
			tape[i] = byte(rnd.IntN(24))
		}
		forward, reverse, refused := text(), text(), rnd.Uint64()
		for name, open := range map[string]func() sdk.Inspector{"good": goodToy, "closing": closing, "reporting": reporting} {
			d := dealt(forward, reverse, tape, refused)
			if err := d.checkAny(toyProtocol(nil), open); err != nil {
				t.Fatalf("%s: %s: %v", name, d, err)
			}
		}
	}
}

// What a dialogue wants is compared.
func TestWant(t *testing.T) {
	get := Forward("get a\n").Reverse("1\n").Forward("get b\n").Refused(2)
	full := get.
		WantOperation("toy:get", policy.ClassRead, "key", `"a"`).
		WantOperation("toy:get", policy.ClassRead, "key", `"b"`)
	aborted := Forward("put 2\n\x00").WantOperation("toy:put", policy.ClassWrite).WantRefusal(1, "no 7QF-21\n").WantEnd()
	tests := []struct {
		dialogue Dialogue
		want     string
	}{
		{get.WantForward("get"), `want "get"`},
		{get.WantReverse("1\n"), `got "1\nno 7QF-21\n"`},
		{get.WantNothing(), "want no more operations"},
		{get.WantOperation("toy:put", policy.ClassRead), "want toy:put"},
		{get.WantOperation("toy:get", policy.ClassWrite), "want toy:get, write"},
		{get.WantInvalid("toy:get", policy.ClassRead), "invalid true"},
		{get.WantOperation("toy:get", policy.ClassRead, "key", "a"), `attribute "key"`},
		{get.WantOperation("toy:get", policy.ClassRead, "key", nil), `attribute "key"`},
		{full.WantOperation("toy:get", policy.ClassRead), "operation 3: got none"},
		{full, "want no more"},
		{full.WantRefusal(2, "no\n"), `want operation 2, "no\n"`},
		{full.WantRefusal(2, "no 7QF-21\n").WantRefusal(3, ""), "refusal of operation 3: got none"},
		{full.WantRefusal(2, "no 7QF-21\n").WantEnd(), "got no end"},
		{full.WantRefusal(2, "no 7QF-21\n").WantAbort(1), "want [1]"},
		{aborted, "got [1], want []"},
		{Reverse("1\n").WantNothing(), "want no end"},
	}
	for _, test := range tests {
		_, err := test.dialogue.check(toyProtocol(goodToy), goodToy)
		wantError(t, err, test.want)
	}
}

// A dialogue is a value: two that begin alike do not share what follows.
func TestDialogueIsAValue(t *testing.T) {
	begin := Forward("get a\n").Refused(1).WantRefusal(1, "no 7QF-21\n")
	one, two := begin.Forward("get b\n").Refused(2), begin.Reverse("").Forward("x").Refused(3)
	if a, b := one.String(), two.String(); a != `Dialogue{}.Forward("get a\nget b\n").Refused(1).Refused(2)` || b != `Dialogue{}.Forward("get a\nx").Refused(1).Refused(3)` {
		t.Errorf("got %s\nand %s", a, b)
	}
}

// A dialogue survives being dealt, and what is dealt is held to the contract.
func TestDeal(t *testing.T) {
	for _, d := range toyDialogues {
		if got := dealt(d.deal()); got.String() != d.String() {
			t.Errorf("got %s\nwant %s", got, d)
		}
	}
	open := func() sdk.Inspector {
		return altered{&toy{}, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Forward && len(data) > 0 {
				out.Span(out.Operation(with("length", int64(len(data)))), int64(len(data)))
			}
		}, nil}
	}
	err := dealt([]byte("get a\n"), []byte("1\n"), nil, 0).checkAny(toyProtocol(nil), open)
	wantError(t, err, "steps depend on how bytes arrive")
}

func TestConfigure(t *testing.T) {
	tests := []struct {
		change   func(*sdk.Protocol)
		settings string
		want     string
	}{
		{func(p *sdk.Protocol) { p.Name = "" }, `{}`, "lacks its Name"},
		{func(p *sdk.Protocol) { p.Modes[sdk.Reverse] = sdk.Unseen }, `{}`, "reverse is neither Held nor Observed"},
		{func(p *sdk.Protocol) {}, `{"a":1}`, "there is nothing to set"},
		{func(p *sdk.Protocol) {}, `[]`, "settings []"},
		{func(p *sdk.Protocol) {
			p.Configure = func(json.RawMessage) (func() sdk.Inspector, error) { return goodToy, nil }
		}, `{}`, `"no such key"`},
	}
	for _, test := range tests {
		p := toyProtocol(goodToy)
		test.change(&p)
		_, err := configure(p, test.settings)
		wantError(t, err, test.want)
	}
}

// An inspector that is shown the same bytes over and over is pointed out.
func TestWarning(t *testing.T) {
	hoarder := func() sdk.Inspector {
		return altered{&toy{}, func(t *toy, dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
			if dir == sdk.Forward && end {
				out.End("no line so far")
			}
		}, nil}
	}
	warning, err := Forward(strings.Repeat("x", 40*segment)).check(toyProtocol(nil), hoarder)
	if err != nil || !strings.Contains(warning, "cover what is understood earlier") {
		t.Errorf("got %q, %v", warning, err)
	}
}
