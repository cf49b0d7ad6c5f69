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
	turns      []turn
	operations []announcement
	aborts     []abort
	refusals   []refusal
	end        *end
	spans      [2][]part // adjacent spans of one operation are one
}

type turn struct {
	dir     sdk.Direction
	from    int64    // where its direction was covered up to before
	covered [2]int64 // and both after
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
	late  bool
	bytes []byte
}

type end struct {
	turn    int
	by      sdk.OpID // the operation whose refusal ended the session; 0: none
	reason  string
	gateway bool
}

// begin starts a turn, unless it is the one that goes on.
func (r *record) begin(n int, dir sdk.Direction, covered int64) {
	r.turn = n
	if len(r.turns) < n {
		r.turns = append(r.turns, turn{dir: dir, from: covered})
	}
}

func (r *record) covered(forward, reverse int64) {
	r.turns[r.turn-1].covered = [2]int64{forward, reverse}
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
// Three things may differ and are left out. Where a refusal that was told late stands: at
// a boundary, but there may be several. How far the last turn was covered if the inspector
// ended the session in Refuse(n): it may have seen what follows n by then, or not. And
// the order of an operation and another one's refusal in one turn.
func (r *record) lines() []string {
	ended := end{}
	if r.end != nil {
		ended = *r.end
	}
	cut := func(n int, op sdk.OpID) bool { return ended.by > 0 && n == ended.turn && op > ended.by }
	type line struct {
		turn, rank int
		text       string
	}
	var all []line
	add := func(turn, rank int, format string, args ...any) {
		all = append(all, line{turn, rank, fmt.Sprintf("turn %d: ", turn) + fmt.Sprintf(format, args...)})
	}
	for _, o := range r.operations {
		if !cut(o.turn, o.id) {
			add(o.turn, 1, "%s", o)
		}
	}
	for _, a := range r.aborts {
		if !cut(a.turn, a.op) {
			add(a.turn, 2, "abort of operation %d at offset %d: %s", a.op, a.at, a.reason)
		}
	}
	for _, f := range r.refusals {
		if cut(f.turn, f.op) {
			continue
		}
		place := fmt.Sprintf("%s offset %s", f.dir, offset(f.at))
		if f.late {
			place = "a later boundary"
		}
		add(f.turn, 3, "refusal of operation %d at %s: %q", f.op, place, f.bytes)
	}
	for i, t := range r.turns {
		if r.end == nil || i+1 < r.end.turn || i+1 == r.end.turn && r.end.by == 0 {
			add(i+1, 4, "covered: forward up to %s, reverse up to %s", offset(t.covered[sdk.Forward]), offset(t.covered[sdk.Reverse]))
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
		from, limit := int64(0), r.comparable(dir)
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

// comparable is the offset up to which spans of dir do not depend on cuts.
func (r *record) comparable(dir sdk.Direction) int64 {
	if r.end == nil || r.end.by == 0 || r.end.turn == 0 || r.turns[r.end.turn-1].dir != dir {
		return sdk.Unlimited
	}
	limit := r.turns[r.end.turn-1].from
	for _, o := range r.operations {
		if o.id == r.end.by && o.dir == dir && o.turn == r.end.turn {
			limit = o.at
		}
	}
	return limit
}

func (o announcement) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "operation %d at %s offset %d: %s, %s", o.id, o.dir, o.at, o.Name, o.Class)
	for _, a := range o.Attributes {
		fmt.Fprintf(&b, ", %s %s", a.Name, value(a.Value))
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

func value(v any) string { return fmt.Sprintf("%#v", v) }

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
