package handover

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cordon/gateway/audit"
)

// Appender makes entries durable: an *audit.Log, or a *Successor that has it.
type Appender interface {
	Append(ctx context.Context, e audit.Entry) (audit.Receipt, error)
}

// Log is the gateway's audit log as one of its processes sees it: nobody's at first, then its
// own, then its successor's. While it is nobody's, Append waits.
type Log struct {
	mu    sync.Mutex
	to    Appender // nil: nobody's
	own   *audit.Log
	given chan struct{} // closed when to is set
	using sync.WaitGroup
}

// NewLog returns a log that is nobody's.
func NewLog() *Log { return &Log{given: make(chan struct{})} }

// Append records e and returns once it is durable. It blocks until ctx ends, at the latest. An
// error wraps audit.ErrUnwritable unless e is malformed.
func (l *Log) Append(ctx context.Context, e audit.Entry) (audit.Receipt, error) {
	for {
		l.mu.Lock()
		to, given := l.to, l.given
		if to != nil {
			l.using.Add(1)
		}
		l.mu.Unlock()
		if to != nil {
			defer l.using.Done()
			return to.Append(ctx, e)
		}
		select {
		case <-given:
		case <-ctx.Done():
			return audit.Receipt{}, fmt.Errorf("%w: it is being handed over: %w", audit.ErrUnwritable, ctx.Err())
		}
	}
}

// Open makes the log this process's own.
func (l *Log) Open(c audit.Config) error {
	own, err := audit.Open(c)
	if err != nil {
		return err
	}
	l.give(own, own)
	return nil
}

// Pass makes it somebody else's.
func (l *Log) Pass(to Appender) { l.give(to, nil) }

func (l *Log) give(to Appender, own *audit.Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.own = to, own
	close(l.given)
}

// Take makes it nobody's, after what is being appended. If it was this process's own, it is
// durable and closed then, and another process can open it. Take waits for the disk.
func (l *Log) Take() error {
	l.mu.Lock()
	own := l.own
	if l.to != nil {
		l.to, l.own, l.given = nil, nil, make(chan struct{})
	}
	l.mu.Unlock()
	l.using.Wait()
	if own == nil {
		return nil
	}
	return own.Close()
}

// Checkpoint is audit.Log.Checkpoint of this process's own log.
func (l *Log) Checkpoint() ([]byte, error) {
	l.mu.Lock()
	own := l.own
	if own != nil {
		l.using.Add(1)
	}
	l.mu.Unlock()
	if own == nil {
		return nil, fmt.Errorf("%w: it is another process's", audit.ErrUnwritable)
	}
	defer l.using.Done()
	return own.Checkpoint()
}

// Mine reports whether the log is this process's own.
func (l *Log) Mine() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own != nil
}

// Stats is how the log does; ok is false if it is not this process's own.
func (l *Log) Stats() (s audit.Stats, ok bool) {
	l.mu.Lock()
	own := l.own
	l.mu.Unlock()
	if own == nil {
		return s, false
	}
	return own.Stats(), true
}

// Turns returns nil when the log is not stuck, see audit.Log.Turns. Somebody else's log is
// theirs to watch.
func (l *Log) Turns(ctx context.Context) error {
	l.mu.Lock()
	own := l.own
	l.mu.Unlock()
	if own == nil {
		return nil
	}
	return own.Turns(ctx)
}

// errGone is why a session that stayed behind is refused when there is nobody to record it.
var errGone = errors.New("the process that has taken over is gone")
