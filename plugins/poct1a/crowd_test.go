package poct1a

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// shown is a session with its steps.
type shown struct {
	*session
	out sdk.Steps
}

// greet is a session in which Forward's hello was accepted.
func greet(t *testing.T) *shown {
	t.Helper()
	set, err := parseSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &shown{session: newSession(set)}
	s.show(sdk.Forward, brief)
	s.show(sdk.Reverse, ack("1"))
	if s.state != talking {
		t.Fatal("the hello is not accepted")
	}
	return s
}

// show shows bytes as a gateway does that refuses nothing, and returns all steps.
func (s *shown) show(dir sdk.Direction, text string) []sdk.Step {
	var all []sdk.Step
	for rest := []byte(text); len(rest) > 0 && !s.dead; {
		before := s.out.Covered(dir)
		s.out.Begin(dir)
		s.Inspect(dir, rest, false, &s.out)
		all = append(all, s.out.List()...)
		n := s.out.Covered(dir) - before
		if n == 0 {
			break
		}
		rest = rest[min(n, int64(len(rest))):]
	}
	return all
}

// refuse refuses the number-th operation of Forward.
func (s *shown) refuse(number uint64, cause policy.Cause) []sdk.Step {
	s.out.Begin(sdk.Forward)
	s.Refuse(sdk.Forward.Operation(number), sdk.Refusal{Code: "7QF-21", Cause: cause}, &s.out)
	return s.out.List()
}

func ends(steps []sdk.Step) string {
	if n := len(steps); n > 0 && steps[n-1].Kind == sdk.StepEnd {
		return steps[n-1].Reason
	}
	return ""
}

// TestCrowd: messages nobody acknowledges are forgotten, but none that is still to be named.
func TestCrowd(t *testing.T) {
	alive := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(doc("KPA.R01", fmt.Sprint(1000+i)))
		}
		return b.String()
	}

	s := greet(t)
	s.show(sdk.Forward, alive(300))
	if n := len(s.sides[sdk.Forward].open); s.dead || n != sdk.MaxOpen {
		t.Errorf("%d of 300 messages are open, want %d", n, sdk.MaxOpen)
	}
	if s.show(sdk.Reverse, ack("1299")); s.dead {
		t.Error("the latest message cannot be acknowledged")
	}
	if steps := s.show(sdk.Reverse, ack("1000")); len(steps) == 0 || steps[0].Reason != answersNothing.reason {
		t.Errorf("a message that is forgotten is acknowledged: %+v", steps)
	}

	s = greet(t)
	s.show(sdk.Forward, status)
	s.show(sdk.Reverse, ack("2"))
	s.show(sdk.Forward, alive(300))
	if why := ends(s.show(sdk.Reverse, "\r\n")); why == "" {
		t.Error("what stands behind an old acknowledgement is covered")
	}

	s = greet(t)
	s.show(sdk.Reverse, "\x02"+doc("KPA.R01", "1")) // its ETX is missing
	s.show(sdk.Forward, status)
	if list := s.refuse(2, policy.CausePolicy); len(list) > 0 {
		t.Fatalf("refused inside a frame: %+v", list)
	}
	if why := ends(s.show(sdk.Forward, alive(300))); why == "" {
		t.Error("a refusal is forgotten")
	}

	s = greet(t)
	s.show(sdk.Reverse, "\x02"+doc("KPA.R01", "1"))
	s.show(sdk.Forward, "<!x>")
	if list := s.refuse(2, policy.CauseProtocol); len(list) != 1 || list[0].Kind != sdk.StepEnd {
		t.Errorf("the end of a session waits for a frame's: %+v", list)
	}
}

// TestUndelivered: what is refused is never acknowledged, even before the refusal is told.
func TestUndelivered(t *testing.T) {
	for _, id := range []string{"2", "02"} {
		s := greet(t)
		s.show(sdk.Forward, strings.Replace(status, "DST>", "DTV>", 2))
		if steps := s.show(sdk.Reverse, ack(id)); len(steps) == 0 || steps[0].Reason != answersNothing.reason {
			t.Errorf("a malformed message is acknowledged as %s: %+v", id, steps)
		}
	}
}

// TestLongTag is about a limit of its own.
func TestLongTag(t *testing.T) {
	for n, want := range map[int]string{maxTag - 8: "", maxTag - 7: "tag longer than 8 KiB"} {
		text := []byte(`<A V="` + strings.Repeat("v", n) + `">`)
		for _, step := range []int{1, len(text)} {
			d, wrong := document{}, ""
			for i := step; i <= len(text) && wrong == ""; i += step {
				_, wrong = d.read(text[:i], maxMessage)
			}
			if wrong != want {
				t.Errorf("a tag of %d bytes, by %d: %q, want %q", len(text), step, wrong, want)
			}
		}
	}
}
