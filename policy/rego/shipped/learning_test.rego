package cordon_test

import data.cordon

# When dev-1 stops learning in these tests.
lessons := {"dev-1": 100}

# What a role may do besides while a device learns: all but control, admin and the unknown,
# wherever the role is nobody's own and the class of devices may learn.
learned := {"session", "read", "query", "write", "notify"}

test_learning if {
	every role, _ in kinds {
		every device_class in device_classes - {"pump/infusion"} {
			tabled := expectation(role, device_class, "active") & operation_classes
			passed(role, device_class, "learning") == tabled | learned with data.access.learning as lessons
			opens(role, device_class, "learning") with data.access.learning as lessons
		}
		tabled := expectation(role, "pump/infusion", "active") & operation_classes
		passed(role, "pump/infusion", "learning") == tabled with data.access.learning as lessons
		passed(role, "pump/infusion", "learning") == tabled | learned with data.access.learning as lessons with data.learning.but as ["dev-1"]
	}
	not opens("nurse", "pump/infusion", "learning") with data.access.learning as lessons with data.roles as few
	passed("nurse", "pump/infusion", "learning") == set() with data.access.learning as lessons with data.learning.but as ["dev-2"] with data.roles as few
	passed("nurse", "pump/infusion", "learning") == learned with data.access.learning as lessons with data.learning.never as ["pump", "pump/syringe"] with data.roles as few
}

# Without an end nobody learns; what the tables permit goes on.
test_learning_ends if {
	every ends in [{}, {"dev-2": 100}] {
		passed("nurse", "monitor/bedside", "learning") == expectation("nurse", "monitor/bedside", "active") with data.access.learning as ends
		passed("nurse", "analyser/blood-gas", "learning") == set() with data.access.learning as ends with data.roles as few
	}
	every state in ["active", "maintenance", "quarantined"] {
		passed("nurse", "analyser/blood-gas", state) == set() with data.access.learning as lessons with data.roles as few
		not opens("nurse", "analyser/blood-gas", state) with data.access.learning as lessons with data.roles as few
	}
}

# Every decision that rests on it says so, and ends with it; no other does.
test_learning_stands_out if {
	every q in [session("nurse", "analyser/blood-gas", "learning"), operation("nurse", "analyser/blood-gas", "learning", "session"), operation("nurse", "monitor/bedside", "learning", "write")] {
		cordon.allow with input as q with data.access.learning as lessons with data.roles as few
		cordon.rule == "learning" with input as q with data.access.learning as lessons with data.roles as few
		cordon.valid_until == 100 with input as q with data.access.learning as lessons with data.roles as few
	}
	every q in [session("nurse", "monitor/bedside", "learning"), operation("nurse", "monitor/bedside", "learning", "session"), operation("nurse", "monitor/bedside", "learning", "read")] {
		cordon.allow with input as q with data.access.learning as lessons with data.roles as few
		not cordon.rule with input as q with data.access.learning as lessons with data.roles as few
		not cordon.valid_until with input as q with data.access.learning as lessons with data.roles as few
	}
	read := vendor("imaging/ct", "learning", "read")
	cordon.rule == "grant G-1" with input as read with data.access.grants as granted with data.access.learning as {"dev-1": 500}
	cordon.valid_until == 100 with input as read with data.access.grants as granted with data.access.learning as {"dev-1": 500}
	cordon.rule == "learning" with input as object.union(read, {"operation": {"class": "write"}}) with data.access.grants as granted with data.access.learning as lessons
	not cordon.rule with input as operation("nurse", "monitor/bedside", "learning", "control") with data.access.learning as lessons with data.roles as few
}

