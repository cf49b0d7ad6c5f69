package conformance

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"cordon/plugins/sdk"
)

// maxFuzz bounds the bytes of one direction of a made-up dialogue.
const maxFuzz = 16 << 10

// Fuzz plays arbitrary bytes in both directions, cut, interleaved and refused at random,
// and holds p to the contract. seeds are dialogues to start from; what they want is not
// looked at.
//
// The arguments of a corpus file are the bytes of each direction, a tape that deals them
// into turns (one byte each: the lowest bit is the direction, the others are how many
// bytes, 127 meaning all that are left), and the operations refused, by bit from 1 on:
// every third for doubt, the others by policy.
func Fuzz(f *testing.F, p sdk.Protocol, settings string, seeds ...Dialogue) {
	f.Helper()
	open, err := configure(p, settings)
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range seeds {
		forward, reverse, tape, refused := d.deal()
		f.Add(forward, reverse, tape, refused)
	}
	f.Fuzz(func(t *testing.T, forward, reverse, tape []byte, refused uint64) {
		if len(forward) > maxFuzz || len(reverse) > maxFuzz || len(tape) > maxFuzz {
			return
		}
		d := dealt(forward, reverse, tape, refused)
		if err := d.checkAny(p, open); err != nil {
			t.Fatalf("%s: %v", d, err)
		}
	})
}

// deal writes a dialogue as the arguments of a fuzz target.
func (d Dialogue) deal() (forward, reverse, tape []byte, refused uint64) {
	data := [2][]byte{{}, {}}
	tape = []byte{}
	for _, t := range d.turns() {
		data[t.dir] = append(data[t.dir], t.data...)
		for n := len(t.data); n > 0; n -= 126 {
			tape = append(tape, byte(min(n, 126))<<1|byte(t.dir))
		}
	}
	for _, r := range d.refused {
		refused |= 1 << ((r.op - 1) % 64)
	}
	return data[sdk.Forward], data[sdk.Reverse], tape, refused
}

// dealt makes a dialogue of such arguments.
func dealt(forward, reverse, tape []byte, refused uint64) Dialogue {
	var d Dialogue
	left := [2][]byte{forward, reverse}
	for _, b := range tape {
		dir, n := sdk.Direction(b&1), int(b>>1)
		if n == 127 {
			n = len(left[dir])
		}
		n = min(n, len(left[dir]))
		d = d.add(dir, string(left[dir][:n]), false)
		left[dir] = left[dir][n:]
	}
	d = d.Forward(string(left[sdk.Forward])).Reverse(string(left[sdk.Reverse]))
	for i := range 64 {
		if refused>>i&1 == 0 {
			continue
		}
		why := notPermitted
		if i%3 == 2 {
			why = unavailable
		}
		d = d.RefusedWith(why, sdk.OpID(i+1))
	}
	return d
}

// checkAny holds an inspector to its contract whatever the bytes are.
func (d Dialogue) checkAny(p sdk.Protocol, open func() sdk.Inspector) error {
	turns := d.turns()
	sc := script{refused: d.refused, flood: true}
	first := newSession(p, open, sc)
	if err := first.play(whole(turns).pieces); err != nil {
		return err
	}
	total := length(turns)
	c := comparison{p, open, sc, first.record.lines()}
	if keeps, difference := c.keeps(whole(turns), c.expected); keeps {
		return fmt.Errorf("data is kept beyond the call: steps change with its memory\n%s", difference)
	}
	hash := fnv.New64a()
	for _, t := range turns {
		hash.Write(t.data)
	}
	rnd := rand.New(rand.NewPCG(hash.Sum64(), uint64(total)))
	for _, cut := range []cutting{even(turns, 1+total/1024), atRandom(turns, rnd, 3), atRandom(turns, rnd, 16)} {
		if first.crowded() {
			break // how many may be open at once is up to the inspector
		}
		if _, err := c.play(cut); err != nil {
			return err
		}
	}
	late, refused := sc, sc
	late.late, refused.otherwise = true, unavailable
	for name, sc := range map[string]script{"with late decisions": late, "with everything refused": refused} {
		if err := newSession(p, open, sc).play(atRandom(turns, rnd, 3).pieces); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// crowded reports whether as many operations were announced as can be told apart later. An
// inspector may then have to end a session that it had not to end if it had seen less at
// a time, and known earlier what is refused.
func (s *session) crowded() bool {
	return s.announced[sdk.Forward] >= sdk.MaxOpen || s.announced[sdk.Reverse] >= sdk.MaxOpen
}

// String writes a dialogue as a test would.
func (d Dialogue) String() string {
	text := ""
	for _, t := range d.turns() {
		name := "Forward"
		if t.dir == sdk.Reverse {
			name = "Reverse"
		}
		if len(t.data) > 0 {
			text += fmt.Sprintf(".%s(%q)", name, t.data)
		}
	}
	for _, r := range d.refused {
		if int(r.op) <= len(text) { // no more operations than bytes, usually
			text += fmt.Sprintf(".Refused(%d)", r.op)
		}
	}
	return "Dialogue{}" + text
}
