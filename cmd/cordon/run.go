package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway/handover"
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
			return cannot("run", daemon.Run(c.Context(), a.config(), keeper.Helper{Socket: socket}, old, a.newLogger(a.stderr), a.ready))
		},
	}
	segmentSocketFlag(c, &socket)
	return c
}

// ready says that clients can connect.
func (a *app) ready(now *daemon.Ready) {
	if a.json {
		if line, err := json.Marshal(now); err == nil {
			fmt.Fprintf(a.stderr, "%s\n", line)
		}
		return
	}
	words := []string{}
	for _, l := range now.Listeners {
		words = append(words, fmt.Sprintf("%s/%s on %s", l.Device, l.Service, l.Address))
	}
	if len(words) == 0 {
		words = []string{"no devices yet"}
	}
	fmt.Fprintf(a.stderr, "cordon: ready: %s (policy %.19s, pid %d)\n", strings.Join(words, ", "), now.Policy, now.PID)
	for _, s := range daemon.SegmentsDown(now.Segments) {
		fmt.Fprintf(a.stderr, "cordon: %s; cordon segment findings says more\n", s)
	}
}
