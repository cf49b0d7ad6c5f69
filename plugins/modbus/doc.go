// Package modbus inspects Modbus/TCP: the MBAP framing of the MODBUS Messaging on TCP/IP
// Implementation Guide V1.0b and the functions of the MODBUS Application Protocol V1.1b3,
// the clauses of which are cited as MAP.
//
// An operation is one request; its response belongs to it. Read frame.go for the framing,
// function.go for what a function is called and does, request.go and record.go for what is
// read from a request, inspect.go for the order of things, exchange.go for which request a
// response answers, response.go for what it must look like, refusal.go for the exceptions.
//
// A request is held whole; it has 260 bytes at most. Its size is computed from its
// function and its own counts, and must be the one its header gives: what passes is cut
// into requests in the same places by a device that reads one and by a device that reads
// the other. Nothing is rewritten. The session has a connection of its own to the device, so
// that no two clients share transaction identifiers.
//
// # Attributes
//
// Addresses are those of the wire, from 0: holding register 40012 is address 11 of table
// holding_registers.
//
//	unit, function        of every operation, as numbers
//	table                 coils, discrete_inputs, holding_registers or input_registers
//	address, address_end  the first and last address that is read or, if anything is
//	                      written, written
//	quantity              how many that are
//	values                what is written: coils as 0 and 1, registers as 0 to 65535
//	read_address, read_address_end, read_quantity
//	                      what read_write_multiple_registers reads
//	and_mask, or_mask     of mask_write_register, which has no values: they depend on the
//	                      device's
//	files, records, lengths
//	                      of file records, a list each: file number, first record, registers
//	sub_function          of diagnostics; with values, what is sent along, unless it is
//	                      echoed
//	mei_type              of function 43; with read_code and object if it is
//	                      read_device_identification
//	size                  bytes behind the function code, where it is not known what they
//	                      are
//	anomalies             deviations that are tolerated, by name
//
// The transaction identifier is none: it differs each time, and decides nothing.
//
// The obligations modbus:illegal-data-address, modbus:illegal-data-value and
// modbus:gateway-path-unavailable of a refusing policy choose that exception; without one
// it is illegal function. Modbus has no room for a decision code: the log has it.
//
// # What it does not do
//
// Functions it does not know have the class unknown and the size their header gives. A
// device that sizes a function in another way, or that does not have it, may take the rest
// of the request for the next one: allow by name only what the device is known to have.
// That holds for known functions with room for a request in them, too: file records,
// function 43 and the writing of several registers.
//
// Responses are observed, not held: one that fits no request ends the session, after some
// of it may have reached the client. It does not know what a register means, nor whether
// the device did what it answers. It has no clock: a request the device leaves unanswered
// counts as open until sdk.MaxOpen more have followed. And it never asks a device anything
// itself: whether a write that was not answered is sent again, the client decides, once the
// first is answered or forgotten.
package modbus
