// Package dicom inspects DICOM associations: the upper layer of PS3.8 and the DIMSE messages
// of PS3.7 in it.
//
// An operation is an association request, or one DIMSE request of either side; the
// responses to it belong to it. Read pdu.go for the framing, associate.go for what is
// negotiated, inspect.go for the order of the dialogue, transfer.go for how a message
// arrives in fragments, command.go and head.go for what is read from it, facts.go for what
// policy is told, exchange.go for which response answers what, refusal.go for the negative
// answers. answer.go is not part of the inspector: the gateway uses it to check what an
// inspector would tell a device.
//
// An association request is held whole. A DIMSE request is held until its command set and
// the head of its data set are understood: up to the series for what stores, all of it for
// what queries. The rest of the data set follows as it arrives; only the headers of its
// fragments are read, so an object's size costs no memory. Nothing is rewritten: what one
// side negotiates, the other gets as it is.
//
// What is tolerated is named in the attribute anomalies. What two parsers could read
// differently is refused: elements out of order or twice, a UID or AE title that could be a
// path, a data set whose class or instance is not the command's, two messages in one PDU.
//
// # Attributes
//
// An association has called_ae, calling_ae, app_context (if it is not DICOM's),
// impl_class_uid, impl_version, max_pdu, abstract_syntaxes, transfer_syntaxes, scp_role,
// async_invoked, async_performed, user_identity_type, user_identity and
// user_identity_verified, which is always "no".
//
// Every DIMSE operation repeats called_ae, calling_ae and user_identity, and has
// abstract_syntax, transfer_syntax, command, message_id (C-CANCEL:
// message_id_responded_to), sop_class_uid, sop_instance_uid, priority. Some have
// move_destination, move_originator_ae, move_originator_message_id, event_type,
// action_type, attribute_tags, expects (of a C-MOVE: what its stores will say; of a storage
// commitment: what its report will), because (of a store that follows from a C-MOVE:
// "DESTINATION\MOVER\7", the message ID last; of a report: "TRANSACTION\ASKER"), or within, which is
// "dicom:C-GET" for a C-STORE that the other side's C-GET is waiting for.
//
// From the data set come patient_id, issuer_of_patient_id, accession_number,
// study_instance_uid, series_instance_uid, modality, station_name; of a query query_level,
// query_keys (tags that constrain it, "0040,0100>0040,0001" in a sequence), query_breadth
// (how many there are), return_keys (how many do not), scheduled_ae; of a storage commitment
// and its report transaction_uid, referenced_count and referenced_sop_instances. A key that matches everything
// is no attribute; UIDs and AE titles of which a query has several are a list.
//
// Of a data set that cannot be read in its transfer syntax nothing is told, but the anomaly
// head_unreadable; nor of one in a presentation context that was not accepted, with the
// anomaly context_unknown. Policy decides on the command alone. The shipped one refuses.
//
// The obligations dicom:calling-ae-title-not-recognized, dicom:called-ae-title-not-recognized,
// dicom:move-destination-unknown and dicom:cannot-understand of a refusing policy choose
// that answer.
//
// # What it does not do
//
// It does not check a data set against its information object, read behind the head of
// what is stored, or follow the sub-operations of a C-MOVE, which take another
// association. A user identity is told as claimed; nobody has verified it.
package dicom
