package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"cordon/gateway/timing"
)

// ErrUnwritable is what Append returns when an entry could not be made durable. What
// the entry speaks of must not happen.
var ErrUnwritable = errors.New("audit log is unwritable")

// Config says where a log is.
type Config struct {
	Dir     string // its folder, made if missing; no other writer, no network file system
	Origin  string // the log's name in checkpoints, as a URL without scheme: "cordon.example/ward-3". Empty: the one it has
	Gateway string // written into entries that name no gateway

	// Prompt, if > 0, spares an appender that finds the disk idle two goroutine switches:
	// as long as commits take less than Prompt, it waits for the disk itself. The price is
	// that when the disk turns slow, that one appender returns only when the disk does,
	// whatever its ctx. 0: every Append returns when its ctx ends.
	Prompt time.Duration

	Checkpoint time.Duration // from the first unsigned entry to the checkpoint that signs it; 0: 1 s

	Logger *slog.Logger // nil: slog.Default(). Warn: something was repaired; Error: the log is unwritable

	// Unwritable is told that the log cannot be written any more, which refuses operations; nil: nobody
	// is. It must return at once.
	Unwritable func(cause error)

	limits
	disk disk
}

// limits are what tests make small.
type limits struct {
	segmentSize int64         // bytes after which a new segment is begun
	chunk       int64         // bytes a segment grows by
	reserve     int64         // bytes kept free for the refusals a full disk causes; at least queueBytes
	queueBytes  int           // bytes waiting for the disk
	queueCount  int           // entries waiting for the disk
	unsigned    int           // tree nodes waiting for a checkpoint
	sign        time.Duration // from the first unsigned entry to its checkpoint
	keep        time.Duration // between checkpoints that are kept
	probe       time.Duration // between attempts to write again
}

