package audit

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A line is eight hexadecimal digits of CRC-32C, a space, the JSON, a newline. The CRC
// tells a torn write from an entry; it is no protection against people.
const (
	lineHead = 9
	maxLine  = lineHead + MaxEntry + 1
)

// sealLine completes the line that begins at start, whose first lineHead bytes are
// still to be filled in.
func sealLine(b []byte, start int) []byte {
	const hex = "0123456789abcdef"
	sum := crc32.Checksum(b[start+lineHead:], crc32.MakeTable(crc32.Castagnoli))
	for i := range 8 {
		b[start+i] = hex[sum>>(28-4*i)&15]
	}
	b[start+8] = ' '
	return append(b, '\n')
}

// openLine returns what a whole line, with its newline, holds.
func openLine(line []byte) (content []byte, ok bool) {
	if len(line) < lineHead+1 || line[8] != ' ' {
		return nil, false
	}
	content = line[lineHead : len(line)-1]
	var sum uint32
	for _, c := range line[:8] {
		switch {
		case '0' <= c && c <= '9':
			sum = sum<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			sum = sum<<4 | uint32(c-'a'+10)
		default:
			return nil, false
		}
	}
	return content, sum == crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
}

// segmentHeader is the first line of a segment. It is no leaf of the tree, but the only
// bytes possible for this segment of this log.
func segmentHeader(origin string, seq, first int64) []byte {
	b := fmt.Appendf(make([]byte, lineHead), "cordon-audit/1 %s %d %d", origin, seq, first)
	return sealLine(b, 0)
}

// segment is a file being written. Bytes beyond end are zeros, written in advance so
// that a commit allocates nothing and a full disk leaves some room; the last byte of
// the file is never used, so what a crash leaves ends with a zero.
type segment struct {
	f       file
	seq     int64
	end     int64 // behind the last durable entry
	size    int64
	spoiled bool // a write or sync failed: nothing written here may be trusted any more
}

func segmentPath(dir string, seq int64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.log", seq))
}

// createSegment makes the segment that begins with entry first, with room for chunk
// bytes. A leftover of an earlier attempt under that name holds nothing acknowledged.
func createSegment(d disk, dir, origin string, seq, first, chunk int64) (*segment, error) {
	path := segmentPath(dir, seq)
	if err := d.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := d.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{f: f, seq: seq}
	header := segmentHeader(origin, seq, first)
	if _, err = f.WriteAt(header, 0); err == nil {
		s.end, s.size = int64(len(header)), int64(len(header))
		err = s.extend(chunk)
	}
	if err == nil {
		err = d.SyncDir(dir)
	}
	if err != nil {
		// Best effort: what cannot be removed now is removed by the next attempt.
		return nil, errors.Join(err, f.Close(), d.Remove(path))
	}
	return s, nil
}

// extend writes n zeros behind the file and makes them durable. If that fails the file
// is as before, or has some zeros more.
func (s *segment) extend(n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for to := s.size + n; s.size < to; {
		k := min(to-s.size, int64(len(zeros)))
		if _, err := s.f.WriteAt(zeros[:k], s.size); err != nil {
			s.f.Truncate(s.size) // gives back what a partial write took; harmless if it stays
			return err
		}
		s.size += k
	}
	if err := s.f.Sync(); err != nil {
		s.spoiled = true // which of its bytes the disk holds is not known
		return err
	}
	return nil
}

// fits reports whether n more bytes can be written without growing the file.
func (s *segment) fits(n int) bool { return !s.spoiled && s.end+int64(n) < s.size }

// write makes b durable behind the last entry. After an error the segment is spoiled:
// a second fdatasync(2) might report success for pages the kernel has dropped.
func (s *segment) write(b []byte) error {
	_, err := s.f.WriteAt(b, s.end)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		s.spoiled = true
		// Entries that were never acknowledged should not come back after a crash.
		// A segment begun later overrules them even if this fails.
		s.f.Truncate(s.end)
		return err
	}
	s.end += int64(len(b))
	return nil
}

// seal cuts the room that was not used and closes the file.
func (s *segment) seal() error {
	err := s.f.Truncate(s.end)
	if err == nil {
		err = s.f.Sync()
	}
	return errors.Join(err, s.f.Close())
}

// segmentInfo is a segment as found in a folder.
type segmentInfo struct {
	path  string
	seq   int64
	first int64  // its first entry
	body  int64  // where that begins
	bad   string // why its header is not one, or ""
}

// listSegments returns the folder's segments in order.
func listSegments(dir, origin string) ([]segmentInfo, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []segmentInfo
	for _, n := range names {
		digits, ok := strings.CutSuffix(n.Name(), ".log")
		seq, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || segmentPath(dir, seq) != filepath.Join(dir, n.Name()) {
			continue
		}
		s := segmentInfo{path: segmentPath(dir, seq), seq: seq}
		if err := s.readHeader(origin); errors.Is(err, os.ErrNotExist) {
			continue // the writer could not complete it
		} else if err != nil {
			return nil, err
		}
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b segmentInfo) int { return int(a.seq - b.seq) })
	return segs, nil
}

func (s *segmentInfo) readHeader(origin string) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, len(segmentHeader(origin, 1<<62, 1<<62)))
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	line, _, whole := strings.Cut(string(b[:n]), "\n")
	first, err := strconv.ParseInt(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
	if err != nil || !whole || first < 0 || line+"\n" != string(segmentHeader(origin, s.seq, first)) {
		s.bad = fmt.Sprintf("%s has no header of segment %d of %q", filepath.Base(s.path), s.seq, origin)
		return nil
	}
	s.first, s.body = first, int64(len(line)+1)
	return nil
}
