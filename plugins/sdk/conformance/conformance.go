// Package conformance proves that a protocol plugin keeps the contract of package sdk.
//
// Run takes recorded dialogues and plays each of them many times through a model of the
// gateway; Fuzz does it with dialogues that nobody recorded. A plugin's test is a few
// lines:
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, acme.Protocol(), `{}`,
//			conformance.Forward("get a\n").Reverse("1\n").Forward("set a 2\n").Refused(2).
//				WantOperation("acme:get", policy.ClassRead, "key", "a").
//				WantOperation("acme:set", policy.ClassWrite, "key", "a").
//				WantRefusal(2, "no 7QF-21\n").
//				WantForward("get a\n").
//				WantReverse("1\nno 7QF-21\n"))
//	}
//
// What is proven, for each dialogue:
//
//   - Wherever the network cuts, the inspector says the same: at each turn of the dialogue
//     the same operations are announced, the same bytes covered, the same refusals given
//     in the same places. It is played whole, cut in two at every byte, byte by byte and
//     at random.
//   - Data is neither written to nor kept, and sessions share nothing.
//   - Every step keeps the limits and rules of package sdk.
//   - Every refusal is answered once, or the session ended, at the latest when both
//     directions have ended; and never inside a message.
//   - All this holds, too, if decisions take time, if requests come in the middle of a
//     reply, if every operation is refused and no device is there, and if a client sends
//     a window full of requests at once.
//
// It finds broken promises, not wrong readings: whether a command is called what it does
// is for the dialogues' Want lines to say. It does not measure time, and it does not prove
// that an inspector resists a client for whom nobody wrote a dialogue: use Fuzz as well.
package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"cordon/plugins/sdk"
)

// Bounds of one dialogue's tests.
const (
	maxShown   = 64 << 20 // bytes shown while it is cut in two; above it, places are left out
	maxBytes   = 16 << 10 // length up to which it is shown byte by byte
	randomCuts = 32
	segment    = 1448 // what TCP usually carries at a time
	tooOften   = 16   // times each byte is shown on average, in segments
)

// Run checks p, configured with the JSON object settings, against the contract and the
// dialogues.
func Run(t *testing.T, p sdk.Protocol, settings string, dialogues ...Dialogue) {
	t.Helper()
	open, err := configure(p, settings)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range dialogues {
		name := d.name
		if name == "" {
			name = fmt.Sprintf("dialogue %d", i+1)
		}
		t.Run(name, func(t *testing.T) {
			t.Helper()
			warning, err := d.check(p, open)
			if err != nil {
				t.Error(err)
			}
			if warning != "" {
				t.Log(warning)
			}
		})
	}
}

// configure checks a protocol's description and makes the maker of its inspectors.
func configure(p sdk.Protocol, settings string) (func() sdk.Inspector, error) {
	if p.Name == "" || p.Version == "" || p.Configure == nil {
		return nil, errors.New("the Protocol lacks its Name, Version or Configure")
	}
	for dir, m := range p.Modes {
		if m != sdk.Held && m != sdk.Observed {
			return nil, fmt.Errorf("Protocol.Modes: %s is neither Held nor Observed", sdk.Direction(dir))
		}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(settings), &object); err != nil {
		return nil, fmt.Errorf("settings %s: %w", settings, err)
	}
	open, err := p.Configure(json.RawMessage(settings))
	if err != nil {
		return nil, fmt.Errorf("Configure(%s): %w", settings, err)
	}
	object["no such key"] = json.RawMessage("1")
	unknown, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	for _, bad := range []string{string(unknown), "[]", `{"`} {
		if _, err := p.Configure(json.RawMessage(bad)); err == nil {
			return nil, fmt.Errorf("Configure(%s) accepts it; unknown keys and what is no JSON object are errors", bad)
		}
	}
	return open, nil
}

// check plays a dialogue in every way and returns the first promise broken. A warning is
// worth a look, but breaks none.
func (d Dialogue) check(p sdk.Protocol, open func() sdk.Inspector) (warning string, err error) {
	turns := d.turns()
	sc := script{refused: d.refused, boundaries: d.boundaries()}
	first := newSession(p, open, sc)
	if err := first.play(whole(turns).pieces); err != nil {
		return "", err
	}
	c := comparison{p, open, sc, first.record.lines()}
	if keeps, difference := c.keeps(whole(turns), c.expected); keeps {
		return "", fmt.Errorf("data is kept beyond the call: steps change with its memory\n%s", difference)
	}
	if err := d.want.check(first); err != nil {
		return "", err
	}
	for _, cut := range d.cuttings(turns) {
		if _, err := c.play(cut); err != nil {
			return "", err
		}
	}
	s, err := c.play(even(turns, segment))
	if err != nil {
		return "", err
	}
	if n := s.flows[sdk.Forward].arrived() + s.flows[sdk.Reverse].arrived(); s.shown > tooOften*n {
		warning = fmt.Sprintf("in pieces of %d bytes, %d bytes are shown as %d: cover what is understood earlier", segment, n, s.shown)
	}
	return warning, d.stress(p, open, sc, turns)
}

