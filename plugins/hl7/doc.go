// Package hl7 inspects HL7 version 2 messages in MLLP frames.
//
// An operation is one message; its acknowledgements and its query response belong to
// it. Read frame.go for where a message ends, message.go and facts.go for what is read
// from it, inspect.go for the asker's direction, reply.go for the device's, refusal.go
// for the negative answer.
//
// A frame of up to 128 KiB is checked whole before a byte of it moves. A longer one is
// decided on its first 128 KiB; its body follows as it arrives, while the checks go on,
// and its end block is not passed on if one of them fails. A device that takes a
// connection's end for a frame's end is therefore not protected from half a large
// message. Segments that a decision depends on (patient, order, drug) are refused behind
// the first 128 KiB.
//
// A batch (FHS, BHS), where allowed, is one operation: its messages must be alike, and are
// let through or refused together, for otherwise the first would have moved before the last
// is decided.
//
// What is tolerated is named in the attribute anomalies. What a parser and a device could
// read differently is refused: a second header in a frame, frame characters inside it,
// mixed segment ends, ambiguous delimiters. It does not check a message against its HL7
// structure, a code against its table, or a value against its meaning.
//
// Replies are observed, not held: a message of the device that answers nothing ends the
// session, after some of it may have reached the client.
package hl7
