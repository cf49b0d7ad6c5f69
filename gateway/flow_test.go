package gateway

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// What a model of a flow knows of each byte of the stream.
const (
	uncovered = 0
	dropped   = -1 // otherwise the number of an allowed operation
)

// flowModel checks what a flow passes on, byte for byte.
type flowModel struct {
	t        *testing.T
	flow     *flow
	bytes    [modelSize]int8 // what covers each
	heldFrom int64           // of an observed flow that owes a refusal; -1: it owes none
	passed   int64           // where the last byte passed on stood, plus one
	inserts  []insert        // placed and not passed on
	placed   sdk.OpID
}

const modelSize = 3 * sdk.WindowSize

func (m *flowModel) SetWriteDeadline(time.Time) error { return nil }

// modelByte is the stream's byte at an offset; those of refusals have the high bit set.
func modelByte(at int64) byte { return byte(at*31>>3) & 0x7f }

// write judges bytes as the flow passes them on.
func (m *flowModel) write(b []byte) error {
	moved := m.flow.moved
	if b[0]&0x80 != 0 {
		if len(m.inserts) == 0 || !bytes.Equal(b, m.inserts[0].bytes) || m.inserts[0].at != moved {
			m.t.Fatalf("a refusal is inserted at %d, expected %+v", moved, m.inserts)
		}
		m.inserts = m.inserts[1:]
		if m.flow.owed == 0 {
			m.heldFrom = -1
		}
		return nil
	}
	from := moved - int64(len(b))
	if from < m.passed || moved > m.flow.arrived {
		m.t.Fatalf("passed %d to %d after %d, when %d have arrived", from, moved, m.passed, m.flow.arrived)
	}
	for i, c := range b {
		at := from + int64(i)
		must := m.flow.mode == sdk.Held || m.heldFrom >= 0 && at >= m.heldFrom
		switch {
		case c != modelByte(at):
			m.t.Fatalf("byte %d was changed", at)
		case m.bytes[at] == dropped, m.bytes[at] == uncovered && must:
			m.t.Fatalf("byte %d was passed on, and is covered by %d", at, m.bytes[at])
		}
	}
	m.passed = moved
	return nil
}

// FuzzFlow has a flow receive, cover, drop and insert in the order of a tape, two bytes an
// instruction, and compares with a model that keeps a note for each byte.
func FuzzFlow(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1, 10})
	f.Add([]byte{0, 1, 10, 0, 5, 2, 7, 0, 20, 1, 3, 0, 200})
	f.Add([]byte{0, 1, 200, 3, 0, 0, 100, 1, 9, 0, 120})
	f.Add([]byte{1, 0, 30, 4, 0, 0, 30, 1, 40, 5, 0, 1, 20})
	f.Add([]byte{1, 4, 0, 4, 0, 0, 9, 5, 9, 5, 0, 2, 9, 0, 255, 1, 255})
	f.Add([]byte{0, 4, 0, 0, 50, 1, 10, 5, 0, 1, 20, 6, 0, 4, 0, 4, 0, 5, 3, 5, 0, 1, 99, 6, 1, 6, 0})
	f.Fuzz(func(t *testing.T, tape []byte) {
		if len(tape) == 0 || len(tape) > 500 {
			return
		}
		window, fd, err := wire.NewWindow(0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		defer window.Unmap()
		m := &flowModel{t: t, heldFrom: -1}
		m.flow = &flow{mode: sdk.Mode(tape[0] & 1), dst: m, window: window, patience: time.Minute}
		for tape = tape[1:]; len(tape) >= 2; tape = tape[2:] {
			m.do(tape[0]%7, int64(tape[1]))
		}
		// To the end: what is allowed must have passed once everything is covered and given.
		for m.flow.owed > len(m.flow.inserts) {
			m.do(5, 0)
		}
		for _, in := range slices.Clone(m.flow.inserts) {
			if !in.ready {
				m.give(in)
			}
		}
		if m.flow.arrived > m.flow.covered {
			m.cover(1, m.flow.arrived-m.flow.covered, false)
		}
		if n := len(m.flow.inserts); n > 0 && m.flow.inserts[n-1].at > m.flow.arrived {
			return // it waits for bytes that do not come
		}
		if m.flow.moved != m.flow.arrived || m.flow.owed != 0 || len(m.inserts) > 0 {
			t.Fatalf("%d of %d bytes have moved, %d refusals are owed", m.flow.moved, m.flow.arrived, m.flow.owed)
		}
	})
}

