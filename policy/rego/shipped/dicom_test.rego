package cordon_test

import data.cordon

# One operation of each service, and of what is none.
dimse := {
	"find": ["inbound", "dicom:C-FIND", "query", {"sop_class_uid": "1.2.840.10008.5.1.4.1.2.2.1"}],
	"worklist": ["inbound", "dicom:C-FIND", "query", {"sop_class_uid": "1.2.840.10008.5.1.4.31"}],
	"move": ["inbound", "dicom:C-MOVE", "read", {"sop_class_uid": "1.2.840.10008.5.1.4.1.2.2.2", "move_destination": "MINE"}],
	"get": ["inbound", "dicom:C-GET", "read", {"sop_class_uid": "1.2.840.10008.5.1.4.1.2.2.3"}],
	"image of a get": ["outbound", "dicom:C-STORE", "write", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}],
	"store": ["inbound", "dicom:C-STORE", "write", {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}],
	"commit": ["inbound", "dicom:N-ACTION", "write", {"sop_class_uid": "1.2.840.10008.1.20.1"}],
	"report of a commitment": ["outbound", "dicom:N-EVENT-REPORT", "notify", {"sop_class_uid": "1.2.840.10008.1.20.1", "because": "1.2.9\\MINE", "origin": "allowed"}],
	"report to a device": ["inbound", "dicom:N-EVENT-REPORT", "notify", {"sop_class_uid": "1.2.840.10008.1.20.1", "because": "1.2.9\\MINE", "origin": "allowed"}],
	"mpps": ["inbound", "dicom:N-CREATE", "write", {"sop_class_uid": "1.2.840.10008.3.1.2.3.3"}],
	"print": ["inbound", "dicom:N-CREATE", "write", {"sop_class_uid": "1.2.840.10008.5.1.1.1"}],
	"report of a printer": ["outbound", "dicom:N-EVENT-REPORT", "notify", {"sop_class_uid": "1.2.840.10008.5.1.1.16"}],
	"get of another kind": ["inbound", "dicom:N-GET", "read", {"sop_class_uid": "1.2.840.10008.1.40"}],
	"event from a client": ["inbound", "dicom:N-EVENT-REPORT", "notify", {"sop_class_uid": "1.2.840.10008.5.1.1.16"}],
	"report of another kind": ["outbound", "dicom:N-EVENT-REPORT", "notify", {"sop_class_uid": "1.2.840.10008.5.1.4.33"}],
	"query by a device": ["outbound", "dicom:C-FIND", "query", {}],
	"store without a class": ["inbound", "dicom:C-STORE", "write", {}],
	"delete": ["inbound", "dicom:N-DELETE", "admin", {"sop_class_uid": "1.2.840.10008.5.1.4.33"}],
	"association": ["inbound", "dicom:A-ASSOCIATE", "session", {"calling_ae": "MINE", "called_ae": "CT2"}],
	"echo": ["inbound", "dicom:C-ECHO", "session", {"sop_class_uid": "1.2.840.10008.1.1"}],
	"cancel": ["inbound", "dicom:C-CANCEL", "session", {}],
}

# What each of them needs in the table of what is expected: its service, or a session.
needs := {
	"image of a get": "get",
	"store without a class": "store",
	"report of a commitment": "commit",
	"report to a device": "commit",
	"report of a printer": "print",
	"association": "session",
	"echo": "session",
	"cancel": "session",
}

expected_services(role, state) := {service |
	some service, _ in dimse
	object.get(needs, service, service) in expectation(role, "imaging/ct", state)
}

imaging(role, state, service) := object.union(
	operation(role, "imaging/ct", state, dimse[service][2]),
	{
		"service": {"name": "images", "protocol": "dicom"},
		"session": {"id": "s1", "direction": dimse[service][0], "client": "10.1.2.3", "tls": "1.3"},
		"operation": {"name": dimse[service][1], "class": dimse[service][2], "attributes": object.union({"calling_ae": "MINE"}, dimse[service][3])},
	},
)

titles := {"user/someone": ["OTHER", "MINE"], "service/someone": ["MINE"], "vendor/someone": ["MINE"], "device/someone": ["MINE"]}

served_to(role, state) := {service |
	some service, _ in dimse
	cordon.allow with input as imaging(role, state, service) with data.ae_titles as titles
}

test_services if {
	every role, _ in kinds {
		every state in {"active", "maintenance"} {
			served_to(role, state) == expected_services(role, state)
		}
		served_to(role, "quarantined") == set()
	}
}

