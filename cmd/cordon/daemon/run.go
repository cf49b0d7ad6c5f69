package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
)

// Ready says that clients can connect: the object of schema cordon.ready/v1.
type Ready struct {
	Schema    string         `json:"schema"`
	Gateway   string         `json:"gateway"`
	PID       int            `json:"pid"`
	Policy    string         `json:"policy"`
	Data      string         `json:"data"`
	Listeners []Listening    `json:"listeners"`
	Segments  []segmentState `json:"segments"`
}

// Listening is one service that clients can connect to.
type Listening struct {
	Device  string `json:"device"`
	Service string `json:"service"`
	Address string `json:"address"`
}

// Run runs the gateway whose configuration is at path until ctx is done or another process has taken over
// and no session is left here. keep makes what segments need; old is the process to take over from, or nil.
// ready is called once, when clients can connect.
func Run(ctx context.Context, path string, keep segment.Keeper, old *handover.Predecessor, log *slog.Logger, ready func(*Ready)) error {
	r, err := prepare(ctx, path, keep, old, log)
	if err != nil {
		if old != nil {
			refuse(old, err)
		}
		return err
	}
	if err := r.start(ctx); err != nil {
		r.close()
		r.parts.Close()
		return err
	}
	serving, leave := context.WithCancel(ctx)
	defer leave()
	r.begin(serving, leave)
	ready(r.parts.report(ctx, r.listeners))
	err = r.parts.Gateway.Serve(serving, r.listeners)
	r.end()
	if !r.handedOver() {
		err = errors.Join(err, r.parts.note(audit.KindStop, ""))
	}
	r.close()
	return errors.Join(err, r.parts.Close())
}

func (p *Assembly) report(ctx context.Context, listeners []net.Listener) *Ready {
	engine := p.inForce()
	now := &Ready{"cordon.ready/v1", p.Config.Gateway.Name, os.Getpid(), engine.Revision(), engine.Data(), []Listening{}, p.segmentStates(ctx)}
	for i, l := range listeners {
		r := p.Gateway.Routes[i]
		now.Listeners = append(now.Listeners, Listening{r.Device.ID, r.Service.Name, l.Addr().String()})
	}
	return now
}

// note records that the gateway starts or stops, and how, with which policy, and what stands
// beside it.
func (p *Assembly) note(kind audit.Kind, how string) error {
	e := audit.Entry{Kind: kind, Note: "cordon " + Build().Version + how + p.source.Summary() + p.standing.summary()}
	engine := p.inForce()
	e.Decision.Revision, e.Decision.Data = engine.Revision(), engine.Data()
	return p.record(e)
}

// record makes an entry about the gateway itself.
func (p *Assembly) record(e audit.Entry) error {
	ctx, cancel := home.RecordTimeout()
	defer cancel()
	_, err := p.log.Append(ctx, e)
	return err
}
