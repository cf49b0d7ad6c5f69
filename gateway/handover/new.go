package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Predecessor is the process that hands over, seen by the one that takes over. After Inherit:
// Prepare or Refuse, Take, then Serve.
type Predecessor struct {
	Offer Offer
	conn  *conn
	files map[string]*os.File

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan message // for how many sessions ended
	gone    chan struct{}           // closed when it has ended
}

// offerTimeout is for the first message, which is on its way.
const offerTimeout = 10 * time.Second

// Inherit returns the process that started this one to take over, or nil. Nothing that this
// process starts may come by what it inherits.
func Inherit() (*Predecessor, error) {
	text, found := os.LookupEnv(descriptorEnv)
	if !found {
		return nil, nil
	}
	os.Unsetenv(descriptorEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("take over: %s=%q is no descriptor", descriptorEnv, text)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "predecessor")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("take over: %w", err)
	}
	p := &Predecessor{conn: &conn{c: c}, files: map[string]*os.File{}, waiting: map[uint64]chan message{}, gone: make(chan struct{})}
	c.SetReadDeadline(time.Now().Add(offerTimeout))
	m, err := p.conn.read()
	c.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("take over: %w", err)
	case m.Kind != kindOffer || m.Offer == nil:
		return nil, fmt.Errorf("take over: the old process said %q, expected %q", m.Kind, kindOffer)
	case m.Offer.Version != version:
		return nil, fmt.Errorf("take over: the old process speaks version %d, this one %d: restart the gateway", m.Offer.Version, version)
	}
	p.Offer = *m.Offer
	for i, name := range p.Offer.Names {
		unix.CloseOnExec(fd + 1 + i)
		if same := p.files[name]; same != nil {
			same.Close()
		}
		p.files[name] = os.NewFile(uintptr(fd+1+i), name)
	}
	return p, nil
}

// File returns one of the files that came with the offer, or nil. It is the caller's then.
func (p *Predecessor) File(name string) *os.File {
	f := p.files[name]
	delete(p.files, name)
	return f
}

// Listener is File for a listening socket; nil if there is none of that name.
func (p *Predecessor) Listener(name string) (net.Listener, error) {
	f := p.File(name)
	if f == nil {
		return nil, nil
	}
	defer f.Close() // net.FileListener makes its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over the listener %q: %w", name, err)
	}
	return l, nil
}

// Refuse says why this process cannot take over.
func (p *Predecessor) Refuse(why json.RawMessage) {
	p.conn.write(message{Kind: kindRefused, Why: why})
	p.conn.c.Close()
}

// Take says that everything is ready but the log, and waits until that is this process's. What
// came with the offer and was not asked for is closed. It returns how many sessions the old
// process still has.
func (p *Predecessor) Take(ctx context.Context) (held map[string]int, err error) {
	for _, f := range p.files {
		f.Close()
	}
	clear(p.files)
	if err := p.conn.write(message{Kind: kindPrepared}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { p.conn.c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	m, err := p.conn.read()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, io.EOF):
		return nil, errors.New("the old process ended, or goes on alone, and has not handed over")
	case err != nil:
		return nil, fmt.Errorf("wait for the old process to hand over: %w", err)
	case m.Kind != kindYours:
		return nil, fmt.Errorf("the old process said %q, expected %q", m.Kind, kindYours)
	}
	return m.Held, nil
}

// Taken says that the log is open. From here on this process is the gateway; that the other one
// has ended already is no error.
func (p *Predecessor) Taken() { p.conn.write(message{Kind: kindTaken}) }

// Successions are what a predecessor tells while its last sessions go on.
type Successions struct {
	Log     Appender
	Held    func(map[string]int) // how many sessions it has, by gateway.Route.Name
	Leading func()               // it leaves the service to this process, or is gone
}

// appending bounds entries of the old process that wait for the disk at a time.
const appending = 256

// appendTimeout is longer than the old process waits for a receipt.
const appendTimeout = 10 * time.Second

// Serve records what the old process decides until that has ended. Then it has no sessions.
func (p *Predecessor) Serve(s Successions) {
	lead := sync.OnceFunc(s.Leading)
	slots := make(chan struct{}, appending)
	var working sync.WaitGroup
	for {
		m, err := p.conn.read()
		if err != nil {
			break
		}
		switch m.Kind {
		case kindLeading:
			lead()
		case kindHeld:
			s.Held(m.Held)
		case kindEntry:
			if m.Entry == nil {
				continue
			}
			slots <- struct{}{} // given back within appendTimeout
			working.Go(func() {
				p.conn.write(record(s.Log, m))
				<-slots
			})
		case kindAsked:
			p.mu.Lock()
			answer := p.waiting[m.ID]
			delete(p.waiting, m.ID)
			p.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		}
	}
	p.conn.c.Close()
	working.Wait()
	lead()
	s.Held(nil)
	close(p.gone)
}

func record(log Appender, m message) message {
	ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
	defer cancel()
	answer := message{Kind: kindReceipt, ID: m.ID}
	receipt, err := log.Append(ctx, m.Entry.whole())
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.Receipt = &receipt
	}
	return answer
}

// Gone is closed when the old process has no sessions any more.
func (p *Predecessor) Gone() <-chan struct{} { return p.gone }

// Replace tells the old process what decisions rest on now, and waits until it has asked its
// sessions again. It returns how many end. When ctx ends first, nobody knows.
func (p *Predecessor) Replace(ctx context.Context, grounds json.RawMessage) (ended int, err error) {
	answer := make(chan message, 1)
	p.mu.Lock()
	p.next++
	id := p.next
	p.waiting[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
	}()
	if err := p.conn.write(message{Kind: kindGrounds, ID: id, Grounds: grounds}); err != nil {
		select {
		case <-p.gone: // mostly: its last session was over, and Serve is about to read that
			return 0, nil
		case <-ctx.Done():
			return 0, err
		}
	}
	select {
	case m := <-answer:
		if m.Error != "" {
			return m.Ended, errors.New(m.Error)
		}
		return m.Ended, nil
	case <-p.gone:
		return 0, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("tell the old process what decisions rest on: %w", ctx.Err())
	}
}

// End has the old process end its sessions as at a shutdown, and waits for that until ctx ends.
func (p *Predecessor) End(ctx context.Context) {
	p.conn.write(message{Kind: kindEnd})
	select {
	case <-p.gone:
	case <-ctx.Done():
	}
}

// Close leaves the old process alone, whose sessions end refused.
func (p *Predecessor) Close() { p.conn.c.Close() }
