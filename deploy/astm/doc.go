// Package astm is a small ASTM peer (CLSI LIS01-A2, LIS02-A2): a line that both sides of a
// connection send and receive messages over, and an analyser at its end. The demo's analyser
// and host speak with it, and tests hold the gateway against it, so it shares no code with
// the inspector.
//
//	line := &astm.Line{Conn: conn}
//	err := line.Send(`H|\^&|||LIS`, `O|1|S-55||^^^GLU`, `L|1|N`)
//	results, err := line.Receive()
//
// It keeps to the standards: no device's quirks, no frames without acknowledgement. It sets no
// deadline and closes nothing: the connection and its deadlines are the caller's. It
// limits what it keeps in memory of a peer's bytes, but it is no device to expose: it
// believes everybody, as those it plays do.
package astm
