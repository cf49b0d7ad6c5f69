package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/audit"
	"cordon/gateway/segment"
)

// A stranger on the wire of a segment can make frames, but not fill the log with them.
func TestSegmentWatchBound(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Dir: dir, Origin: "cordon.test/watch", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := &segmentWatch{name: "icu", log: slog.New(slog.DiscardHandler), record: log}
	e := segment.Event{Kind: segment.Stranger, From: netip.MustParseAddr("10.20.0.66"), Protocol: "tcp", Count: 1}
	for range eventsPerMinute + 7 {
		w.event(e)
	}
	w.minute = w.minute.Add(-time.Minute)
	w.event(e)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := audit.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for e, err := range r.Entries(0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == KindSegment {
			notes = append(notes, e.Note)
		}
	}
	if len(notes) != eventsPerMinute+1 || !strings.HasSuffix(notes[len(notes)-1], "; 7 before it without an entry") {
		t.Errorf("%d entries, the last %q", len(notes), notes[len(notes)-1])
	}
}

// What the configuration says of addresses that devices keep and see is in the plan.
func TestPlanInline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cordon.yaml")
	const text = `version: 1
gateway: { name: a }
identity: { trust_domain: a.example }
segments:
  icu: { interface: { kind: nic, name: eth1 }, addresses: [10.20.0.1, "fd00::1"], inline: eth0 }
devices:
  a:
    address: 10.20.0.7
    further_addresses: ["fd00::7", "fe80::7"]
    segment: icu
    mac: 00:1b:44:11:3a:07
    class: monitor
    source: client
    services:
      v4: { proto: hl7, port: 2575, listen: "10.20.0.7:2575" }
      v6: { proto: hl7, port: 2575, listen: "[fd00::7]:2576" }
      proxied: { proto: hl7, port: 2577, listen: ":12577" }
  b:
    address: 10.20.0.8
    segment: icu
    mac: 00:1b:44:11:3a:08
    class: monitor
    source: client
    source_addresses: [10.20.0.50, 10.30.0.4]
    services: { hl7: { proto: hl7, port: 2575, listen: ":12578" } }
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := keeper.Plans(c)
	if err != nil {
		t.Fatal(err)
	}
	p := all[0]
	got := fmt.Sprint(p.Inline, p.Addresses, p.Devices[0].Inline, p.Devices[0].Transparent, p.Devices[0].Clients, p.Devices[1].Inline, p.Devices[1].Transparent, p.Devices[1].Clients)
	if want := "eth0[10.20.0.1 fd00::1 10.20.0.50 10.30.0.4] [10.20.0.7:2575 [fd00::7]:2576] true [] [] false [10.20.0.50 10.30.0.4]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var dialled []string
	for _, s := range ServicesOf(&c.Devices[0]) {
		dialled = append(dialled, s.address().String())
	}
	if got := strings.Join(dialled, " "); got != "10.20.0.7:2575 [fd00::7]:2575 10.20.0.7:2577" {
		t.Errorf("dials %s", got)
	}
	if names := fmt.Sprint(serverNames(c)); !strings.Contains(names, "10.20.0.7 fd00::7") {
		t.Errorf("the gateway's certificate is for %s", names)
	}
}

// A gateway waits for a helper that is still at work, and not for ever.
func TestHelperAwaited(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cordon.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ngateway: { name: a }\nidentity: { trust_domain: a.example }\nsegments:\n  icu: { interface: { kind: nic, name: eth77 }, addresses: [10.20.0.1] }\ndevices: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "segment.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	quiet := slog.New(slog.DiscardHandler)
	enter := func(ctx context.Context) (*Assembly, error) {
		a := &Assembly{Config: c}
		return a, a.enter(ctx, keeper.Helper{Socket: socket}, quiet)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := enter(short); !errors.Is(err, keeper.ErrNoHelper) {
		t.Errorf("without an answer: %v", err)
	}

	all, err := keeper.Plans(c)
	if err != nil {
		t.Fatal(err)
	}
	h, err := keeper.NewServer(func() ([]segment.Plan, error) { return all, nil }, quiet)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(11 * time.Second) // longer than one request is waited for
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			segment.Serve(context.Background(), conn, segment.Local{Dir: t.TempDir()}, h)
			conn.Close()
		}
	}()
	a, err := enter(t.Context())
	if err != nil {
		t.Fatalf("with an answer: %v", err)
	}
	if words := SegmentsDown(a.segmentStates(t.Context())); len(words) != 1 || words[0] != `segment icu is not up yet: segment "icu" is not set up` {
		t.Errorf("of a segment that is not up: %q", words)
	}
	l.Close()
	<-done
}
