package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cordon/gateway/audit"
)

// descriptorEnv names the descriptor of the new process's end; the files of the offer follow.
const descriptorEnv = "CORDON_HANDOVER"

// Successor is the process that takes over, seen by the one that hands over. After Start:
// Prepared, Give, then Follow; Kill where one of them fails.
type Successor struct {
	conn *conn
	cmd  *exec.Cmd
	died chan struct{} // closed when the process has ended

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan message // for a receipt
	gone    error                   // no more receipts come
}

// Refused is why a new process cannot take over, as it wrote it.
type Refused struct{ Why json.RawMessage }

func (r *Refused) Error() string { return "the new process refused" }

// Start starts program, with what it needs to take over: offer, and the files that
// offer.Names names. The files stay the caller's. env is its environment.
func Start(program string, args, env []string, offer Offer, files []*os.File) (*Successor, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("start a successor: %w", err)
	}
	defer theirs.Close()
	cmd := exec.Command(program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	cmd.Env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, descriptorEnv+"=") || strings.HasPrefix(v, "WATCHDOG_PID=") // that is this process
	})
	cmd.Env = append(cmd.Env, descriptorEnv+"=3")
	if err := cmd.Start(); err != nil {
		ours.c.Close()
		return nil, fmt.Errorf("start a successor: %w", err)
	}
	s := &Successor{conn: ours, cmd: cmd, died: make(chan struct{}), waiting: map[uint64]chan message{}}
	go func() {
		cmd.Wait()
		close(s.died)
	}()
	offer.Version = version
	if err := s.conn.write(message{Kind: kindOffer, Offer: &offer}); err != nil {
		s.Kill()
		return nil, fmt.Errorf("start a successor: %w", err)
	}
	return s, nil
}

// PID is the process's number.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// Kill ends the process and waits for it: what it held is free then.
func (s *Successor) Kill() {
	s.cmd.Process.Kill()
	s.conn.c.Close()
	<-s.died
}

// Prepared waits until the process has all it needs but the log. The error is a *Refused if it
// said why it cannot.
func (s *Successor) Prepared(ctx context.Context) error { return s.await(ctx, kindPrepared) }

// Give gives it the log, which has to be closed, and waits until it is in its hands; held
// counts this process's sessions. Without an error the process has begun to accept.
func (s *Successor) Give(ctx context.Context, held map[string]int) error {
	if err := s.conn.write(message{Kind: kindYours, Held: held}); err != nil {
		return err
	}
	return s.await(ctx, kindTaken)
}

func (s *Successor) await(ctx context.Context, want kind) error {
	stop := context.AfterFunc(ctx, func() { s.conn.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	m, err := s.conn.read()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("wait for the new process to be %s: %w", want, ctx.Err())
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the new process ended before it was %s", want)
	case err != nil:
		return fmt.Errorf("wait for the new process to be %s: %w", want, err)
	case m.Kind == kindRefused:
		return &Refused{m.Why}
	case m.Kind != want:
		return fmt.Errorf("the new process said %q, expected %q", m.Kind, want)
	}
	return nil
}

// Lead tells the process that it is the one that a service manager watches now.
func (s *Successor) Lead() error { return s.conn.write(message{Kind: kindLeading}) }

// Held tells how many sessions this process still has.
func (s *Successor) Held(counts map[string]int) error {
	return s.conn.write(message{Kind: kindHeld, Held: counts})
}

// Heirloom is what a process that has handed over still does when it is told to.
type Heirloom interface {
	// Replace makes grounds what decisions rest on, and returns how many sessions end of it.
	Replace(grounds json.RawMessage) (ended int, err error)
	// End ends all sessions as at a shutdown.
	End()
}

// Follow takes what the process says until it is gone; it then returns. Nothing can be
// recorded any more then, and h's sessions have to end.
func (s *Successor) Follow(h Heirloom) {
	var replacing sync.WaitGroup
	for {
		m, err := s.conn.read()
		if err != nil {
			break
		}
		switch m.Kind {
		case kindReceipt:
			s.mu.Lock()
			answer := s.waiting[m.ID]
			delete(s.waiting, m.ID)
			s.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		case kindGrounds:
			replacing.Wait() // in their order
			replacing.Go(func() {
				answer := message{Kind: kindAsked, ID: m.ID}
				var err error
				if answer.Ended, err = h.Replace(m.Grounds); err != nil {
					answer.Error = err.Error()
				}
				s.conn.write(answer)
			})
		case kindEnd:
			h.End()
		}
	}
	s.conn.c.Close()
	s.mu.Lock()
	s.gone = errGone
	for _, answer := range s.waiting {
		close(answer)
	}
	s.waiting = nil
	s.mu.Unlock()
	replacing.Wait()
}

// Close tells the process that no session is left here.
func (s *Successor) Close() { s.conn.c.Close() }

// Append has the process record e.
func (s *Successor) Append(ctx context.Context, e audit.Entry) (audit.Receipt, error) {
	answer := make(chan message, 1)
	s.mu.Lock()
	err := s.gone
	if err == nil && len(s.waiting) >= maxWaiting {
		err = fmt.Errorf("%d entries are waiting for the process that has it", len(s.waiting))
	}
	if err != nil {
		s.mu.Unlock()
		return audit.Receipt{}, fmt.Errorf("%w: %w", audit.ErrUnwritable, err)
	}
	s.next++
	id := s.next
	s.waiting[id] = answer
	s.mu.Unlock()
	if err := s.conn.write(message{Kind: kindEntry, ID: id, Entry: cross(e)}); err != nil {
		s.forget(id)
		return audit.Receipt{}, fmt.Errorf("%w: %w", audit.ErrUnwritable, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return audit.Receipt{}, fmt.Errorf("%w: %w", audit.ErrUnwritable, errGone)
		case m.Receipt == nil:
			return audit.Receipt{}, fmt.Errorf("%w: %s", audit.ErrUnwritable, m.Error)
		}
		return *m.Receipt, nil
	case <-ctx.Done():
		s.forget(id)
		return audit.Receipt{}, fmt.Errorf("%w: %w", audit.ErrUnwritable, ctx.Err())
	}
}

func (s *Successor) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

// Duplicate makes a file of the descriptor that c has, to be passed on. Unlike the File methods of
// package net it leaves the socket, which both share, as it is: were it made blocking, nobody
// could stop accepting on it.
func Duplicate(c syscall.Conn, name string) (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("duplicate %q: %w", name, err)
	}
	var fd int
	if controlled := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); controlled != nil {
		err = controlled
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
