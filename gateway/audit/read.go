package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"time"
)

// ErrNoEntry is returned for an index or code the log does not hold.
var ErrNoEntry = errors.New("no such entry")

// followEvery is how often Follow looks for new entries.
const followEvery = 200 * time.Millisecond

// Reader reads a log, also while another process writes it, and changes nothing. It
// shows whole entries only, but may show one a moment before it is durable. It checks
// an entry's form, not its authenticity: that is Verify's and CheckProof's work. Its
// methods may be called concurrently; there is nothing to close.
type Reader struct {
	dir  string
	keys publicKeys
}

// OpenReader opens the log in dir for reading.
func OpenReader(dir string) (*Reader, error) {
	keys, err := readPublicKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("read audit log %q: %w", dir, err)
	}
	return &Reader{dir, keys}, nil
}

// VerifierKey returns the key that lies with the log. An auditor compares it with the
// one received when the log was set up.
func (r *Reader) VerifierKey() string { return r.keys.text }

// Checkpoint returns the newest signed checkpoint, to be kept elsewhere.
func (r *Reader) Checkpoint() ([]byte, error) {
	return os.ReadFile(filepath.Join(r.dir, fileCheckpoint))
}

// Size returns how many entries there are.
func (r *Reader) Size() (int64, error) {
	c, err := r.cursor(math.MaxInt64)
	if err != nil {
		return 0, err
	}
	defer c.close()
	for {
		if _, err := c.read(); err == io.EOF {
			return c.next, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// Entry returns one entry. The error wraps ErrNoEntry if the log ends before it.
func (r *Reader) Entry(index int64) (Entry, error) {
	raw, err := r.raw(index)
	if err != nil {
		return Entry{}, err
	}
	return ParseEntry(raw)
}

// ByCode returns the entry a decision code names, however it was typed: "7qf21",
// "7QF-21". The error wraps ErrNoEntry if there is none.
func (r *Reader) ByCode(code string) (Entry, error) {
	keys, err := readCodes(r.dir) // our own, for they are not for concurrent use
	if err != nil {
		return Entry{}, err
	}
	index, err := keys.index(code)
	if err != nil {
		return Entry{}, err
	}
	e, err := r.Entry(index)
	if errors.Is(err, ErrNoEntry) {
		return Entry{}, fmt.Errorf("decision code %.20q: %w in this log; was it misheard, or given by another gateway?", code, ErrNoEntry)
	}
	return e, err
}

// Entries yields the entries from ≤ index < to that exist, in order. An entry that
// cannot be parsed is yielded as an error and the next one follows; any other error is
// the last thing yielded.
func (r *Reader) Entries(from, to int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c, err := r.cursor(from)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer c.close()
		for c.next < to {
			rec, err := c.read()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if rec.index >= from && !yield(ParseEntry(rec.json)) {
				return
			}
		}
	}
}

// Follow is Entries without an end: it waits for further entries until ctx ends.
func (r *Reader) Follow(ctx context.Context, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c, err := r.cursor(from)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer c.close()
		for want := from; ctx.Err() == nil; {
			rec, err := c.read()
			if err == io.EOF {
				if err = r.await(ctx, c); err == nil {
					continue
				}
			}
			if err != nil {
				if ctx.Err() == nil {
					yield(Entry{}, err)
				}
				return
			}
			if rec.index < want {
				continue
			}
			want = rec.index + 1
			if !yield(ParseEntry(rec.json)) {
				return
			}
		}
	}
}

// await waits a moment, then lets c see new segments.
func (r *Reader) await(ctx context.Context, c *cursor) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(followEvery):
	}
	segs, err := listSegments(r.dir, r.keys.verifier.Name())
	if err != nil || len(segs) == 0 {
		return err
	}
	c.segs = segs
	switch {
	case c.off == 0: // there was no segment, or not all of its header
		return c.open(0)
	case c.limit() < c.next: // entries read too early were written again in a new segment
		return c.open(c.at + 1)
	}
	return nil
}

// raw returns the bytes of one entry.
func (r *Reader) raw(index int64) ([]byte, error) {
	c, err := r.cursor(index)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for {
		rec, err := c.read()
		switch {
		case err == io.EOF:
			return nil, fmt.Errorf("entry %d: %w: the log holds %d", index, ErrNoEntry, c.next)
		case err != nil:
			return nil, err
		case rec.index == index:
			return append([]byte(nil), rec.json...), nil
		case rec.index > index:
			return nil, fmt.Errorf("entry %d: %w", index, ErrNoEntry)
		}
	}
}

func (r *Reader) cursor(from int64) (*cursor, error) {
	segs, err := listSegments(r.dir, r.keys.verifier.Name())
	if err != nil {
		return nil, err
	}
	return newCursor(segs, from)
}
