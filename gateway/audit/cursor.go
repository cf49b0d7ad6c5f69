package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// Damage says that a log is not what its writer wrote.
type Damage struct {
	Index   int64 // the first entry concerned; all before it are as they were written
	Problem string
}

func (d *Damage) Error() string { return fmt.Sprintf("entry %d: %s", d.Index, d.Problem) }

// record is one entry as it lies on disk.
type record struct {
	head
	json []byte // valid until the next read
	path string
	off  int64 // of its line
}

// cursor reads the entries of a folder in order, also while a writer adds to it.
type cursor struct {
	segs []segmentInfo
	at   int // segs[at] is open; -1: none yet
	f    *os.File
	r    *bufio.Reader
	off  int64
	next int64 // the index read returns next
	torn int64 // bytes found behind entries that are no entries
}

// newCursor begins at the segment that holds from, or would.
func newCursor(segs []segmentInfo, from int64) (*cursor, error) {
	c := &cursor{segs: segs, at: -1}
	if len(segs) == 0 {
		return c, nil
	}
	if s := segs[0]; s.bad != "" && len(segs) > 1 || s.first != 0 {
		return nil, &Damage{0, "the first segment is missing or damaged: " + s.path}
	}
	at := 0
	for i, s := range segs {
		if s.bad == "" && s.first <= from {
			at = i
		}
	}
	return c, c.open(at)
}

func (c *cursor) close() {
	if c.f != nil {
		c.f.Close()
	}
}

// open moves to the start of a segment.
func (c *cursor) open(at int) error {
	f, err := os.Open(c.segs[at].path)
	if err != nil {
		return err
	}
	c.close()
	c.f, c.at = f, at
	c.next = c.segs[at].first
	return c.seek(c.segs[at].body)
}

// first is the entry the open segment begins with.
func (c *cursor) first() int64 {
	if c.at < 0 {
		return 0
	}
	return c.segs[c.at].first
}

func (c *cursor) seek(off int64) error {
	if _, err := c.f.Seek(off, io.SeekStart); err != nil {
		return err
	}
	if c.r == nil {
		c.r = bufio.NewReaderSize(c.f, maxLine)
	} else {
		c.r.Reset(c.f)
	}
	c.off = off
	return nil
}

// limit is the entry the following segment begins with. What this segment holds from
// there on is overruled: its writer could not be sure of it and wrote it again.
func (c *cursor) limit() int64 {
	if c.at+1 < len(c.segs) && c.segs[c.at+1].bad == "" {
		return c.segs[c.at+1].first
	}
	return math.MaxInt64
}

// last reports whether no entries can follow this segment's. A last file without a
// header is one whose making was interrupted.
func (c *cursor) last() bool {
	rest := c.segs[c.at+1:]
	return len(rest) == 0 || len(rest) == 1 && rest[0].bad != ""
}

// read returns the next entry; io.EOF where the log ends for now, after which read may
// be called again; a *Damage where it goes on wrongly.
func (c *cursor) read() (record, error) {
	if c.at < 0 || c.segs[c.at].bad != "" {
		return record{}, io.EOF
	}
	for c.next >= c.limit() {
		if c.next > c.limit() {
			return record{}, &Damage{c.limit(), filepath.Base(c.segs[c.at+1].path) + " repeats entries"}
		}
		if err := c.countTorn(); err != nil {
			return record{}, err
		}
		if err := c.open(c.at + 1); err != nil {
			return record{}, err
		}
	}
	line, err := c.r.ReadSlice('\n')
	json, whole := openLine(line)
	if err != nil || !whole {
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return record{}, err
		}
		return record{}, c.end()
	}
	r := record{json: json, path: c.segs[c.at].path, off: c.off}
	if r.head, err = parseHead(json); err != nil {
		return record{}, &Damage{c.next, err.Error()}
	}
	if r.index != c.next {
		return record{}, &Damage{c.next, fmt.Sprintf("entry %d stands in its place", r.index)}
	}
	c.off += int64(len(line))
	c.next++
	return r, nil
}

// end judges a place where no whole line stands.
func (c *cursor) end() error {
	if c.last() {
		if err := c.seek(c.off); err != nil {
			return err
		}
		return io.EOF
	}
	return &Damage{c.next, fmt.Sprintf("missing or damaged at byte %d of %s", c.off, filepath.Base(c.segs[c.at].path))}
}

// countTorn adds what stands behind the current position of the segment: up to the
// last byte that is not zero.
func (c *cursor) countTorn() error {
	n, err := tornBytes(c.f, c.off)
	c.torn += n
	return err
}

// countRest is countTorn at the log's end, including a last file without a header.
func (c *cursor) countRest() error {
	if c.at < 0 {
		return nil
	}
	err := c.countTorn()
	if err != nil || c.at+1 == len(c.segs) {
		return err
	}
	f, err := os.Open(c.segs[c.at+1].path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := tornBytes(f, 0)
	c.torn += n
	return err
}

func tornBytes(f io.ReaderAt, from int64) (int64, error) {
	buf := make([]byte, 8<<10)
	var torn int64
	for off := from; ; {
		n, err := f.ReadAt(buf, off)
		for i, b := range buf[:n] {
			if b != 0 {
				torn = off + int64(i) + 1 - from
			}
		}
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return torn, nil
		}
		if err != nil {
			return torn, err
		}
	}
}

// endsClean reports whether the bytes behind the last entry can have been left by the
// writer: none, or ending in a zero, because the last byte of a segment is never used.
func (c *cursor) endsClean() (bool, error) {
	if c.at < 0 {
		return true, nil
	}
	st, err := c.f.Stat()
	if err != nil || st.Size() <= c.off {
		return true, err
	}
	var b [1]byte
	if _, err := c.f.ReadAt(b[:], st.Size()-1); err != nil && err != io.EOF {
		return false, err
	}
	return b[0] == 0, nil
}
