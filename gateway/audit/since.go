package audit

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Span is the entries From ≤ index < To, all of one file.
type Span struct{ From, To int64 }

// Extent is where the entries of some time lie.
type Extent struct {
	Spans []Span // without gaps, in order; for readers that share the work
	Torn  int64  // bytes behind the last entry that are no entry: what an interrupted write left
}

// Since returns where the entries written at or after t lie. The first span may begin with
// older ones. Where the gateway's clock was set back, entries in files before it are not
// looked for.
//
// A log that ends before what its checkpoint signs is a *Damage, so whoever reads all
// spans to their ends, as Entries yields them, has missed nothing that was signed.
func (r *Reader) Since(t time.Time) (Extent, error) {
	// Entries only grow, so the checkpoint is read before them.
	msg, err := r.Checkpoint()
	if err != nil {
		return Extent{}, err
	}
	signed, err := ParseCheckpoint(msg, r.keys.verifier)
	if err != nil {
		return Extent{}, &Damage{0, "the checkpoint is not valid for the log's key: " + err.Error()}
	}
	c, err := r.cursor(math.MaxInt64)
	if err != nil {
		return Extent{}, err
	}
	defer c.close()
	x := Extent{}
	size, err := c.count()
	if err != nil {
		return Extent{}, err
	}
	if size < signed.N {
		return Extent{}, &Damage{size, fmt.Sprintf("missing or damaged; %d entries are signed", signed.N)}
	}
	if err := c.countRest(); err != nil {
		return Extent{}, err
	}
	x.Torn = c.torn

	to := size
	for at, s := range slices.Backward(c.segs) {
		if s.bad != "" || s.first >= to {
			continue // nothing of its own
		}
		x.Spans = append(x.Spans, Span{s.first, to})
		to = s.first
		if err := c.open(at); err != nil {
			return Extent{}, err
		}
		if first, err := c.read(); err != nil && err != io.EOF {
			return Extent{}, err
		} else if err == nil && first.time.Before(t) {
			break
		}
	}
	slices.Reverse(x.Spans)
	return x, nil
}

// count reads to the end and returns how many entries there are.
func (c *cursor) count() (int64, error) {
	for again := false; ; {
		_, err := c.read()
		switch {
		case err == nil:
			again = false
		case err != io.EOF:
			return 0, err
		case again:
			return c.next, nil
		default:
			again = true // a line half written a moment ago may be whole now
		}
	}
}