# It takes a role, and a patch stands above it.
test_learning_of_whom if {
	not cordon.allow with input as asked("operation", "user", ["janitor"], "imaging/ct", "learning", "read") with data.access.learning as lessons
	not cordon.allow with input as asked("operation", "user", ["vendor"], "imaging/ct", "learning", "read") with data.access.learning as lessons
	not cordon.allow with input as asked("operation", "user", [], "imaging/ct", "learning", "session") with data.access.learning as lessons
	patched := object.union(operation("nurse", "monitor/bedside", "learning", "write"), {"device": {"profile": "philips-intellivue"}})
	not cordon.allow with input as patched with data.access.learning as lessons
	cordon.rule == "intellivue-results-only" with input as patched with data.access.learning as lessons
	every operation_class in ["session", "read"] {
		not cordon.allow with input as object.union(operation("nurse", "imaging/ct", "learning", operation_class), {"phase": ""}) with data.access.learning as lessons
	}
}

# What a device calls out to do is not learned; what it sends on a client's session is.
test_learning_outbound if {
	not called_learning("dev-1", "query")
	called_learning("dev-1", "write")
	sent_learning("astm", "write")
	not sent_learning("hl7", "write")
}

called_learning(id, operation_class) := answer if {
	answer := cordon.allow with data.access.learning as lessons with input as object.union(
		operation("device", "monitor/bedside", "learning", operation_class),
		{"subject": {"id": id}, "session": {"direction": "outbound"}},
	)
}

sent_learning(protocol, operation_class) := answer if {
	answer := cordon.allow with data.access.learning as lessons with input as object.union(
		operation("nurse", "analyser/blood-gas", "learning", operation_class),
		{"session": {"direction": "outbound"}, "service": {"protocol": protocol}},
	)
}

# DICOM: an AE title that nobody has may be called from, a service be used that the role does
# not have; not under somebody else's name, not to send images elsewhere.
test_learning_dicom if {
	every service in ["association", "mpps", "worklist", "get of another kind"] {
		cordon.allow with input as imaging("nurse", "learning", service) with data.access.learning as lessons with data.roles as few
		cordon.rule == "learning" with input as imaging("nurse", "learning", service) with data.access.learning as lessons with data.roles as few
	}
	association := imaging("radiologist", "learning", "association")
	cordon.rule == "learning" with input as association with data.access.learning as lessons
	not cordon.rule with input as association with data.access.learning as lessons with data.ae_titles as titles
	cordon.allow with input as association with data.access.learning as lessons with data.ae_titles as {"user/another": ["THEIRS"]}
	not cordon.allow with input as association with data.access.learning as lessons with data.ae_titles as {"user/another": ["MINE"]}
	not cordon.allow with input as association with data.access.learning as lessons with data.ae_titles as {"device/someone": ["MINE"]}
	not cordon.allow with input as imaging("nurse", "learning", "move") with data.access.learning as lessons
	cordon.allow with input as imaging("nurse", "learning", "move") with data.access.learning as lessons with data.ae_titles as {"user/someone": ["MINE"]}
	not cordon.allow with input as imaging("nurse", "learning", "delete") with data.access.learning as lessons
	unread := object.union(imaging("nurse", "learning", "store"), {"operation": {"attributes": {"anomalies": ["head_unreadable"]}}})
	not cordon.allow with input as unread with data.access.learning as lessons
	report := imaging("nurse", "learning", "report to a device")
	cordon.allow with input as report with data.access.learning as lessons
	not cordon.allow with input as object.union(report, {"operation": {"attributes": {"origin": "unknown"}}}) with data.access.learning as lessons
}

test_learning_mqtt if {
	every attributes in [{"filters": ["#"]}, {"filters": ["lab/#"], "will_retain": 1}] {
		learns := object.union(mqtt("SUBSCRIBE", "read", attributes), {"device": {"state": "learning"}, "subject": {"kind": "user", "roles": ["nurse"]}})
		not cordon.allow with input as learns with data.access.learning as lessons
	}
	learns := object.union(mqtt("SUBSCRIBE", "read", {"filters": ["lab/#"]}), {"device": {"state": "learning"}, "subject": {"kind": "user", "roles": ["nurse"]}})
	cordon.allow with input as learns with data.access.learning as lessons
}
