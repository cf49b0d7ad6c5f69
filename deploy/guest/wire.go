package guest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Wire is the host's end of a cable to one of the guest's network cards. It sees every frame.
type Wire struct {
	MAC         string // of the card
	guest, host string // sockets
	conn        *net.UnixConn
	reading     sync.WaitGroup

	mu     sync.Mutex
	seen   func(frame []byte)
	far    *Wire
	frames int
}

// NewWire makes the cable. Close ends it.
func NewWire(dir, name, mac string) (*Wire, error) {
	w := &Wire{MAC: mac, guest: filepath.Join(dir, name+".guest"), host: filepath.Join(dir, name+".host")}
	os.Remove(w.host)
	var err error
	if w.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.host, Net: "unixgram"}); err != nil {
		return nil, err
	}
	w.reading.Go(w.read)
	return w, nil
}

// Close ends it. It waits until no frame is looked at any more.
func (w *Wire) Close() error {
	err := w.conn.Close()
	w.reading.Wait()
	return err
}

// Watch shows every frame that the guest sends to f, from now on. Frames counts them.
func (w *Wire) Watch(f func(frame []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = f
}

// Frames is how many the guest has sent here.
func (w *Wire) Frames() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames
}

// Join connects two cables: what one card sends, the other gets.
func Join(a, b *Wire) {
	for _, w := range [][2]*Wire{{a, b}, {b, a}} {
		w[0].mu.Lock()
		w[0].far = w[1]
		w[0].mu.Unlock()
	}
}

func (w *Wire) read() {
	b := make([]byte, 1<<16)
	for {
		n, err := w.conn.Read(b)
		if err != nil {
			return // closed
		}
		w.mu.Lock()
		seen, far := w.seen, w.far
		w.frames++
		w.mu.Unlock()
		if seen != nil {
			seen(bytes.Clone(b[:n]))
		}
		if far != nil {
			far.Send(b[:n])
		}
	}
}

// Send gives the guest's card a frame. It reports whether the guest takes it: there may be
// nobody yet, and a queue that is full drops.
func (w *Wire) Send(frame []byte) bool {
	w.conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := w.conn.WriteTo(frame, &net.UnixAddr{Name: w.guest, Net: "unixgram"})
	return err == nil
}
