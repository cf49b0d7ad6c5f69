package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Options refine Verify.
type Options struct {
	// TrustedCheckpoint is a checkpoint of this log the auditor kept elsewhere. Only
	// with it can Verify find that the whole folder was set back to an older state.
	TrustedCheckpoint []byte
}

// Report tells what Verify read.
type Report struct {
	Origin      string
	Size        int64         // entries found
	Signed      int64         // of these, how many the newest checkpoint signs; the others have only a CRC
	Checkpoints int           // checkpoints whose root was computed again
	Torn        int64         // bytes that are no entry where an interrupted write may leave some: never acknowledged
	ClockBack   time.Duration // the largest step the gateway's clock made backwards between entries
	Restored    []int64       // entries from which on the log goes on from a backup: others may have stood behind them
}

// Verify reads a whole log and trusts only verifierKey (the text of key.pub) and the
// checkpoint in opts. It may run while the log is being written, or on a copy.
//
// A nil error means: every entry up to Report.Signed is as its writer wrote it, in
// order, none missing, and the checkpoints agree with each other and with the trusted
// one. A *Damage names the first entry that is not; any other error means that the
// question could not be answered.
func Verify(dir, verifierKey string, opts Options) (Report, error) {
	v := verification{dir: dir}
	err := v.run(verifierKey, opts)
	if err != nil {
		err = fmt.Errorf("verify audit log %q: %w", dir, err)
	}
	return v.report, err
}

// mark is a signed root to compare with on the way.
type mark struct {
	tlog.Tree
	name string
}

type verification struct {
	dir      string
	verifier note.Verifier
	marks    []mark // by size
	codes    *codes
	report   Report

	tree   tree
	nodes  []tlog.Hash // not used, but the tree makes them
	agreed int64       // the size at which a mark agreed last
	last   time.Time

	lastSegment int64 // of a copy
}

func (v *verification) run(verifierKey string, opts Options) (err error) {
	if err := v.trust(verifierKey); err != nil {
		return err
	}
	// The order matters while the log is being written: history, checkpoint, entries
	// grow in the opposite one.
	if err := v.readMarks(opts.TrustedCheckpoint); err != nil {
		return err
	}
	segs, err := listSegments(v.dir, v.report.Origin)
	if err != nil {
		return err
	}
	if v.codes, err = readCodes(v.dir); err != nil {
		return err
	}
	c, err := newCursor(segs, 0)
	if err != nil {
		return err
	}
	defer c.close()
	err = v.readEntries(c)
	v.report.Size = v.tree.size
	v.report.Torn += c.torn
	return err
}

// trust sets the key that everything is held against.
func (v *verification) trust(verifierKey string) (err error) {
	if v.verifier, err = note.NewVerifier(strings.TrimSpace(verifierKey)); err != nil {
		return fmt.Errorf("verifier key %.80q: %w", verifierKey, err)
	}
	v.report.Origin = v.verifier.Name()
	return nil
}

func (v *verification) readMarks(trusted []byte) error {
	kept, err := os.ReadFile(filepath.Join(v.dir, fileHistory))
	if err != nil {
		return err
	}
	msg, err := os.ReadFile(filepath.Join(v.dir, fileCheckpoint))
	if err != nil {
		return err
	}
	return v.mark(kept, msg, trusted)
}

// mark reads the checkpoints to compare with: those kept, the newest, and the trusted one or nil.
func (v *verification) mark(kept, msg, trusted []byte) error {
	newest, err := parseOwnCheckpoint(msg, v.verifier)
	if err != nil {
		return &Damage{0, "the checkpoint is not valid for this key: " + err.Error()}
	}
	v.report.Signed = newest.N
	history, _, torn, err := parseHistory(kept, v.verifier)
	if err != nil {
		return &Damage{0, err.Error()}
	}
	v.report.Torn = int64(torn)
	for i, t := range history {
		v.marks = append(v.marks, mark{t, fmt.Sprintf("kept checkpoint %d", i+1)})
	}
	v.marks = append(v.marks, mark{newest, "the checkpoint"})
	if trusted != nil {
		t, err := ParseCheckpoint(trusted, v.verifier)
		if err != nil {
			return fmt.Errorf("read the trusted checkpoint: %w", err)
		}
		v.marks = append(v.marks, mark{t, "the trusted checkpoint"})
	}
	slices.SortStableFunc(v.marks, func(a, b mark) int { return cmp.Compare(a.N, b.N) })
	if m := v.marks[len(v.marks)-1]; m.N > newest.N {
		return &Damage{newest.N, fmt.Sprintf("rolled back: the checkpoint signs %d entries, %s %d", newest.N, m.name, m.N)}
	}
	return nil
}

