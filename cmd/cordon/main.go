package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

// main leaves to a plugin process before anything of the gateway is set up: "cordon
// plugin NAME" is how the gateway re-executes itself, confined, for one protocol.
func main() {
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		if err := daemon.ServePlugin(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "cordon:", err)
			os.Exit(exit.Failed)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
