package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cordon/plugins"
	"cordon/plugins/sdk"
)

// flow is one direction of a session. Its offsets count the bytes of the direction from 0:
//
//	moved   bytes passed on or dropped          (held:     moved ≤ covered)
//	covered bytes that steps cover              (observed: moved = arrived, usually)
//	arrived bytes received; moved ≤ arrived
//
// covered may be ahead of arrived: those bytes move without waking the plugin. The flow's
// own goroutine reads and notifies; move may be called by either.
type flow struct {
	dir  sdk.Direction
	mode sdk.Mode
	src  source // nil if nobody sends
	dst  sink   // nil if nothing may be passed on
	insp *plugins.Inspection

	mu      sync.Mutex
	window  *plugins.Window // holds the bytes from low to arrived; nil if there are none
	arrived int64
	covered int64
	moved   int64
	came    atomic.Int64 // arrived; this and the next two are for those who must not wait for mu
	shown   atomic.Int64 // covered
	sent    atomic.Int64 // moved, once the bytes are passed on
	parts   []part       // what covers the bytes from moved to covered, in order
	inserts []insert     // refusals that have a place, in its order; see keepPlaces
	owed    int          // refusals this flow must still insert; an observed flow is held meanwhile
	over    bool         // nothing more moves
	ended   bool         // the source has ended

	heard    time.Time     // when bytes last arrived; own goroutine
	patience time.Duration // for the sink to take what is passed on
	wrote    time.Time     // when the write deadline was last set
	passed   int64         // bytes written, refusals included

	placing sync.Mutex // guards placed; nothing is waited for under it
	placed  []insert   // places there is word of, to be kept before anything else moves

	waking  sync.Mutex // guards the read deadline, see expect
	woken   bool
	waits   time.Duration // for which the deadline was set; 0: there is none
	renewed time.Time     // when it was set
}

// source is where a flow's bytes come from.
type source interface {
	read(*flow) (int, error)
	SetReadDeadline(time.Time) error
}

// sink is where they go. Both may wait, at most until the write deadline.
type sink interface {
	write([]byte) error
	SetWriteDeadline(time.Time) error
}

// part says what happens to covered bytes up to end.
type part struct {
	end  int64
	op   sdk.OpID
	drop bool
}

// insert is a refusal and its place. Nothing moves past the place before the refusal is there.
type insert struct {
	op    sdk.OpID
	at    int64
	bytes []byte
	ready bool
}

// maxInserts bounds refusals waiting for their place.
const maxInserts = sdk.MaxOpen

// low is the offset of the first byte that must still be kept: it has not moved, or the
// plugin has not covered it and must be shown it.
func (f *flow) low() int64 { return min(f.moved, f.covered) }

// take gets a window, if need be with a wait; only f's own goroutine may.
func (f *flow) take(wait bool) error {
	w, err := f.insp.TakeWindow(wait)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.window = w
	f.mu.Unlock()
	return nil
}

// give returns the window; only f's own goroutine may.
func (f *flow) give() {
	f.mu.Lock()
	w := f.window
	f.window = nil
	f.mu.Unlock()
	if w != nil {
		f.insp.GiveWindow(w)
	}
}

// room is the part of the window where the next bytes go.
func (f *flow) room() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.window.Bytes(f.arrived, f.low()+sdk.WindowSize)
}

// ahead reports whether everything has moved and there is room for more, so that the plugin
// may see it a little later.
func (f *flow) ahead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved == f.arrived && f.owed == 0 && f.arrived-f.low() < sdk.WindowSize/8
}

// settle returns the window if nothing in it is needed.
func (f *flow) settle() {
	f.mu.Lock()
	done := f.low() >= f.arrived
	f.mu.Unlock()
	if done && f.window != nil {
		f.give()
	}
}

// full reports whether the window has no room and only the plugin could make some.
func (f *flow) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.arrived-f.low() >= sdk.WindowSize
}

// arrive counts n bytes just read and moves what may move. It reports whether the plugin
// has to be told.
func (f *flow) arrive(n int) (tell bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.arrived += int64(n)
	f.came.Store(f.arrived)
	err = f.move()
	return f.covered < f.arrived, err
}

