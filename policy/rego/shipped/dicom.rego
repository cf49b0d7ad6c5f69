# What DICOM adds to cordon.rego: the AE titles a certificate may call from, the
# services each role may use, and where images may be moved to.
package cordon

# An association is opened under an AE title that belongs to the certificate.
bound if titled

titled if input.operation.attributes.calling_ae in ae_titles

titled if "*" in ae_titles

ae_titles := data.ae_titles[holder]

unbound := sprintf("calling AE title %q is not bound to %s in ae_titles", [input.operation.attributes.calling_ae, holder])

# A false name is answered as such, and stands out in the log.
obligations contains "dicom:calling-ae-title-not-recognized" if { input.service.protocol == "dicom"; misnamed }

obligations contains "anomaly:calling-ae-title" if { input.service.protocol == "dicom"; misnamed }

misnamed if {
	input.operation.name == "dicom:A-ASSOCIATE"
	in_use
	served
	not titled
}

# A role may use the services that data.yaml lists for it.
fits(role) if {
	dicom_service in data.dicom_services[role]
	not unreachable
	not unreadable
	not unasked
}

# Nobody knows what a data set means that cannot be read.
unreadable if {
	some anomaly in input.operation.attributes.anomalies
	anomaly in {"head_unreadable", "context_unknown"}
}

obligations contains "dicom:cannot-understand" if { input.service.protocol == "dicom"; unreadable }

# A service is a DIMSE operation or, if that says too little, its SOP class. What stores, moves or
# gets is that whatever class it claims: a receiver that takes any class keeps what it is sent.
dicom_service := "worklist" if {
	input.operation.name == "dicom:C-FIND"
	sop_class == "1.2.840.10008.5.1.4.31"
} else := "commit" if {
	normalized
	sop_class == "1.2.840.10008.1.20.1"
} else := "mpps" if {
	normalized
	startswith(sop_class, "1.2.840.10008.3.1.2.3.")
} else := "print" if {
	normalized
	startswith(sop_class, "1.2.840.10008.5.1.1.")
} else := "get" if {
	input.session.direction == "outbound"
	not calling_out
	input.operation.name == "dicom:C-STORE"
} else := "moved" if {
	calling_out
	input.operation.name == "dicom:C-STORE"
	input.operation.attributes.because
} else := {
	"dicom:C-FIND": "find",
	"dicom:C-MOVE": "move",
	"dicom:C-GET": "get",
	"dicom:C-STORE": "store",
}[input.operation.name]

normalized if startswith(input.operation.name, "dicom:N-")

sop_class := input.operation.attributes.sop_class_uid

# What a device asks of its client is part of what the client asked for: the images of a
# C-GET are read, the report on a storage commitment or a print job belongs to a write.
# It may ask for nothing else.
class := "read" if {
	input.session.direction == "outbound"
	not calling_out
	input.operation.name == "dicom:C-STORE"
}

class := reported if input.operation.name == "dicom:N-EVENT-REPORT"

reported := "write" if {
	input.session.direction == "outbound"
	not calling_out
} else := "write" if {
	reports_commitment # also in an association of its own, from whichever side
} else := input.operation.class

reports_commitment if {
	input.operation.name == "dicom:N-EVENT-REPORT"
	dicom_service == "commit"
}

# A device that stores because of a C-MOVE does so only for one that somebody was allowed. Who is
# told that images are safe may delete them: only who was allowed to ask is told.
unasked if {
	dicom_service == "moved"
	not input.operation.attributes.origin == "allowed"
}

unasked if {
	reports_commitment
	not input.operation.attributes.origin == "allowed"
}

# Images move to the mover's own AE titles, or where the device may send them for anybody.
unreachable if {
	input.operation.name == "dicom:C-MOVE"
	not destination_own
	not destination_listed
}

destination_own if input.operation.attributes.move_destination in ae_titles

destination_listed if input.operation.attributes.move_destination in data.move_destinations[input.device.id]

# It is answered as unknown: the device need not say which destinations it knows.
obligations contains "dicom:move-destination-unknown" if { input.service.protocol == "dicom"; unreachable }

misfit := not_dicom if input.service.protocol == "dicom"

not_dicom := sprintf("move destination %q is neither bound to %s nor listed for %s", [input.operation.attributes.move_destination, holder, input.device.id]) if {
	unreachable
} else := "the data set cannot be read in its transfer syntax" if {
	unreadable
} else := "it reports on a storage commitment that nobody was allowed to ask for by way of this gateway" if {
	reports_commitment
	unasked
} else := sprintf("it says that it follows from a C-MOVE (%s) that nobody was allowed", [input.operation.attributes.because]) if {
	unasked
} else := sprintf("DICOM service %s is not permitted for role %s", [dicom_service, held]) if dicom_service
else := sprintf("%s is no DICOM service that a role can be permitted", [input.operation.name])
