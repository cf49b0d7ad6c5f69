package conformance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// record is what happened in a session. A turn is a run of bytes in one direction: how
// they are cut must make no difference at its end.
type record struct {
	turn       int
	turns      [][2]int64 // up to where each direction is covered at the end of a turn
	blurred    int        // turn behind which nothing is compared; 0: none
	operations []announcement
	aborts     []abort
	refusals   []refusal
	end        *end
	spans      [2][]part // adjacent spans of one operation are one
}

type announcement struct {
	turn int
	id   sdk.OpID
	dir  sdk.Direction
	at   int64
	policy.Operation
	invalid bool
	reason  string
	opening bool // announced at the opening of the session
}

type abort struct {
	turn   int
	op     sdk.OpID
	at     int64
	reason string
}

type refusal struct {
	turn  int
	op    sdk.OpID
	dir   sdk.Direction
	at    int64
	bytes []byte
}

type end struct {
	turn    int
	by      sdk.OpID // the operation whose refusal ended the session; 0: none
	reason  string
	gateway bool
}

// begin starts a turn, unless it is the one that goes on.
func (r *record) begin(turn int) {
	r.turn = turn
	if len(r.turns) < turn {
		r.turns = append(r.turns, [2]int64{})
	}
}

func (r *record) covered(forward, reverse int64) {
	r.turns[r.turn-1] = [2]int64{forward, reverse}
}

// blur says that the inspector will be told of a refusal only when the reply under way is
// covered. If a cut shows it more than that at once, it rightly says something else.
func (r *record) blur() {
	if r.blurred == 0 {
		r.blurred = r.turn
	}
}

func (r *record) span(dir sdk.Direction, op sdk.OpID, end int64) {
	if last := len(r.spans[dir]) - 1; last >= 0 && r.spans[dir][last].op == op {
		r.spans[dir][last].end = end
		return
	}
	r.spans[dir] = append(r.spans[dir], part{end, op})
}

// lines writes the record in a form that is the same however the bytes of a turn were cut.
//
// Left out are the order of an operation and another one's refusal in one turn, how far the
// turn that the session ended in was covered, and what is blurred.
func (r *record) lines() []string {
	type line struct {
		turn, rank int
		text       string
	}
	var all []line
	add := func(turn, rank int, format string, args ...any) {
		if r.blurred > 0 && turn > r.blurred {
			return
		}
		all = append(all, line{turn, rank, fmt.Sprintf("turn %d: ", turn) + fmt.Sprintf(format, args...)})
	}
	for _, o := range r.operations {
		add(o.turn, 1, "%s", o)
	}
	for _, a := range r.aborts {
		add(a.turn, 2, "abort of operation %d at offset %d: %s", a.op, a.at, a.reason)
	}
	for _, f := range r.refusals {
		add(f.turn, 3, "refusal of operation %d at %s offset %s: %q", f.op, f.dir, offset(f.at), f.bytes)
	}
	for i, t := range r.turns {
		if r.end == nil || i+1 < r.end.turn {
			add(i+1, 4, "covered: forward up to %s, reverse up to %s", offset(t[sdk.Forward]), offset(t[sdk.Reverse]))
		}
	}
	if r.end != nil {
		add(r.end.turn, 5, "%s", *r.end)
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Or(a.turn-b.turn, a.rank-b.rank) })
	text := make([]string, 0, len(all)+8)
	for _, l := range all {
		text = append(text, l.text)
	}
	for _, dir := range []sdk.Direction{sdk.Forward, sdk.Reverse} {
		from, limit := int64(0), int64(sdk.Unlimited)
		if r.blurred > 0 && r.blurred < len(r.turns) {
			limit = r.turns[r.blurred-1][dir]
		}
		for _, p := range r.spans[dir] {
			to := min(p.end, limit)
			if from < to {
				text = append(text, fmt.Sprintf("%s bytes %d to %s: operation %d", dir, from, offset(to), p.op))
			}
			from = p.end
		}
	}
	return text
}

func (o announcement) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "operation %d at %s offset %d: %s, %s", o.id, o.dir, o.at, o.Name, o.Class)
	for _, a := range o.Attributes {
		fmt.Fprintf(&b, ", %s %#v", a.Name, a.Value)
	}
	if o.invalid {
		fmt.Fprintf(&b, ", invalid: %s", o.reason)
	}
	return b.String()
}

func (e end) String() string {
	switch {
	case e.gateway:
		return "the gateway closes: " + e.reason
	case e.by > 0:
		return fmt.Sprintf("End in Refuse(%d): %s", e.by, e.reason)
	}
	return "End: " + e.reason
}

func offset(n int64) string {
	if n == sdk.Unlimited {
		return "the end"
	}
	return fmt.Sprint(n)
}

// difference compares two records' lines.
func difference(a, b []string) (was, is string, differ bool) {
	for i := range max(len(a), len(b)) {
		was, is = "nothing", "nothing"
		if i < len(a) {
			was = a[i]
		}
		if i < len(b) {
			is = b[i]
		}
		if was != is {
			return was, is, true
		}
	}
	return "", "", false
}
