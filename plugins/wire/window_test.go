package wire

import (
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cordon/plugins/sdk"
)

// A window wraps: WindowSize bytes from any offset are one slice.
func TestWindowWraps(t *testing.T) {
	w, fd, err := NewWindow(1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	defer w.Unmap()
	from := int64(10*sdk.WindowSize - 3)
	copy(w.Bytes(from, from+6), "abcdef")
	if got := string(w.Bytes(from+3, from+6)); got != "def" {
		t.Errorf("behind the seam: %q", got)
	}
	if got := len(w.Bytes(from, from+sdk.WindowSize)); got != sdk.WindowSize {
		t.Errorf("a whole window is %d bytes", got)
	}
	if c := cap(w.Bytes(from, from+6)); c != 6 {
		t.Errorf("a slice of 6 bytes can grow to %d", c)
	}
}

// Nobody who has the descriptor can write to the window, now or later.
func TestWindowSealed(t *testing.T) {
	w, fd, err := NewWindow(1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	defer w.Unmap()
	for name, try := range map[string]func() error{
		"map writable": func() error {
			_, err := unix.MmapPtr(fd, 0, nil, sdk.WindowSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			return err
		},
		"map, then make writable": func() error {
			p, err := unix.MmapPtr(fd, 0, nil, sdk.WindowSize, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.MunmapPtr(p, sdk.WindowSize)
			return unix.Mprotect(unsafe.Slice((*byte)(p), sdk.WindowSize), unix.PROT_READ|unix.PROT_WRITE)
		},
		"pwrite":     func() error { _, err := unix.Pwrite(fd, []byte("x"), 0); return err },
		"truncate":   func() error { return unix.Ftruncate(fd, 0) },
		"grow":       func() error { return unix.Ftruncate(fd, 2*sdk.WindowSize) },
		"punch hole": func() error { return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096) },
		"more seals": func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err },
	} {
		if err := try(); err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
}

// A window reaches the other side, which reads there what is written here.
func TestSendWindow(t *testing.T) {
	ours, file, err := SocketPair("window")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, c := range []*net.UnixConn{ours, theirs} {
		c.SetDeadline(time.Now().Add(time.Minute))
	}
	w, fd, err := NewWindow(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Unmap()
	got := make(chan *Window, 1)
	received := make(chan error, 1)
	go func() { received <- ReceiveWindow(theirs, func(w *Window) { got <- w }) }()
	if err := SendWindow(ours, w.ID, fd); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	copied := <-got
	defer copied.Unmap()
	copy(w.Bytes(5, 10), "hello")
	if s := string(copied.Bytes(5, 10)); copied.ID != w.ID || s != "hello" {
		t.Errorf("window %d holds %q", copied.ID, s)
	}
}
