package guest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tellBootOrder starts the machine again, while both sides send what they can: from before it
// goes down until the gateway is at work, no frame crosses and nobody answers the device. The
// machine is set up as a router that configures every card it finds.
func tellBootOrder(t *testing.T, g *machine) {
	if !*all {
		t.Skip("with -all: the start after a power cut shows the same")
	}
	s := g.sniff()
	g.sh(t, "systemctl reboot --no-block")
	select {
	case <-g.Exited():
	case <-time.After(patience):
		t.Fatal("the guest does not go down")
	}
	g.start(t)
	g.ready(t)
	s.closed(t)
	g.ordered(t)
	if s.answers == 0 {
		t.Error("the segment does not tell its address: it is not up")
	}
	g.peers(t)
	g.working(t)
}

// ready waits until the gateway listens and its segment is as it should be.
func (g *machine) ready(t *testing.T) {
	t.Helper()
	g.until(t, "ss -ltn | grep -q 10.1.0.1:12575")
	g.until(t, "cordon segment findings -q -c /etc/cordon/cordon.yaml")
}

// ordered wants the guard to have been there before anything configures a network.
func (g *machine) ordered(t *testing.T) {
	t.Helper()
	when := g.sh(t, "for u in cordon-guard.service network-pre.target systemd-networkd.service; do systemctl show -P ActiveEnterTimestampMonotonic $u; done")
	var guard, before, networkd int
	if _, err := fmt.Sscan(when, &guard, &before, &networkd); err != nil || guard == 0 || guard > before || before > networkd {
		t.Errorf("guard, network-pre.target and networkd were up after %q µs", when)
	}
}

// tellPowerCut takes the power away under load, and lets the disk lose what it was not told to
// keep. The machine starts without help; its log is whole and holds every result that a client
// knows to be delivered; meanwhile the segment is closed.
func tellPowerCut(t *testing.T, g *machine) {
	cuts := 1
	if *all {
		cuts = 5
	}
	for seed := range cuts {
		end := g.load(t, seed, 30)
		time.Sleep(time.Duration(170*seed) * time.Millisecond) // any moment will do
		g.Kill()
		acked := end()
		pending, lost := g.disk.Cut(uint64(seed))
		s := g.sniff()
		g.start(t)
		g.ready(t)
		s.closed(t)
		g.ordered(t)

		t.Log(strings.TrimSpace(g.sh(t, "cordon audit verify -c /etc/cordon/cordon.yaml")))
		recorded := map[string]bool{}
		for line := range strings.Lines(g.sh(t, `cordon audit tail --json -n 1000000 -c /etc/cordon/cordon.yaml | grep '"allow":true' | grep -o '"control_id":"[^"]*"' | cut -d'"' -f4`)) {
			recorded[strings.TrimSpace(line)] = true
		}
		for _, id := range acked {
			if !recorded[id] {
				t.Errorf("result %s was acknowledged and is not in the log", id)
			}
		}
		t.Logf("%d results acknowledged in this load, %d in the log; the disk lost %d blocks of %d it had not flushed", len(acked), len(recorded), lost, pending)
		g.peers(t)
		g.working(t)
	}
}

// load lets clients send results until some are acknowledged, and goes on. The function it
// returns is called when the guest has ended, and returns which were.
func (g *machine) load(t *testing.T, name, enough int) func() []string {
	t.Helper()
	var mu sync.Mutex
	var acked []string
	var clients sync.WaitGroup
	ready := make(chan struct{})
	for i := range 4 {
		r := Request{Run: []string{"ip", "netns", "exec", "client", "/guest/inside", "client", "-to", "10.1.0.1:12575", "-cert", "/root/badges/engine",
			"-control", fmt.Sprintf("load%d.%d", name, i), "-n", "1000000", "-seconds", "170", "-tell"}, Seconds: 180}
		clients.Go(func() {
			g.Do(t.Context(), r, func(line string) {
				if strings.HasPrefix(line, "{") {
					return // how it went, if it should end before
				}
				mu.Lock()
				defer mu.Unlock()
				if acked = append(acked, line); len(acked) == enough {
					close(ready)
				}
			})
		})
	}
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatalf("clients do not get %d results through", enough)
	}
	return func() []string {
		clients.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(acked)
	}
}

// tellRemoval upgrades, removes and purges the package: the wire stays closed until the end.
func tellRemoval(t *testing.T, g *machine) {
	s := g.sniff()
	t.Log(g.sh(t, "dpkg -i /guest/new.deb 2>&1"))
	g.ready(t)
	g.sh(t, "test $(systemctl is-active cordon cordon-segment | grep -cx active) = 2")
	s.closed(t)
	g.working(t)
	g.unreadable(t)

	s = g.sniff()
	g.sh(t, "dpkg -r cordon 2>&1")
	time.Sleep(2 * time.Second)
	s.closed(t)
	if left := g.sh(t, "pgrep -a cordon || true"); left != "" {
		t.Errorf("after removal there still runs %s", left)
	}
	if tables := g.sh(t, "nft list tables"); !strings.Contains(tables, "cordon-guard-enp0s3") {
		t.Errorf("after removal the guard is gone: %s", tables)
	}
	g.sh(t, "dpkg --purge cordon 2>&1")
	if tables := g.sh(t, "nft list tables"); strings.Contains(tables, "cordon") {
		t.Errorf("after purge there is still %s", tables)
	}
	g.sh(t, "test -d /var/lib/cordon/audit; test -f /etc/cordon/cordon.yaml; for i in $(seq 1000); do ip link show enp0s3 >/dev/null 2>&1 && break; sleep 0.1; done; ip link show enp0s3; ! ls /etc/systemd/system/*.wants/cordon* 2>/dev/null")
}

// unreadable starts the guard as a boot does, with a configuration that somebody has broken: it closes what was declared
// before, and fails.
func (g *machine) unreadable(t *testing.T) {
	t.Helper()
	g.sh(t, `cd /etc/cordon; cp -p cordon.yaml good.yaml; echo "nonsense: [" >>cordon.yaml
		test "$(stat -c %U:%a /var/lib/cordon-guard /var/lib/cordon-guard/segments.json | tr '\n' ' ')" = "root:700 root:600 "
		systemctl stop cordon cordon-segment.socket cordon-segment
		nft flush ruleset
		if systemctl restart cordon-guard 2>/dev/null; then echo "the guard believes a broken configuration"; exit 1; fi
		nft list tables | grep -q "inet cordon-guard-enp0s3"
		mv -f good.yaml cordon.yaml
		systemctl restart cordon-guard
		systemctl start cordon-segment.socket cordon`)
	g.ready(t)
}
