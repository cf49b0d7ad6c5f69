package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// client is the TLS side of a session. While it waits for bytes it holds no window; once
// there is one, it reads on as long as bytes are there, so that the plugin is told once
// and the device written to once.
type client struct {
	*tls.Conn
	raw *rawConn
	one [1]byte
}

func newClient(c *net.TCPConn, config *tls.Config) (*client, error) {
	raw, err := newRawConn(c)
	if err != nil {
		return nil, err
	}
	return &client{Conn: tls.Server(raw, config), raw: raw}, nil
}

// read brings bytes into f's window and returns how many. It waits for the first.
func (c *client) read(f *flow) (int, error) {
	n := 0
	if f.window == nil {
		got, err := c.Conn.Read(c.one[:])
		if got == 0 {
			return 0, err
		}
		if err := f.take(true); err != nil {
			return 0, err
		}
		f.room()[0] = c.one[0]
		n = 1
	}
	defer func() { c.raw.eager = false }()
	for room := f.room(); n < len(room); {
		c.raw.eager = n > 0
		got, err := c.Conn.Read(room[n:])
		n += got
		if errors.Is(err, errNothingYet) {
			return n, nil
		}
		if err != nil || n < fewBytes {
			return n, err
		}
	}
	return n, nil
}

// fewBytes is what is not worth looking for more: small messages come one at a time, and
// the next wait finds what came meanwhile.
const fewBytes = 8 << 10

// write sends b as one or several records, but to the kernel in one piece.
func (c *client) write(b []byte) error {
	if len(b) <= maxRecord {
		_, err := c.Conn.Write(b)
		return err
	}
	c.raw.gather()
	_, err := c.Conn.Write(b)
	return errors.Join(err, c.raw.flush())
}

// maxRecord is the plaintext one TLS record holds (RFC 8446 section 5.1).
const maxRecord = 16 << 10

// closeWrite tells the peer that nothing more will come.
func (c *client) closeWrite() error {
	err := c.Conn.CloseWrite()
	return errors.Join(err, c.raw.CloseWrite())
}

// discard reads and drops what the client still sends, at most until the deadline: closing a
// socket with unread bytes would reset it, and the last refusal with it.
func (c *client) discard(until time.Time) {
	c.raw.SetReadDeadline(until)
	buf := make([]byte, 4<<10)
	for time.Now().Before(until) {
		if _, err := c.Conn.Read(buf); err != nil {
			return
		}
	}
}

// cut closes the connection at once, without a word of TLS.
func (c *client) cut() { c.raw.Close() }

// rawConn is the TCP connection under a TLS connection. In eager mode a read that would
// have to wait returns errNothingYet instead.
type rawConn struct {
	*net.TCPConn
	sys   syscall.RawConn
	eager bool

	// Of an eager read; here so that it allocates nothing.
	buf  []byte
	n    int
	err  error
	poll func(fd uintptr) bool

	// Reading may write, too (a key update), so writes take turns.
	writing sync.Mutex
	out     *[]byte // gathered writes; nil: write through
}

// errNothingYet is a temporary error, which crypto/tls does not remember.
var errNothingYet = net.Error(nothingYet{})

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

func newRawConn(c *net.TCPConn) (*rawConn, error) {
	sys, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &rawConn{TCPConn: c, sys: sys}
	r.poll = r.readNow
	return r, nil
}

func (r *rawConn) Read(b []byte) (int, error) {
	if !r.eager {
		return r.TCPConn.Read(b)
	}
	r.buf = b
	if err := r.sys.Read(r.poll); err != nil {
		return 0, err
	}
	r.buf = nil
	if r.n == 0 && r.err == nil {
		// The peer has closed. Leave it to the next waiting read to say so.
		return 0, errNothingYet
	}
	return max(r.n, 0), r.err
}

func (r *rawConn) readNow(fd uintptr) bool {
	r.n, r.err = readFD(fd, r.buf)
	if r.err == syscall.EAGAIN {
		r.err = errNothingYet
	}
	return true
}

// readFD reads without waiting and takes up interrupted reads.
func readFD(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// batches hold the records of one large write.
var batches = sync.Pool{New: func() any { b := make([]byte, 0, 300<<10); return &b }}

func (r *rawConn) gather() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.out = batches.Get().(*[]byte)
}

func (r *rawConn) flush() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	out := r.out
	r.out = nil
	_, err := r.TCPConn.Write(*out)
	*out = (*out)[:0]
	batches.Put(out)
	return err
}

func (r *rawConn) Write(b []byte) (int, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.out != nil {
		*r.out = append(*r.out, b...)
		return len(b), nil
	}
	return r.TCPConn.Write(b)
}
