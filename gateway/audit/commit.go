package audit

import (
	"fmt"
	"runtime"
	"time"
)

// The lead is the right to use the segment. Whoever appends while nobody leads takes it
// and sees that the pending batch is written; whoever comes later waits in the next
// batch, so many appenders share a sync and a lone one waits for nobody.

// takeLead reports whether the caller now leads. The caller holds mu.
func (l *Log) takeLead() bool {
	if l.leading {
		return false
	}
	l.leading = true
	l.work.Add(1)
	return true
}

// lead writes batches until none is pending.
func (l *Log) lead() {
	for n := 1; n > 0; n = l.commitNext() {
		if n > 1 {
			// Those whose entries were just written are about to append again: let them
			// come before the next sync instead of sharing the one after it.
			runtime.Gosched()
		}
	}
}

// leadOnce writes one batch and leaves what came meanwhile to another goroutine.
func (l *Log) leadOnce() {
	l.commitNext()
	l.mu.Lock()
	more := !l.stepDown()
	l.mu.Unlock()
	if more {
		go l.lead()
	}
}

// stepDown gives up the lead unless a batch is pending. The caller leads and holds mu.
func (l *Log) stepDown() bool {
	if l.pending != nil {
		return false
	}
	l.leading = false
	l.work.Done()
	return true
}

// commitNext writes the pending batch and returns its length. 0: nothing was pending
// and the lead is given up.
func (l *Log) commitNext() int {
	l.mu.Lock()
	if l.stepDown() {
		l.mu.Unlock()
		return 0
	}
	b := l.pending
	l.pending, l.writing = nil, b
	l.mu.Unlock()

	start := time.Now()
	shortage, err := l.write(b)
	took := time.Since(start)
	l.commits.Observe(took)

	l.mu.Lock()
	l.prompt = took < l.cfg.Prompt
	l.writing = nil
	if err != nil {
		l.failBatches(b, err)
	} else {
		l.settle(b, shortage)
	}
	l.mu.Unlock()
	return b.count
}

// write makes b durable. shortage, with a nil err, says why this succeeded only by
// using the reserve.
func (l *Log) write(b *batch) (shortage, err error) {
	shortage = l.makeRoom(len(b.lines))
	err = shortage
	if l.seg.fits(len(b.lines)) {
		err = l.seg.write(b.lines)
	}
	if err == nil || !l.seg.spoiled {
		return shortage, err
	}
	// Everything since the last known-durable entry is in b: write it to a new file.
	l.cfg.Logger.Warn("audit: segment spoiled, going on in a new one", "segment", l.seg.seq, "error", err)
	if rollErr := l.roll(b.first, len(b.lines)); rollErr != nil {
		return nil, fmt.Errorf("%w; then %w", err, rollErr)
	}
	return nil, l.seg.write(b.lines)
}

// makeRoom sees to it that n bytes fit and leave the reserve free. The segment remains
// usable as far as it was when it fails.
func (l *Log) makeRoom(n int) error {
	s := l.seg
	if s.spoiled || s.end+int64(n) > l.cfg.segmentSize {
		if err := l.roll(l.Size(), n); err != nil {
			return err
		}
		s = l.seg
	}
	if lack := int64(n) + l.cfg.reserve - (s.size - s.end); lack > 0 {
		return s.extend(max(lack, l.cfg.chunk))
	}
	return nil
}

// roll goes on in a new segment, which begins with entry first and has room for n bytes.
func (l *Log) roll(first int64, n int) error {
	room := max(l.cfg.chunk, int64(n)+l.cfg.reserve)
	s, err := createSegment(l.cfg.disk, l.cfg.Dir, l.origin, l.seg.seq+1, first, room)
	if err != nil {
		return err
	}
	old := l.seg
	l.seg = s
	if err := old.seal(); err != nil {
		// Its entries are durable; what stands behind them is overruled by the new one.
		l.cfg.Logger.Warn("audit: segment not cut to its length", "segment", old.seq, "error", err)
	}
	return nil
}

// settle counts a durable batch and releases its appenders. The caller holds mu.
func (l *Log) settle(b *batch, shortage error) {
	for _, leaf := range b.leaves {
		l.unsigned = l.tree.add(leaf, l.unsigned)
	}
	l.dueForSigning()
	l.spare.lines, l.spare.leaves = b.lines, b.leaves
	if b.ends != nil && b.ends == l.err {
		l.cfg.Logger.Warn("audit: log writable again", "after", time.Since(l.since).Round(time.Millisecond), "refused", l.missed)
		l.err, l.reserve = nil, false
		l.lost, l.missed = l.lost+l.missed, 0
	}
	if shortage != nil && l.err == nil {
		l.setUnwritable(shortage, true)
	}
	close(b.done)
}

// failBatches refuses b and everything that waits behind it, for their indices would
// not follow the last durable entry. The caller holds mu.
func (l *Log) failBatches(b *batch, cause error) {
	l.setUnwritable(cause, false)
	for _, x := range []*batch{b, l.pending} {
		if x == nil {
			continue
		}
		x.err = l.err
		l.missed += int64(x.count)
		close(x.done)
	}
	l.pending = nil
	l.next = l.tree.size
}

// setUnwritable makes every further Append fail at once, until a probe succeeds. With
// reserve, refusals are still recorded as long as they fit. The caller holds mu.
func (l *Log) setUnwritable(cause error, reserve bool) {
	if l.err == nil {
		l.since = time.Now()
		l.lost, l.missed = l.lost+l.missed, 0
		l.cfg.Logger.Error("audit: log unwritable, operations are refused", "error", cause)
		if l.cfg.Unwritable != nil {
			l.cfg.Unwritable(cause)
		}
		if !l.probing {
			l.probing = true
			time.AfterFunc(l.cfg.probe, l.tryAgain)
		}
	}
	l.err = fmt.Errorf("%w: %w", ErrUnwritable, cause)
	l.reserve = reserve
}

// tryAgain probes whether the disk works: room for a batch, a checkpoint, and an entry
// that tells of the gap, all of which must succeed.
func (l *Log) tryAgain() {
	l.mu.Lock()
	if l.closed || l.err == nil {
		l.probing = false
		l.mu.Unlock()
		return
	}
	if !l.takeLead() {
		time.AfterFunc(l.cfg.probe, l.tryAgain)
		l.mu.Unlock()
		return
	}
	cause := l.err
	l.mu.Unlock()

	err := l.makeRoom(0)
	if err == nil {
		err = l.sign(false)
	}
	l.mu.Lock()
	if err == nil {
		gap := Entry{Kind: KindGap, Gateway: l.cfg.Gateway, Note: fmt.Sprintf("unwritable since %s, %d entries refused: %v",
			l.since.UTC().Format(time.RFC3339Nano), l.missed, cause)}
		var b *batch
		if b, err = l.enqueue(&gap); err == nil {
			b.ends = l.err
		}
	}
	time.AfterFunc(l.cfg.probe, l.tryAgain) // finds l.err nil if this probe was the last
	l.mu.Unlock()
	l.lead()
}
