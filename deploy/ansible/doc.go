// Package ansible holds the role that makes Debian machines gateways, and tries it on a
// throw-away machine: a copy of this one's files over which everything is written in memory,
// with systemd as its first process, and a network of its own.
//
//	go test ./deploy/ansible -v
//
// It needs root, ansible-core and systemd. What it does not show: a connection to another
// machine, and segments on real interfaces; deploy/guest has the latter.
package ansible