func (v *verification) readEntries(c *cursor) error {
	for again := false; ; {
		if err := v.compare(); err != nil {
			return err
		}
		r, err := c.read()
		switch {
		case err == nil:
			again = false
			if err := v.add(r); err != nil {
				return err
			}
		case err != io.EOF:
			return v.orMismatch(err)
		case v.tree.size < v.report.Signed:
			return v.orMismatch(&Damage{v.tree.size, fmt.Sprintf("missing or damaged; %d entries are signed", v.report.Signed)})
		default:
			clean, err := c.endsClean()
			if err != nil || clean {
				return errors.Join(err, c.countRest())
			}
			if again {
				return &Damage{v.tree.size, "bytes stand here that no write of this log leaves"}
			}
			again = true // the writer may have completed the segment just now
		}
	}
}

// add takes one entry into the tree.
func (v *verification) add(r record) error {
	if want := v.codes.code(r.index); string(r.code) != want {
		return v.orMismatch(&Damage{r.index, fmt.Sprintf("its code is %.20q, which should be %s", r.code, want)})
	}
	if back := v.last.Sub(r.time); back > v.report.ClockBack && r.index > 0 {
		v.report.ClockBack = back
	}
	v.last = r.time
	if string(r.kind) == string(KindRestore) {
		v.report.Restored = append(v.report.Restored, r.index)
	}
	v.nodes = v.tree.add(tlog.RecordHash(r.json), v.nodes[:0])
	return nil
}

// compare holds the tree against the marks of its size.
func (v *verification) compare() error {
	for len(v.marks) > 0 && v.marks[0].N == v.tree.size {
		if m := v.marks[0]; v.tree.root() != m.Hash {
			return v.locate(m.name)
		}
		v.agreed = v.tree.size
		v.marks = v.marks[1:]
		v.report.Checkpoints++
	}
	return nil
}

// orMismatch returns the first difference found so far if there is one before err.
func (v *verification) orMismatch(err error) error {
	var damage *Damage
	if !errors.As(err, &damage) || v.tree.size == v.agreed || v.tree.size > v.report.Signed {
		return err
	}
	if d, ok := v.differing(); ok {
		return &Damage{d, "its content differs from what was hashed when it was written"}
	}
	return err
}

// locate names the first entry that made the root differ.
func (v *verification) locate(name string) error {
	if d, ok := v.differing(); ok {
		return &Damage{d, "its content differs from what " + name + " signs"}
	}
	return &Damage{v.agreed, fmt.Sprintf("something from here to entry %d differs from what %s signs", v.tree.size-1, name)}
}

// differing looks for the first entry since the last agreement whose hash is not the
// one in the hash file. That file proves nothing, but whoever changed an entry rarely
// made it fit.
func (v *verification) differing() (index int64, found bool) {
	f, err := os.Open(filepath.Join(v.dir, fileHashes))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	segs, err := listSegments(v.dir, v.report.Origin)
	if err != nil {
		return 0, false
	}
	c, err := newCursor(segs, v.agreed)
	if err != nil {
		return 0, false
	}
	defer c.close()
	stored := storedHashes(f)
	for c.next < v.tree.size {
		r, err := c.read()
		if err != nil {
			return 0, false
		}
		if r.index < v.agreed {
			continue
		}
		h, err := stored.ReadHashes([]int64{tlog.StoredHashIndex(0, r.index)})
		if err != nil {
			return 0, false
		}
		if leaf := tlog.RecordHash(r.json); !bytes.Equal(h[0][:], leaf[:]) {
			return r.index, true
		}
	}
	return 0, false
}
