// Package poct1a inspects the device messaging layer of CLSI POCT1-A2, the XML documents that
// point-of-care analysers and their data managers exchange over TCP.
//
// An operation is one message; the ACK.R01 that names its control id belongs to it. Read
// document.go for where a document ends, xml.go for the XML that is read, message.go for
// what is taken from it, class.go for what a message does and who may send it, facts.go for
// what policy is told, inspect.go for the order of a conversation, exchange.go for what an
// acknowledgement answers, refusal.go for the negative answer. answer.go is not part of the
// inspector: the gateway uses it to check what an inspector would tell a device.
//
// Both sides ask: the analyser reports, the manager directs. Either may be the device that
// the gateway protects; HEL.R01 shows which is the analyser. Until it is accepted, nothing
// but HEL.R01, its acknowledgement and END.R01 passes, and what is refused ends the session.
//
// A message is held whole until it is decided, so that its length is bounded by the window
// (setting max_message). An analyser says in HEL.R01 how long a message it takes, and long
// lists come in several.
//
// # XML
//
// Devices parse XML with libraries, with a search for the text of an end tag, or with
// something between. What these could read differently is no document, and ends the
// session: comments and CDATA sections, which may hold an end tag and of which a program has
// no need; document types and entities of their own; processing instructions; a name or an
// attribute out of order. ">" in a value is data to all of them but the crudest, and
// tolerated by name. The encodings are UTF-8, US-ASCII and ISO-8859-1.
//
// A field that decides must be in its object, once, with its value in V and nothing else in
// it; objects of other messages are refused, as is a message type that is not the document's,
// an element with a message's name below the root, and a name that a search, or a device that
// does not tell case, would take for that of a field that is read.
// A value that is read may not be written with numbered characters.
//
// # Classes
//
//	session  HEL.R01, DST.R01, KPA.R01, ESC.R01, END.R01, the analyser's EOT.R01
//	write    OBS.R01, OBS.R02
//	notify   EVS.R01
//	query    REQ.R01
//	control  DTV.R01 and DTV.R02 with START_CONTINUOUS, STOP_CONTINUOUS
//	admin    the same with SET_TIME, LOCK, UNLOCK; OPL.R01, OPL.R02, PTL.R01, PTL.R02; the
//	         manager's EOT.R01, which puts a list in force: it is refused in any case if a
//	         part of the list was, or is not acknowledged yet. Another part begins another list
//	unknown  any other directive, a command in a vendor's code system, any other message
//
// The name is that of the root element, "poct1a:OBS.R01", also of a vendor's message,
// "poct1a:DTV.ACME.UPDATE". A DTV.R01 of the class unknown has the same name whatever its
// command: allow it by name and command.
//
// # Attributes
//
// Values are texts, as they are written; lists have each value once, but for patient_ids and
// operator_ids, and are told whole or the message is refused.
//
//	control_id, version, size      of every message; size is in bytes
//	sender                         "analyser" or "manager"
//	device_id, vendor_id, model_id, serial_id
//	                               of every message, as HEL.R01 claimed
//	connection_profile, topics, directives, max_message_size
//	                               of HEL.R01
//	condition, new_observations, new_events
//	                               of DST.R01
//	observation_ids, observation_count, observation_status, methods, roles, reasons,
//	service_status, patient_ids, patient_count, operator_ids, operator_count
//	                               of OBS.R01 and OBS.R02, the last four of lists, too
//	event_count, severities        of EVS.R01
//	request                        of REQ.R01
//	command, command_system, time  of directives; time is what SET_TIME sets
//	actions                        of OPL.R02 and PTL.R02: what is done to the entries
//	topic; esc_control_id, detail; reason
//	                               of EOT.R01; ESC.R01; END.R01
//	anomalies                      deviations that are tolerated, by name
//
// Results, names and passwords are never told.
//
// # Refusals
//
// A refused message is answered by ACK.R01 with the code AE and the decision code in its
// note; the last before a session ends by END.R01, too. That is so if nobody could decide:
// an analyser then keeps its results for another conversation.
//
// # What it does not do
//
// It does not check a message against the standard's tables, nor that a request is answered
// by what it asked for, nor that messages alternate with their acknowledgements, as some
// analysers take the next message for one. It has no clock. An identity in HEL.R01 is told as
// claimed; nobody has verified it.
package poct1a
