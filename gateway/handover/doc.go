// Package handover lets one process of a gateway take the place of another without a client
// noticing: an upgrade, or a configuration that cannot be changed in a running process.
//
// Two processes speak over a socket pair: the old one starts the new one, which gets the
// listening sockets with its start. Read wire.go for what they say, old.go and new.go for the
// two ends, log.go for the audit log, which has one writer at any moment and whose
// entries are passed to it by everybody else:
//
//	old                                new
//	offer, listeners       ─────────►  starts plugins, opens what else it listens on
//	                       ◄─────────  prepared, or refused
//	stops accepting, closes the log
//	yours                  ─────────►  opens the log, records its start
//	                       ◄─────────  taken; accepts
//	leading                ─────────►  is the process that a service manager watches
//	entry, held            ─────────►  appends
//	                       ◄─────────  receipt, grounds, end
//
// Until the new process has said "taken" the old one can go on as if nothing had been; it has
// all sockets and opens the log again. From then on its sessions end refused when the new one
// is gone: what cannot be recorded does not happen.
//
// A process that was handed to may hand on while its own predecessor still has sessions;
// entries then pass from one to the next. The package defends neither end against the other:
// they are one program, in two processes of one user.
package handover
