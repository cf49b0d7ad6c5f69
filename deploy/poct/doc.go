// Package poct is a small POCT1-A peer: an analyser that reports and does what it is told,
// and a manager that asks and directs, over any connection. Tests hold gateways against it,
// so it shares no code with the inspector: it reads and writes with encoding/xml.
//
//	manager := poct.NewConn(conn, 4000)
//	hello, err := manager.Greeted()
//	answer, err := manager.Direct("LOCK")
//
// Read conn.go for messages, then analyser.go and manager.go.
//
// It speaks the basic profile, one message at a time. It sets no deadline and closes
// nothing: the connection and its deadlines are the caller's. It is no device to expose: it
// believes everybody, as those it plays do.
package poct
