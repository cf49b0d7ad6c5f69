package plugins

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"

	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// process is one running plugin process.
type process struct {
	config   Config
	cmd      *exec.Cmd
	client   *plugin.Client
	stderr   io.Closer // what the process writes goes here
	dir      string    // of the control socket, removed at the end
	measures []Measure
	modes    [2]sdk.Mode
	version  string
	pool     *pool
	readers  sync.WaitGroup
	done     chan struct{} // closed when the process is given up; cause is set before

	steps *net.UnixConn

	// Frames on their way to the plugin. Whoever finds nobody writing writes, and goes on as
	// long as others have added frames meanwhile: under load many share one system call.
	queue   sync.Mutex
	queued  []byte
	spare   []byte
	writing bool
	linger  *time.Timer // sends what waits for company, see sendSoon

	mu       sync.Mutex
	sessions map[uint64]*Inspection
	next     uint64
	cause    error
}

// errClosed is the cause of a process's end when the gateway wanted it.
var errClosed = errors.New("the gateway is shutting down")

// open begins a session of a configured service.
func (p *process) open(service uint32, owner Owner) (*Inspection, []sdk.Step, error) {
	i := newInspection(p, owner)
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return nil, nil, p.cause
	}
	p.next++
	i.id = p.next
	p.sessions[i.id] = i
	p.mu.Unlock()
	a, err := i.ask(wire.Open{Session: i.id, Service: service}, slotControl, p.send)
	if err != nil {
		i.Close()
		return nil, nil, err
	}
	return i, a.List, nil
}

// clock is a time in ns that never steps, and never is 0.
func clock() int64 { return 1 + int64(time.Since(began)) }

var began = time.Now()

// frame is a frame the gateway sends.
type frame interface{ Append([]byte) []byte }

func (p *process) send(f frame) error {
	p.queue.Lock()
	p.queued = f.Append(p.queued)
	return p.flush()
}

// sendSoon sends f together with the next frame, or by itself after lingerTime: for
// frames nobody waits for. Waking the plugin once for two frames costs half.
func (p *process) sendSoon(f frame) {
	p.queue.Lock()
	defer p.queue.Unlock()
	if len(p.queued) == 0 && !p.writing {
		p.linger.Reset(lingerTime)
	}
	p.queued = f.Append(p.queued)
}

const lingerTime = time.Millisecond

// flush writes what is queued, unless somebody is at it. p.queue is held, and released.
func (p *process) flush() error {
	if p.writing {
		p.queue.Unlock()
		return nil
	}
	p.writing = true
	var err error
	for len(p.queued) > 0 && err == nil {
		out := p.queued
		p.queued = p.spare[:0]
		p.queue.Unlock()
		_, err = p.steps.Write(out)
		p.queue.Lock()
		p.spare = out
	}
	p.writing = false
	p.queue.Unlock()
	if err != nil {
		return p.kill(fmt.Errorf("write to plugin %s: %w", p.config.Protocol, err))
	}
	return nil
}

// receive hands answers to the sessions that wait for them. It never waits for a session:
// the plugin can always write, and so always reads on.
func (p *process) receive() {
	r := bufio.NewReaderSize(p.steps, 64<<10)
	for {
		f, err := wire.Read(r)
		if err != nil {
			p.kill(fmt.Errorf("read from plugin %s: %w", p.config.Protocol, err))
			return
		}
		a, ok := f.(wire.Steps) // a.Err concerns one session alone
		if !ok {
			p.kill(fmt.Errorf("read from plugin %s: a %T is not for the gateway", p.config.Protocol, f))
			return
		}
		p.mu.Lock()
		i := p.sessions[a.Session]
		p.mu.Unlock()
		if i == nil || !i.deliver(a) {
			p.kill(fmt.Errorf("read from plugin %s: an answer nobody asked for", p.config.Protocol))
			return
		}
	}
}

// watch kills the process when it leaves an answer owed for longer than Patience.
func (p *process) watch() {
	tick := time.NewTicker(p.config.Patience / 8)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		if p.keepsWaiting(clock() - int64(p.config.Patience)) {
			p.kill(fmt.Errorf("wait for plugin %s: no answer for %v", p.config.Protocol, p.config.Patience))
			return
		}
	}
}

// keepsWaiting reports whether any session has waited for an answer since before then.
func (p *process) keepsWaiting(then int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.sessions {
		for s := range i.asked {
			if at := i.asked[s].Load(); at != 0 && at < then {
				return true
			}
		}
	}
	return false
}

// kill gives the process up for the reason given, unless it was given up before, and
// returns the reason that counts. It does not wait.
func (p *process) kill(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = cause
		close(p.done)
	}
	return p.cause
}

// bury ends the process, waits for it and the goroutines around it, and frees what it had.
// Sessions still hold windows then; they go with the last of them.
func (p *process) bury() {
	p.linger.Stop()
	p.mu.Lock()
	for _, i := range p.sessions {
		i.owner.Ended()
	}
	p.mu.Unlock()
	// Both sockets first: a descriptor that the plugin has sent us unasked, its end of a pipe
	// for example, stays open as long as it lies there unread.
	p.steps.Close()
	p.pool.close()
	if p.cmd.Process != nil {
		p.cmd.Process.Kill() // it has nothing to save, and may not listen
	}
	p.client.Kill()
	p.stderr.Close()
	p.readers.Wait()
	os.RemoveAll(p.dir)
}
