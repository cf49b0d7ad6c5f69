// Package dimse is a small DICOM peer: a client (SCU) and a device (SCP) over any
// connection. The demo's CT and archive speak with it, the benchmark stores with it, and
// tests hold gateways and inspectors against it, so it shares no code with them.
//
//	association, err := dimse.Associate(conn, dimse.Request{
//		CalledAE: "PACS-1", CallingAE: "CT-2", SOPClasses: []string{dimse.CTImageStorage},
//	})
//	answer, err := association.Store(dimse.CTImage("1.2.3", "100123", 512<<10))
//	err = association.Release()
//
// Read pdu.go and associate.go for the upper layer (PS3.8), command.go and message.go for
// messages (PS3.7), element.go for data sets, then scu.go and scp.go; crowd.go is many
// clients at a time.
//
// It speaks Implicit and Explicit VR Little Endian, one message at a time. It sets no
// deadline and closes nothing: the connection and its deadlines are the caller's. It
// limits what it keeps in memory of a peer's bytes, but it is no device to expose: it
// believes everybody, as those it plays do.
package dimse
