package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cordon/gateway/audit"
)

func runCommand(a *app) *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use: "run", Short: "Run the gateway in the foreground",
		Long: `Run the gateway in the foreground. One line on standard error says that it is
ready; with --json it is an object of schema cordon.ready/v1. SIGTERM and SIGINT stop
accepting, let sessions end (limits.drain_timeout) and then close them. SIGHUP reads the
policy and the devices' states and labels again, see "cordon reload".`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := a.newLogger(a.stderr)
			if err := a.shedNetAdmin(c.Flags()); err != nil {
				return cannot("run", err)
			}
			parts, err := assemble(c.Context(), a.config(), log)
			if err != nil {
				return cannot("run", err)
			}
			if err := parts.enter(c.Context(), helper{socket}, log); err != nil {
				parts.close()
				return cannot("run", err)
			}
			listeners, err := parts.gateway.Listen()
			if err != nil {
				parts.close()
				return failure{Code: "listen", Message: "cannot run: " + err.Error(), Exit: exitConflict, Err: err,
					Try: []string{"another process may hold the address: ss -ltnp", "cordon device list"}}
			}
			if err := parts.note(audit.KindStart); err != nil {
				parts.close()
				return cannot("run", err)
			}
			parts.watchSegments(log)
			reloads, err := acceptReloads(parts, a.config(), log)
			if err != nil {
				parts.close()
				return cannot("run", err)
			}
			a.ready(parts, listeners)
			err = parts.gateway.Serve(c.Context(), listeners)
			reloads.close()
			noted := parts.note(audit.KindStop)
			for _, e := range []error{parts.close(), noted} {
				if err == nil {
					err = e
				}
			}
			return err
		},
	}
	segmentSocketFlag(c, &socket)
	return c
}

// note records that the gateway starts or stops, with which policy, and what stands beside it.
func (p *assembly) note(kind audit.Kind) error {
	e := audit.Entry{Kind: kind, Note: "cordon " + build().Version + p.source.summary() + p.standing.summary()}
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
func (a *app) ready(p *assembly, listeners []net.Listener) {
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
	if !a.json {
		if len(words) == 0 {
			words = []string{"no devices yet"}
		}
		fmt.Fprintf(a.stderr, "cordon: ready: %s (policy %.19s, pid %d)\n", strings.Join(words, ", "), p.inForce().Revision(), os.Getpid())
		return
	}
	line, err := json.Marshal(struct {
		Schema    string     `json:"schema"`
		Gateway   string     `json:"gateway"`
		PID       int        `json:"pid"`
		Policy    string     `json:"policy"`
		Data      string     `json:"data"`
		Listeners []listener `json:"listeners"`
	}{"cordon.ready/v1", p.config.Gateway.Name, os.Getpid(), p.inForce().Revision(), p.inForce().Data(), append([]listener{}, list...)})
	if err == nil {
		fmt.Fprintf(a.stderr, "%s\n", line)
	}
}
