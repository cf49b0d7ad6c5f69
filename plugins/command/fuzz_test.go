package command

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// untilRefused is an inspector that ends with the first refusal that is not its own. Whether
// a command waits for a reply depends on when its refusal is given: one too many ends the
// session if the client sent it before it had an answer, and not if it waited. What a
// command is must still not depend on how it arrives.
type untilRefused struct{ *session }

func (u untilRefused) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	if why.Cause != policy.CauseProtocol && op != u.unasks {
		u.end("refused", out)
		return
	}
	u.session.Refuse(op, why, out)
}

func fuzzed() sdk.Protocol {
	p := Protocol()
	configure := p.Configure
	p.Configure = func(raw json.RawMessage) (func() sdk.Inspector, error) {
		maker, err := configure(raw)
		if err != nil {
			return nil, err
		}
		return func() sdk.Inspector { return untilRefused{maker().(*session)} }, nil
	}
	return p
}

func FuzzRack(f *testing.F) {
	get, set := "GET rate\r\n", "SET  12.5\r\n"
	conformance.Fuzz(f, fuzzed(), rack,
		conformance.Reverse("HELLO\r\n").Forward(get).Forward(set).Refused(3).Reverse("VAL 7\r\n").Forward("NOTE7\r\nBEEP\r\n"),
		conformance.Forward("LIST\r\n"+get).Reverse("a\r\nALARM\r\n").Reverse("END\r\nERR 1\r\n"),
		conformance.Forward(get+get+get+get).Reverse("VAL 1\r\nVAL 2\r\n"),
		conformance.Forward("RESET\r\n").Refused(2),
		conformance.Forward("GET a\rSET 9\r\nSET x\r\n\r\n").Reverse("\r\n"),
	)
}

func FuzzMedibus(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), profile(f, "draeger-medibus"), medibus()...)
}

func FuzzAnaesthesia(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), profile(f, "example-anaesthesia"), anaesthesia()...)
}

func FuzzDelimited(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), delimited,
		conformance.Forward("~\x01\x00}]}^\xfc~~\x01\x00\x01~").Reverse("~\x01\x00\x01~~~"),
		conformance.Forward("~\x02AB\x85~").Refused(1), conformance.Forward("~\x01\x00}A\x62~~}~"))
}

func FuzzCounted(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), counted,
		conformance.Forward("\x02\x02\x00g\x6b").Reverse("\x02\x02\x00g\x6b").Forward("\x02\x03\x00pk\xe0").Refused(2),
		conformance.Forward("\x02\xff\xffg"), conformance.Forward("\x02\x00\x00"))
}

// FuzzPump passes what is read to a device that ends a command wherever any device might: it
// finds the commands that are listed, and none besides.
func FuzzPump(f *testing.F) {
	for _, s := range []string{"STAT?\rVOL? 2\r", "VOL? 2;RATE 9\r", "VOL? 2\nRATE 9\r", "STAT?\x00\r", "VOL? 2 RATE 9\r", "\xff\xf0STAT?\r"} {
		f.Add([]byte(s), []byte{3, 200})
	}
	settings := strings.Replace(profile(f, "example-pump"), "{", `{"outstanding":16,`, 1)
	listed := regexp.MustCompile(`^(STAT\?|RATE\?|ID\?|VOL\?  *[-+]?[0-9]+ *)$`)
	ends := func(c rune) bool { return c < ' ' || c > '~' || c == ';' }
	f.Fuzz(func(t *testing.T, sent, cuts []byte) {
		in := open(t, settings)
		var out sdk.Steps
		passed := ""
		allowed := map[sdk.OpID]bool{}
		for arrived, covered := 0, 0; arrived < len(sent); {
			n := len(sent) - arrived
			if len(cuts) > 0 {
				n, cuts = min(n, 1+int(cuts[0])), cuts[1:]
			}
			arrived += n
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, sent[min(covered, arrived):arrived], false, &out)
			for _, step := range out.List() {
				switch step.Kind {
				case sdk.StepOperation:
					allowed[step.Op] = !step.Invalid && step.Operation.Class != policy.ClassUnknown
				case sdk.StepSpan:
					if allowed[step.Op] {
						passed += string(sent[covered : covered+int(step.N)])
					}
					covered += int(min(int64(len(sent)-covered), step.N))
				}
			}
			for s := in.(*session); s.waiting() > 0 && !s.dead; {
				out.Begin(sdk.Reverse)
				in.Inspect(sdk.Reverse, []byte("OK\r"), false, &out)
			}
		}
		for _, command := range strings.FieldsFunc(passed, ends) {
			if !listed.MatchString(command) {
				t.Fatalf("%q reaches the device in %q", command, passed)
			}
		}
	})
}

// FuzzSettings has settings that nobody meant, and bytes for them. Whatever is accepted cuts
// the same frames wherever the network cuts, and its refusal is one frame.
func FuzzSettings(f *testing.F) {
	for name := range profiles {
		f.Add(profile(f, name), []byte("\x1b$3F\rSTAT?\r"))
	}
	for _, s := range []string{rack, delimited, associated, counted, lines(query, `,"trim":true,"refusal":"silent"`)} {
		f.Add(s, []byte("GET rate\r\n~\x01\x00\x01~\x02\x02\x00g\x6b"))
	}
	f.Fuzz(func(t *testing.T, settings string, sent []byte) {
		set, err := parseSettings([]byte(settings))
		if err != nil {
			if strings.ContainsAny(fmt.Sprint(err), "\r\n") && !strings.ContainsAny(settings, "\r\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		play := func(sizes int) (told []string) {
			s := &session{set: set}
			var out sdk.Steps
			for at := 0; at < len(sent) && !s.dead; {
				at = min(len(sent), at+sizes)
				for covered := int64(-1); covered != out.Covered(sdk.Forward) && out.Covered(sdk.Forward) < int64(at) && !s.dead; {
					covered = out.Covered(sdk.Forward)
					out.Begin(sdk.Forward)
					s.Inspect(sdk.Forward, sent[covered:at], false, &out)
					for _, step := range out.List() {
						told = append(told, fmt.Sprint(step))
					}
				}
			}
			return told
		}
		if whole, byByte := play(len(sent)+1), play(1); !slices.Equal(whole, byByte) {
			t.Fatalf("whole:\n%q\nbyte by byte:\n%q", whole, byByte)
		}
		if set.refusal.kind == refusalAnswer {
			b := set.answer("7QF-21")
			if n, wrong := set.reply.cut(b, 0, set.maxFrame); n != len(b) || wrong != "" {
				t.Fatalf("the refusal %q: %d, %s", b, n, wrong)
			}
		}
	})
}
