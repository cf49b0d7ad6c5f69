package main

import (
	"context"
	"errors"
	"fmt"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"

	"github.com/spf13/cobra"
)

// Whoever watches a gateway without being its service manager, a container's engine above all,
// asks the same as the watchdog does. watchdog.go says what counts as hanging.

func healthCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Ask the running gateway whether it is at work",
		Long: `Ask the running gateway whether it is at work: its listeners accept, its policy answers, its
log and the supervisors of its plugins turn. It takes 10 seconds at most, and is meant for a
container's health check and for scripts. Exit code 7 if the gateway hangs or is not there.
What is wrong with a gateway that is at work, "cordon doctor" finds.`,
		Example: "  cordon health -c /etc/cordon/cordon.yaml --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("ask for the gateway's health", a.health(c.Context()))
		},
	}
}

func (a *app) health(ctx context.Context) error {
	var now daemon.Health
	err := control.Ask(ctx, a.state(), "health", nil, &now, 2*daemon.HealthTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		return exit.Error{Code: "health.unreachable", Message: fmt.Sprintf("no gateway runs with the state in %s", a.state()), Exit: exit.Unreachable, Err: err,
			Try: []string{"start it: cordon run", "run this as the user the gateway runs as"}}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.object(now)
	}
	_, err = fmt.Fprintf(a.stdout, "%s is at work: cordon %s, process %d, policy %.19s\n", now.Gateway, now.Version, now.PID, now.Policy)
	return err
}
