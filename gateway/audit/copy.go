package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A copy of a log is its folder as it would be had the writer closed it right behind a
// checkpoint: all that a writer needs to go on, without the hash file, which Open makes
// anew, and without what no checkpoint signs. Copy takes one while the log is written, and
// CopyCheck reads one back from a stream. A log that goes on from a copy forks from the one it was
// taken of, under the same key: whoever has a later checkpoint sees it, and whoever
// continues it should say so with an entry of KindRestore.

// Checkpoint signs the durable entries now, keeps the checkpoint among the earlier ones, and
// returns it.
func (l *Log) Checkpoint() ([]byte, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("%w: it is closed", ErrUnwritable)
	}
	if err := l.sign(true); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	l.signing.Lock()
	defer l.signing.Unlock()
	return bytes.Clone(l.checkpoint), nil
}

// Copy hands the files of a copy to put, the segments last and in order, and returns how
// many entries they hold. checkpoint is one of this log's. A *Damage says that the entries are not what it signs, which may be
// known only when put has had most of them. One segment is in memory at a time.
func (r *Reader) Copy(checkpoint []byte, put func(name string, content []byte) error) (entries int64, err error) {
	t, err := parseOwnCheckpoint(checkpoint, r.keys.verifier)
	if err != nil {
		return 0, fmt.Errorf("copy audit log %q: read the checkpoint: %w", r.dir, err)
	}
	if err := r.copy(t, checkpoint, put); err != nil {
		return 0, fmt.Errorf("copy audit log %q: %w", r.dir, err)
	}
	return t.N, nil
}

func (r *Reader) copy(t tlog.Tree, checkpoint []byte, put func(name string, content []byte) error) error {
	for _, name := range []string{fileVerifier, fileCodes, fileKey} {
		text, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			return err
		}
		if err := put(name, text); err != nil {
			return err
		}
	}
	kept, err := os.ReadFile(filepath.Join(r.dir, fileHistory))
	if err != nil {
		return err
	}
	trees, _, torn, err := parseHistory(kept, r.keys.verifier)
	if err != nil {
		return &Damage{0, err.Error()}
	}
	later := slices.IndexFunc(trees, func(k tlog.Tree) bool { return k.N > t.N })
	if err := put(fileHistory, firstCheckpoints(kept[:len(kept)-torn], later)); err != nil {
		return err
	}
	if err := put(fileCheckpoint, checkpoint); err != nil {
		return err
	}
	return r.copySegments(t, put)
}

// firstCheckpoints cuts a file of kept checkpoints behind the first n; n < 0: nothing is cut.
func firstCheckpoints(kept []byte, n int) []byte {
	if n < 0 {
		return kept
	}
	end := 0
	for range n * checkpointLines {
		end += bytes.IndexByte(kept[end:], '\n') + 1
	}
	return kept[:end]
}

// maxGrow bounds what is made room for at once: a segment and the room at its end.
const maxGrow = 80 << 20

func (r *Reader) copySegments(t tlog.Tree, put func(name string, content []byte) error) error {
	c, err := r.cursor(0)
	if err != nil {
		return err
	}
	defer c.close()
	var built tree
	var nodes []tlog.Hash
	var lines []byte // of the segment that is being copied
	at := -1
	flush := func() error {
		if at < 0 {
			return nil
		}
		return put(filepath.Base(c.segs[at].path), lines)
	}
	for built.size < t.N {
		rec, err := c.read()
		if err == io.EOF {
			return &Damage{built.size, fmt.Sprintf("missing or damaged; %d entries are signed", t.N)}
		}
		if err != nil {
			return err
		}
		if c.at != at {
			if err := flush(); err != nil {
				return err
			}
			at = c.at
			if st, err := c.f.Stat(); err == nil { // to grow once, not by halves
				lines = slices.Grow(lines[:0], int(min(st.Size(), maxGrow)))
			}
			lines = append(lines[:0], segmentHeader(r.keys.verifier.Name(), c.segs[at].seq, rec.index)...)
		}
		start := len(lines)
		lines = append(append(lines, make([]byte, lineHead)...), rec.json...)
		lines = sealLine(lines, start)
		nodes = built.add(tlog.RecordHash(rec.json), nodes[:0])
	}
	if built.root() != t.Hash {
		return &Damage{0, fmt.Sprintf("something up to entry %d differs from what the checkpoint signs", t.N-1)}
	}
	return flush()
}

// maxCopied bounds each file of a copy that is no segment. A checkpoint for every ten
// minutes of twenty years is some 250 MB.
const maxCopied = 512 << 20