// cuttings lists the ways a dialogue may arrive that must make no difference.
func (d Dialogue) cuttings(turns []chunk) []cutting {
	list := []cutting{whole(turns)} // once more: sessions share nothing
	total := length(turns)
	if total <= maxBytes {
		list = append(list, even(turns, 1))
	}
	step := stride(total)
	for n, t := range turns {
		for at := step; at < len(t.data); at += step {
			list = append(list, inTwo(turns, n, at))
		}
	}
	rnd := rand.New(rand.NewPCG(1, uint64(total)))
	for range randomCuts {
		list = append(list, atRandom(turns, rnd, 8))
	}
	return list
}

// length is the bytes of all turns.
func length(turns []chunk) int {
	n := 0
	for _, t := range turns {
		n += len(t.data)
	}
	return n
}

// stride is the distance of the places where a dialogue is cut in two.
func stride(length int) int { return 1 + length*length/maxShown }

// comparison plays one dialogue in different ways and expects the same.
type comparison struct {
	protocol sdk.Protocol
	open     func() sdk.Inspector
	script   script
	expected []string
}

func (c comparison) play(cut cutting) (*session, error) {
	s := newSession(c.protocol, c.open, c.script)
	if err := s.play(cut.pieces); err != nil {
		return nil, fmt.Errorf("%s: %w", cut.name, err)
	}
	lines := s.record.lines()
	was, is, differ := difference(c.expected, lines)
	if !differ {
		return s, nil
	}
	if keeps, difference := c.keeps(cut, lines); keeps {
		return nil, fmt.Errorf("%s: data is kept beyond the call: steps change with its memory\n%s", cut.name, difference)
	}
	if cut.name == "whole" {
		return nil, fmt.Errorf("two sessions with the same bytes differ; do inspectors share something?\n first: %s\nsecond: %s", was, is)
	}
	return nil, fmt.Errorf("%s: steps depend on how bytes arrive\n    whole: %s\notherwise: %s", cut.name, was, is)
}

// keeps reports whether the steps are others when the memory shown is left as it was.
func (c comparison) keeps(cut cutting, lines []string) (bool, string) {
	sc := c.script
	sc.intact = true
	s := newSession(c.protocol, c.open, sc)
	if err := s.play(cut.pieces); err != nil {
		return true, fmt.Sprintf("left alone: %v", err)
	}
	left, overwritten, differ := difference(s.record.lines(), lines)
	return differ, fmt.Sprintf(" left alone: %s\noverwritten: %s", left, overwritten)
}

// stress plays a dialogue in ways that rightly change its course, and only holds the
// inspector to its contract.
func (d Dialogue) stress(p sdk.Protocol, open func() sdk.Inspector, sc script, turns []chunk) error {
	try := func(name string, sc script, cut cutting) error {
		if err := newSession(p, open, sc).play(cut.pieces); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	late := sc
	late.late = true
	if err := try("with late decisions", late, whole(turns)); err != nil {
		return err
	}
	for n := 0; n+1 < len(turns); n++ {
		if turns[n].dir != sdk.Reverse || turns[n].end {
			continue
		}
		for at := 1; at < len(turns[n].data); at += stride(length(turns)) {
			cut := interrupted(turns, n, at)
			if err := try(cut.name, sc, cut); err != nil {
				return err
			}
		}
	}
	// A subject who may not connect, or a device that is away: there are no replies.
	var asked []chunk
	for _, t := range turns {
		if t.dir == sdk.Forward {
			asked = append(asked, t)
		}
	}
	for _, cut := range []cutting{whole(asked), even(asked, 1+length(asked)/64)} {
		for _, why := range []sdk.Refusal{notPermitted, unavailable} {
			if err := try("with everything refused", script{otherwise: why}, cut); err != nil {
				return err
			}
		}
	}
	for _, why := range []sdk.Refusal{{}, notPermitted} {
		sc := script{otherwise: why, flood: true}
		if err := try("with the first turn over and over in one window", sc, whole(flood(asked[0].data))); err != nil {
			return err
		}
	}
	return nil
}

// flood fills a window with as many whole copies of data as it holds.
func flood(data []byte) []chunk {
	n := 0
	if len(data) > 0 {
		n = (sdk.WindowSize - 1) / len(data)
	}
	return []chunk{{dir: sdk.Forward, data: bytes.Repeat(data, n), end: true}}
}
