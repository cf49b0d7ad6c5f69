// Package metrics shows what a gateway does to a monitoring system, in the text format of Prometheus, and
// to a service manager or an orchestrator whether it lives and whether it is ready.
//
// Read families.go for what there is to be seen, reading.go for how it is gathered, server.go for who may
// ask for it.
//
// What is shown are counts and times. No label holds anything that a client or a device has sent, nobody's
// name, no device's, no decision code: labels are words of this package, or of the configuration. The
// package does not know the gateway: who reads fills a Reading.
//
// It does not defend what it shows: whoever reaches the listener may read it. So the listener is on
// loopback or a file, which the configuration sees to.
package metrics
