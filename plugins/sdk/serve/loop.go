package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// loop serves the sessions of this process, one frame after the other: inspecting is
// short, and an inspector needs no lock.
type loop struct {
	conn net.Conn

	mu       sync.Mutex // guards what other goroutines bring
	services map[uint32]func() sdk.Inspector
	windows  map[uint32]*wire.Window

	sessions map[uint64]*session // owned by run
	out      []byte              // owned by run
}

// session is one inspected session.
type session struct {
	inspector sdk.Inspector
	steps     sdk.Steps
	refused   []wire.Refuse // not yet told, see tellRefused
}

func newLoop(conn net.Conn) *loop {
	return &loop{
		conn:     conn,
		services: map[uint32]func() sdk.Inspector{},
		windows:  map[uint32]*wire.Window{},
		sessions: map[uint64]*session{},
	}
}

func (l *loop) configure(service uint32, open func() sdk.Inspector) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.services[service] = open
}

// receiveWindows maps windows as the gateway makes them. A window lives as long as the
// process.
func (l *loop) receiveWindows(c *net.UnixConn) error {
	for {
		err := wire.ReceiveWindow(c, func(w *wire.Window) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.windows[w.ID] = w
		})
		if err != nil {
			return ended(err)
		}
	}
}

// run answers frames until the gateway closes the channel. Frames that came together are
// answered together.
func (l *loop) run() error {
	r := bufio.NewReaderSize(l.conn, 64<<10)
	for {
		f, err := wire.Read(r)
		if err != nil {
			return ended(err)
		}
		if err := l.answer(f); err != nil {
			return err
		}
		if len(l.out) == 0 || r.Buffered() > 0 && len(l.out) < answerBatch {
			continue // a frame that is cut is on its way: the gateway writes whole ones
		}
		if _, err := l.conn.Write(l.out); err != nil {
			return ended(err)
		}
		l.out = l.out[:0]
	}
}

// answerBatch is the bytes of answers after which they are sent, whatever else has come.
const answerBatch = 64 << 10

func (l *loop) answer(f any) error {
	var a wire.Steps
	switch f := f.(type) {
	case wire.Open:
		l.mu.Lock()
		open := l.services[f.Service]
		l.mu.Unlock()
		if open == nil {
			return fmt.Errorf("open session %d: service %d is not configured", f.Session, f.Service)
		}
		s := &session{inspector: open()}
		l.sessions[f.Session] = s
		s.steps.Begin(sdk.Forward)
		s.inspector.Inspect(sdk.Forward, nil, false, &s.steps)
		a = wire.Steps{Session: f.Session, To: wire.TypeOpen, List: s.steps.List()}
	case wire.Notice:
		s, err := l.session(f.Session)
		if err != nil {
			return err
		}
		l.mu.Lock()
		w := l.windows[f.Window]
		l.mu.Unlock()
		data, err := uncovered(w, s.steps.Covered(f.Dir), f.Arrived)
		if err != nil {
			return err
		}
		s.inspect(f.Dir, data, f.End)
		a = wire.Steps{Session: f.Session, To: wire.TypeNotice, Dir: f.Dir, More: s.steps.Full(), List: s.steps.List()}
	case wire.Refuse:
		s, err := l.session(f.Session)
		if err != nil {
			return err
		}
		s.steps.Begin(sdk.Forward)
		s.refused = append(s.refused, f)
		s.tellRefused()
		a = wire.Steps{Session: f.Session, To: wire.TypeRefuse, Dir: f.Op.Direction(), List: s.steps.List()}
	case wire.Close:
		delete(l.sessions, f.Session)
		return nil
	default:
		return fmt.Errorf("answer the gateway: a %T is not for a plugin", f)
	}
	before := len(l.out)
	l.out = a.Append(l.out)
	if len(a.List) > sdk.MaxSteps || len(l.out)-before > wire.MaxFrame {
		a.List = []sdk.Step{{Kind: sdk.StepEnd, Reason: "the inspector's answer is too long"}}
		l.out = a.Append(l.out[:before])
	}
	return nil
}

// inspect shows data. Where a refusal waits for bytes that have moved already, it shows those
// first, so that the inspector hears of it before it sees what follows.
func (s *session) inspect(dir sdk.Direction, data []byte, end bool) {
	s.steps.Begin(dir)
	from := s.steps.Covered(dir)
	if len(s.refused) > 0 && s.refused[0].Op.Direction() != dir {
		if moved := s.refused[0].After - from; moved > 0 && moved < int64(len(data)) {
			s.inspector.Inspect(dir, data[:moved:moved], false, &s.steps)
			s.tellRefused()
			covered := s.steps.Covered(dir) - from
			if covered >= int64(len(data)) && !end {
				return
			}
			data = data[min(covered, int64(len(data))):]
		}
	}
	s.inspector.Inspect(dir, data, end, &s.steps)
	s.tellRefused()
}

// tellRefused passes refusals on in order, each as soon as the asker's direction is covered
// up to the bytes that had moved when the operation was refused: only then can the
// inspector know whether it stands between two replies.
func (s *session) tellRefused() {
	for len(s.refused) > 0 {
		f := s.refused[0]
		if s.steps.Covered(f.Op.Direction().Opposite()) < f.After {
			return
		}
		s.refused = s.refused[1:]
		s.inspector.Refuse(f.Op, f.Why, &s.steps)
	}
}

func (l *loop) session(id uint64) (*session, error) {
	s := l.sessions[id]
	if s == nil {
		return nil, fmt.Errorf("find session %d: it is not open", id)
	}
	return s, nil
}

func uncovered(w *wire.Window, covered, arrived int64) ([]byte, error) {
	switch {
	case arrived <= covered: // only the end of the stream is new
		return nil, nil
	case w == nil || arrived-covered > sdk.WindowSize:
		return nil, fmt.Errorf("read a window: no window holds the bytes %d to %d", covered, arrived)
	}
	return w.Bytes(covered, arrived), nil
}

// ended turns the gateway's going away into no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
