package segment

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// What others do to a segment that is up, without meaning to, does not last.
func TestMend(t *testing.T) {
	w := newInlineWorld(t)
	w.setup()
	w.servers()
	open := func() bool { return w.reach(ap(deviceAddr, 22), 300*time.Millisecond) == nil }
	for _, harm := range []struct {
		name     string
		in       *os.File
		do       func() error
		unguards bool
	}{
		{"the host's rules are flushed", nil, func() error { return nft("flush ruleset") }, true},
		{"the segment's rules are flushed", w.open(), func() error { return nft("flush ruleset") }, false},
		{"a rule is removed", nil, func() error { return nft("flush chain inet cordon-inline-icu prerouting") }, false},
		{"the device's address is removed", nil, func() error { return ip("addr flush dev gw0 to 10.9.0.7") }, false},
		{"forwarding is switched on", w.open(), func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }, false},
		{"the interface is taken down", w.open(), func() error { return ip("link set seg0 down") }, false},
		{"the adapter is pulled and put in again", nil, func() error {
			w.in(w.device, func() error { return ip("link del dev0") })
			h := w.routing()
			defer h.Close()
			w.pair(h, "seg0", w.gatewayMAC, "dev0", w.deviceMAC, w.device)
			w.configure(w.device, "dev0", "10.9.0.7/24", "fd09::7/64")
			return ip("link set seg0 up") // as some manager of networks would
		}, false},
	} {
		w.in(harm.in, harm.do)
		if f := w.findings(); len(f) == 0 {
			t.Errorf("%s: nothing found", harm.name)
		}
		if guarded, err := w.local.Guarded(w.plan); err != nil || guarded == harm.unguards {
			t.Errorf("%s: guarded is %v, %v", harm.name, guarded, err)
		}
		found, err := w.local.Mend(t.Context(), w.plan)
		if len(found) == 0 || err != nil {
			t.Errorf("%s: Mend finds %v, %v", harm.name, found, err)
		}
		if f := w.findings(); len(f) > 0 || open() {
			t.Errorf("%s: not mended: %v; a server of the host is reached: %v", harm.name, f, open())
		}
		if found, err := w.local.Mend(t.Context(), w.plan); len(found) > 0 || err != nil {
			t.Errorf("%s: Mend once more finds %v, %v", harm.name, found, err)
		}
	}
	w.carry()
	w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", servicePort))
	c, err := New(w.local, w.plan).Dial(within(t, busyTime), ap(deviceAddr, servicePort))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	unlock, err := w.local.lock(w.plan.Name)
	if err != nil {
		t.Fatal(err)
	}
	w.in(w.open(), func() error { return ip("link set seg0 down") })
	if found, err := w.local.Mend(t.Context(), w.plan); found != nil || err != nil {
		t.Errorf("one that another process is at work on: %v, %v", found, err)
	}
	unlock()
	if err := w.local.Teardown(t.Context(), w.plan); err != nil {
		t.Fatal(err)
	}
	if found, err := w.local.Mend(t.Context(), w.plan); found != nil || err != nil {
		t.Errorf("one that was taken down: %v, %v", found, err)
	}
	if w.local.Up(t.Context(), w.plan) == nil {
		t.Error("one that was taken down is up again")
	}
	exec.Command("nft", "flush", "ruleset").Run()
	if guarded, err := w.local.Guarded(w.plan); !guarded || err != nil {
		t.Errorf("one that was taken down is looked at: %v, %v", guarded, err)
	}
}

func BenchmarkMend(b *testing.B) {
	w := newInlineWorld(b)
	w.setup()
	for b.Loop() {
		if found, err := w.local.Mend(b.Context(), w.plan); len(found) > 0 || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkGuarded(b *testing.B) {
	w := newInlineWorld(b)
	w.setup()
	for b.Loop() {
		if ok, err := w.local.Guarded(w.plan); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
