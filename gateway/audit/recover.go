package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Open opens the log in cfg.Dir for writing, or makes a new one. What a crash left is
// repaired: a torn last write, which was never acknowledged, is cut off and an entry of
// KindGap says so.
//
// Open refuses a folder that another writer has open, and one whose entries are not
// those its newest checkpoint signs; the error then wraps a *Damage. Only the segments
// since that checkpoint are read: Verify reads all.
func Open(cfg Config) (*Log, error) {
	cfg.setDefaults()
	l := &Log{cfg: cfg, prompt: cfg.Prompt > 0}
	err := os.MkdirAll(cfg.Dir, 0o700)
	if err == nil {
		l.lock, err = lockFolder(cfg.Dir)
	}
	if err == nil {
		if err = l.open(); err != nil {
			l.abandon()
		}
	}
	var damage *Damage
	if errors.As(err, &damage) {
		err = fmt.Errorf("%w; the folder was changed or set back to an older copy: keep it as evidence, "+
			"see its extent with `cordon audit verify`, and go on with a new folder", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open audit log %q: %w", cfg.Dir, err)
	}
	return l, nil
}

// open reads the locked folder and makes it ready.
func (l *Log) open() (err error) {
	d, dir := l.cfg.disk, l.cfg.Dir
	if err := l.openKeys(); err != nil {
		return err
	}
	if l.hashes, err = d.OpenFile(filepath.Join(dir, fileHashes), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if l.history, err = d.OpenFile(filepath.Join(dir, fileHistory), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	segs, err := listSegments(dir, l.origin)
	if err != nil {
		return err
	}
	if err := l.readCheckpoints(len(segs) == 0); err != nil {
		return err
	}
	torn, err := l.recoverEntries(segs)
	if err != nil {
		return err
	}
	l.next = l.tree.size
	if err := l.sign(false); err != nil {
		return err
	}
	if torn > 0 {
		text := fmt.Sprintf("a crash tore the write behind entry %d: %d bytes, never acknowledged, cut off", l.next-1, torn)
		l.cfg.Logger.Warn("audit: " + text)
		if _, err := l.Append(context.Background(), Entry{Kind: KindGap, Note: text}); err != nil {
			return err
		}
	}
	return nil
}

// abandon gives up what a failed open holds.
func (l *Log) abandon() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.work.Wait()
	if l.seg != nil {
		l.seg.f.Close()
	}
	for _, f := range []file{l.hashes, l.history} {
		if f != nil {
			f.Close()
		}
	}
	l.lock.Close()
}

// readCheckpoints reads the newest checkpoint and the history, or makes the first.
func (l *Log) readCheckpoints(fresh bool) error {
	msg, err := os.ReadFile(filepath.Join(l.cfg.Dir, fileCheckpoint))
	if errors.Is(err, os.ErrNotExist) {
		if !fresh {
			return &Damage{0, "the checkpoint is missing"}
		}
		return l.sign(false) // of size 0
	}
	if err != nil {
		return err
	}
	if l.signed, err = parseOwnCheckpoint(msg, l.verifier); err != nil {
		return &Damage{0, "the checkpoint is not valid: " + err.Error()}
	}
	l.checkpoint = msg
	kept, err := os.ReadFile(filepath.Join(l.cfg.Dir, fileHistory))
	if err != nil {
		return err
	}
	trees, start, torn, err := parseHistory(kept, l.verifier)
	if err != nil {
		return &Damage{0, err.Error()}
	}
	if n := len(trees); n > 0 {
		if last := trees[n-1]; last.N > l.signed.N {
			return &Damage{l.signed.N, fmt.Sprintf("the checkpoint signs %d entries, but an earlier one %d", l.signed.N, last.N)}
		}
		l.kept, l.keptAt = trees[n-1].N, time.Now()
	}
	// As in reopenSegment: what was read may be in memory only, and is written again.
	l.historyEnd = int64(len(kept) - torn)
	if _, err := l.history.WriteAt(kept[start:l.historyEnd], int64(start)); err != nil {
		return err
	}
	if err := l.history.Truncate(l.historyEnd); err != nil {
		return err
	}
	return errors.Join(l.history.Sync(), l.cfg.disk.SyncDir(l.cfg.Dir))
}

// recoverEntries sets the tree and the segment to go on with.
func (l *Log) recoverEntries(segs []segmentInfo) (torn int64, err error) {
	c, err := newCursor(segs, l.signed.N)
	if err != nil {
		return 0, err
	}
	defer func() { c.close() }()
	start, err := loadTree(c.next, storedHashes(l.hashes))
	var end tail
	if err == nil {
		end, err = l.readTail(c, start)
	}
	if err != nil && c.at > 0 {
		// The nodes, which are only a cache, may be the damaged part: build all anew.
		l.cfg.Logger.Warn("audit: reading all entries again", "reason", err)
		c.close()
		if c, err = newCursor(segs, 0); err == nil {
			end, err = l.readTail(c, tree{})
		}
	}
	if err != nil {
		return 0, err
	}
	if n := len(segs); n > 0 && segs[n-1].bad != "" {
		// Its making was interrupted: it never held an acknowledged entry.
		if err := l.cfg.disk.Remove(segs[n-1].path); err != nil {
			return 0, err
		}
		segs = segs[:n-1]
	}
	if len(segs) == 0 {
		l.seg, err = createSegment(l.cfg.disk, l.cfg.Dir, l.origin, 1, 0, l.cfg.chunk)
		return c.torn, err
	}
	return c.torn, l.reopenSegment(segs[c.at], end)
}

// tail is where in the last segment the first unsigned entry begins and the last ends.
type tail struct {
	segment       int
	unsigned, end int64
}

// readTail reads the entries from the tree's size on and checks them against the
// checkpoint.
func (l *Log) readTail(c *cursor, t tree) (end tail, err error) {
	var nodes []tlog.Hash
	stored := tlog.StoredHashCount(t.size)
	for {
		if t.size == l.signed.N && t.root() != l.signed.Hash {
			return tail{}, &Damage{c.first(), fmt.Sprintf("from here to entry %d something differs from what the checkpoint signs", t.size-1)}
		}
		r, err := c.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return tail{}, err
		}
		nodes = t.add(tlog.RecordHash(r.json), nodes)
		if len(nodes) >= 1<<15 {
			if err := l.storeNodes(stored, nodes); err != nil {
				return tail{}, err
			}
			stored, nodes = stored+int64(len(nodes)), nodes[:0]
		}
		if r.index == max(l.signed.N, c.first()) {
			end = tail{segment: c.at, unsigned: r.off}
		}
	}
	if t.size < l.signed.N {
		return tail{}, &Damage{t.size, fmt.Sprintf("the log ends here, but its checkpoint signs %d entries", l.signed.N)}
	}
	l.tree = t
	if end.unsigned == 0 || end.segment != c.at {
		end.unsigned = c.off
	}
	end.end = c.off
	return end, errors.Join(c.countRest(), l.storeNodes(stored, nodes))
}

// reopenSegment makes the last segment ready to be appended to. Its header and the
// entries no checkpoint vouches for are written again, in place: they may have been
// read from pages that a failed sync left in memory only, and the next sync would not
// write those.
func (l *Log) reopenSegment(s segmentInfo, end tail) error {
	f, err := l.cfg.disk.OpenFile(s.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	l.seg = &segment{f: f, seq: s.seq, end: end.end, size: end.end}
	for _, part := range [][2]int64{{0, s.body}, {end.unsigned, end.end}} {
		from := io.NewSectionReader(f, part[0], part[1]-part[0])
		if _, err := io.Copy(io.NewOffsetWriter(f, part[0]), from); err != nil {
			return err
		}
	}
	if err := f.Truncate(end.end); err != nil {
		return err
	}
	return f.Sync()
}