func (c *Config) setDefaults() {
	if c.segmentSize == 0 {
		c.limits = limits{
			segmentSize: 64 << 20, chunk: 4 << 20, reserve: 1 << 20,
			queueBytes: 1 << 20, queueCount: 4096, unsigned: 1 << 20,
			sign: cmp.Or(c.Checkpoint, time.Second), keep: 10 * time.Minute, probe: 250 * time.Millisecond,
		}
	}
	if c.disk == nil {
		c.disk = osDisk{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Log is a log open for writing. Its methods may be called concurrently. Close it.
type Log struct {
	cfg      Config
	origin   string
	signer   note.Signer
	verifier note.Verifier
	lock     *os.File

	mu      sync.Mutex
	tree    tree   // of the durable entries
	next    int64  // index of the next entry, durable or waiting
	pending *batch // waiting for the disk; nil if empty
	spare   batch  // buffers to use again
	codes   *codes
	closed  bool
	prompt  bool           // the last commit took less than Config.Prompt
	leading bool           // somebody holds the lead: the right to touch seg
	writing *batch         // on its way to the disk
	work    sync.WaitGroup // goroutines of the log

	unsigned  []tlog.Hash // nodes not yet in the hash file
	signTimer bool        // a checkpoint is due

	err     error // why the log is unwritable, wrapping ErrUnwritable; nil if it is well
	reserve bool  // if err != nil: refusals may still be written
	probing bool  // a timer will try again
	since   time.Time
	missed  int64 // entries refused since then
	lost    int64 // before that
	commits timing.Histogram

	seg *segment // owned by the lead

	signing    sync.Mutex // guards what follows
	hashes     file
	history    file
	historyEnd int64
	signed     tlog.Tree // what the newest checkpoint signs
	checkpoint []byte    // the newest checkpoint
	kept       int64     // size of the newest one in the history
	keptAt     time.Time
}

// batch is entries on their way to the disk in one write.
type batch struct {
	first  int64
	count  int
	lines  []byte
	leaves []tlog.Hash
	ends   error         // the Log.err that is over once this batch is durable, or nil
	done   chan struct{} // closed when err is settled
	err    error
}

// Receipt is what Append gives for a durable entry.
type Receipt struct {
	Index int64
	Code  string // "7QF-21", to be read out by whoever was refused
}

// Append records e and returns once it is durable. An error means that e must be
// treated as not recorded, although after a crash or a late disk it may yet be found in
// the log. Unless e itself is malformed, the error wraps ErrUnwritable.
//
// Append blocks until the disk answers or ctx ends (but see Config.Prompt); with a ctx
// that cannot end, the caller may be the one who waits for the disk call itself.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) {
	if e.Gateway == "" {
		e.Gateway = l.cfg.Gateway
	}
	if err := e.check(); err != nil {
		return Receipt{}, fmt.Errorf("append entry: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrUnwritable, err)
	}

	l.mu.Lock()
	if err := l.admit(&e); err != nil {
		l.missed++
		l.mu.Unlock()
		return Receipt{}, err
	}
	b, err := l.enqueue(&e)
	if err != nil {
		l.mu.Unlock()
		return Receipt{}, err
	}
	lead, prompt := l.takeLead(), l.prompt
	l.mu.Unlock()

	switch {
	case lead && (prompt || ctx.Done() == nil):
		l.leadOnce()
	case lead:
		go l.lead()
	}
	select {
	case <-b.done:
		if b.err != nil {
			return Receipt{}, b.err
		}
		return Receipt{e.Index, e.Code}, nil
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("%w: entry %d not durable in time: %w", ErrUnwritable, e.Index, ctx.Err())
	}
}

// admit reports why e cannot be accepted now. The caller holds mu.
func (l *Log) admit(e *Entry) error {
	switch {
	case l.closed:
		return fmt.Errorf("%w: it is closed", ErrUnwritable)
	case l.err != nil && !(l.reserve && e.refuses()):
		return l.err
	case l.pending != nil && l.pending.count >= l.cfg.queueCount:
		return fmt.Errorf("%w: %d entries are waiting for the disk", ErrUnwritable, l.pending.count)
	case len(l.unsigned) >= l.cfg.unsigned:
		return fmt.Errorf("%w: its checkpoint is overdue", ErrUnwritable)
	}
	return nil
}

// enqueue gives e its index, time and code and adds it to the pending batch. The
// caller holds mu.
func (l *Log) enqueue(e *Entry) (*batch, error) {
	b := l.pending
	if b == nil {
		b = &batch{first: l.next, lines: l.spare.lines[:0], leaves: l.spare.leaves[:0], done: make(chan struct{})}
		l.spare = batch{}
	}
	e.Index, e.Time, e.Code = l.next, time.Now(), l.codes.code(l.next)
	start := len(b.lines)
	lines := e.appendJSON(append(b.lines, make([]byte, lineHead)...))
	json := lines[start+lineHead:]
	if len(json) > MaxEntry {
		return nil, fmt.Errorf("append entry: its %d bytes exceed the limit of %d", len(json), MaxEntry)
	}
	if start > 0 && len(lines) >= l.cfg.queueBytes {
		l.missed++
		return nil, fmt.Errorf("%w: %d bytes are waiting for the disk", ErrUnwritable, start)
	}
	b.leaves = append(b.leaves, tlog.RecordHash(json))
	b.lines = sealLine(lines, start)
	b.count++
	l.pending = b
	l.next++
	return b, nil
}

// Err returns why the log refuses entries, wrapping ErrUnwritable, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Size returns how many entries are durable.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.size
}

// Stats is how a log does.
type Stats struct {
	Entries  int64           // that are durable, since the log began
	Waiting  int             // for the disk
	Unsigned int             // nodes of the tree that wait for a checkpoint
	Refused  int64           // since Open, because the log could not be written or too many waited
	Err      error           // why it cannot be written, wrapping ErrUnwritable; nil if it can
	Commits  timing.Snapshot // writes of one or many entries with the sync behind them, failed ones too
}

// Stats returns how l does at the moment.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Entries: l.tree.size, Unsigned: len(l.unsigned), Refused: l.lost + l.missed, Err: l.err, Commits: l.commits.Snapshot()}
	for _, b := range []*batch{l.writing, l.pending} {
		if b != nil {
			s.Waiting += b.count
		}
	}
	return s
}

// Turns returns nil once what is on its way to the disk has come back, whether well or not, or if nothing
// is. It is for a watchdog: a log that refuses is no reason to restart a gateway, and no error
// here; one that neither records nor refuses is.
func (l *Log) Turns(ctx context.Context) error {
	l.mu.Lock()
	b := l.writing
	l.mu.Unlock()
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %d entries to reach the disk: %w", b.count, ctx.Err())
	}
}

// Close signs the last checkpoint, cuts the unused room and gives the folder up. It
// waits for the disk. Appends still waiting are completed first.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.work.Wait()

	err := l.sign(true)
	if l.seg != nil {
		err = errors.Join(err, l.seg.seal())
	}
	err = errors.Join(err, l.hashes.Close(), l.history.Close(), l.lock.Close())
	if err != nil {
		return fmt.Errorf("close audit log %q: %w", l.cfg.Dir, err)
	}
	return nil
}
