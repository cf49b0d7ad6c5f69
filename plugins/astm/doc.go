// Package astm inspects what analysers and laboratory hosts say to each other by CLSI
// LIS01-A2 (ASTM E1381), the frames, and LIS02-A2 (ASTM E1394), the records in them.
//
// The protocol is half duplex, and either side may begin: ENQ, ACK, then frame by frame, each
// acknowledged before the next, then EOT. An operation is one frame, as it is all that is
// ever there to be decided; ENQ is one, too. The other side's ACK, NAK or EOT belongs to the
// operation it answers, and the sender's EOT to the last one that was acknowledged.
//
// Read frame.go for where a frame ends, inspect.go and exchange.go for whose turn it is,
// message.go and record.go for what is read from it, refusal.go and answer.go for the
// negative answer. bare.go is for senders without frames.
//
// # Operations
//
// A frame is named after its heaviest record, in this order:
//
//	astm:unknown  of a type that is none; a query    unknown
//	              beside P, O, R or S
//	astm:M        manufacturer's own                 admin
//	astm:O        order; one that is cancelled       write; control
//	astm:R        result                             write
//	astm:S        scientific                         write
//	astm:Q        query                              query
//	astm:P        patient                            write
//	astm:C        comment                            write
//	astm:H        header                             session
//	astm:L        terminator                         session
//
// astm:ENQ, and an astm:EOT without ENQ before it, have the class session. astm:frame is one
// that came broken, astm:malformed what ends the session; both are refused. What a host asks
// is inbound, what the analyser asks is outbound, whoever connected.
//
// # Attributes
//
//	sender, receiver, processing_id, version, control_id
//	                 of the message's header, in all its frames
//	records          the types in the frame: ["P", "O"]; ? is one that is none
//	patient_ids      P-3 to P-5 of whom the frame's records are about: the patient record may
//	                 have come in an earlier frame
//	specimen_ids     likewise O-3, its first part, and O-4
//	tests            of orders, results and queries: the universal and the local code
//	actions, priorities, report_types
//	                 of orders: O-12, O-6, O-26
//	flags, result_statuses
//	                 of results
//	query_ids, query_status
//	                 of queries
//	termination      L-3
//	partial          1 if the last record goes on in the next frame
//	anomalies        deviations that are tolerated, by name
//
// Neither names nor values of results are told, nor the password in H-4. What policy cannot
// be told whole is refused.
//
// A record that goes on in the next frame is decided twice: as it begins, with the fields
// that are complete, and again with all of them. That is safe because a receiver
// discards a message whose terminator it has not been sent: the refusal of a message's later
// frame refuses the message. A receiver that acts on records before the terminator is not
// protected from those that were allowed.
//
// # Refusals
//
// A refused frame is answered by NAK. Nothing but EOT follows it to the other side, however
// often it is repeated and whatever is sent instead; six frames are recorded and answered,
// and further ones are met with silence, until the sender gives up. A refused ENQ of a client
// is acknowledged and its frames are refused, one of a device is not answered. ASTM has
// no room for a decision code: the log has it.
//
// No frame is ever acknowledged on behalf of the other side, so that a sender keeps what has
// not arrived.
//
// # What it does not do
//
// It has no clock: the timers of E1381 6.5.2 are the peers'. It does not check the order of
// records below the header, a value against its meaning, or results against orders. Escape
// sequences are told as they are; in test and action codes they are refused, as are control
// characters that no record has, and | in a message whose field delimiter is another.
package astm
