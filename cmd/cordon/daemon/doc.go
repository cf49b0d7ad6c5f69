// Package daemon is the gateway as a process: "cordon run" without its command line. It is the only place where the
// parts meet; OPA, the CA, the log, the plugins and the segments know nothing of each other.
//
// Read run.go for a life from the start to the end, assemble.go for what is put together, and plugins_start.go, inside.go and
// callout.go for what stands behind a route. What changes a
// gateway that runs comes over the control socket or by a signal (reloader.go), and is done as a whole or not at all:
// reload.go and trial.go for the configuration, bundle_update.go and workflow.go for the policy, standing*.go and emergency.go
// for what people are permitted for a time. grounds.go brings it into force for every session, those in older processes
// included. handover.go and takeover.go pass the listeners and the log from one process to the next. The rest watches and
// tells: alarms.go, trouble.go, outcome.go, status.go, metrics.go, readiness.go, watchdog.go.
//
// Functions that take a configuration ask the gateway that runs with it, or do the same to its files where none
// runs. It trusts whoever may write the configuration or gateway.state.
package daemon
