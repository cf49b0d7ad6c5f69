package astm

import (
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
)

func seeds() []conformance.Dialogue {
	list := []conformance.Dialogue{
		conformance.Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, recP, recO)).Reverse(sACK).
			Forward(fr(2, recX)).Refused(3).Forward(fr(2, recX)).Forward(sEOT),
		conformance.Reverse(sENQ).Forward(sACK).Reverse(fr(1, recH, recP, recR, recL)).Forward(sACK).Reverse(sEOT).
			Forward(sENQ).Refused(1).Forward(fr(1, recH, recL)).Forward(sEOT),
		conformance.Forward(sENQ).Reverse(sENQ).Forward(sENQ).Reverse(sACK).Forward(fr(0, recH, recQ, recL)).Reverse(sEOT),
		conformance.Forward(sENQ).Reverse(sACK).Forward(cut(1, recH+"\rC|1|I|"+strings.Repeat("x", 300))).Reverse(sACK).
			Forward(cut(2, "y")).Reverse(sNAK).Forward(cut(2, "y\n")),
		conformance.Forward(sENQ + fr(1, recH) + fr(2, recM) + sEOT).Reverse(sACK + sNAK + sEOT),
		conformance.Reverse(sEOT).Forward("\x021H"),
	}
	for _, record := range []string{"m|1", "S|2|x", `h!~$%!!!x`, "R|1|^^^A&B&^x\\^c|1", "\xff", "X"} {
		list = append(list, conformance.Forward(sENQ).Reverse(sACK).Forward(fr(1, recH, record, recL)).Reverse(sACK).Forward(sEOT))
	}
	return list
}

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, Protocol(), `{}`, seeds()...) }

func FuzzLooseDialogue(f *testing.F) {
	conformance.Fuzz(f, Protocol(), `{"frame_end":"checksum","max_frame":240,"refuse":["lf_ends","late_reply"]}`, seeds()...)
}

func FuzzBare(f *testing.F) {
	message := strings.Join([]string{recH, recP, recR, recL}, "\r") + "\r"
	conformance.Fuzz(f, Protocol(), `{"bare":true,"max_frame":240}`,
		conformance.Forward(message).Reverse(sACK).Reverse(message+message).Forward(sACK),
		conformance.Forward(strings.ReplaceAll(message, "\r", "\r\n")).Reverse(recH+"\n"+recL+"\n").Refused(1),
		conformance.Forward("H|\\^&\rL\r\n").Forward("X"))
}

// FuzzFrame has text of any kind read whole, and in two frames: what the second way lets
// pass is announced at least as the first way.
func FuzzFrame(f *testing.F) {
	for _, record := range []string{recP, recO, recX, recR, recQ, recM, recL, "m|1\n", "C|x\rM|y", "OK|1"} {
		f.Add(recH+"\r"+record+"\r", 40)
		f.Add(recH+"\r"+record+"\r"+recL+"\r", 62)
	}
	f.Fuzz(func(t *testing.T, text string, at int) {
		if at < 0 || at > len(text) {
			return
		}
		set, err := parseSettings(nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := set.read(nil, []byte(text), true)
		first := set.read(nil, []byte(text[:at]), false)
		if first.wrong != "" {
			return
		}
		second := set.read(first.next, []byte(text[at:]), true)
		if second.wrong != "" || whole.wrong != "" {
			return
		}
		weight := func(r reading) int {
			if name := r.operation.Name; len(name) == len("astm:X") {
				return kindOf(name[len(name)-1]).weight
			}
			return kindOf(0).weight
		}
		if most := max(weight(first), weight(second)); most < weight(whole) {
			t.Fatalf("in one frame %s, in two %s and %s", whole.operation.Name, first.operation.Name, second.operation.Name)
		}
	})
}
