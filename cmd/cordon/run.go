package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/keeper"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
	"cordon/gateway/segment"
)

func runCommand(a *app) *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use: "run", Short: "Run the gateway in the foreground",
		Long: `Run the gateway in the foreground. One line on standard error says that it is
ready, and others which segments are not up yet; with --json it is an object of schema
cordon.ready/v1. The segment helper is waited for, for half a minute. SIGTERM and SIGINT stop
accepting, let sessions end (limits.drain_timeout) and then close them. SIGHUP reads the
policy and the configuration again, see "cordon reload".`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			old, err := handover.Inherit()
			if err == nil && old == nil {
				err = a.shedNetAdmin(c.Flags())
			}
			if err != nil {
				return cannot("run", err)
			}
			return a.serve(c.Context(), keeper.Helper{Socket: socket}, old)
		},
	}
	segmentSocketFlag(c, &socket)
	return c
}

// serve runs the gateway until ctx is done or another process has taken over and no session
// is left here. old is the process to take over from, or nil.
func (a *app) serve(ctx context.Context, keep segment.Keeper, old *handover.Predecessor) error {
	log := a.newLogger(a.stderr)
	r, err := prepare(ctx, a.config(), keep, old, log)
	if err != nil {
		err = cannot("run", err)
		if old != nil {
			refuse(old, err)
		}
		return err
	}
	if err := r.start(ctx); err != nil {
		r.close()
		r.parts.close()
		return cannot("run", err)
	}
	serving, leave := context.WithCancel(ctx)
	defer leave()
	r.begin(serving, leave)
	a.ready(ctx, r.parts, r.listeners)
	err = r.parts.gateway.Serve(serving, r.listeners)
	r.end()
	if !r.handedOver() {
		err = errors.Join(err, r.parts.note(audit.KindStop, ""))
	}
	r.close()
	return errors.Join(err, r.parts.close())
}

// note records that the gateway starts or stops, and how, with which policy, and what stands
// beside it.
func (p *assembly) note(kind audit.Kind, how string) error {
	e := audit.Entry{Kind: kind, Note: "cordon " + build().Version + how + p.source.Summary() + p.standing.summary()}
	engine := p.inForce()
	e.Decision.Revision, e.Decision.Data = engine.Revision(), engine.Data()
	return p.record(e)
}

// record makes an entry about the gateway itself.
func (p *assembly) record(e audit.Entry) error {
	ctx, cancel := recordTimeout()
	defer cancel()
	_, err := p.log.Append(ctx, e)
	return err
}

// ready says that clients can connect.
func (a *app) ready(ctx context.Context, p *assembly, listeners []net.Listener) {
	type listener struct {
		Device  string `json:"device"`
		Service string `json:"service"`
		Address string `json:"address"`
	}
	var list []listener
	var words []string
	for i, l := range listeners {
		r := p.gateway.Routes[i]
		list = append(list, listener{r.Device.ID, r.Service.Name, l.Addr().String()})
		words = append(words, fmt.Sprintf("%s/%s on %s", r.Device.ID, r.Service.Name, l.Addr()))
	}
	states := p.segmentStates(ctx)
	if !a.json {
		if len(words) == 0 {
			words = []string{"no devices yet"}
		}
		fmt.Fprintf(a.stderr, "cordon: ready: %s (policy %.19s, pid %d)\n", strings.Join(words, ", "), p.inForce().Revision(), os.Getpid())
		for _, s := range down(states) {
			fmt.Fprintf(a.stderr, "cordon: %s; cordon segment findings says more\n", s)
		}
		return
	}
	line, err := json.Marshal(struct {
		Schema    string         `json:"schema"`
		Gateway   string         `json:"gateway"`
		PID       int            `json:"pid"`
		Policy    string         `json:"policy"`
		Data      string         `json:"data"`
		Listeners []listener     `json:"listeners"`
		Segments  []segmentState `json:"segments"`
	}{"cordon.ready/v1", p.config.Gateway.Name, os.Getpid(), p.inForce().Revision(), p.inForce().Data(), append([]listener{}, list...), states})
	if err == nil {
		fmt.Fprintf(a.stderr, "%s\n", line)
	}
}
