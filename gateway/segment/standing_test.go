package segment

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// call connects to an address of the gateway from inside the device.
func (w *world) call(at netip.AddrPort, wait time.Duration) (c net.Conn, err error) {
	w.in(w.device, func() error {
		c, err = net.DialTimeout("tcp", at.String(), wait)
		return nil
	})
	return c, err
}

// A listener stands before its segment does, and again each time that this is made anew.
func TestStand(t *testing.T) {
	w := newWorld(t)
	at := ap(ownAddr, callPort)
	told := make(chan error, 100)
	hear := func(when string, listens bool) {
		t.Helper()
		select {
		case err := <-told:
			if (err == nil) != listens {
				t.Fatalf("%s, told %v", when, err)
			}
		case <-time.After(busyTime):
			t.Fatalf("%s, nothing was told", when)
		}
	}
	l, err := New(w.local, w.plan).Stand(t.Context(), at, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hear("before the setup", false)
	if _, err := l.File(); err == nil {
		t.Error("before the setup, there is a file")
	}
	l.SetDeadline(time.Unix(1, 0))
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before the setup and behind a deadline, Accept says %v", err)
	}
	l.SetDeadline(time.Time{})

	accepted := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	through := func(when string) {
		t.Helper()
		out, err := w.call(at, busyTime)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		out.Close()
		(<-accepted).Close()
	}
	w.setup()
	hear("after the setup", true)
	through("after the setup")
	w.setup() // of what is there
	through("after a second setup")
	if f, err := l.File(); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	for range 2 {
		if err := w.local.Teardown(context.Background(), w.plan); err != nil {
			t.Fatal(err)
		}
		hear("after the teardown", false)
		w.setup()
		hear("after it was made anew", true)
		through("after it was made anew")
	}
	// Made anew between two looks.
	if err := w.local.Teardown(context.Background(), w.plan); err != nil {
		t.Fatal(err)
	}
	w.setup()
	for open := false; !open; { // it may have been seen down
		select {
		case err := <-told:
			open = err == nil
		case <-time.After(busyTime):
			t.Fatal("nothing was told")
		}
	}
	through("after it was made anew at once")

	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, Accept says %v", err)
	}
	if _, err := w.call(at, 200*time.Millisecond); err == nil {
		t.Error("closed, it is still called")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := New(w.local, w.plan).Stand(t.Context(), ap(ownAddr, callPort+1), func(error) {}); !errors.Is(err, errUndeclared) {
		t.Errorf("at an undeclared port: %v", err)
	}
}

// What watches a segment says when that was made anew, for it sees nothing any more.
func TestWatchAnew(t *testing.T) {
	w := newWorld(t)
	w.setup()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- New(w.local, w.plan).Watch(ctx, func(Event) {}) }()
	for range 10 { // it may not have begun
		if err := w.local.Teardown(context.Background(), w.plan); err != nil {
			t.Fatal(err)
		}
		w.setup()
		select {
		case err := <-ended:
			if !errors.Is(err, ErrAnew) && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			return
		case <-time.After(2 * lookEvery):
		}
	}
	t.Error("it watches on")
}

// Whether a segment can be used is read from the kernel, by whoever is asked.
func TestUp(t *testing.T) {
	w := newInlineWorld(t)
	here, there := seqpacket(t)
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), there, w.local, fixed{w.plan}) }()
	client := NewClient(here)
	defer func() { client.Close(); <-served }()
	says := func(when, want string) {
		t.Helper()
		for who, keep := range map[string]Keeper{"itself": w.local, "the helper": client} {
			err := New(keep, w.plan).Up(context.Background())
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s, %s says %v, want %q", when, who, err, want)
			}
		}
	}
	says("before", "is not set up")
	w.setup()
	says("set up", "")
	w.in(w.open(), func() error { return ip("link set seg0 down") })
	says("taken down", "interface seg0 is down")
	w.setup()
	w.in(nil, func() error { return ip("addr del 10.9.0.7/32 dev gw0") })
	says("without the device's address", "gw0, where clients are, lacks 10.9.0.7")
	w.setup()
	says("mended", "")
	w.in(w.device, func() error { return ip("link del dev0") }) // and so the other end
	says("unplugged", "interface seg0 is not in the segment")
	w.local.Teardown(context.Background(), w.plan)
	says("torn down", "is not set up")
}
