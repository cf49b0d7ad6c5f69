package plugins

import (
	"errors"
	"sync/atomic"

	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// Window is memory that a plugin can read and only the gateway can write.
type Window = wire.Window

// Owner is told at once what concerns an Inspection it has opened. Its methods must not
// wait for anything.
type Owner interface {
	// Ended says that the plugin's process has ended. It is called once, unless the
	// Inspection is closed before.
	Ended()

	// Placed says where the refusal of op goes in the asker's direction: an answer with it
	// has come, and no later answer has been delivered yet.
	Placed(op sdk.OpID, at int64)
}

// Inspection is one session as its plugin sees it. Notify may be in flight once per
// direction, and Refuse once per direction of the operation refused, all at the same time.
// All return the plugin's end as an error soon after it happens: within Config.Patience for
// a plugin that hangs.
type Inspection struct {
	process *process
	id      uint64
	owner   Owner
	answers [slots]chan wire.Steps
	asked   [slots]atomic.Int64 // when the answer that is awaited was asked for, by clock; 0: none is
}

// Slots for answers: one per frame that can be in flight.
const (
	slotNotice  = 0 // + direction
	slotControl = 2 // Open, then Refuse; + direction
	slots       = 4
)

func newInspection(p *process, owner Owner) *Inspection {
	i := &Inspection{process: p, owner: owner}
	for s := range i.answers {
		i.answers[s] = make(chan wire.Steps, 1)
	}
	return i
}

// Modes returns the modes the plugin names for the two directions.
func (i *Inspection) Modes() [2]sdk.Mode { return i.process.modes }

// Err returns why the plugin has ended, or nil while it runs.
func (i *Inspection) Err() error {
	i.process.mu.Lock()
	defer i.process.mu.Unlock()
	return i.process.cause
}

// Notify shows the plugin the bytes of dir up to the offset arrived, in w, and returns its
// steps. more says that it has more to say about the same bytes: notify again. With
// soon, the plugin may see them lingerTime later: for bytes that have moved already.
func (i *Inspection) Notify(dir sdk.Direction, w *Window, arrived int64, end, soon bool) (steps []sdk.Step, more bool, err error) {
	f := wire.Notice{Session: i.id, Dir: dir, Arrived: arrived, End: end}
	if w != nil {
		f.Window = w.ID
	}
	send := i.process.send
	if soon {
		send = func(f frame) error { i.process.sendSoon(f); return nil }
	}
	a, err := i.ask(f, slotNotice+int(dir), send)
	return a.List, a.More, err
}

// Refuse tells the plugin that op is refused, and returns its steps: usually the refusal for
// the asker, which may also come with a later answer. after is the offset up to which bytes
// of the asker's direction have moved.
func (i *Inspection) Refuse(op sdk.OpID, after int64, why sdk.Refusal) ([]sdk.Step, error) {
	a, err := i.ask(wire.Refuse{Session: i.id, Op: op, After: after, Why: why}, slotControl+int(op.Direction()), i.process.send)
	return a.List, err
}

// TakeWindow returns a window. If none is free it returns ErrNoWindow, with wait after
// windowTimeout. Give it back with GiveWindow.
func (i *Inspection) TakeWindow(wait bool) (*Window, error) {
	w, err := i.process.pool.take(wait)
	if errors.Is(err, errNotMapped) {
		return nil, i.process.kill(err)
	}
	return w, err
}

// GiveWindow returns a window; it must not be used afterwards.
func (i *Inspection) GiveWindow(w *Window) { i.process.pool.give(w) }

// Close ends the session. Nothing may be in flight.
func (i *Inspection) Close() {
	i.process.mu.Lock()
	delete(i.process.sessions, i.id)
	dead := i.process.cause != nil
	i.process.mu.Unlock()
	if !dead {
		i.process.send(wire.Close{Session: i.id}) // an error has ended the process already
	}
}

func (i *Inspection) ask(f frame, slot int, send func(frame) error) (wire.Steps, error) {
	p := i.process
	i.asked[slot].Store(clock())
	if err := send(f); err != nil {
		return wire.Steps{}, err
	}
	select {
	case a := <-i.answers[slot]:
		return a, a.Err
	case <-p.done:
		return wire.Steps{}, i.Err()
	}
}

// deliver passes an answer to whoever waits for it, and reports whether somebody does.
func (i *Inspection) deliver(a wire.Steps) bool {
	slot := slotControl + int(a.Dir)
	if a.To == wire.TypeNotice {
		slot = slotNotice + int(a.Dir)
	}
	if i.asked[slot].Swap(0) == 0 {
		return false
	}
	for s := range a.List {
		if step := &a.List[s]; step.Kind == sdk.StepRefusal {
			i.owner.Placed(step.Op, step.At)
		}
	}
	i.answers[slot] <- a // never blocks: room for one, and one is awaited
	return true
}
