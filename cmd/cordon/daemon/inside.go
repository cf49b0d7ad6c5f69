package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
)

// enter gives the gateway its segments, and logs where they are not as isolated as they should
// be. That nobody can make sockets in them is an error.
func (a *Assembly) enter(ctx context.Context, keep segment.Keeper, log *slog.Logger) error {
	all, err := keeper.Plans(a.Config)
	if err != nil {
		return err
	}
	a.segments = map[string]*segment.Segment{}
	starting, cancel := context.WithTimeout(ctx, helperStart)
	defer cancel()
	for _, p := range all {
		a.segments[p.Name] = segment.New(keep, p)
		err := agree(starting, keep, p, log)
		if errors.Is(err, keeper.ErrNoHelper) {
			return exit.Error{Code: "segment.helper", Message: err.Error(), Exit: exit.Unreachable, Err: err,
				Try: []string{"systemctl start cordon-segment.socket", "as root, cordon run starts a helper by itself"}}
		}
		if err != nil {
			return exit.Error{Code: "segment.plan", Message: err.Error(), Exit: exit.Conflict, Err: err,
				Try: []string{"systemctl restart cordon-segment: it reads the configuration again, and no session is cut", "journalctl -u cordon-segment"}}
		}
		found, err := keep.Findings(ctx, p)
		if err != nil {
			log.Error("segment not examined", "segment", p.Name, "error", err)
		}
		for _, f := range found {
			if f.Severity != "low" {
				log.Error("segment finding", "segment", p.Name, "severity", f.Severity, "code", f.Code, "evidence", f.Evidence, "remedy", f.Remedy)
			}
		}
	}
	return nil
}

// dialer is how a device is reached: nil from the host's network, else from inside its segment.
func (a *Assembly) dialer(s service) func(context.Context, netip.Addr) (net.Conn, error) {
	if s.device.Segment == "" {
		return nil
	}
	return func(ctx context.Context, client netip.Addr) (net.Conn, error) {
		in := a.segments[s.device.Segment]
		if in == nil {
			return nil, keeper.ErrNoHelper
		}
		return in.DialFor(ctx, s.address(), client)
	}
}

// listener is how clients are listened for: nil in the host's network, but at an address that
// the device keeps, by a socket that only the helper can make.
func (a *Assembly) listener(s service) func(context.Context) (net.Listener, error) {
	if s.callOut != nil || !s.device.Inline(s.Listen) {
		return nil
	}
	return func(ctx context.Context) (net.Listener, error) {
		in := a.segments[s.device.Segment]
		if in == nil {
			return nil, keeper.ErrNoHelper
		}
		return in.ListenInline(ctx, netip.AddrPortFrom(s.Listen.Addr, s.Listen.Port))
	}
}

// keptAddresses are devices' own, at which clients reach the gateway.
func keptAddresses(c *config.Config) (all []netip.Addr) {
	for i := range c.Devices {
		d := &c.Devices[i]
		for _, s := range d.Services {
			if d.Inline(s.Listen) && !slices.Contains(all, s.Listen.Addr) {
				all = append(all, s.Listen.Addr)
			}
		}
	}
	return all
}

// address is where the device is dialled: inline, at the address that clients use for it.
func (s service) address() netip.AddrPort {
	if s.device.Inline(s.Listen) {
		return netip.AddrPortFrom(s.Listen.Addr, s.Port)
	}
	return netip.AddrPortFrom(s.device.Address, s.Port)
}

// watchSegments records what segments drop, until the function that it returns is called, which
// waits for the last entry. There is one watcher of a segment at a time.
func (a *Assembly) watchSegments(log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	for name, s := range a.segments {
		w := &segmentWatch{name: name, log: log, record: a.log, alarm: a.alarm}
		watching.Go(func() { w.run(ctx, s) })
	}
	return func() { cancel(); watching.Wait() }
}

// KindSegment is an entry about what a segment's filters dropped: a burst of frames.
const KindSegment audit.Kind = "segment"

// eventsPerMinute are the entries about one segment; beyond, events are only counted.
const eventsPerMinute = 60

// segmentAlarms is the time between two alarms about one segment; its entries have the rest.
const segmentAlarms = 10 * time.Minute

// segmentWatch writes one entry for each burst, as far as strangers on the wire may fill a log.
type segmentWatch struct {
	name   string
	log    *slog.Logger
	record handover.Appender
	alarm  alarmer

	alarmed time.Time // when there was one last

	minute time.Time
	told   int
	left   int // not told since
}

func (w *segmentWatch) run(ctx context.Context, s *segment.Segment) {
	said := ""
	for {
		err := s.Watch(ctx, w.event)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, segment.ErrAnew) {
			w.log.Info("segment made anew", "name", w.name)
			said = ""
			continue
		}
		if said != err.Error() {
			said = err.Error()
			w.log.Warn("segment unwatched, tried again", "name", w.name, "error", err)
		}
		select {
		case <-time.After(keeper.SetupPause):
		case <-ctx.Done():
			return
		}
	}
}

// SegmentNote is the note of an entry about what a segment dropped.
func SegmentNote(name string, e segment.Event) string { return name + ": " + e.String() }

func (w *segmentWatch) event(e segment.Event) {
	if e.Kind == segment.Chatter { // nobody has to do anything
		w.log.Info("segment chatter", "segment", w.name, "device", e.Device, "about", e.String())
		return
	}
	if now := time.Now(); now.Sub(w.minute) >= time.Minute {
		w.minute, w.told = now, 0
	}
	if w.told >= eventsPerMinute {
		w.left++
		return
	}
	w.told++
	note := SegmentNote(w.name, e)
	if w.left > 0 {
		note += fmt.Sprintf("; %d before it without an entry", w.left)
		w.left = 0
	}
	w.log.Warn("segment dropped", "segment", w.name, "kind", string(e.Kind), "device", e.Device, "mac", e.MAC.String(), "from", e.From, "to", e.To, "protocol", e.Protocol, "count", e.Count)
	entry := audit.Entry{Kind: KindSegment, Note: note}
	if now := time.Now(); w.alarm != nil && now.Sub(w.alarmed) >= segmentAlarms {
		w.alarmed = now
		w.alarm(entry, nil)
	}
	ctx, cancel := home.RecordTimeout()
	defer cancel()
	if _, err := w.record.Append(ctx, entry); err != nil {
		w.log.Error("record what a segment dropped", "segment", w.name, "error", err)
	}
}
