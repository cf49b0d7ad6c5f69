package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
)

func reloadCommand(a *app) *cobra.Command {
	var q daemon.ChangeRequest
	c := &cobra.Command{
		Use: "reload", Short: "Bring an edited policy or configuration into the running gateway",
		Long: `Have the running gateway read its policy and its configuration again, as SIGHUP does. The
policy is compiled, looked through for the patches that profiles name, and its tests are run; if
anything is amiss nothing is applied, and the exit code is 8. With policy.approval the policy in
force stays, whatever the folder holds: cordon policy rollout changes it. With policy.bundle a newer bundle is looked
for; what is wrong with one does not keep the rest from being applied.

The policy and what it is told of devices (state, labels, class, profile) are replaced in the
running process. Whatever else was changed, or the program itself by an upgrade, takes
effect by a hand-over: a new process takes the listeners and the log, no client is refused, and
sessions that are open go on in the old process until they are over, for
limits.handover_timeout at most.

Then every live session is asked again. Those that are not permitted any more, or whose service
was changed, end within a second, the others go on.`,
		Example: `  cordon device add mon-8 … && cordon reload     # a new device, without a restart
  cordon reload --handover                        # a new process in any case`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return cannot("reload", a.reload(c.Context(), q)) },
	}
	c.Flags().BoolVar(&q.Force, "handover", false, "have a new process take over even if nothing needs it")
	return c
}

func (a *app) reload(ctx context.Context, q daemon.ChangeRequest) error {
	done, err := a.change(ctx, "reload", q)
	if err != nil {
		return err
	}
	return a.showReloaded(done)
}

// change asks the running gateway for a change and returns what it was.
func (a *app) change(ctx context.Context, verb string, q daemon.ChangeRequest) (*daemon.Reloaded, error) {
	done := &daemon.Reloaded{}
	return done, daemon.AskChange(ctx, a.state(), verb, q, done)
}

// state is gateway.state, also where the configuration cannot be used: the gateway says what is wrong
// with it.
func (a *app) state() string {
	if c, err := config.Load(a.config()); err == nil {
		return c.Gateway.State
	}
	return filepath.Join(filepath.Dir(a.config()), "state")
}

func (a *app) showReloaded(done *daemon.Reloaded) error {
	if a.json {
		return a.object(done)
	}
	if done.Workspace != "" {
		a.remark("%s", done.Workspace)
	}
	tests := fmt.Sprintf("%d tests passed", done.Tests)
	if done.Revision > 0 {
		tests = fmt.Sprintf("revision %d", done.Revision)
	}
	if done.Bundle != nil {
		tests = fmt.Sprintf("bundle revision %d", done.Bundle.Revision)
	}
	if !done.Changed {
		fmt.Fprintf(a.stdout, "nothing has changed: policy %.19s, %s\n", done.Policy, tests)
		return nil
	}
	fmt.Fprintf(a.stdout, "reloaded: policy %.19s, %s, %d device(s) changed, %d live session(s) ended\n", done.Policy, tests, len(done.Devices), done.Ended)
	if done.Process != 0 {
		fmt.Fprintf(a.stdout, "handed over to process %d, for %s; %d session(s) stay with process %d until they are over\n",
			done.Process, strings.Join(done.HandedOver, ", "), done.Staying, done.OldProcess)
	}
	return nil
}
