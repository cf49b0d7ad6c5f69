package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/gateway/audit"
)

// patience bounds every wait. None takes nearly as long; a machine may be busy.
const patience = time.Minute

// TestMain lets this test binary be the new process: it accepts on the listener it is given and
// says its number, and ends where its argument says.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "successor" {
		if err := succeed(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "successor:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func succeed(dies, dir string) error {
	die := func(step string) {
		if step == dies {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	p, err := Inherit()
	if err != nil || p == nil {
		return fmt.Errorf("no predecessor: %w", err)
	}
	die("offered")
	l, err := p.Listener("door")
	if err != nil {
		return err
	}
	if dies == "refuses" {
		p.Refuse([]byte(`["because"]`))
		return nil
	}
	if _, err := p.Take(context.Background()); err != nil {
		return err
	}
	die("given")
	log := NewLog()
	if err := log.Open(audit.Config{Dir: dir, Origin: "cordon.test/handover", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	die("opened")
	p.Taken()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, os.Getpid())
			c.Close()
		}
	}()
	go func() {
		p.Replace(context.Background(), []byte(`"grounds"`))
	}()
	p.Serve(Successions{Log: log, Held: func(map[string]int) {}, Leading: func() { die("leading") }})
	return log.Take()
}

// office is what an old process has.
type office struct {
	log   *Log
	dir   string
	door  net.Listener
	files []*os.File
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{log: NewLog(), dir: filepath.Join(t.TempDir(), "audit")}
	o.open(t)
	var err error
	if o.door, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f, err := Duplicate(o.door.(*net.TCPListener), "door")
	if err != nil {
		t.Fatal(err)
	}
	o.files = []*os.File{f}
	t.Cleanup(func() { f.Close(); o.door.Close(); o.log.Take() })
	return o
}

func (o *office) open(t *testing.T) {
	t.Helper()
	if err := o.log.Open(audit.Config{Dir: o.dir, Origin: "cordon.test/handover", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
}

func (o *office) start(t *testing.T, dies string) *Successor {
	t.Helper()
	s, err := Start(os.Args[0], []string{os.Args[0], "successor", dies, o.dir}, os.Environ(), Offer{Names: []string{"door"}, Depth: 1}, o.files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func (o *office) append(note string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := o.log.Append(ctx, audit.Entry{Kind: "test", Note: note})
	return err
}

// notes are those of the log's entries, in their order. The log is nobody's meanwhile.
func (o *office) notes(t *testing.T) (all []string) {
	t.Helper()
	lines, err := filepath.Glob(filepath.Join(o.dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.TrimRight(string(text), "\x00")) {
			var e struct{ Kind, Note string }
			if _, entry, ok := strings.Cut(line, " "); ok && json.Unmarshal([]byte(entry), &e) == nil && e.Kind == "test" {
				all = append(all, e.Note)
			}
		}
	}
	return all
}

// stayers is what stays behind.
type stayers struct {
	told  chan string
	ended chan struct{}
}

func (s stayers) Replace(grounds json.RawMessage) (int, error) {
	s.told <- string(grounds)
	return 3, nil
}
func (s stayers) End() { close(s.ended) }

// A process that takes over has the listener and the log; the old one's entries pass through
// it, each once, and it goes on alone when the old one is done.
func TestHandover(t *testing.T) {
	o := newOffice(t)
	s := o.start(t, "never")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var appending sync.WaitGroup
	stop := make(chan struct{})
	var appended atomic.Int64
	for i := range 4 {
		appending.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := o.append(fmt.Sprintf("%d-%d", i, n)); err != nil {
					t.Error(err)
					return
				}
				appended.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		before, end := appended.Load(), time.Now().Add(patience)
		for ; appended.Load() < before+8; time.Sleep(time.Millisecond) {
			if t.Failed() || time.Now().After(end) {
				t.Fatal("nothing is appended")
			}
		}
	}
	more()
	if err := s.Prepared(ctx); err != nil {
		t.Fatal(err)
	}
	if err := o.log.Take(); err != nil {
		t.Fatal(err)
	}
	if err := s.Give(ctx, nil); err != nil {
		t.Fatal(err)
	}
	o.log.Pass(s)
	told := stayers{make(chan string, 1), make(chan struct{})}
	followed := make(chan struct{})
	go func() { s.Follow(told); close(followed) }()
	if err := s.Lead(); err != nil {
		t.Error(err)
	}
	if got := <-told.told; got != `"grounds"` {
		t.Errorf("told %s", got)
	}
	more()
	close(stop)
	appending.Wait()
	o.door.Close()
	c, err := net.Dial("tcp", o.door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if said, _ := io.ReadAll(c); strings.TrimSpace(string(said)) != fmt.Sprint(s.PID()) {
		t.Errorf("process %q answers, want %d", said, s.PID())
	}
	o.log.Take()
	s.Close()
	<-followed
	<-s.died
	want := int(appended.Load())
	seen := map[string]int{}
	for _, note := range o.notes(t) {
		seen[note]++
		if seen[note] > 1 {
			t.Errorf("entry %s is there twice", note)
		}
	}
	if len(seen) != want {
		t.Errorf("the log has %d entries, want %d", len(seen), want)
	}
}

// Wherever the new process ends, the old one knows, and has log and listener again.
func TestSuccessorEnds(t *testing.T) {
	for _, dies := range []string{"offered", "refuses", "given", "opened"} {
		t.Run(dies, func(t *testing.T) {
			o := newOffice(t)
			if err := o.append("before"); err != nil {
				t.Fatal(err)
			}
			s := o.start(t, dies)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := s.Prepared(ctx)
			refused, _ := errors.AsType[*Refused](err)
			switch {
			case dies == "refuses" && (refused == nil || string(refused.Why) != `["because"]`):
				t.Errorf("a refusal is told as %v", err)
			case (dies == "offered" || dies == "refuses") != (err != nil):
				t.Fatal(err)
			}
			if err == nil {
				o.door.Close()
				o.log.Take()
				waiting := make(chan error, 1)
				go func() { waiting <- o.append("meanwhile") }()
				if err := s.Give(ctx, nil); err == nil {
					t.Fatal("the log was taken by a process that has ended")
				}
				s.Kill()
				o.open(t)
				if err := <-waiting; err != nil {
					t.Error(err)
				}
				if o.door, err = net.FileListener(o.files[0]); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.append("after"); err != nil {
				t.Error(err)
			}
			c, err := net.Dial("tcp", o.door.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := o.door.Accept(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What nobody records any more is an error, at once.
func TestSuccessorGone(t *testing.T) {
	o := newOffice(t)
	s := o.start(t, "never")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Prepared(ctx); err != nil {
		t.Fatal(err)
	}
	o.log.Take()
	if err := s.Give(ctx, nil); err != nil {
		t.Fatal(err)
	}
	o.log.Pass(s)
	followed := make(chan struct{})
	go func() { s.Follow(stayers{make(chan string, 1), make(chan struct{})}); close(followed) }()
	if err := o.append("recorded"); err != nil {
		t.Error(err)
	}
	syscall.Kill(s.PID(), syscall.SIGSTOP)
	if err := unix.Waitid(unix.P_PID, s.PID(), nil, unix.WSTOPPED, nil); err != nil { // until then its threads run on
		t.Fatal(err)
	}
	late, cancelLate := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancelLate()
	if _, err := o.log.Append(late, audit.Entry{Kind: "test"}); !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("an entry that is not recorded in time: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- o.append("never recorded") }()
	for end, sent := time.Now().Add(patience), false; !sent; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		sent = len(s.waiting) > 0
		s.mu.Unlock()
		if time.Now().After(end) {
			t.Fatal("no entry is on its way")
		}
	}
	syscall.Kill(s.PID(), syscall.SIGKILL)
	<-followed
	if err := <-waiting; !errors.Is(err, audit.ErrUnwritable) || !errors.Is(err, errGone) {
		t.Errorf("an entry that was on its way: %v", err)
	}
	if err := o.append("never recorded"); !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("an entry afterwards: %v", err)
	}
}

// slow is a log whose disk takes its time.
type slow struct{ begun, disk chan struct{} }

func (s slow) Append(context.Context, audit.Entry) (audit.Receipt, error) {
	close(s.begun)
	<-s.disk
	return audit.Receipt{}, nil
}

// The log changes hands behind what is being appended.
func TestTakeWaits(t *testing.T) {
	l, s := NewLog(), slow{make(chan struct{}), make(chan struct{})}
	l.Pass(s)
	appended, taken := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := l.Append(t.Context(), audit.Entry{Kind: "test"})
		appended <- err
	}()
	<-s.begun
	go func() { taken <- l.Take(); close(taken) }()
	select {
	case <-taken:
		t.Error("the log was taken while an entry was being appended")
	case <-time.After(50 * time.Millisecond):
	}
	close(s.disk)
	if err := <-appended; err != nil {
		t.Error(err)
	}
	<-taken
}

// An entry is the same at the other end.
func TestEntryCrosses(t *testing.T) {
	var e audit.Entry
	e.Kind, e.Gateway, e.Input, e.Note = audit.KindDecision, "ward", json.RawMessage(`{"a":"é<&>"}`), "note"
	e.Decision.Allow, e.Decision.Reason, e.Decision.Rule, e.Decision.Obligations = true, "reason", "rule", []string{"one", "two"}
	e.Decision.ValidUntil, e.Decision.Cause, e.Decision.Revision, e.Decision.Data = 7, "policy", "sha256:a", "sha256:b"
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go ours.write(message{Kind: kindEntry, Entry: cross(e)})
	m, err := (&conn{c: c}).read()
	if err != nil || m.Entry == nil {
		t.Fatal(err)
	}
	if got := m.Entry.whole(); !reflect.DeepEqual(got, e) {
		t.Errorf("got  %+v\nwant %+v", got, e)
	}
}