// CopyCheck reads a copy back, file by file as Copy has put them, and trusts only the
// verifier key it is made with. The zero value trusts the key in the copy itself, which
// shows damage and no more.
type CopyCheck struct {
	VerifierKey string // the text of key.pub, kept elsewhere; empty: the one in the copy

	small map[string][]byte
	v     verification
	began bool
}

// Take reads one file. A file that has no place in a copy is an error, and so is one out of
// its turn.
func (k *CopyCheck) Take(name string, content io.Reader) error {
	if err := k.take(name, content); err != nil {
		return fmt.Errorf("check the copy's %s: %w", name, err)
	}
	return nil
}

func (k *CopyCheck) take(name string, content io.Reader) error {
	if strings.HasSuffix(name, ".log") {
		if err := k.begin(); err != nil {
			return err
		}
		return k.segment(name, content)
	}
	if k.began || k.small[name] != nil || !slices.Contains([]string{fileVerifier, fileCodes, fileKey, fileHistory, fileCheckpoint}, name) {
		return errors.New("it has no place here")
	}
	text, err := io.ReadAll(io.LimitReader(content, maxCopied+1))
	if err != nil {
		return err
	}
	if len(text) > maxCopied {
		return fmt.Errorf("it is longer than %d MiB", maxCopied>>20)
	}
	if k.small == nil {
		k.small = map[string][]byte{}
	}
	k.small[name] = append([]byte{}, text...) // never nil
	return nil
}

// begin makes ready for entries, once.
func (k *CopyCheck) begin() error {
	if k.began {
		return nil
	}
	for _, name := range []string{fileVerifier, fileCodes, fileKey, fileHistory, fileCheckpoint} {
		if k.small[name] == nil {
			return fmt.Errorf("%s is missing", name)
		}
	}
	key := k.VerifierKey
	if key == "" {
		key = string(k.small[fileVerifier])
	} else if strings.TrimSpace(key) != strings.TrimSpace(string(k.small[fileVerifier])) {
		return fmt.Errorf("%w: its key.pub is %.60q", ErrOtherLog, k.small[fileVerifier])
	}
	if err := k.v.trust(key); err != nil {
		return err
	}
	if err := ownKey(k.small[fileKey], k.v.verifier); err != nil {
		return err
	}
	var err error
	if k.v.codes, err = newCodes(k.small[fileCodes]); err != nil {
		return fmt.Errorf("read %s: %w", fileCodes, err)
	}
	k.began = true
	return k.v.mark(k.small[fileHistory], k.small[fileCheckpoint], nil)
}

// ErrOtherLog is a copy of another log than the one whose key is trusted.
var ErrOtherLog = errors.New("it is not the log whose key was given")

// segment reads the next segment.
func (k *CopyCheck) segment(name string, content io.Reader) error {
	v := &k.v
	digits, _ := strings.CutSuffix(name, ".log")
	var seq int64
	if _, err := fmt.Sscanf(digits, "%d", &seq); err != nil || segmentPath("", seq) != name || seq <= k.v.lastSegment {
		return errors.New("it has no place here")
	}
	v.lastSegment = seq
	lines := bufio.NewReaderSize(content, maxLine)
	head, err := lines.ReadSlice('\n')
	if err != nil || !bytes.Equal(head, segmentHeader(v.report.Origin, seq, v.tree.size)) {
		return &Damage{v.tree.size, "the segment has no header that fits here"}
	}
	for {
		if err := v.compare(); err != nil {
			return err
		}
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		json, whole := openLine(line)
		if err != nil || !whole {
			return &Damage{v.tree.size, "damaged"}
		}
		r := record{json: json}
		if r.head, err = parseHead(json); err != nil || r.index != v.tree.size {
			return &Damage{v.tree.size, "another entry stands in its place"}
		}
		if err := v.add(r); err != nil {
			return err
		}
	}
}

// Done returns what the copy holds. A nil error means what it means for Verify.
func (k *CopyCheck) Done() (Report, error) {
	err := k.begin()
	if err == nil {
		err = k.v.compare()
	}
	if v := &k.v; err == nil {
		v.report.Size = v.tree.size
		if v.tree.size != v.report.Signed {
			err = &Damage{min(v.tree.size, v.report.Signed), fmt.Sprintf("the copy holds %d entries, and %d are signed", v.tree.size, v.report.Signed)}
		} else if v.report.Torn > 0 {
			err = errors.New("its kept checkpoints are not whole")
		}
	}
	if err != nil {
		return k.v.report, fmt.Errorf("check the copy: %w", err)
	}
	return k.v.report, nil
}
