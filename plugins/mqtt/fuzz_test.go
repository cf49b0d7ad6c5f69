package mqtt

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
)

func seeds() []conformance.Dialogue {
	return append(dialogues(),
		session5("aliases").Forward(pub(5, 1, 1, "a/b", "x", "\x23\x00\x01")+pub(5, 2, 2, "", "y", "\x23\x00\x01")).Reverse(ack(acked, 1, "")).Refused(3),
		started("properties", 5).Forward(pub(5, 0, 0, "a", "", "\x08"+tx("r"), "\x26"+tx("k")+tx("v"))+sub(5, 1, "$share/g/a/+")),
		started("repeated", 4).Forward(pub(4, 2, 7, "a", "1")+"\x3c"+pub(4, 2, 7, "a", "1")[1:]).Reverse(ack(received, 7, "")+ack(received, 7, "")),
		conformance.Forward(connectFlags(4, 0)+ack(released, 9, "")).Reverse("\x20\x02\x01\x00"+ack(released, 3, "")).Forward(ack(completed, 3, "")),
	)
}

// untilRefused is an inspector that ends where the policy's refusal frees a packet
// identifier. Whether it is in use depends on when the refusal is given: a client that waits for
// it may use it again, one that does not may not. What a packet means must still not depend
// on how it arrives.
type untilRefused struct{ *session }

func (u untilRefused) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	open := len(u.sides[0].open) + len(u.sides[1].open)
	u.session.Refuse(op, why, out)
	if !u.over && len(u.sides[0].open)+len(u.sides[1].open) != open {
		u.end("refused", out)
	}
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

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, fuzzed(), `{}`, seeds()...) }

func FuzzLooseDialogue(f *testing.F) {
	conformance.Fuzz(f, fuzzed(), `{"refused_publish":"ack","refused_qos0":"drop","max_inflight":3,"max_subscriptions":3,"max_packet":"1KiB",
		"topics":[{"filter":"ward/#","class":"control"}],"refuse":["control_characters"]}`, seeds()...)
}

// FuzzMatches: matches does what the standard's words say, level by level.
func FuzzMatches(f *testing.F) {
	for _, s := range []string{"a/b", "a/#", "+/b", "#", "$SYS/#", "/", "a//b", "+/+"} {
		f.Add(s, "a/b")
		f.Add(s, "$SYS/a")
	}
	f.Fuzz(func(t *testing.T, filter, name string) {
		if !isFilter(filter) || checkName(name) != nil {
			return
		}
		want := func() bool {
			fs, ns := strings.Split(filter, "/"), strings.Split(name, "/")
			if name[0] == '$' && (fs[0] == "+" || fs[0] == "#") {
				return false
			}
			if last := len(fs) - 1; fs[last] == "#" {
				if len(ns) < last {
					return false
				}
				fs, ns = fs[:last], ns[:last]
			}
			if len(fs) != len(ns) {
				return false
			}
			for i := range fs {
				if fs[i] != "+" && fs[i] != ns[i] {
					return false
				}
			}
			return true
		}()
		if got := matches(filter, name); got != want {
			t.Fatalf("%q, %q: %t, want %t", filter, name, got, want)
		}
	})
}
