// Package alarm tells people, at once and outside the gateway, of what should not wait for
// somebody to read the audit log: over syslog and over a webhook.
//
// Read alarm.go for what an alarm is, spool.go for how one outlives a channel that is down and a
// gateway that ends, attempt.go for how one learns what became of it, syslog.go and webhook.go for the channels.
//
// An alarm is delivered at least once: whoever gets two with the same id has got one. It is no
// record, which is the audit log's part, and nothing in the gateway waits for its delivery. The package does not
// defend against a receiver that lies, nor against one who may write its directory.
package alarm
