// Package plugins is the gateway's side of a plugin: it launches the process, confines
// it, watches it, starts it again, and carries one session's inspection to it and back.
//
// Reading order: launch.go starts a process (confine_linux.go says how it is shut in),
// supervise.go keeps one running, process.go speaks with it, inspection.go is one
// session's view of it, pool.go the memory through which it sees plaintext.
//
// A plugin is not trusted. This package bounds what a plugin process can reach and how
// long it may think; what its steps may do is bounded by the relay. It does not defend
// sessions of one protocol from each other inside the plugin, and it does not limit the
// CPU a plugin burns before it is found hung.
package plugins
