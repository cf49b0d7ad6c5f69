package segment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// seqpacket is a pair of connected sockets as a daemon and its helper have.
func seqpacket(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "helper")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

func TestHelper(t *testing.T) {
	w := newWorld(t)
	w.setup()
	w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", servicePort))
	here, there := seqpacket(t)
	served := make(chan error, 1)
	go func() { served <- Serve(context.Background(), there, w.local, fixed{w.plan}) }()
	client := NewClient(here)
	s := New(client, w.plan)

	c, err := s.Dial(within(t, busyTime), ap(deviceAddr, servicePort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := pingPong(c); err != nil {
		t.Error(err)
	}
	l, err := s.Listen(context.Background(), ap(ownAddr, callPort))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.in(w.device, func() error {
		c, err := net.DialTimeout("tcp", ap(ownAddr, callPort).String(), busyTime)
		if err == nil {
			c.Close()
		}
		return err
	})
	if in, err := l.Accept(); err != nil {
		t.Error(err)
	} else {
		in.Close()
	}

	mine, err := w.local.Instance(context.Background(), w.plan)
	if theirs, err2 := client.Instance(context.Background(), w.plan); err != nil || err2 != nil || mine == 0 || mine != theirs {
		t.Errorf("the segment is %d, %v, and by the helper %d, %v", mine, err, theirs, err2)
	}
	list, err := client.Findings(context.Background(), w.plan)
	if err != nil || len(list) != 1 || list[0].Code != "laboratory" {
		t.Errorf("findings %v, %v", list, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	events, watched := make(chan Event, 100), make(chan error, 1)
	go func() { watched <- s.Watch(ctx, func(e Event) { events <- e }) }()
	device := w.tap(w.device, "dev0")
	for end := time.Now().Add(busyTime); len(events) == 0 && time.Now().Before(end); {
		device.send(ether(everyone, stranger, 0x88cc, []byte{0, 0}))
		device.seen()
	}
	cancel()
	<-watched

	// What the plan does not declare, the helper refuses, whatever the client's plan says.
	wide := w.plan
	wide.Devices = []Device{{ID: "x", MAC: stranger, Addresses: w.plan.Devices[0].Addresses, Ports: []uint16{22}, Calls: []uint16{23}}}
	if _, err := New(client, wide).Dial(within(t, busyTime), ap(deviceAddr, 22)); err == nil || !strings.Contains(err.Error(), "no device declares it") {
		t.Errorf("dialled what is not declared: %v", err)
	}
	if _, err := New(client, wide).Listen(context.Background(), ap(ownAddr, 23)); err == nil || !strings.Contains(err.Error(), "no device declares it") {
		t.Errorf("listens where nobody calls: %v", err)
	}
	wide.Name = "other"
	if _, err := client.Findings(context.Background(), wide); err == nil || !strings.Contains(err.Error(), "no such plan") {
		t.Errorf("an unknown segment: %v", err)
	}
	client.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := pingPong(c); err != nil {
		t.Error("a session after its helper:", err)
	}
}

// A client that does not keep to the protocol is not served any longer.
func TestHelperHostile(t *testing.T) {
	for _, message := range []string{"", "{}x", "null x", `{"do":"dial","segment":"icu","extra":1}`, `{"do":"dial","segment":"icu","address":"nowhere"}`,
		`{"do":"dial","segment":"icu"}` + strings.Repeat(" ", maxRequest), "\x00"} {
		here, there := seqpacket(t)
		served := make(chan error, 1)
		go func() { served <- Serve(context.Background(), there, Local{}, fixed{}) }()
		if _, err := here.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-served:
			if err == nil && message != "" {
				t.Errorf("%q: served on", message)
			}
		case <-time.After(busyTime):
			t.Errorf("%q: still served", message)
		}
		here.Close()
	}
}

// fixed are plans that nobody edits.
type fixed []Plan

func (f fixed) Plans() []Plan              { return f }
func (fixed) Reread(context.Context) error { return nil }

// edited are plans, and what is read when they are read again.
type edited struct {
	now, next []Plan
	err       error
	read      int
}

func (e *edited) Plans() []Plan { return e.now }

func (e *edited) Reread(context.Context) error {
	if e.read++; e.err == nil {
		e.now = e.next
	}
	return e.err
}

// Both ends go by one plan: what is declared is read again when it seems not to be so, and it
// alone counts.
func TestAgree(t *testing.T) {
	a, b := Plan{Name: "icu"}, Plan{Name: "icu", Devices: []Device{{ID: "mon-7"}}}
	for _, x := range []struct {
		name     string
		declared edited
		asked    Plan
		read     int
		refused  string
	}{
		{"the same", edited{now: []Plan{a}}, a, 0, ""},
		{"edited since", edited{now: []Plan{a}, next: []Plan{b}}, b, 1, ""},
		{"new", edited{next: []Plan{b}}, b, 1, ""},
		{"not what is declared", edited{now: []Plan{a}, next: []Plan{a}}, b, 1, "another configuration"},
		{"not declared any more", edited{now: []Plan{a}}, b, 1, "another configuration"},
		{"unreadable", edited{now: []Plan{a}, err: errors.New("no such file")}, b, 1, "no such file"},
	} {
		here, there := seqpacket(t)
		served := make(chan error, 1)
		go func() { served <- Serve(t.Context(), there, Local{}, &x.declared) }()
		client := NewClient(here)
		err := client.Agree(t.Context(), x.asked)
		if (err == nil) != (x.refused == "") || err != nil && !strings.Contains(err.Error(), x.refused) {
			t.Errorf("%s: %v, want %q", x.name, err, x.refused)
		}
		client.Close()
		if err := <-served; err != nil || x.declared.read != x.read {
			t.Errorf("%s: read again %d times, want %d; %v", x.name, x.declared.read, x.read, err)
		}
	}
}