// cover adds a span of op, to be passed on or dropped.
func (f *flow) cover(op sdk.OpID, n int64, drop bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n <= 0 || n > sdk.Unlimited-f.covered {
		return violates("a span of %d bytes at %d", n, f.covered)
	}
	f.covered += n
	f.shown.Store(f.covered)
	if last := len(f.parts) - 1; last >= 0 && f.parts[last].op == op && f.parts[last].drop == drop {
		f.parts[last].end = f.covered
	} else {
		f.parts = append(f.parts, part{f.covered, op, drop})
	}
	return f.move()
}

// dropRest turns what is covered for op and has not moved into bytes to be dropped.
func (f *flow) dropRest(op sdk.OpID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.parts {
		if f.parts[i].op == op {
			f.parts[i].drop = true
		}
	}
}

// owe announces a refusal and returns the offset behind which it will be inserted: an
// observed flow is held from there on.
func (f *flow) owe() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owed++
	return f.moved
}

// place keeps the place of op's refusal, of which there is word before the refusal itself is
// carried out: meanwhile later answers may cover more, and that must not move first. Whoever
// calls it has other sessions' answers to deliver, so it does not wait for mu, under which a
// slow peer is written to.
func (f *flow) place(op sdk.OpID, at int64) {
	f.placing.Lock()
	defer f.placing.Unlock()
	if len(f.placed) < maxInserts {
		f.placed = append(f.placed, insert{op: op, at: at})
	}
}

// keepPlaces takes in the places there is word of. One that cannot be kept is left out, and
// insert says so. f.mu is held.
func (f *flow) keepPlaces() {
	f.placing.Lock()
	defer f.placing.Unlock()
	for _, in := range f.placed {
		n := len(f.inserts)
		if in.at >= f.moved && n < maxInserts && (n == 0 || f.inserts[n-1].at <= in.at) {
			f.inserts = append(f.inserts, in)
		}
	}
	f.placed = nil
}

// insert puts the refusal of op in its place, at once if that has been reached.
func (f *flow) insert(op sdk.OpID, at int64, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keepPlaces()
	for i := range f.inserts {
		if in := &f.inserts[i]; in.op == op && in.at == at && !in.ready {
			in.bytes, in.ready = b, true
			return f.move()
		}
	}
	return violates("a refusal at %d, where %d bytes have moved: out of order, or too many of them", at, f.moved)
}

// stop makes nothing move any more but the refusals that are owed.
func (f *flow) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
}

// quiet reports whether f stands between two operations or replies: no refusal is owed, and
// no byte is missing or waiting. A span without end is always between.
func (f *flow) quiet() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owed == 0 && f.low() >= f.arrived && (f.covered == f.arrived || f.covered == sdk.Unlimited)
}

// settled reports whether no refusal is owed.
func (f *flow) settled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owed == 0
}

// move passes on, drops and inserts what can be, in order. f.mu is held: the place where a
// refusal goes must not move away while it is written.
func (f *flow) move() error {
	for {
		f.sent.Store(f.moved)
		f.keepPlaces()
		for len(f.inserts) > 0 && f.inserts[0].ready && f.inserts[0].at <= f.moved {
			b := f.inserts[0].bytes
			f.inserts = f.inserts[1:]
			f.owed--
			if err := f.pass(b); err != nil {
				return err
			}
		}
		if f.over {
			return nil
		}
		end := f.arrived
		if f.mode == sdk.Held || f.owed > 0 {
			end = min(end, f.covered)
		}
		if len(f.inserts) > 0 {
			end = min(end, f.inserts[0].at)
		}
		for len(f.parts) > 0 && f.parts[0].end <= f.moved {
			f.parts = f.parts[1:]
		}
		drop := false
		if len(f.parts) > 0 {
			end, drop = min(end, f.parts[0].end), f.parts[0].drop
		} else {
			f.parts = nil // let go of the array
		}
		if end <= f.moved {
			return nil
		}
		from := f.moved
		f.moved = end
		if drop {
			continue
		}
		if err := f.pass(f.window.Bytes(from, end)); err != nil {
			return err
		}
	}
}

// errNoPeer is a byte that may be passed on where there is nobody to take it. It does
// not happen: without a device every operation is refused.
var errNoPeer = errors.New("pass on bytes: there is no connection to the device")

func (f *flow) pass(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if f.dst == nil {
		return errNoPeer
	}
	if now := time.Now(); now.Sub(f.wrote) > f.patience/4 {
		f.dst.SetWriteDeadline(now.Add(f.patience))
		f.wrote = now
	}
	f.passed += int64(len(b))
	return f.dst.write(b)
}
