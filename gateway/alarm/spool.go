package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a spool.
const (
	maxWaiting  = 1000 // alarms for one channel; beyond, the oldest is dropped
	maxLoose    = 16   // for one channel that could not be kept on disk
	maxAlarm    = 16 << 10
	SendTimeout = 10 * time.Second // that a channel is given for one
	firstRetry  = time.Second
	lastRetry   = time.Minute
	lookAgain   = time.Minute // for what another process of the gateway has left
)

// Spool keeps alarms on disk until each channel has delivered them, one file for each alarm
// and channel. Of those for one channel the oldest goes first, and the others wait for it.
type Spool struct {
	dir   string
	log   *slog.Logger
	lines []*line

	mu   sync.Mutex // one writer
	last int64      // the number of the latest file
}

// line is what waits for one channel.
type line struct {
	Channel
	dir   string
	news  chan struct{} // something waits
	loose chan *Alarm   // that the disk did not take

	mu       sync.Mutex
	sent     uint64 // since Open
	failed   uint64
	watchers map[chan<- attempt]bool
}

// Open opens the spool in dir, which it makes if need be, with what waits there from before.
// Run delivers it.
func Open(dir string, channels []Channel, log *slog.Logger) (*Spool, error) {
	s := &Spool{dir: dir, log: log}
	for _, c := range channels {
		l := &line{Channel: c, dir: filepath.Join(dir, c.Name()), news: make(chan struct{}, 1), loose: make(chan *Alarm, maxLoose), watchers: map[chan<- attempt]bool{}}
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return nil, fmt.Errorf("open alarms: %w", err)
		}
		names, err := l.waiting()
		if err != nil {
			return nil, fmt.Errorf("open alarms: %w", err)
		}
		if n := len(names); n > 0 {
			s.last = max(s.last, number(names[n-1]))
			l.news <- struct{}{}
		}
		s.lines = append(s.lines, l)
	}
	return s, nil
}

// Raise has a told over every channel. It returns when a is kept on disk, and does not wait for
// its delivery. Its error is about the disk: then a is delivered as long as the process lives,
// and as few others wait like that.
func (s *Spool) Raise(a *Alarm) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("raise alarm %s: %w", a.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []error
	s.last = max(s.last+1, time.Now().UnixNano())
	for _, l := range s.lines {
		if err := s.drop(l); err != nil {
			failed = append(failed, err)
		}
		if err := write(l.dir, fmt.Sprintf("%020d.json", s.last), text); err != nil {
			failed = append(failed, err)
			l.hold(a)
		}
		l.wake()
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("raise alarm %s: %w", a.Name, err)
	}
	return nil
}

// hold keeps a in memory, if there is room.
func (l *line) hold(a *Alarm) {
	select {
	case l.loose <- a:
	default:
	}
}

func (l *line) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// drop makes room for one more.
func (s *Spool) drop(l *line) error {
	names, err := l.waiting()
	for ; err == nil && len(names) >= maxWaiting; names = names[1:] {
		s.log.Error("an alarm is dropped undelivered, too many wait", "channel", l.Name(), "waiting", len(names))
		err = os.Remove(filepath.Join(l.dir, names[0]))
	}
	return err
}

// Run delivers until ctx is done.
func (s *Spool) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, l := range s.lines {
		running.Go(func() { s.run(ctx, l) })
	}
	running.Wait()
}

func (s *Spool) run(ctx context.Context, l *line) {
	retry := time.Duration(0)
	for {
		if retry == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.news:
			case <-time.After(lookAgain):
			}
		} else {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry):
			}
		}
		err := s.deliver(ctx, l)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			retry = 0
		default:
			s.log.Error("an alarm cannot be delivered yet", "channel", l.Name(), "error", err)
			retry = min(max(2*retry, firstRetry), lastRetry)
		}
	}
}

// deliver sends what waits, until nothing does or a delivery fails. What is in memory only goes
// first.
func (s *Spool) deliver(ctx context.Context, l *line) error {
	for len(l.loose) > 0 {
		a := <-l.loose
		if err := l.send(ctx, a); err != nil {
			l.hold(a)
			return err
		}
	}
	for {
		names, err := l.waiting()
		if err != nil || len(names) == 0 {
			return err
		}
		path := filepath.Join(l.dir, names[0])
		a, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil { // it would hold up all others
			s.log.Error("an alarm is unreadable, and dropped", "file", path, "error", err)
		} else if err := l.send(ctx, a); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func (l *line) send(ctx context.Context, a *Alarm) error {
	sending, cancel := context.WithTimeout(ctx, SendTimeout)
	defer cancel()
	err := l.Send(sending, a)
	if ctx.Err() == nil { // otherwise it was broken off, which says nothing
		l.tell(attempt{a.ID, err})
	}
	return err
}

// Waiting returns, by channel, how many alarms are not delivered, and since when the oldest
// waits. It may be asked without a Spool, by anybody who may read dir.
func Waiting(dir string, channels []Channel) (map[string]int, time.Time, error) {
	count := map[string]int{}
	var oldest time.Time
	for _, c := range channels {
		names, err := (&line{dir: filepath.Join(dir, c.Name())}).waiting()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, oldest, fmt.Errorf("look at alarms: %w", err)
		}
		if count[c.Name()] = len(names); len(names) > 0 {
			if t := time.Unix(0, number(names[0])); oldest.IsZero() || t.Before(oldest) {
				oldest = t
			}
		}
	}
	return count, oldest, nil
}

// waiting are the files that wait, oldest first.
func (l *line) waiting() ([]string, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if number(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// number is that in a file's name: when it was raised, in ns since the Unix epoch, or a little
// later; 0 if it is none of ours.
func number(name string) (n int64) {
	digits, ok := strings.CutSuffix(name, ".json")
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || !ok || fmt.Sprintf("%020d", n) != digits {
		return 0
	}
	return n
}

func read(path string) (*Alarm, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAlarm+1))
	if err != nil {
		return nil, err
	}
	a := &Alarm{}
	if err := json.Unmarshal(text, a); err != nil || len(text) > maxAlarm {
		return nil, fmt.Errorf("no alarm of at most %d bytes", maxAlarm)
	}
	return a, nil
}

// write makes a file that is there whole after a crash, or not at all.
func write(dir, name string, text []byte) error {
	f, err := os.CreateTemp(dir, ".new-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