# A certificate calls from its own AE titles, and from no other.
test_calling_ae if {
	association := imaging("radiologist", "active", "association")
	cordon.allow with input as association with data.ae_titles as titles
	cordon.allow with input as association with data.ae_titles as {"user/someone": ["*"]}
	every others in [{}, {"user/someone": []}, {"user/someone": ["OTHER", "mine"]}, {"user/another": ["MINE"]}, {"device/someone": ["MINE"]}] {
		not cordon.allow with input as association with data.ae_titles as others
		cordon.obligations == {"dicom:calling-ae-title-not-recognized", "anomaly:calling-ae-title"} with input as association with data.ae_titles as others
		cordon.reason == `calling AE title "MINE" is not bound to user/someone in ae_titles` with input as association with data.ae_titles as others
	}
	cordon.obligations == set() with input as association with data.ae_titles as titles
}

# A stranger to the device learns nothing of AE titles, nor does anybody while it is away.
test_calling_ae_of_strangers if {
	cordon.obligations == set() with input as object.union(imaging("nurse", "active", "association"), {"device": {"class": "other/thing"}})
	cordon.obligations == set() with input as imaging("radiologist", "quarantined", "association")
}

# Images move to the mover, and to where the device may send them for anybody.
test_move_destination if {
	move := imaging("physician", "active", "move")
	cordon.allow with input as move with data.ae_titles as titles
	cordon.obligations == set() with input as move with data.ae_titles as titles
	cordon.allow with input as move with data.move_destinations as {"dev-1": ["ROOM", "MINE"]}
	every others in [{}, {"dev-1": ["ROOM"]}, {"dev-2": ["MINE"]}] {
		not cordon.allow with input as move with data.move_destinations as others
		cordon.obligations == {"dicom:move-destination-unknown"} with input as move with data.move_destinations as others
		contains(cordon.reason, `move destination "MINE" is neither bound to user/someone nor listed for dev-1`) with input as move with data.move_destinations as others
	}
}

# What cannot be read is refused as such, whoever sends it.
test_unreadable if {
	every service, anomaly in {"store": "head_unreadable", "find": "context_unknown"} {
		image := imaging("radiologist", "active", service)
		unread := object.union(image, {"operation": {"attributes": {"anomalies": ["charset", anomaly]}}})
		cordon.allow with input as object.union(image, {"operation": {"attributes": {"anomalies": ["charset"]}}})
		not cordon.allow with input as unread
		cordon.obligations == {"dicom:cannot-understand"} with input as unread
		cordon.reason == "the data set cannot be read in its transfer syntax" with input as unread
	}
}

test_reasons_of_services if {
	every service, want in {
		"mpps": "DICOM service mpps is not permitted for role radiologist",
		"worklist": "DICOM service worklist is not permitted for role radiologist",
		"query by a device": "dicom:C-FIND is nothing a device asks of its client",
		"get of another kind": "dicom:N-GET is no DICOM service that a role can be permitted",
	} {
		cordon.reason == want with input as imaging("radiologist", "active", service) with data.ae_titles as titles
	}
	cordon.reason == "DICOM service move is not permitted for role biomed" with input as imaging("biomed", "active", "move") with data.ae_titles as titles
	cordon.reason == "write on imaging/ct is not permitted for role biomed" with input as imaging("biomed", "active", "store") with data.ae_titles as titles with data.dicom_services as {"biomed": ["store"]}
	cordon.reason == "read on imaging/ct is not permitted for role device" with input as imaging("device", "active", "image of a get") with data.ae_titles as titles with data.dicom_services as {"device": ["get"]}
}

# Services are read only where DICOM is spoken.
test_other_protocols if {
	cordon.allow with input as object.union(imaging("radiologist", "active", "get of another kind"), {"service": {"protocol": "hl7"}})
}

# A modality that calls its archive by itself stores, and reports; it is sent no images of a C-GET.
test_dicom_calling_out if {
	every service in ["store", "worklist", "mpps"] {
		cordon.allow with input as calling_archive(service) with data.ae_titles as {"device/ct-2": ["MINE"]}
	}
	cordon.allow with input as calling_archive("report of a commitment")
	cordon.allow with input as calling_archive("report of a printer") with data.roles as {"device": {"imaging/*": ["notify"]}}
	not cordon.allow with input as calling_archive("report of a printer")
	not cordon.allow with input as calling_archive("move") with data.ae_titles as {"device/ct-2": ["MINE"]}
	not cordon.allow with input as object.union(calling_archive("store"), {"subject": {"id": "ct-3"}}) with data.ae_titles as {"device/ct-3": ["MINE"]}
		with data.dicom_services as {"device": ["store"]}
}