// do carries out one instruction.
func (m *flowModel) do(what byte, n int64) {
	f := m.flow
	switch what {
	case 0: // n bytes, or 256 times as many, arrive
		if n&1 == 1 {
			n <<= 8
		}
		room := f.room()
		n = min(n, int64(len(room)), modelSize-f.arrived)
		for i := range n {
			room[i] = modelByte(f.arrived + i)
		}
		if _, err := f.arrive(int(n)); err != nil {
			m.t.Fatal(err)
		}
	case 1, 2: // a span of one of four operations
		m.cover(sdk.OpID(n&3+1), n<<(n&7), what == 2)
	case 3: // an operation is aborted
		for at := f.moved; at < modelSize; at++ {
			if m.bytes[at] == int8(n&3+1) {
				m.bytes[at] = dropped
			}
		}
		f.dropRest(sdk.OpID(n&3 + 1))
	case 4: // a refusal is owed
		if f.owed == 0 {
			m.heldFrom = f.moved
		}
		if at := f.owe(); at != f.moved {
			m.t.Fatalf("owed from %d on, and %d have moved", at, f.moved)
		}
	case 5: // placed, at n bytes from where it may be
		if f.owed <= len(f.inserts) {
			return
		}
		m.placed++
		in := insert{op: m.placed, at: max(f.moved, lastPlace(f)) + n, bytes: []byte{0x80 | byte(n), 0xff}}
		m.inserts = append(m.inserts, in)
		f.place(in.op, in.at)
		f.keepPlaces() // as the next to move would
	case 6: // and given, whichever of those placed
		if waiting := slices.DeleteFunc(slices.Clone(f.inserts), func(in insert) bool { return in.ready }); len(waiting) > 0 {
			m.give(waiting[n%int64(len(waiting))])
		}
	}
}

func (m *flowModel) give(in insert) {
	i := slices.IndexFunc(m.inserts, func(x insert) bool { return x.op == in.op })
	if err := m.flow.insert(in.op, in.at, m.inserts[i].bytes); err != nil {
		m.t.Fatal(err)
	}
}

// lastPlace is where the last refusal given goes.
func lastPlace(f *flow) int64 {
	if n := len(f.inserts); n > 0 {
		return f.inserts[n-1].at
	}
	return 0
}

func (m *flowModel) cover(op sdk.OpID, n int64, drop bool) {
	f := m.flow
	from := f.covered
	for at := from; at < min(from+n, modelSize); at++ {
		if m.bytes[at] = int8(op); drop {
			m.bytes[at] = dropped
		}
	}
	if err := f.cover(op, n, drop); (err != nil) != (n <= 0) {
		m.t.Fatalf("cover %d bytes: %v", n, err)
	}
}

// slowPeer takes nothing until it is let go.
type slowPeer struct{ begun, letGo chan struct{} }

func (p slowPeer) SetWriteDeadline(time.Time) error { return nil }

func (p slowPeer) write([]byte) error {
	close(p.begun)
	<-p.letGo
	return nil
}

// The place of a refusal is told by whoever delivers the answers of all sessions: a client that
// does not read must not hold that up.
func TestPlaceBesideSlowPeer(t *testing.T) {
	window, fd, err := wire.NewWindow(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	defer window.Unmap()
	peer := slowPeer{make(chan struct{}), make(chan struct{})}
	f := &flow{mode: sdk.Observed, dst: peer, window: window, patience: time.Minute}
	moved := make(chan error, 1)
	go func() {
		_, err := f.arrive(10)
		moved <- err
	}()
	<-peer.begun
	placed := make(chan struct{})
	go func() {
		f.place(1, 12)
		close(placed)
	}()
	select {
	case <-placed:
	case <-time.After(patience):
		t.Error("the place waits for the peer")
	}
	close(peer.letGo)
	<-placed
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if err := f.insert(1, 12, nil); err != nil {
		t.Errorf("the place was not kept: %v", err)
	}
}