# Only who was allowed to ask for it is told that images are safe, in the same association, in one
# that the archive opens, and behind the gateway.
test_dicom_reported if {
	every report in [
		imaging("device", "active", "report of a commitment"),
		imaging("device", "active", "report to a device"),
		calling_archive("report of a commitment"),
	] {
		cordon.allow with input as report with data.ae_titles as titles
		not cordon.allow with input as report with data.ae_titles as titles with data.roles as {"device": {"imaging/*": ["query", "notify"]}}
		not cordon.allow with input as report with data.ae_titles as titles with data.dicom_services as {"device": ["store"]}
		cordon.reason == "DICOM service commit is not permitted for role device" with input as report with data.ae_titles as titles with data.dicom_services as {"device": ["store"]}
		every attributes in [{"origin": "unknown"}, {"origin": null}] {
			forged := object.union(report, {"operation": {"attributes": attributes}})
			not cordon.allow with input as forged with data.ae_titles as titles
			contains(cordon.reason, "nobody was allowed to ask for") with input as forged with data.ae_titles as titles
		}
	}

	# Another kind of report follows from nothing.
	other := object.union(imaging("device", "active", "event from a client"), {"operation": {"attributes": {"origin": "allowed"}}})
	not cordon.allow with input as other with data.ae_titles as titles
}

# A store that follows from a C-MOVE is one that somebody was allowed; without one it is the device's own push.
test_dicom_moved if {
	titles := {"device/ct-2": ["MINE"]}
	cordon.allow with input as moved({"because": "MINE\\KIM\\7", "origin": "allowed"}) with data.ae_titles as titles
	every attributes in [{"because": "MINE\\KIM\\7", "origin": "unknown"}, {"because": "MINE\\KIM\\7"}] {
		not cordon.allow with input as moved(attributes) with data.ae_titles as titles
		contains(cordon.reason, "a C-MOVE (MINE\\KIM\\7) that nobody was allowed") with input as moved(attributes) with data.ae_titles as titles
	}

	# Each of the two can be withheld.
	cordon.allow with input as moved({"because": "x", "origin": "allowed"}) with data.ae_titles as titles with data.dicom_services as {"device": ["moved"]}
	not cordon.allow with input as calling_archive("store") with data.ae_titles as titles with data.dicom_services as {"device": ["moved"]}
	not cordon.allow with input as moved({"because": "x", "origin": "allowed"}) with data.ae_titles as titles with data.dicom_services as {"device": ["store"]}
}

# What follows is a device's store; nothing else does, whatever it says.
test_dicom_moved_only if {
	titles := {"device/ct-2": ["MINE"]}
	because := {"operation": {"attributes": {"because": "MINE\\KIM\\7"}}}
	cordon.allow with input as object.union(imaging("radiologist", "active", "store"), because)
	cordon.allow with input as object.union(calling_archive("find"), because) with data.ae_titles as titles
	cordon.reason == "DICOM service moved is not permitted for role device" with input as moved({"because": "x", "origin": "allowed"})
		with data.ae_titles as titles with data.dicom_services as {"device": ["store"]}
}

# Who may report, print or ask for a worklist stores, moves and gets nothing by claiming their class.
test_dicom_claimed_class if {
	others := ["worklist", "commit", "mpps", "print"]
	services := {"radiologist": others, "device": others}
	bound := object.union(titles, {"device/ct-2": ["MINE"]})
	every service in ["find", "move", "get", "image of a get", "store", "moved"] {
		every class in {"1.2.840.10008.1.20.1", "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.1.27"} {
			asked := object.union(claimant(service), {"operation": {"attributes": {"sop_class_uid": class}}})
			not cordon.allow with input as asked with data.ae_titles as bound with data.dicom_services as services
		}
	}
	every service in ["move", "get", "image of a get", "store", "moved"] {
		asked := object.union(claimant(service), {"operation": {"attributes": {"sop_class_uid": "1.2.840.10008.5.1.4.31"}}})
		not cordon.allow with input as asked with data.ae_titles as bound with data.dicom_services as services
	}

	# Nor does it make an image that nobody was allowed to move one that was.
	unknown := moved({"because": "MINE\\KIM\\7", "origin": "unknown", "sop_class_uid": "1.2.840.10008.5.1.1.27"})
	not cordon.allow with input as unknown with data.ae_titles as bound
	contains(cordon.reason, "that nobody was allowed") with input as unknown with data.ae_titles as bound
}

claimant(service) := imaging("radiologist", "active", service) if service != "moved"

claimant("moved") := moved({"because": "MINE\\KIM\\7", "origin": "allowed"})

moved(attributes) := object.union(calling_archive("store"), {"operation": {"attributes": attributes}})

calling_archive(service) := object.union(
	operation("device", "imaging/ct", "active", dimse[service][2]),
	{
		"subject": {"id": "ct-2"}, "device": {"id": "ct-2"}, "session": {"direction": "outbound"}, "service": {"protocol": "dicom"},
		"operation": {"name": dimse[service][1], "attributes": dimse[service][3]},
	},
)
